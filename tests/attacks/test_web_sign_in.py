"""Signing in, attacked across providers, by floods, and by what is sent to its addresses."""

import json
import re
import threading
from collections import Counter
from datetime import timedelta

import pytest
from django.db import connection

from federation.errors import RateLimited, SignInExpired
from federation.flows import rate_limits, sign_in
from federation.models import AuditEvent, Person, PortalSession, SignInState
from tests import cast, saml_kit
from tests.portal.conftest import Browser
from tests.portal.test_oidc_sign_in import visit
from tests.portal.test_saml_sign_in import answer_to, begin, cross_site_post

OTHER = "http://localhost:8000/saml/other"


def last():
    event = AuditEvent.objects.order_by("seq").last()
    return event.kind, event.outcome, event.reason


@pytest.fixture
def two(publish, gateway_keys, clock):
    """Two SAML providers, "corp" and "other", with metadata and keys of their own."""

    def xml(**more):
        return saml_kit.metadata_xml(**more).replace('"', "'")

    def provider(slug, metadata):
        claims = "{subject: NameID, email: mail, name: displayName, groups: memberOf}"
        return f'  - {{slug: {slug}, name: {slug}, saml: {{metadata_xml: "{metadata}"}}, claims: {claims}}}\n'

    theirs = xml(entity_id="https://other.example.com", keys=(("signing", saml_kit.pair("other").bare),))
    publish("version: 1\nidentity_providers:\n" + provider("corp", xml()) + provider("other", theirs))


def by_other(asked, **changes):
    """What the provider "other" may rightly sign: about its own people, for its own address."""
    values = {
        "issuer": "https://other.example.com", "response_issuer": "https://other.example.com",
        "destination": f"{OTHER}/acs", "recipient": f"{OTHER}/acs", "audiences": ((f"{OTHER}/metadata",),),
        "in_response_to": asked, "response_in_response_to": asked,
    }  # fmt: skip
    draft = saml_kit.Draft(**{**values, **changes})
    return saml_kit.post(saml_kit.signed(draft, "both", saml_kit.Signing(by=saml_kit.pair("other"))))


def test_the_second_provider_works_for_its_own(two, browser):
    answer = browser.get("/signin/other/")
    from tests.portal.test_saml_sign_in import request_id

    received = cross_site_post(by_other(request_id(answer["Location"])), "/saml/other/acs")
    assert browser.get(received["Location"]).status_code == 302
    assert Person.objects.get().provider == "other"


def test_mix_up_a_request_to_one_provider_is_not_answered_by_another(two, browser):
    asked = begin(browser)
    assert cross_site_post(by_other(asked), "/saml/other/acs").status_code == 403
    assert last() == ("sign_in", "refused", "in_response_to_unknown")
    assert not Person.objects.exists()


def test_mix_up_an_answer_of_one_provider_at_the_address_of_another(two, browser):
    asked = begin(browser)
    assert cross_site_post(answer_to(asked), "/saml/other/acs").status_code == 403
    assert last() == ("sign_in", "refused", "certificate_foreign")
    at_corp = {"destination": "http://localhost:8000/saml/corp/acs", "recipient": "http://localhost:8000/saml/corp/acs",
               "audiences": (("http://localhost:8000/saml/corp/metadata",),)}  # fmt: skip
    forged = by_other(asked, issuer=saml_kit.IDP, response_issuer=saml_kit.IDP, **at_corp)
    assert cross_site_post(forged).status_code == 403
    assert last() == ("sign_in", "refused", "certificate_foreign")
    assert not Person.objects.exists()


def test_mix_up_a_code_of_one_provider_at_another(two, browser):
    code = cross_site_post(answer_to(begin(browser)))["Location"].rpartition("=")[2]
    assert browser.get(f"/signin/other/complete?code={code}").status_code == 400
    assert last() == ("sign_in", "refused", "code_unknown")
    assert browser.get(f"/signin/corp/complete?code={code}").status_code == 302


def test_mix_up_a_state_of_one_protocol_or_provider_at_another(openid_provider, publish, browser, gateway_keys):
    params = visit(browser)
    publish(
        cast.DOCUMENT.replace("slug: entra", "slug: okta").replace(
            'issuer: "http://127.0.0.1:9", client_id: rolegate',
            f'issuer: "{openid_provider.issuer}", client_id: rolegate',
        )
    )
    assert browser.get("/oidc/okta/callback", params).status_code == 403
    assert last() == ("sign_in", "refused", "state_unknown")
    assert browser.get("/oidc/corp/callback", params).status_code == 403
    assert last() == ("sign_in", "refused", "not_an_oidc_provider")
    assert browser.get("/oidc/nobody/callback", params).status_code == 404
    assert last() == ("sign_in", "refused", "provider_unknown_or_disabled")


def test_one_answer_for_two_browsers_at_once_is_one_session(saml_provider, transactional_db, origin, clock):
    """Two threads, one code, the right binding: a race for the one use."""
    saml_provider()
    browser = Browser()
    asked = begin(browser)
    code = cross_site_post(answer_to(asked))["Location"].rpartition("=")[2]
    binding = browser.cookies["rolegate_signin"].value
    outcomes, gate = [], threading.Barrier(8)

    def run():
        gate.wait()
        try:
            sign_in.complete_saml("corp", code=code, binding=binding, confirmed=False, origin=origin, now=clock.now)
            outcomes.append("ok")
        except SignInExpired as error:
            outcomes.append(error.reason)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert outcomes.count("ok") == 1
    assert set(outcomes) <= {"ok", "code_used", "code_unknown"}
    assert AuditEvent.objects.filter(kind="sign_in", outcome="ok").count() == 1


def test_a_binding_of_nobody_matches_nothing(saml_provider, browser):
    saml_provider()
    location = cross_site_post(answer_to(begin(browser)))["Location"]
    for planted in ("", "rolegate", "0" * 43):
        thief = Browser()
        thief.cookies["rolegate_signin"] = planted
        assert thief.get(location).status_code == 400
    assert not PortalSession.objects.exists()
    assert browser.get(location).status_code == 400  # the code was burnt by the first of them


unreadable = pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("SAMLResponse=" + "A" * 1_100_000, "application/x-www-form-urlencoded"),
        ("&".join(f"f{n}=x" for n in range(300)), "application/x-www-form-urlencoded"),
        ("--x\r\n" + "junk", "multipart/form-data"),
        ('--x\r\nContent-Disposition: form-data; name="SAMLResponse"; filename="f"\r\n\r\nx\r\n--x--\r\n', "multipart/form-data; boundary=x"),
    ],
)  # fmt: skip


@unreadable
def test_a_form_that_cannot_be_read_is_refused_with_its_event(saml_provider, browser, body, kind):
    saml_provider()
    answer = browser.post("/saml/corp/acs", body, content_type=kind)
    assert answer.status_code == 403
    assert b"saml_refused" in answer.content
    assert last() == ("sign_in", "refused", "form_unreadable")


@unreadable
def test_a_logout_form_that_cannot_be_read_is_refused_with_its_event(saml_provider, browser, body, kind):
    saml_provider()
    answer = browser.post("/saml/corp/slo", body, content_type=kind)
    assert answer.status_code == 403
    assert b"saml_refused" in answer.content
    assert last() == ("sign_out.by_provider", "refused", "form_unreadable")


@unreadable
def test_a_logout_token_s_form_that_cannot_be_read_is_refused_with_its_event(publish, browser, body, kind):
    publish()
    answer = browser.post("/oidc/entra/backchannel-logout", body, content_type=kind)
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/json"
    said = answer.json()
    assert (said["error"], said["code"], said["request_id"]) == (
        "invalid_request",
        "oidc_refused",
        answer["X-Request-Id"],
    )
    assert last() == ("sign_out.by_provider", "refused", "form_unreadable")


@pytest.mark.parametrize(
    ("path", "event", "code"),
    [
        ("/saml/corp/slo", "sign_out.by_provider", b"saml_refused"),
        ("/oidc/entra/callback", "sign_in", b"oidc_refused"),
    ],
)
def test_a_query_of_too_many_fields_is_refused_with_its_event(saml_provider, browser, path, event, code):
    saml_provider()
    answer = browser.get(path + "?" + "&".join(f"f{n}=x" for n in range(300)))
    assert answer.status_code == 403
    assert code in answer.content
    assert last() == (event, "refused", "form_unreadable")


def test_forged_logouts_weigh_as_forged_answers_do(saml_provider, browser, monkeypatch):
    saml_provider()
    monkeypatch.setitem(rate_limits.LIMITS, "sign_in", rate_limits.Limit(60, 20, 30, refused=10))
    for path, status in (("/saml/corp/slo", 403), ("/oidc/entra/backchannel-logout", 400), ("/saml/corp/slo", 403)):
        assert browser.post(path, {"SAMLRequest": "x", "logout_token": "x"}).status_code == status
    limited = browser.post("/oidc/entra/backchannel-logout", {"logout_token": "x"})
    assert limited.json()["code"] == "rate_limited"
    assert int(limited["Retry-After"]) >= 1
    assert browser.post("/saml/corp/slo", {"SAMLRequest": "x"}).status_code == 429


def test_a_document_above_256_kb_is_refused_unread(saml_provider, browser):
    saml_provider()
    answer = browser.post("/saml/corp/acs", {"SAMLResponse": "A" * 400_000})
    assert answer.status_code == 403
    assert last() == ("sign_in", "refused", "too_large")


@pytest.mark.parametrize(
    "path", ["/signin/corp/complete", "/signin/", "/device/", "/cli/00000000-0000-4000-8000-000000000000/revoke"]
)
def test_many_fields_elsewhere(publish, signed_in, path):
    publish()
    answer = signed_in().post(
        path, "&".join(f"f{n}=x" for n in range(300)), content_type="application/x-www-form-urlencoded"
    )
    assert answer.status_code in {400, 403}


FLOODED = [
    ("get", "/signin/corp/complete?code=x", "sign_in"),
    ("get", "/oidc/entra/callback?state=x", "sign_in"),
    ("post", "/saml/corp/acs", "sign_in"),
    ("get", "/saml/corp/slo", "sign_out.by_provider"),
    ("post", "/oidc/entra/backchannel-logout", "sign_out.by_provider"),
]


@pytest.mark.parametrize(("method", "path", "kind"), FLOODED)
def test_a_flood_is_refused_and_the_audit_log_tells_of_it_once(saml_provider, monkeypatch, method, path, kind):
    saml_provider()
    monkeypatch.setitem(rate_limits.LIMITS, "sign_in", rate_limits.Limit(60, 5, 5))
    answers = [getattr(Browser(), method)(path) for _ in range(30)]
    reasons = list(AuditEvent.objects.filter(kind=kind).order_by("seq").values_list("reason", flat=True))
    assert len(reasons) <= 6
    assert reasons.count("sign_in_rate") == 1
    refused = [a for a in answers if a.status_code == 429 or b"rate_limited" in a.content]
    assert len(refused) >= 24
    assert not SignInState.objects.exists()


def test_a_flood_of_forgeries_tells_of_itself_once_a_minute(saml_provider, browser, clock, monkeypatch):
    """Each forgery weighs ten: around the limit, the weights must not let the flood write one event an attempt."""
    saml_provider()
    monkeypatch.setitem(rate_limits.LIMITS, "sign_in", rate_limits.Limit(60, 20, 100, refused=10))
    for _ in range(6):
        for _ in range(40):
            browser.post("/saml/corp/acs", {"SAMLResponse": "x"})
        clock.now += timedelta(seconds=10)
    reasons = Counter(AuditEvent.objects.filter(kind="sign_in").values_list("reason", flat=True))
    assert reasons["sign_in_rate"] <= 2  # the minute that the flood began in, and the next
    assert sum(reasons.values()) < 25


def test_a_flood_of_starts_is_refused_too(saml_provider, monkeypatch):
    saml_provider()
    monkeypatch.setitem(rate_limits.LIMITS, "sign_in", rate_limits.Limit(60, 5, 5))
    codes = [Browser().get("/signin/corp/").status_code for _ in range(20)]
    assert codes == [302] * 5 + [429] * 15
    assert SignInState.objects.count() == 5


def test_a_flood_out_of_one_ipv6_network_is_one_flood(db, monkeypatch):
    monkeypatch.setitem(rate_limits.LIMITS, "sign_in", rate_limits.Limit(60, 5, 5))
    for n in range(5):
        rate_limits.hit("sign_in", person=None, address=f"2001:db8:0:1:{n}::1", now=cast.NOW)
    with pytest.raises(RateLimited):
        rate_limits.hit("sign_in", person=None, address="2001:db8:0:1:ffff::1", now=cast.NOW)
    rate_limits.hit("sign_in", person=None, address="2001:db8:0:2::1", now=cast.NOW)
    for n in range(5):
        rate_limits.hit("sign_in", person=None, address=f"::ffff:192.0.2.{n}", now=cast.NOW)


def test_a_flood_of_one_person_is_one_event(publish, gateway_keys, api, monkeypatch):
    publish()
    monkeypatch.setitem(rate_limits.LIMITS, "credentials", rate_limits.Limit(60, 3, 100))
    caller = api()
    for _ in range(12):
        caller.post("credentials", {"role_arn": cast.role(cast.PROD, "Nothing")})
    reasons = list(AuditEvent.objects.filter(kind="credentials").order_by("seq").values_list("reason", flat=True))
    assert reasons[3:] == ["credentials_rate"]
    assert "credentials_rate" not in reasons[:3]


def test_providers_cannot_be_told_apart_from_nothing_by_their_answers(saml_provider, browser):
    """A disabled provider and one that never was: the same page."""
    saml_provider()

    def page(path):
        answer = browser.get(path)
        return answer.status_code, re.sub(answer["X-Request-Id"], "", answer.content.decode())

    assert page("/signin/nobody/") == page("/signin/never-was/")


def test_nothing_of_a_sign_in_that_is_secret_is_in_the_audit_log(saml_provider, browser):
    saml_provider()
    answer = answer_to(begin(browser))
    location = cross_site_post(answer)["Location"]
    browser.get(location)
    stored = json.dumps([[e.kind, e.reason, e.data] for e in AuditEvent.objects.all()])
    kept = stored + json.dumps(list(SignInState.objects.values()), default=str)
    for secret in (answer, answer[:100], location.rpartition("=")[2], *(c.value for c in browser.cookies.values())):
        assert secret not in kept


def test_a_logout_request_ends_sessions_once(saml_provider, browser):
    """Out of a proxy's log, the same signed request would end every later session of the person."""
    saml_provider()

    def enter(number):
        answer = answer_to(begin(browser), assertion_id=f"_a{number}", response_id=f"_r{number}")
        browser.get(cross_site_post(answer)["Location"])

    xml = saml_kit.logout_request_xml(destination="http://localhost:8000/saml/corp/slo")
    sent = "/saml/corp/slo?" + saml_kit.query(xml)
    enter(1)
    assert Browser().get(sent).status_code == 302
    assert browser.get("/").status_code == 302
    enter(2)
    assert Browser().get(sent).status_code == 403
    assert last() == ("sign_out.by_provider", "refused", "replayed")
    assert browser.get("/").status_code == 200
