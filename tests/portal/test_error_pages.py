"""Pages for what went wrong: what, what to do, the code, the request id, and no more."""

from urllib.parse import quote

import pytest
from django.db import OperationalError
from django.test import RequestFactory

from federation.models import Role
from federation.models.accounts import search_text
from portal.views import errors
from tests import cast
from tests.portal.conftest import Browser, soup, text_of


def facts(answer):
    return {
        dt.get_text(strip=True): dt.find_next_sibling("dd").find("span").get_text()
        for dt in soup(answer).find_all("dt")
        if dt.find_next_sibling("dd").find("span")
    }


def test_404_has_a_code_and_the_request_id(db, browser):
    answer = browser.get("/no-such-<script>page")
    assert answer.status_code == 404
    assert facts(answer) == {"Request id": answer["X-Request-Id"], "Error code": "not_found"}
    assert b"no-such" not in answer.content
    assert soup(answer).title.get_text().startswith("Error: ")


def test_a_form_without_its_token(publish, browser):
    publish()
    answer = browser.post("/signin/", {"email": "alice@example.com"})
    assert answer.status_code == 403
    assert facts(answer)["Error code"] == "form_refused"
    assert "reload the page" in text_of(answer)


@pytest.mark.parametrize(
    ("came", "button"),
    [
        ("http://testserver/device/", ("Load the page again", "/device/")),
        ("http://testserver/requests/new?role=a%3Ab", ("Load the page again", "/requests/new?role=a%3Ab")),
        ("http://testserver//evil.example/", ("Load the page again", "/")),
        ("http://evil.example/device/", ("Start again from my roles", "/")),
        ("", ("Start again from my roles", "/")),
    ],
)
def test_a_form_whose_token_is_of_another_session_leads_back_to_its_page(publish, browser, came, button):
    publish()
    answer = browser.post("/device/", {"user_code": "AAAA-BBBB"}, headers={"referer": came} if came else {})
    assert (answer.status_code, facts(answer)["Error code"]) == (403, "form_refused")
    first = soup(answer).select_one("main a.primary")
    assert (first.get_text(strip=True), first["href"]) == button


def test_a_host_that_is_not_ours(db, browser):
    answer = browser.get("/signin/", headers={"host": "evil.example"})
    assert answer.status_code == 400
    assert b"evil.example" not in answer.content


def test_a_fault_of_ours_shows_nothing_of_itself(publish, clock, monkeypatch):
    def break_down():
        raise ValueError("secret-detail-of-the-fault")

    publish()
    monkeypatch.setattr("federation.queries.sign_in_choices", break_down)
    answer = Browser(raise_request_exception=False).get("/signin/")
    assert answer.status_code == 500
    assert b"secret-detail" not in answer.content
    assert facts(answer) == {"Request id": answer["X-Request-Id"], "Error code": "internal_error"}


def test_the_page_needs_no_database(publish, clock, monkeypatch):
    def gone(*_, **__):
        raise OperationalError("connection refused by 10.0.0.1")

    publish()
    monkeypatch.setattr("federation.queries.sign_in_choices", gone)
    monkeypatch.setattr("portal.sessions.SessionStore.load", gone)
    answer = Browser(raise_request_exception=False).get("/signin/", headers={"cookie": "rolegate_session=x"})
    assert answer.status_code == 503
    assert answer["Retry-After"] == "5"
    assert b"10.0.0.1" not in answer.content


def test_when_not_even_the_template_works_there_is_text(monkeypatch):
    def gone(*_, **__):
        raise RuntimeError("template broken")

    monkeypatch.setattr(errors, "error_response", gone)
    request = RequestFactory().get("/")
    request.request_id = "abc123"
    answer = errors.server_error(request)
    assert (answer.status_code, answer["Content-Type"]) == (500, "text/plain; charset=utf-8")
    assert b"abc123" in answer.content
    assert b"broken" not in answer.content


@pytest.mark.parametrize(
    ("path", "label"), [("/signin/nobody/", "Sign in again"), ("/no-such-page", "Start again from my roles")]
)
def test_the_first_button_leads_to_what_helps(publish, browser, path, label):
    publish()
    assert soup(browser.get(path)).select_one("main a.primary").get_text() == label


def test_a_role_that_is_gone_leads_to_why(publish, signed_in):
    publish()
    browser = signed_in()
    Role.objects.create(
        arn=cast.role(cast.PROD, "Root"), account_id=cast.PROD, name="Root", seen_at=browser.person.claims_at,
        search=search_text("", "Root", {}),
    )  # fmt: skip
    refused = browser.get(f"/roles/{cast.PROD}/Root/")
    assert refused.status_code == 403
    why = soup(refused).select_one("main a.primary")
    assert why.get_text() == "Find out why, and whom to ask"
    assert soup(browser.get(why["href"])).select_one(
        f"a[href='/why/?role={quote(cast.role(cast.PROD, 'Root'), safe='')}']"
    )
    assert [a.get_text() for a in soup(browser.get("/nowhere")).select("main a.button")] == [
        "Start again from my roles"
    ]


def test_an_error_of_the_console_leads_back_to_it_but_not_one_that_keeps_out_of_it(publish, signed_in):
    publish()
    lost = signed_in(cast.carol()).get("/staff/nowhere")
    assert lost.status_code == 404
    assert [a["href"] for a in soup(lost).select("main a.button")] == ["/staff/", "/"]
    refused = signed_in().get("/staff/")
    assert refused.status_code == 403
    assert [a["href"] for a in soup(refused).select("main a.button")] == ["/"]


@pytest.mark.parametrize("path", ["/saml/corp/acs", "/cli/00000000-0000-0000-0000-000000000000/revoke"])
def test_a_method_that_a_page_does_not_take_is_a_page_too(db, browser, path):
    answer = browser.get(path)
    assert (answer.status_code, answer["Allow"]) == (405, "POST")
    assert facts(answer) == {"Request id": answer["X-Request-Id"], "Error code": "method_not_allowed"}


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/revoke", "/oidc/entra/backchannel-logout"])
def test_a_method_that_a_program_s_address_does_not_take_is_a_problem_document(db, browser, path):
    answer = browser.get(path)
    assert (answer.status_code, answer["Allow"]) == (405, "POST")
    assert answer["Content-Type"] == "application/problem+json"
    assert (answer.json()["code"], answer.json()["request_id"]) == ("method_not_allowed", answer["X-Request-Id"])


def test_metadata_of_a_provider_that_does_not_speak_saml_is_not_there(publish, gateway_keys, browser):
    """Not 503, which would have the provider's administrator wait for it."""
    publish()
    answer = browser.get("/saml/entra/metadata")
    assert answer.status_code == 404
    assert facts(answer)["Error code"] == "unknown_provider"


def test_django_s_forbidden_page(db):
    request = RequestFactory().get("/")
    request.request_id = "abc123"
    answer = errors.forbidden(request, PermissionError())
    assert answer.status_code == 403
    assert facts(answer)["Error code"] == "access_denied"


@pytest.mark.parametrize(
    ("request_of", "reason"),
    [
        (lambda b: b.get("/signin/", headers={"host": "evil.example"}), "disallowedhost"),
        (lambda b: b.get("/api/v1/me", headers={"host": "evil.example"}), "disallowedhost"),
        (lambda b: b.post("/signin/", {"email": "alice@example.com"}), "csrf"),
        (lambda b: b.get("/signin/?" + "&".join(f"f{n}=x" for n in range(300))), "toomanyfieldssent"),
    ],
)
def test_what_a_stranger_can_cause_is_one_line_in_the_log(publish, browser, caplog, request_of, reason):
    """Django would write a traceback of some kilobytes at level error: a flood of them hides what matters, and fills the disk."""
    publish()
    caplog.clear()
    answer = request_of(browser)
    assert answer.status_code in {400, 403}
    (line,) = caplog.records
    assert (line.levelname, line.exc_info, line.exc_text) == ("INFO", None, None)
    assert (line.msg["event"], line.msg["reason"], line.msg["request_id"]) == (
        "refused",
        reason,
        answer["X-Request-Id"],
    )


def test_the_type_of_a_problem_document_leads_to_its_explanation(publish, settings):
    """RFC 9457, 3.1.1: it should resolve to something for people to read."""
    publish()
    problem = Browser().get("/api/v1/me")
    assert problem.status_code == 401
    address, _, fragment = problem.json()["type"].partition("#")
    assert address.startswith(settings.ROLEGATE_URL)
    page = Browser().get(address.removeprefix(settings.ROLEGATE_URL))
    assert page.status_code == 200
    section = soup(page).find(id=fragment)
    assert problem.json()["code"] == fragment
    assert "HTTP status 401" in section.get_text()
    for code in ("saml_refused", "approval_required", "sts_access_denied", "rate_limited"):
        assert soup(page).find(id=code) is not None


@pytest.mark.parametrize(
    ("contact", "link"),
    [
        ("help@example.com", "mailto:help@example.com"),
        ("https://help.example.com/aws", "https://help.example.com/aws"),
        ("Ring 4711, any time", None),
        ("javascript:alert(1)", None),
        ("", None),
    ],
)
def test_whom_to_ask_is_on_the_page(publish, browser, settings, contact, link):
    settings.ROLEGATE_SUPPORT = contact
    publish()
    facts = soup(browser.get("/no-such-page")).select_one("dl.facts")
    assert ("Whom to ask" in facts.get_text()) is bool(contact)
    assert contact in facts.get_text()
    assert (facts.a["href"] if facts.a else None) == link
