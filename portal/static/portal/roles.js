/* My roles: search over the page's index as one types, and the keyboard all the way. An extra: without it the search is a
   form, and the list has pages. No markup is built from strings; rows are clones of the page's own templates. */

const source = document.getElementById("roles-index");
if (source) start(JSON.parse(source.textContent));

function start(index) {
  const APPROVAL = 1, FAVOURITE = 2, RECENTLY = 4, ASKED = 8; // as in portal/views/roles.py
  const MOST = 50, AT_ONCE = 8, PAUSE = 300;
  const input = document.getElementById("q");
  const list = document.getElementById("roles");
  const results = document.getElementById("results");
  const found = document.getElementById("found");
  const none = document.getElementById("no-match");
  const count = document.getElementById("count");
  const usable = document.getElementById("row-usable").content.firstElementChild;
  const locked = document.getElementById("row-approval").content.firstElementChild;
  const badges = [...document.querySelectorAll("template[data-environment]")].map((template) => template.content);
  const words = document.getElementById("words").dataset;
  const own = document.getElementById("roles-words").dataset;
  const figures = new Intl.NumberFormat(document.documentElement.lang || undefined);
  const before = { count: count.textContent, none: none.hidden };
  for (const element of document.querySelectorAll("[data-needs-script]")) element.hidden = false;

  // What is looked at, once: account, id, environment, role with its path.
  const hay = index.r.map(([account, name]) => {
    const [id, called, environment] = index.a[account];
    return `${called} ${id} ${index.e[environment]} ${index.n[name]}`.toLowerCase();
  });

  /** How well `word` fits `text`: 0 not at all; whole words and beginnings before insides, those before letters in order. */
  function score(text, word) {
    const at = text.indexOf(word);
    if (at >= 0) {
      const begins = at === 0 || !/[a-z0-9]/.test(text[at - 1]);
      const whole = begins && (at + word.length === text.length || !/[a-z0-9]/.test(text[at + word.length]));
      return 100 + (begins ? 40 : 0) + (whole ? 20 : 0) - Math.min(at, 30) / 10;
    }
    if (word.length < 3) return 0;
    // Its letters in order, as close together as they are anywhere.
    let closest = Infinity;
    for (let begin = text.indexOf(word[0]); begin >= 0 && closest > 0; begin = text.indexOf(word[0], begin + 1)) {
      let from = begin;
      for (let letter = 1; letter < word.length && from >= 0; letter += 1) from = text.indexOf(word[letter], from + 1);
      if (from < 0) break; // from further on it is not there either
      closest = Math.min(closest, from - begin + 1 - word.length);
    }
    return closest > word.length * 2 ? 0 : Math.max(1, 50 - closest * 2);
  }

  function search(query) {
    const wanted = query.toLowerCase().split(/\s+/).filter(Boolean);
    const hits = [];
    for (let number = 0; number < hay.length; number += 1) {
      let total = 0;
      for (const word of wanted) {
        const points = score(hay[number], word);
        if (!points) { total = 0; break; }
        total += points;
      }
      if (!total) continue;
      const bits = index.r[number][2];
      hits.push([total + (bits & RECENTLY ? 9 : 0) + (bits & FAVOURITE ? 6 : 0) - (bits & APPROVAL ? 3 : 0), number]);
    }
    // An inside that fits beats letters in order: where the former are there, the latter are noise.
    const solid = hits.filter(([points]) => points >= 100 * wanted.length);
    const kept = solid.length ? solid : hits;
    return kept.sort((one, other) => other[0] - one[0] || one[1] - other[1]).map(([, number]) => number);
  }

  // A row is made once: the next key mostly narrows down what is there.
  const made = new Map();
  function row(number) {
    if (!made.has(number)) made.set(number, newRow(number));
    return made.get(number);
  }

  function newRow(number) {
    const [account, name, bits] = index.r[number];
    const [id, called, environment] = index.a[account];
    const full = index.n[name];
    const short = full.slice(full.lastIndexOf("/") + 1);
    const page = `/roles/${id}/${full.split("/").map(encodeURIComponent).join("/")}/`;
    const fresh = (bits & APPROVAL ? locked : usable).cloneNode(true);
    for (const element of fresh.querySelectorAll("[data-at]")) {
      element.setAttribute(element.tagName === "FORM" ? "action" : "href", page + element.dataset.at);
    }
    fresh.querySelector(".name").textContent = short;
    fresh.querySelector("[data-account]").textContent = called;
    fresh.querySelector("[data-id]").textContent = id;
    fresh.querySelector("[data-badge]").append(badges[environment].cloneNode(true));
    const sentence = own.for.replace("{role}", short).replace("{account}", called);
    for (const element of fresh.querySelectorAll("[data-for]")) element.textContent = sentence;
    for (const element of fresh.querySelectorAll("[data-both]")) element.textContent = `${short}, ${called}`;
    if (bits & APPROVAL) {
      for (const element of fresh.querySelectorAll(bits & ASKED ? "[data-locked]" : "[data-waiting]")) element.remove();
    } else if (bits & FAVOURITE) {
      fresh.querySelector("[name=favourite]").value = "0";
      fresh.querySelector("[aria-pressed]").setAttribute("aria-pressed", "true");
    }
    return fresh;
  }

  // The address follows, so that the list can be shared and survives a reload: once in a pause, not at every key, of which
  // some browsers take no more than a hundred in half a minute.
  let waiting = 0;
  function follow() {
    clearTimeout(waiting);
    const url = new URL(location.href);
    if ((url.searchParams.get("q") ?? "") === shown) return;
    url.searchParams.delete("page");
    if (shown) url.searchParams.set("q", shown);
    else url.searchParams.delete("q");
    history.replaceState(null, "", url);
  }
  input.addEventListener("blur", follow); // whatever leads away from here comes after that

  let shown = "", later = 0;
  function apply() {
    performance.mark("roles-key");
    const query = input.value.trim();
    if (query === shown) return;
    shown = query;
    const hits = query ? search(query) : [];
    // What fits a window now, in the frame of the key; the others in a later one, unless another key was faster.
    cancelAnimationFrame(later);
    found.replaceChildren(...hits.slice(0, AT_ONCE).map(row));
    const others = hits.slice(AT_ONCE, MOST);
    if (others.length) later = requestAnimationFrame(() => { found.append(...others.map(row)); });
    results.hidden = !hits.length;
    list.hidden = Boolean(query);
    none.hidden = query ? hits.length > 0 : before.none;
    const sentence = hits.length > MOST ? own.first : words.rolesFound;
    count.textContent = query ? sentence.replace("{shown}", figures.format(hits.length)).replace("{total}", figures.format(hay.length)) : before.count;
    clearTimeout(waiting);
    waiting = setTimeout(follow, PAUSE);
    performance.measure("roles-search", "roles-key");
  }

  input.addEventListener("input", apply);
  input.form.addEventListener("submit", (event) => {
    event.preventDefault();
    apply();
    follow();
    const first = rows()[0];
    (first?.querySelector(".do .primary") ?? first?.querySelector(".do .button"))?.focus();
  });
  for (const link of document.querySelectorAll("[data-clear]")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      clear();
    });
  }
  function clear() {
    if (!before.none || new URL(location.href).searchParams.has("q") && !shown) { location.assign("/"); return; }
    input.value = "";
    apply();
    input.focus();
  }
  if (input.value.trim()) shown = input.value.trim(); // the server has searched for this already
  // What was typed while the page was still on its way.
  apply();

  /* --- The keyboard ---------------------------------------------------------------------------------- */
  const rows = () => [...document.querySelectorAll("[data-row]")].filter((element) => element.checkVisibility());
  const toggle = document.getElementById("single-keys");
  const stored = () => { try { return localStorage.getItem("single-keys") !== "off"; } catch { return true; } };
  toggle.checked = stored();
  toggle.addEventListener("change", () => {
    try { localStorage.setItem("single-keys", toggle.checked ? "on" : "off"); } catch { /* only for this page then */ }
  });
  const typing = (element) => element.matches("input, textarea, select, [contenteditable]");

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.querySelector("dialog[open]")) return;
    const at = event.target;
    const here = at.closest?.("[data-row]");
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (at !== input && !here) return;
      const all = rows();
      const next = (here ? all.indexOf(here) : -1) + (event.key === "ArrowDown" ? 1 : -1);
      event.preventDefault();
      if (next < 0) { input.focus(); return; }
      // Down the same column: from console button to console button.
      const column = here ? [...here.querySelectorAll("a, button")].indexOf(at) : -1;
      const controls = all[next] ? [...all[next].querySelectorAll("a, button")] : [];
      (controls[column] ?? all[next]?.querySelector(".name"))?.focus();
    } else if (event.key === "Escape" && at === input && input.value) {
      event.preventDefault();
      clear();
    } else if (!toggle.checked || typing(at)) {
      return;
    } else if (event.key === "/") {
      event.preventDefault();
      input.focus();
      input.select();
    } else if (event.key === "?") {
      document.getElementById("keys").showModal();
    } else if (here && event.key === "c") {
      here.querySelector(".do a")?.click();
    } else if (here && event.key === "o") {
      here.querySelector(".do form button")?.click();
    } else if (here && event.key === "s") {
      here.querySelector(".star button")?.click();
    }
  });
}
