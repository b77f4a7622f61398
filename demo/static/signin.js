// Clicking a person fills the form in.
for (const button of document.querySelectorAll("button[data-login]")) {
  button.addEventListener("click", () => {
    document.getElementById("login").value = button.dataset.login;
    document.getElementById("password").value = button.dataset.password;
    document.querySelector("form.signin button[type=submit]").focus();
  });
}

// Typing narrows the list at once; without this script the form asks the server.
const find = document.getElementById("find");
if (find) {
  const people = [...document.querySelectorAll("li[data-text]")];
  find.addEventListener("input", () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const person of people) {
      person.hidden = !words.every((word) => person.dataset.text.includes(word));
      shown += person.hidden ? 0 : 1;
    }
    document.getElementById("count").textContent = shown;
  });
}
