// Extras of the admin console. A page does its whole job without them.

// Moments in UTC, or in the reader's own time. What was chosen is kept in this browser.
const button = document.querySelector("[data-times]");
const KEY = "rolegate-local-times";

function show(local) {
  for (const time of document.querySelectorAll("time[datetime]")) {
    time.dataset.utc ??= time.textContent;
    const at = new Date(time.getAttribute("datetime"));
    time.textContent = local && !Number.isNaN(at.valueOf())
      ? new Intl.DateTimeFormat(document.documentElement.lang || undefined, { dateStyle: "medium", timeStyle: "long" }).format(at)
      : time.dataset.utc;
  }
  button.setAttribute("aria-pressed", String(local));
}

if (button) {
  let local = localStorage.getItem(KEY) === "1";
  button.hidden = false;
  if (local) show(true);
  button.addEventListener("click", () => {
    local = !local;
    localStorage.setItem(KEY, local ? "1" : "0");
    show(local);
  });
  document.addEventListener("htmx:afterSwap", () => local && show(true));
}
