"""The wizard that onboards an account: which one, what to apply, and what comes next."""

from __future__ import annotations

from tests import cast
from tests.portal.conftest import soup, text_of

PAGE = "/staff/onboard/"


def test_the_accounts_that_are_known_are_offered_and_an_owner_of_some_is_offered_those(console):
    offered = lambda right: [one["value"] for one in soup(console(right).get(PAGE)).select("datalist#known option")]
    assert offered("owner") == ["shop-dev", "shop-prod", "shop-staging"]
    assert offered("account-owner") == ["shop-staging"]
    assert soup(console("owner").get(PAGE)).find(id="account")["list"] == "known"


def test_the_step_that_comes_next_is_marked_and_says_how(console):
    browser = console("owner")
    current = lambda query: (
        text_of(browser.get(PAGE + query))
        and [
            " ".join(step.get_text(" ").split())
            for step in soup(browser.get(PAGE + query)).select("[aria-current=step]")
        ]
    )
    assert current("") == ["Say which account, and take the template."]
    (step,) = current(f"?account={cast.DEV}")
    # Letter by letter what the head of the text says.
    text = soup(browser.get(f"{PAGE}?account={cast.DEV}")).find(id="text").get_text()
    command = step[step.index("aws cloudformation") :]
    assert command.replace(f"rolegate-{cast.DEV}.yaml", "FILE") in text
    (step,) = current(f"?account={cast.DEV}&format=terraform")
    assert "terraform init && terraform apply" in step


def test_the_template_is_taken_along_as_a_file(console):
    browser = console("owner")
    page = soup(browser.get(f"{PAGE}?account=shop-dev&format=terraform"))
    answer = browser.get(PAGE + page.select_one("a[download]")["href"])
    assert answer["Content-Disposition"] == f'attachment; filename="rolegate-{cast.DEV}.tf"'
    assert answer.content.decode() == page.find(id="text").get_text()


def test_what_is_no_account_is_said_in_the_words_of_the_page(console):
    """The commands' options are not the page's: nobody here can give --partition."""
    answer = console("owner").get(f"{PAGE}?account=nonsense")
    assert answer.status_code == 422
    assert "No account that the gateway knows" in text_of(answer)
    assert "--" not in soup(answer).select_one(".faults").get_text()
