"""Opening a console and getting credentials from the portal."""

import json

import pytest

from federation.aws import sts
from federation.models import AuditEvent
from portal.views import use_role
from tests import cast
from tests.portal.conftest import SECRET_KEY_OF_AWS, SESSION_TOKEN_OF_AWS, Browser, soup, text_of

CONSOLE = f"/roles/{cast.PROD}/ReadOnly/console"
CREDENTIALS = f"/roles/{cast.PROD}/ReadOnly/credentials"


def test_one_click_opens_the_console(publish, signed_in, fake_aws):
    publish()
    browser = signed_in()
    answer = browser.submit(browser.get("/"), CONSOLE)
    assert answer.status_code == 302
    assert answer["Location"].startswith("https://eu-west-1.signin.aws.amazon.com/federation?Action=login&")
    assert answer["Cache-Control"].split(",")[0] in {"no-store", "max-age=0"}
    assert "no-store" in answer["Cache-Control"]
    assert answer["Referrer-Policy"] == "no-referrer"
    assert fake_aws[0].role_arn == cast.role(cast.PROD, "ReadOnly")


def test_a_shared_link_shows_a_button_and_opens_nothing(publish, signed_in, fake_aws):
    publish()
    browser = signed_in()
    page = browser.get(CONSOLE, {"destination": "s3"})
    assert page.status_code == 200
    assert not fake_aws
    answer = browser.submit(page, CONSOLE)
    assert "Destination=https%3A%2F%2Feu-west-1.console.aws.amazon.com%2Fs3%2Fhome" in answer["Location"]


def test_the_destination_may_come_in_the_address(publish, signed_in, fake_aws):
    publish()
    browser = signed_in()
    token = soup(browser.get(CONSOLE)).find("input", attrs={"name": "csrfmiddlewaretoken"})["value"]
    answer = browser.post(CONSOLE + "?destination=ec2", {"csrfmiddlewaretoken": token})
    assert "%2Fec2%2Fhome" in answer["Location"]


@pytest.mark.parametrize(
    "destination",
    ["https://evil.example/", "//evil.example", "javascript:alert(1)", "https://console.aws.amazon.com.evil.example/"],
)
def test_a_destination_that_is_not_the_console_is_refused(publish, signed_in, fake_aws, events, destination):
    publish()
    browser = signed_in()
    answer = browser.submit(browser.get(CONSOLE), CONSOLE, destination=destination)
    assert answer.status_code == 400
    assert "destination_not_allowed" in text_of(answer)
    assert events()[-1] == ("console", "refused", "destination_not_allowed")
    assert not fake_aws


def test_the_direct_way_is_a_form_to_aws(publish, signed_in, fake_aws):
    publish()
    browser = signed_in()
    path = f"/roles/{cast.DEV}/Developer/console"
    page = browser.get(path)
    assert len(soup(page).select(f'form[action="{path}"]')) == 2
    answer = browser.submit(page, path, mode="form", destination="s3")
    form = soup(answer).find("form")
    assert form["action"] == "https://signin.aws.amazon.com/saml"
    assert form.has_attr("data-auto-submit")
    assert form.find("input", attrs={"name": "SAMLResponse"})["value"]
    assert form.find("input", attrs={"name": "RelayState"})["value"].endswith("/s3/home")
    assert form.button.get_text() == "Continue to the console"
    assert "https://signin.aws.amazon.com" in answer["Content-Security-Policy"]
    assert "no-store" in answer["Cache-Control"]


def test_the_direct_way_is_not_offered_where_it_would_lose_the_session_policy(publish, signed_in):
    publish()
    assert len(soup(signed_in().get(CONSOLE)).select(f'form[action="{CONSOLE}"]')) == 1


def test_credentials_in_every_format_masked_until_asked_for(publish, signed_in, fake_aws):
    publish()
    browser = signed_in()
    answer = browser.submit(browser.get(CREDENTIALS), CREDENTIALS, duration="1800", read_only="1")
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    page = soup(answer)
    texts = {section["id"]: section.pre.get_text() for section in page.select("[data-tab]")}
    assert list(texts) == ["format-bash", "format-fish", "format-powershell", "format-file", "format-json"]
    assert all(SECRET_KEY_OF_AWS in text and SESSION_TOKEN_OF_AWS in text for text in texts.values())
    assert f"export AWS_SECRET_ACCESS_KEY='{SECRET_KEY_OF_AWS}'\n" in texts["format-bash"]
    assert json.loads(texts["format-json"])["Version"] == 1
    assert texts["format-file"].startswith(f"[{cast.PROD}-ReadOnly]\n")
    # The secret stands inside a closed <details> and nowhere else.
    for details in page.find_all("details"):
        assert not details.has_attr("open")
        details.decompose()
    assert SECRET_KEY_OF_AWS not in str(page)
    assert SESSION_TOKEN_OF_AWS not in str(page)
    assert fake_aws[0].duration == 1800


@pytest.mark.parametrize("issued", [False, True])
def test_the_command_line_comes_before_copying(publish, signed_in, fake_aws, issued):
    publish()
    browser = signed_in()
    answer = browser.get(CREDENTIALS)
    page = soup(browser.submit(answer, CREDENTIALS) if issued else answer)
    said = page.select_one("#text-command").get_text()
    assert said == "rolegate exec shop-prod/ReadOnly -- aws sts get-caller-identity"
    order = [
        element.get("id") or element.name for element in page.select("#text-command, form[data-busy], [data-tabs]")
    ]
    assert order == ["text-command", "div" if issued else "form"]
    assert page.select_one("section[aria-labelledby=by-command] a[href='/cli/']")
    assert page.find(attrs={"data-copy": "text-command"})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("shop-prod", "shop-prod/path/Role"),
        ("Shop Prod", "111122223333/path/Role"),
        ("$(id)", "111122223333/path/Role"),
        ("-x", "111122223333/path/Role"),
    ],
)
def test_a_name_that_a_shell_would_read_otherwise_is_not_in_the_command(name, said):
    command = use_role.command_for(name, "111122223333", "path/Role")
    assert command == f"rolegate exec {said} -- aws sts get-caller-identity"


def test_no_secret_is_kept_anywhere(publish, signed_in, fake_aws):
    publish()
    browser = signed_in()
    browser.submit(browser.get(CREDENTIALS), CREDENTIALS)
    kept = json.dumps([list(row.values()) for row in AuditEvent.objects.values()], default=str) + str(
        dict(browser.session)
    )
    assert SECRET_KEY_OF_AWS not in kept
    assert SESSION_TOKEN_OF_AWS not in kept
    assert "ASIATESTONLY00000001" in kept


def test_only_durations_that_the_role_allows_are_offered(publish, signed_in):
    publish()
    options = [o["value"] for o in soup(signed_in().get(CREDENTIALS)).find(id="duration").find_all("option")]
    assert options[0] == ""
    assert options[1:3] == ["900", "1800"]
    assert max(int(o) for o in options[1:]) <= 43_200


@pytest.mark.parametrize("duration", ["1h", "-1", "9" * 12, "3600.0", "٣٦٠٠"])
def test_a_duration_that_is_no_number_is_refused(publish, signed_in, fake_aws, duration):
    publish()
    browser = signed_in()
    answer = browser.submit(browser.get(CREDENTIALS), CREDENTIALS, duration=duration)
    assert answer.status_code == 400
    assert "bad_request" in text_of(answer)
    assert not fake_aws


@pytest.mark.parametrize(
    "path",
    [
        f"/roles/{cast.PROD}/Nothing/console",
        f"/roles/{cast.PROD}/Nothing/credentials",
        "/roles/999999999999/ReadOnly/console",
    ],
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_role_that_is_not_theirs_is_refused(publish, signed_in, fake_aws, path, method):
    publish()
    browser = signed_in()
    if method == "get":
        answer = browser.get(path)
    else:
        token = soup(browser.get(CONSOLE)).find("input", attrs={"name": "csrfmiddlewaretoken"})["value"]
        answer = browser.post(path, {"csrfmiddlewaretoken": token})
    assert answer.status_code == 403
    assert "access_denied" in text_of(answer)
    assert not fake_aws


def test_a_role_withdrawn_between_the_page_and_the_click(publish, signed_in, fake_aws):
    publish()
    browser = signed_in()
    page = browser.get(CREDENTIALS)
    publish(cast.DOCUMENT.replace("roles: [ReadOnly]", "roles: [Auditor]"))
    answer = browser.submit(page, CREDENTIALS)
    assert answer.status_code == 403
    assert not fake_aws


def test_a_role_by_approval_has_no_button(publish, signed_in):
    publish()
    browser = signed_in(cast.alice(mfa=True))
    for what in ("console", "credentials"):
        answer = browser.get(f"/roles/{cast.PROD}/Administrator/{what}")
        assert "needs an approval by sre-leads" in text_of(answer)
        assert not soup(answer).main.find("form")


@pytest.mark.parametrize("path", [CONSOLE, CREDENTIALS])
def test_forms_need_their_token(publish, signed_in, fake_aws, path):
    publish()
    browser = signed_in()
    browser.get(path)
    answer = browser.post(path, {}, headers={"origin": "https://evil.example"})
    assert answer.status_code == 403
    assert "form_refused" in text_of(answer)
    assert not fake_aws


@pytest.mark.parametrize("path", [CONSOLE, CREDENTIALS])
def test_without_a_session_a_form_leads_to_the_sign_in(publish, clock, path):
    publish()
    browser = Browser()
    token = soup(browser.get("/signin/")).find("input", attrs={"name": "csrfmiddlewaretoken"})["value"]
    assert browser.post(path, {"csrfmiddlewaretoken": token})["Location"].startswith("/signin/?next=%2Froles%2F")


OTHER_POLICY = "policy_arns: [arn:aws:iam::aws:policy/AmazonS3FullAccess]"


@pytest.mark.parametrize(
    ("in_the_mapping", "switch", "said"),
    [
        ("policy: read-only", False, "Read only, by the mapping"),
        (OTHER_POLICY, False, "Limited by the mapping"),
        (f"policy: read-only, {OTHER_POLICY}", False, "Limited by the mapping"),
        ("", True, ""),
    ],
)
def test_the_read_only_switch_is_there_only_where_it_can_be_granted(publish, signed_in, in_the_mapping, switch, said):
    """Where the mapping sets a policy, a second one could only widen the session, and would be refused."""
    publish(cast.DOCUMENT.replace("policy: read-only, ", f"{in_the_mapping}, " if in_the_mapping else ""))
    page = soup(signed_in().get(CREDENTIALS))
    assert (page.find("input", attrs={"name": "read_only"}) is not None) is switch
    facts = [fact.get_text(" ", strip=True) for fact in page.select("dl.facts dd")]
    assert (said in facts) if said else not any("by the mapping" in fact for fact in facts)


def test_credentials_say_which_account_they_are_for_by_name_and_environment(publish, signed_in, fake_aws):
    """Twelve digits tell nobody that it is production."""
    publish()
    browser = signed_in()
    answer = browser.submit(browser.get(CREDENTIALS), CREDENTIALS)
    account = soup(answer).find("dl", class_="facts").dd
    assert account.get_text(" ", strip=True) == f"shop-prod {cast.PROD} Environment: production"


def test_credentials_that_the_mapping_makes_read_only_say_so(publish, signed_in, fake_aws):
    publish()
    browser = signed_in()
    issued = browser.submit(browser.get(CREDENTIALS), CREDENTIALS)
    assert "Read only" in text_of(issued)


def test_a_role_that_aws_refuses_leads_to_why_and_an_answer_that_nobody_understands_does_not(
    publish, signed_in, fake_aws, monkeypatch
):
    publish()
    browser = signed_in()
    path = f"/roles/{cast.PROD}/ReadOnly/credentials"
    buttons = []
    for error in (
        sts.StsAccessDenied("sts_access_denied", aws_code="AccessDenied"),
        sts.StsAnswerInvalid("sts_answer_invalid"),
    ):

        def refuse(*_, error=error, **__):
            raise error

        monkeypatch.setattr("federation.flows.issue_credentials.sts.assume_role", refuse)
        answer = browser.submit(browser.get(path), path)
        buttons.append(soup(answer).select_one("main a.primary")["href"])
    assert buttons == [f"/why/?q={cast.PROD}+ReadOnly", "/"]


def test_where_aws_is_out_of_reach_trying_again_is_one_click(publish, signed_in, fake_aws, monkeypatch):
    publish()
    browser = signed_in()
    path = f"/roles/{cast.PROD}/ReadOnly/credentials"
    token = soup(browser.get(path)).find("input", attrs={"name": "csrfmiddlewaretoken"})["value"]

    def out_of_reach(*_, **__):
        raise sts.StsUnreachable("sts_unreachable")

    monkeypatch.setattr("federation.flows.issue_credentials.sts.assume_role", out_of_reach)
    answer = browser.post(path, {"csrfmiddlewaretoken": token}, headers={"referer": f"http://testserver{path}"})
    assert answer.status_code == 503
    again = soup(answer).select_one("main a.primary")
    assert (again.get_text(strip=True), again["href"]) == ("Try again", path)
    assert browser.get(again["href"]).status_code == 200
