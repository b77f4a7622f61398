/* The mapping's editor: line numbers, faults at their lines, the way from a rule to its lines, and text that outlives a
   session. Extras only: text, rules and forms do their job without this file. */

const form = document.getElementById("editor");
const text = document.getElementById("text");
const area = text.closest(".code-area");
const gutter = document.createElement("div");
gutter.className = "lines";
gutter.setAttribute("aria-hidden", "true"); // the faults are named in the list beside it
area.prepend(gutter);

/** One number a line; those with a fault are marked. */
function number() {
  const count = text.value.split("\n").length;
  const bad = new Set([...document.querySelectorAll("[data-fault]")].map((fault) => Number(fault.dataset.fault)));
  while (gutter.childElementCount > count) gutter.lastElementChild.remove();
  for (let line = gutter.childElementCount + 1; line <= count; line += 1) {
    const mark = document.createElement("span");
    mark.textContent = String(line);
    gutter.append(mark);
  }
  [...gutter.children].forEach((mark, index) => { mark.className = bad.has(index + 1) ? "bad" : ""; });
  gutter.scrollTop = text.scrollTop;
}

/** Put the cursor on a line (to the end of line `to`) and bring it into sight. */
function goTo(line, to) {
  const lines = text.value.split("\n");
  const start = lines.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
  const end = lines.slice(0, to).join("\n").length;
  text.focus();
  text.setSelectionRange(start, Math.max(start, end));
  const height = parseFloat(getComputedStyle(text).lineHeight) || 18;
  text.scrollTop = Math.max(0, (line - 4) * height);
  number();
}

/** The rule in which the cursor stands is the one that the table shows as chosen. */
function follow() {
  const line = text.value.slice(0, text.selectionStart).split("\n").length;
  for (const row of document.querySelectorAll("[data-first]")) {
    const inside = Number(row.dataset.first) <= line && line <= Number(row.dataset.last);
    if (inside) row.setAttribute("aria-selected", "true");
    else row.removeAttribute("aria-selected");
  }
}

addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-line]");
  if (!link) return;
  event.preventDefault();
  goTo(Number(link.dataset.line), Number(link.dataset.to ?? link.dataset.line));
  follow();
});
text.addEventListener("input", number);
text.addEventListener("scroll", () => { gutter.scrollTop = text.scrollTop; });
text.addEventListener("keyup", follow);
text.addEventListener("click", follow);
addEventListener("htmx:afterSettle", () => {
  number();
  follow();
});

/* What was typed and not yet kept waits here while somebody signs in again, and only for the version that it was typed on. */
const key = `mapping:${form.dataset.text}`;
const version = () => document.getElementById("version").value;
function keep() {
  try { sessionStorage.setItem(key, JSON.stringify([version(), text.value])); } catch { /* storage is full or closed */ }
}
addEventListener("htmx:beforeRequest", (event) => { if (event.detail.elt === text) keep(); });
addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.elt === text && event.detail.successful && !event.detail.xhr.getResponseHeader("HX-Redirect")) sessionStorage.removeItem(key);
});
form.addEventListener("submit", keep);
const [typedOn, typed] = JSON.parse(sessionStorage.getItem(key) ?? "[null, null]");
sessionStorage.removeItem(key);
if (typed !== null && typedOn === version() && typed !== text.value) {
  // Not before htmx knows the text: what changes then is checked and kept like anything typed.
  addEventListener("load", () => {
    text.value = typed;
    document.getElementById("announce").textContent = document.getElementById("words").dataset.restored;
    text.dispatchEvent(new Event("input", { bubbles: true }));
  });
}
number();
const chosen = document.querySelector("tr[aria-selected][data-first]");
if (chosen) goTo(Number(chosen.dataset.first), Number(chosen.dataset.last));
