"""The page of one role, the story of why, and one's own activity."""

from datetime import timedelta
from urllib.parse import quote

import pytest

from federation.flows import rate_limits
from federation.models import AuditEvent, PortalSession, Role
from federation.models.accounts import search_text
from tests import cast
from tests.portal.conftest import Browser, soup, text_of

PAGE = f"/roles/{cast.PROD}/ReadOnly/"


def test_it_offers_the_console_with_a_destination_and_credentials(publish, signed_in, fake_aws):
    publish()
    browser = signed_in()
    answer = browser.get(f"/roles/{cast.DEV}/Developer/")
    page = soup(answer)
    assert {"s3", "ec2", "lambda"} <= {option["value"] for option in page.find(id="destination").find_all("option")}
    assert page.find(id="read_only")
    opened = browser.submit(answer, f"/roles/{cast.DEV}/Developer/console", destination="ec2", link="")
    assert "%2Fec2%2Fhome" in opened["Location"]
    again = soup(browser.get(f"/roles/{cast.DEV}/Developer/"))
    assert again.find("input", attrs={"name": "destination"})["value"] == "ec2"
    assert "Where you were last: ec2" in again.main.get_text(" ", strip=True)


def test_the_console_can_be_opened_read_only(publish, signed_in, fake_aws):
    publish()
    browser = signed_in()
    page, action = f"/roles/{cast.DEV}/Developer/", f"/roles/{cast.DEV}/Developer/console"
    browser.submit(browser.get(page), action, destination="", link="")
    browser.submit(browser.get(page), action, destination="", link="", read_only="1")
    browser.submit(browser.get(action), action, read_only="1")
    assert [bool(call.policy) for call in fake_aws] == [False, True, True]
    asked = browser.submit(browser.get(f"{page}credentials"), f"{page}credentials", read_only="1")
    assert asked.status_code == 200
    assert fake_aws[1].policy == fake_aws[2].policy == fake_aws[3].policy  # the same one, whatever it is for
    # What the mapping has limited already is not offered to be limited again.
    assert not soup(browser.get(f"/roles/{cast.PROD}/ReadOnly/console")).find(id="console_read_only")


def test_a_pasted_link_wins_over_the_list_and_is_checked(publish, signed_in, fake_aws):
    publish()
    browser = signed_in()
    action = f"/roles/{cast.PROD}/ReadOnly/console"
    link = "https://eu-west-1.console.aws.amazon.com/s3/home"
    opened = browser.submit(browser.get(PAGE), action, destination="ec2", link=link)
    assert "s3%2Fhome" in opened["Location"]
    refused = browser.submit(browser.get(PAGE), action, destination="ec2", link="https://evil.example/")
    assert refused.status_code == 400


def test_open_sessions_with_their_end(publish, signed_in, fake_aws, clock):
    publish()
    browser = signed_in()
    browser.submit(browser.get(PAGE), f"/roles/{cast.PROD}/ReadOnly/credentials", duration="1800")
    browser.submit(browser.get(PAGE), f"/roles/{cast.PROD}/ReadOnly/console", destination="")
    shown = soup(browser.get(PAGE)).select("table tbody tr")
    assert len(shown) == 2
    ends = [row.find_all("time")[1]["datetime"] for row in shown]
    assert ends == [f"{clock.now + timedelta(seconds=s):%Y-%m-%dT%H:%M:%SZ}" for s in (28_800, 1800)]
    clock.forward(minutes=31)
    assert len(soup(browser.get(PAGE)).select("table tbody tr")) == 1
    assert not soup(browser.get(f"/roles/{cast.DEV}/Developer/")).select("table")


def test_the_link_to_share(publish, signed_in):
    publish()
    assert soup(signed_in().get(PAGE)).find(id="share-link").get_text() == (
        f"http://localhost:8000/roles/{cast.PROD}/ReadOnly/console"
    )


def test_a_role_of_somebody_else(publish, signed_in):
    publish()
    assert signed_in(cast.bob()).get(PAGE).status_code == 403


@pytest.mark.parametrize("path", [PAGE, "/activity/", "/why/?q=shop"])
def test_the_pages_cost_the_same_queries_whatever_there_is(
    publish, signed_in, fake_aws, path, django_assert_max_num_queries
):
    publish()
    browser = signed_in()
    browser.submit(browser.get(PAGE), f"/roles/{cast.PROD}/ReadOnly/credentials")
    browser.get(path)
    with django_assert_max_num_queries(9):
        browser.get(path)


# --- Why ----------------------------------------------------------------------------------------------------


def test_why_somebody_has_a_role_and_why_not(publish, signed_in):
    publish()
    browser = signed_in()
    shown = text_of(browser.get("/why/", {"role": cast.role(cast.PROD, "ReadOnly")}))
    assert "You have it." in shown
    assert "engineers-read-production" in shown
    missing = text_of(browser.get("/why/", {"role": cast.role(cast.PROD, "Administrator")}))
    assert "You do not have it." in missing
    assert "cloud-platform" in missing  # whom to ask
    waiting = text_of(signed_in(cast.alice(mfa=True)).get("/why/", {"role": cast.role(cast.PROD, "Administrator")}))
    assert "You can have it with an approval." in waiting
    assert "sre-leads" in waiting


def test_a_deny_is_named(publish, signed_in):
    publish()
    shown = text_of(signed_in(cast.bob()).get("/why/", {"role": cast.role(cast.PROD, "ReadOnly")}))
    assert "no-contractors-in-production" in shown
    assert "denies it" in shown


def test_the_search_finds_roles_of_the_accounts_that_are_known(publish, signed_in, clock):
    publish()
    for account, name in (
        (cast.PROD, "Auditor"),
        (cast.DEV, "Auditor"),
        ("999988887777", "Auditor"),
        (cast.PROD, "AWSReservedSSO_X"),
    ):
        search = search_text("", name, {})
        Role.objects.create(
            arn=cast.role(account, name), account_id=account, name=name, seen_at=clock.now, search=search
        )
    browser = signed_in()
    found = [row.find("a")["href"] for row in soup(browser.get("/why/", {"q": "audit shop-prod"})).select("tbody tr")]
    assert found == ["/why/?role=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2FAuditor"]
    assert len(soup(browser.get("/why/", {"q": "auditor"})).select("tbody tr")) == 2
    assert "No role of that name is known" in text_of(browser.get("/why/", {"q": "AWSReserved"}))


@pytest.mark.parametrize("text", ["x", "arn:aws:iam::1:role/x", '"><script>'])
def test_what_is_no_arn(publish, signed_in, text):
    publish()
    answer = signed_in().get("/why/", {"role": text})
    assert answer.status_code == 422
    assert soup(answer).title.get_text().startswith("Error")
    assert soup(answer).find(id="why-role")["value"] == text


# --- Activity -------------------------------------------------------------------------------------------------


def test_activity_calls_roles_and_accounts_what_people_call_them(publish, signed_in, fake_aws):
    publish()
    browser = signed_in()
    browser.submit(browser.get(f"{PAGE}credentials"), f"{PAGE}credentials")
    shown = soup(browser.get("/activity/"))
    told = f"ReadOnly shop-prod {cast.role(cast.PROD, 'ReadOnly')}"
    assert shown.select_one("section[aria-labelledby=aws] tbody th").get_text(" ", strip=True) == told
    assert shown.select_one("section[aria-labelledby=deeds] tbody th div").get_text(" ", strip=True) == told


def test_ones_own_activity_and_nobody_elses(publish, signed_in, fake_aws):
    publish()
    bob = signed_in(cast.bob())

    browser = signed_in()
    browser.submit(browser.get(PAGE), f"/roles/{cast.PROD}/ReadOnly/credentials")
    shown = soup(browser.get("/activity/"))
    deeds = [row.get_text(" ", strip=True) for row in shown.select("section[aria-labelledby=deeds] tbody tr")]
    assert len(deeds) == 1
    assert cast.role(cast.PROD, "ReadOnly") in deeds[0]
    assert not soup(bob.get("/activity/")).select("section[aria-labelledby=deeds] tbody tr")


def test_a_refusal_is_shown_with_its_reason(publish, signed_in, fake_aws):
    publish()
    browser = signed_in()
    token = soup(browser.get("/")).find("input", attrs={"name": "csrfmiddlewaretoken"})["value"]
    browser.post(f"/roles/{cast.PROD}/Root/credentials", {"csrfmiddlewaretoken": token})
    assert "refused" in text_of(browser.get("/activity/"))


def test_a_refusal_is_told_in_words_by_no_code_and_leads_to_why(publish, signed_in, fake_aws, events):
    publish()
    browser = signed_in(cast.alice(mfa=True))
    token = soup(browser.get("/")).find("input", attrs={"name": "csrfmiddlewaretoken"})["value"]
    browser.post(f"/roles/{cast.PROD}/Root/credentials", {"csrfmiddlewaretoken": token})
    browser.post(f"/roles/{cast.PROD}/Administrator/credentials", {"csrfmiddlewaretoken": token})
    assert [reason for *_, reason in events()[-2:]] == ["role_not_granted", "approval_required"]
    asked, unknown = soup(browser.get("/activity/")).select("section[aria-labelledby=deeds] tbody tr")[:2]
    assert "The role needs an approval, and you had none." in asked.get_text()
    assert asked.find("a")["href"] == f"/why/?role={quote(cast.role(cast.PROD, 'Administrator'), safe='')}"
    assert browser.get(asked.find("a")["href"]).status_code == 200
    assert "No rule gives you this role." in unknown.get_text()
    assert unknown.find("a") is None  # what has no ARN cannot be explained
    assert not {"approval_required", "role_not_granted"} & set(text_of(browser.get("/activity/")).split())


def test_it_comes_in_pages(publish, signed_in, origin, now):
    from django.db import transaction

    from federation.audit.events import Kind
    from federation.audit.record import record

    publish()
    browser = signed_in()
    actor = f"corp:{browser.person.session_name}"
    with transaction.atomic():
        for _ in range(60):
            record(Kind.SIGN_IN, actor=actor, outcome="ok", origin=origin, now=now)
    first = browser.get("/activity/")
    assert len(soup(first).select("section[aria-labelledby=deeds] tbody tr")) == 50
    second = browser.get(soup(first).find("a", rel="next")["href"])
    assert len(soup(second).select("section[aria-labelledby=deeds] tbody tr")) == 10


def test_other_sessions_are_ended_and_this_one_stays(publish, signed_in, clock, events):
    publish()
    browser = signed_in()
    other = Browser()
    other.force_login(browser.person, backend="portal.auth.FederatedBackend")
    page = browser.get("/activity/")
    assert len(soup(page).select("section[aria-labelledby=browsers] tbody tr")) == 2
    assert browser.submit(page, "/activity/end-others")["Location"] == "/activity/?ended=1"
    assert events()[-1] == ("sessions.ended", "ok", "")
    assert AuditEvent.objects.latest("seq").data["sessions"] == 1
    assert other.get("/")["Location"] == "/signin/"
    assert browser.get("/activity/").status_code == 200
    assert PortalSession.objects.count() == 1


@pytest.mark.parametrize("asked", ["q=read", f"role={cast.role(cast.PROD, 'ReadOnly')}"])
def test_who_asks_why_in_a_loop_is_told_when_to_ask_again(publish, signed_in, monkeypatch, asked):
    monkeypatch.setitem(rate_limits.LIMITS, "explain", rate_limits.Limit(60, 2, 100))
    publish()
    browser = signed_in()
    answers = [browser.get(f"/why/?{asked}") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert "rate_limited" in text_of(answers[-1])
    assert browser.get("/why/").status_code == 200  # an empty search costs nothing
