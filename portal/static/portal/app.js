/* Extras only: every page does its whole job without this file. No markup is built from strings (no innerHTML),
   so that nothing that came from outside can become markup here. */

/** Put `text` into the page's polite live region, so that a screen reader says it once. */
function announce(text) {
  const region = document.getElementById("announce");
  if (region) region.textContent = text;
}

/* --- The list of roles: filter as one types --------------------------------------------------------- */
function wireFilter(input) {
  const list = document.getElementById(input.dataset.filter);
  const status = document.getElementById("count");
  const none = document.getElementById("no-match");
  if (!list || !status || !none) return; // a page of a longer list: the server searches all of it
  const rows = [...list.querySelectorAll("[data-search]")].map((row) => [row, row.dataset.search]);
  const groups = [...list.querySelectorAll("[data-group]")];
  let timer = 0;

  const apply = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const [row, text] of rows) {
      const hit = words.every((word) => text.includes(word));
      row.hidden = !hit;
      if (hit) shown += 1;
    }
    // Inner groups first (document order reversed), so that an account closes when all in it is closed.
    for (const group of groups.reverse()) group.hidden = !group.querySelector("[data-search]:not([hidden])");
    groups.reverse();
    none.hidden = shown > 0;
    status.textContent = words.length ? `${shown} of ${rows.length} roles` : `${rows.length} roles`;
    // The address follows, so that the filtered list can be shared and survives a reload.
    const url = new URL(location.href);
    if (words.length) url.searchParams.set("q", input.value.trim());
    else url.searchParams.delete("q");
    history.replaceState(null, "", url);
  };
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(apply, 60);
  });
  input.form.addEventListener("submit", (event) => {
    event.preventDefault();
    apply();
  });
  for (const link of document.querySelectorAll("[data-clear]")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      input.value = "";
      apply();
      input.focus();
    });
  }
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
    label.textContent = done ? "Copied" : "Selected";
    announce(done ? "Copied." : "Selected. Copy it with the keyboard.");
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
      out.textContent = "expired";
      clearInterval(timer);
      return;
    }
    out.textContent = left >= 60 ? `${Math.floor(left / 60)} h ${left % 60} min left` : `${left} min left`;
  };
  const timer = setInterval(show, 15000);
  show();
}

for (const input of document.querySelectorAll("input[data-filter]")) wireFilter(input);
for (const button of document.querySelectorAll("[data-copy]")) wireCopy(button);
for (const box of document.querySelectorAll("[data-tabs]")) wireTabs(box);
for (const time of document.querySelectorAll("time[data-left]")) wireCountdown(time);

// A form that takes seconds (STS, the console) shows that it is busy; the second click changes nothing.
for (const form of document.querySelectorAll("form[data-busy]")) {
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
// Coming back with the Back button finds the forms ready again.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-busy]")) {
    delete form.dataset.sent;
    for (const button of form.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
  }
});

for (const form of document.querySelectorAll("form[data-auto-submit]")) form.submit();
for (const box of document.querySelectorAll("[data-focus]")) box.focus();
