/* Extras only: every page does its whole job without this file. No markup is built from strings (no innerHTML),
   so that nothing that came from outside can become markup here. */

const words = document.getElementById("words")?.dataset ?? {};

/** A sentence of the page's language, with {name} replaced. */
function say(sentence, values) {
  return sentence.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/** Put `text` into the page's polite live region, so that a screen reader says it once. */
function announce(text) {
  const region = document.getElementById("announce");
  if (region) region.textContent = text;
}

/* --- Copy ------------------------------------------------------------------------------------------- */
function wireCopy(button) {
  const source = document.getElementById(button.dataset.copy);
  if (!source) return;
  button.hidden = false;
  const label = button.querySelector("[data-label]") ?? button;
  const before = label.textContent;
  button.addEventListener("click", async () => {
    let done = true;
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch {
      // No clipboard (permission refused): open and select it, so that the keys for copying work.
      done = false;
      source.closest("details")?.setAttribute("open", "");
      getSelection()?.selectAllChildren(source);
    }
    label.textContent = done ? words.copied : words.selected;
    announce(done ? words.copiedAloud : words.selectedAloud);
    setTimeout(() => { label.textContent = before; }, 2000);
  });
}

/* --- Tabs: the sections of a page, one at a time (WAI-ARIA pattern, selection follows focus) --------- */
function wireTabs(box) {
  const panels = [...box.querySelectorAll(":scope > [data-tab]")];
  const bar = document.createElement("div");
  bar.className = "tabs";
  bar.setAttribute("role", "tablist");
  bar.setAttribute("aria-label", box.dataset.tabs);
  const tabs = panels.map((panel) => {
    const tab = document.createElement("button");
    tab.type = "button";
    tab.id = `tab-${panel.id}`;
    tab.textContent = panel.dataset.tab;
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", panel.id);
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", tab.id);
    const heading = panel.querySelector("h2, h3");
    if (heading) heading.hidden = true; // the tab says it now
    bar.append(tab);
    return tab;
  });
  const select = (index, focus) => {
    tabs.forEach((tab, i) => {
      tab.setAttribute("aria-selected", String(i === index));
      tab.tabIndex = i === index ? 0 : -1;
      panels[i].hidden = i !== index;
    });
    if (focus) tabs[index].focus();
  };
  bar.addEventListener("click", (event) => {
    const index = tabs.indexOf(event.target);
    if (index >= 0) select(index, false);
  });
  bar.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(event.target);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    select((to + tabs.length) % tabs.length, true);
  });
  box.prepend(bar);
  const windows = /Windows/.test(navigator.userAgent) ? panels.findIndex((panel) => panel.id === "format-powershell") : -1;
  select(Math.max(windows, 0), false);
}

/* --- Time left -------------------------------------------------------------------------------------- */
function wireCountdown(element) {
  const end = Date.parse(element.dateTime);
  // The server's clock decides, not this machine's: count from the moment the page was made.
  const skew = Date.now() - Date.parse(element.dataset.now);
  const show = () => {
    const left = Math.floor((end - (Date.now() - skew)) / 60000);
    const out = document.getElementById(element.dataset.left);
    if (!out) return;
    if (left < 0) {
      out.textContent = words.expired;
      clearInterval(timer);
      return;
    }
    const values = { hours: Math.floor(left / 60), minutes: left % 60 };
    out.textContent = say(left < 60 ? words.leftMinutes : values.minutes ? words.left : words.leftHours, values);
  };
  const timer = setInterval(show, 15000);
  show();
}

/* --- Menus and dialogs ------------------------------------------------------------------------------- */
function closeMenus(except) {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (menu !== except) menu.open = false;
}
addEventListener("click", (event) => closeMenus(event.target.closest("details.menu")));
addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = event.target.closest?.("details.menu[open]");
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

// <button data-opens="id"> opens the <dialog id>; the dialog itself traps the focus, takes Escape and gives the focus back.
addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  const dialog = opener && document.getElementById(opener.dataset.opens);
  if (dialog?.showModal) {
    event.preventDefault();
    dialog.showModal();
  }
  if (event.target.closest("[data-closes]")) event.target.closest("dialog")?.close();
  if (event.target instanceof HTMLDialogElement) event.target.close(); // the backdrop
});

/* --- Drafts: what was typed survives an expired session --------------------------------------------- */
const draftKey = (form) => `draft:${location.pathname}:${form.id}`;
const fieldsOf = (form) => [...form.elements].filter((field) => field.name && !["hidden", "password", "submit", "button", "file"].includes(field.type));

function keepDraft(form) {
  const kept = fieldsOf(form).map((field) => [field.name, field.value, field.type === "checkbox" || field.type === "radio" ? field.checked : null]);
  try { sessionStorage.setItem(draftKey(form), JSON.stringify(kept)); } catch { /* storage is full or closed: then there is no draft */ }
}

function restoreDraft(form) {
  const text = sessionStorage.getItem(draftKey(form));
  sessionStorage.removeItem(draftKey(form));
  if (!text || form.querySelector("[aria-invalid]")) return; // the server gave the form back with what was typed
  for (const [name, value, checked] of JSON.parse(text)) {
    for (const field of fieldsOf(form)) {
      if (field.name !== name) continue;
      if (checked === null) field.value = value;
      else if (field.value === value) field.checked = checked;
    }
  }
  announce(words.restored);
}

/* --- A session that is about to end says so, five minutes before, while there is time to keep what was typed ------------ */
const WARNING = 5 * 60000;
const session = document.getElementById("session");
if (session) {
  const told = session.dataset;
  const ends = Date.parse(told.ends) + Date.now() - Date.parse(told.now); // on this machine's own clock
  const tell = () => {
    const left = ends - Date.now();
    if (left > WARNING) return;
    const note = document.createElement("div");
    const line = document.createElement("p");
    const link = document.createElement("a");
    note.className = "note warn";
    line.textContent = left > 0 ? say(told.ending, { minutes: Math.ceil(left / 60000) }) : told.over;
    link.href = `/signin/?next=${encodeURIComponent(location.pathname + location.search)}`;
    link.textContent = told.again;
    link.addEventListener("click", () => { for (const form of document.querySelectorAll("form[data-draft]")) keepDraft(form); });
    line.append(" ", link);
    note.append(line);
    if (session.textContent !== note.textContent) session.replaceChildren(note);
    if (left <= 0) clearInterval(timer);
  };
  const timer = setInterval(tell, 15000); // and not one timeout: a machine that sleeps keeps no time
  tell();
}

/* --- htmx: busy after 300 ms, focus kept, errors at the top, counts said ----------------------------- */
const busy = new WeakMap();
const about = (event) => event.detail.target ?? event.detail.elt;
addEventListener("htmx:beforeRequest", (event) => {
  const target = about(event);
  clearTimeout(busy.get(target));
  busy.set(target, setTimeout(() => target.setAttribute("aria-busy", "true"), 300));
  const form = event.detail.elt.closest?.("form[data-draft]");
  if (form) keepDraft(form);
});
addEventListener("htmx:afterRequest", (event) => {
  const target = about(event);
  clearTimeout(busy.get(target));
  target.removeAttribute("aria-busy");
  const form = event.detail.elt.closest?.("form[data-draft]");
  if (form && event.detail.successful && !event.detail.xhr.getResponseHeader("HX-Redirect")) sessionStorage.removeItem(draftKey(form));
});
addEventListener("htmx:beforeSwap", (event) => {
  // What a proxy on the way answers is no piece of this page.
  const { xhr } = event.detail;
  if (xhr.status >= 400 && xhr.status !== 422 && !xhr.getResponseHeader("HX-Retarget")) {
    event.detail.shouldSwap = false;
    problem(words.failed);
  }
});
addEventListener("htmx:sendError", () => problem(words.failed));
addEventListener("htmx:timeout", () => problem(words.failed));

function problem(text) {
  const box = document.getElementById("problems");
  const note = document.createElement("div");
  const line = document.createElement("p");
  note.className = "note bad";
  line.textContent = text;
  note.append(line);
  box.replaceChildren(note);
}

let focused = "", lost = false;
addEventListener("htmx:beforeSwap", (event) => {
  focused = document.activeElement?.id ?? "";
  lost = document.activeElement !== document.body && event.detail.target.contains(document.activeElement);
});
addEventListener("htmx:afterSettle", (event) => {
  const target = event.target; // what has come: after an outerHTML swap the old target is gone
  // Never on <body>: back to where it was, else to what has just come. What comes by itself takes the focus from nobody.
  if (lost && document.activeElement === document.body) {
    const back = (focused && document.getElementById(focused)) || target.querySelector("[data-focus]") || target;
    if (!back.hasAttribute("tabindex") && !back.matches("a, button, input, select, textarea, summary")) back.tabIndex = -1;
    back.focus({ preventScroll: true });
  }
  for (const box of target.querySelectorAll("[data-focus]")) box.focus();
  const said = target.matches("[data-announce]") ? target : target.querySelector("[data-announce]");
  if (said) announce(said.dataset.announce || said.textContent.trim());
  wire(target);
});

/* --- Everything, on this page and on each piece that comes later -------------------------------------- */
const wired = new Map(); // by selector: a form may be both busy and a draft
function each(root, selector, wireOne) {
  const done = wired.get(selector) ?? new WeakSet();
  wired.set(selector, done);
  for (const element of [...(root.matches?.(selector) ? [root] : []), ...root.querySelectorAll(selector)]) {
    if (done.has(element)) continue;
    done.add(element);
    wireOne(element);
  }
}

function wireBusy(form) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "1";
    setTimeout(() => { delete form.dataset.sent; }, 3000); // the answer may have gone to another tab
    setTimeout(() => event.submitter?.setAttribute("aria-busy", "true"), 300);
  });
}

function wireDraft(form) {
  restoreDraft(form);
  form.addEventListener("submit", () => keepDraft(form));
}

function wire(root) {
  each(root, "[data-copy]", wireCopy);
  each(root, "[data-tabs]", wireTabs);
  each(root, "time[data-left]", wireCountdown);
  // A form that takes seconds (STS, the console) shows that it is busy; the second click changes nothing.
  each(root, "form[data-busy]", wireBusy);
  each(root, "form[data-draft]", wireDraft);
}
wire(document);
// A draft waits for its form while somebody signs in again, on the way through the first step of its own page as well;
// whoever has gone on elsewhere has no use for it. Nor is it lost where sending it has failed.
if (!location.pathname.startsWith("/signin/") && !document.querySelector("[data-kept], [data-error]")) {
  for (const key of Object.keys(sessionStorage)) {
    if (key.startsWith("draft:") && !key.startsWith(`draft:${location.pathname}:`)) sessionStorage.removeItem(key);
  }
}
// Coming back with the Back button finds the forms ready again.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-busy]")) {
    delete form.dataset.sent;
    for (const button of form.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
  }
});

for (const form of document.querySelectorAll("form[data-auto-submit]")) form.submit();
for (const box of document.querySelectorAll("[data-focus]")) box.focus();
