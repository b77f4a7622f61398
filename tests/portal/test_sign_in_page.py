"""The sign-in page: a button a provider, the provider of an e-mail domain, and what it says when there is none."""

from tests.portal.conftest import soup, text_of


def test_a_button_for_each_provider_keeps_the_way_back(publish, browser):
    publish()
    page = browser.page("/signin/", data={"next": "/cli/?a=1&b=2"})
    links = {a.get_text().strip(): a["href"] for a in page.select("main ul a")}
    assert links == {
        "Sign in with Example Corp": "/signin/corp/?next=%2Fcli%2F%3Fa%3D1%26b%3D2",
        "Sign in with Entra": "/signin/entra/?next=%2Fcli%2F%3Fa%3D1%26b%3D2",
    }


def test_the_domain_of_an_address_finds_its_provider(publish, browser):
    publish()
    start = browser.get("/signin/?next=/cli/")
    answer = browser.submit(start, "/signin/", email=" Alice@EXAMPLE.com ")
    assert answer.status_code == 200
    # By a page, not a redirect: the browser would hold it to the form's form-action.
    assert (
        soup(answer).find("meta", attrs={"http-equiv": "refresh"})["content"] == "0; url=/signin/corp/?next=%2Fcli%2F"
    )


def test_an_unknown_domain_is_said_at_the_field(publish, browser):
    publish()
    answer = browser.submit(browser.get("/signin/"), "/signin/", email="mallory@evil-example.com")
    assert answer.status_code == 422
    page = soup(answer)
    assert page.title.get_text().startswith("Error: ")
    assert page.find(role="alert").a["href"] == "#email"
    field = page.find(id="email")
    assert field["aria-invalid"] == "true"
    assert field["value"] == "mallory@evil-example.com"
    assert page.find(id=field["aria-describedby"]).get_text().startswith("No provider is set up")


def test_no_domain_at_all(publish, browser):
    publish()
    answer = browser.submit(browser.get("/signin/"), "/signin/", email="alice")
    assert answer.status_code == 422
    assert "Enter your work e-mail address" in text_of(answer)


def test_before_anything_is_set_up_it_says_what_to_do(db, browser):
    assert "No identity provider is set up yet" in text_of(browser.get("/signin/"))


def test_an_unknown_provider_is_404(publish, browser):
    publish()
    answer = browser.get("/signin/nobody/")
    assert answer.status_code == 404
    assert soup(answer).find("dl").find_all("dd")[1].get_text(strip=True) == "unknown_provider"


def test_pages_lead_to_the_sign_in_with_the_way_back(publish, browser):
    publish()
    for path, back in (
        ("/", "/signin/"),
        ("/cli/", "/signin/?next=%2Fcli%2F"),
        (
            "/roles/111122223333/ReadOnly/console?destination=s3",
            "/signin/?next=%2Froles%2F111122223333%2FReadOnly%2Fconsole%3Fdestination%3Ds3",
        ),
    ):
        assert browser.get(path)["Location"] == back
