// Clicking a person of the cast fills the form in.
for (const button of document.querySelectorAll("button[data-login]")) {
  button.addEventListener("click", () => {
    document.getElementById("login").value = button.dataset.login;
    document.getElementById("password").value = button.dataset.password;
    document.querySelector("form.signin button[type=submit]").focus();
  });
}
