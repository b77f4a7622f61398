"""A page on another site that somebody in the office opens must not use up the office's limits: everybody there has one address.

What such a page can send without anybody's doing (a picture, a script's fetch, a frame) says so itself, in the headers of Fetch
Metadata, which no page can write. What the browser sends when it goes somewhere is let through, as is a program without them.

And what a program in the office sends, as fast as it can, is counted apart from what was begun here.
"""

from datetime import UTC, datetime

import pytest
from django.test import Client

from federation.flows import rate_limits
from federation.models import AuditEvent, SignInState
from federation.models.access import RateWindow
from tests.oauth import pairing
from tests.portal.conftest import Browser
from tests.portal.test_oidc_sign_in import visit
from tests.portal.test_saml_sign_in import answer_to, begin, cross_site_post

pytestmark = pytest.mark.django_db

NAVIGATION = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document", "sec-fetch-site": "cross-site"}
FETCH = {**NAVIGATION, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "empty"}
PICTURE = {**FETCH, "sec-fetch-dest": "image"}
FRAME = {**NAVIGATION, "sec-fetch-dest": "iframe"}
DOORS = [
    ("post", "/saml/corp/acs", {"SAMLResponse": "bm9uc2Vuc2U="}),
    ("get", "/oidc/entra/callback", {"state": "nonsense"}),
    ("get", "/signin/corp/", {}),
    ("get", "/signin/corp/complete", {"code": "nonsense"}),
    ("get", "/oauth/authorize", {"client_id": "nonsense"}),
]


def knock(method, path, fields, headers):
    return getattr(Client(), method)(path, fields, headers=headers)


@pytest.mark.parametrize("headers", [FETCH, PICTURE, FRAME], ids=["fetch", "picture", "frame"])
@pytest.mark.parametrize(("method", "path", "fields"), DOORS)
def test_what_no_person_did_counts_for_nothing(publish, gateway_keys, method, path, fields, headers):
    publish()
    before = AuditEvent.objects.count()
    answer = knock(method, path, fields, headers)
    assert answer.status_code == 400
    assert "bad_request" in answer.text
    assert not RateWindow.objects.exists()
    assert not SignInState.objects.exists()
    assert AuditEvent.objects.count() == before


@pytest.mark.parametrize("headers", [NAVIGATION, {}], ids=["browser", "program"])
@pytest.mark.parametrize(("method", "path", "fields"), DOORS)
def test_what_a_person_does_is_answered_as_ever(publish, gateway_keys, monkeypatch, method, path, fields, headers):
    from federation.flows import provider_documents
    from tests import saml_kit

    parsed = provider_documents.parse_idp_metadata(saml_kit.metadata_xml().encode(), now=saml_kit.NOW)
    monkeypatch.setattr(provider_documents, "saml_metadata", lambda *args, **kwargs: parsed)
    publish()
    knock(method, path, fields, headers)
    assert RateWindow.objects.exists()


def test_an_office_signs_in_while_such_a_page_is_open(publish, gateway_keys, settings, monkeypatch):
    monkeypatch.setitem(rate_limits.LIMITS, "sign_in", rate_limits.Limit(60, 20, 5, refused=10))
    publish()
    for _ in range(3):
        knock(*DOORS[0], FETCH)
    answer = knock("get", "/oidc/entra/callback", {"state": "old"}, NAVIGATION)
    assert "rate_limited" not in answer.text


@pytest.mark.parametrize(("headers", "refused"), [(FETCH, True), (FRAME, False)])
def test_a_provider_may_end_sessions_out_of_a_frame(publish, gateway_keys, headers, refused):
    """SAML's front-channel single logout (profiles 4.4.3) is mostly done so; a script's fetch is no message of a provider."""
    publish()
    answer = knock("get", "/saml/corp/slo", {}, headers)
    assert RateWindow.objects.exists() is not refused
    assert answer.status_code == (400 if refused else 403)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/oauth/token", {"grant_type": "refresh_token", "refresh_token": "nonsense", "client_id": "rolegate-cli"}),
        ("/oauth/device_authorization", {"client_id": "rolegate-cli"}),
        ("/oauth/revoke", {"token": "nonsense", "client_id": "rolegate-cli"}),
        ("/oidc/entra/backchannel-logout", {"logout_token": "nonsense"}),
    ],
)
@pytest.mark.parametrize("headers", [FETCH, NAVIGATION, {}], ids=["fetch", "form", "program"])
def test_no_page_speaks_to_what_is_for_programs(publish, gateway_keys, path, fields, headers):
    publish()
    answer = knock("post", path, fields, headers)
    assert RateWindow.objects.exists() is (not headers)
    assert (answer.json().get("code") == "bad_request") is bool(headers)


def test_nor_does_a_form_that_cannot_be_read(publish, gateway_keys):
    publish()
    answer = knock("post", "/oauth/authorize", {f"field{n}": "x" for n in range(201)}, FETCH)
    assert answer.status_code == 400
    assert not RateWindow.objects.exists()


# --- Somebody in the office, as fast as they can ------------------------------------------------------------------


@pytest.fixture
def narrow(monkeypatch):
    monkeypatch.setitem(rate_limits.LIMITS, "sign_in", rate_limits.Limit(60, 20, 20, refused=10))
    monkeypatch.setitem(rate_limits.LIMITS, "token", rate_limits.Limit(60, 20, 20, refused=10))


def flood(times=40):
    for _ in range(times):
        answer = cross_site_post("bm9uc2Vuc2U=")
    assert answer.status_code == 429


def signs_in(browser, answer):
    done = browser.get(answer["Location"]) if answer.status_code == 303 else answer
    return done.status_code == 302 and done["Location"] == "/cli/"


def test_forgeries_keep_no_colleague_from_a_saml_sign_in(saml_provider, browser, narrow):
    saml_provider()
    early = begin(browser)
    flood()
    assert signs_in(browser, cross_site_post(answer_to(early), RelayState=early))
    late = Browser()
    begun = begin(late)
    assert signs_in(late, cross_site_post(answer_to(begun, assertion_id="_another"), RelayState=begun))
    # What comes without the handle of a sign-in that waits is one of the flood.
    third = begin(Browser())
    assert cross_site_post(answer_to(third)).status_code == 429


def test_nor_from_one_by_openid_connect(openid_provider, browser, narrow):
    flood()
    assert signs_in(browser, browser.get("/oidc/entra/callback", visit(browser)))
    assert browser.get("/oidc/entra/callback", {"state": "nonsense"}).status_code == 429


def test_the_handle_of_a_sign_in_opens_the_door_to_one_forgery(saml_provider, browser, narrow):
    saml_provider()
    flood()
    handle = begin(browser)
    assert [cross_site_post("bm9uc2Vuc2U=", RelayState=handle).status_code for _ in range(3)] == [403, 429, 429]
    # The sign-in itself is as good as before.
    RateWindow.objects.all().delete()
    assert signs_in(browser, cross_site_post(answer_to(handle), RelayState=handle))


def test_so_does_a_state(openid_provider, browser, narrow):
    flood()
    params = visit(browser)
    stranger = Client()
    assert [stranger.get("/oidc/entra/callback", params).status_code for _ in range(3)] == [400, 429, 429]


def test_a_handle_that_was_used_is_none(saml_provider, browser, narrow):
    saml_provider()
    handle = begin(browser)
    assert signs_in(browser, cross_site_post(answer_to(handle), RelayState=handle))
    flood()
    assert cross_site_post(answer_to(handle), RelayState=handle).status_code == 429


def test_what_is_begun_has_its_limit_too(saml_provider, browser, narrow):
    saml_provider()
    answers = [Client().get("/signin/corp/").status_code for _ in range(25)]
    assert answers == [302] * 20 + [429] * 5


def test_guesses_at_tokens_keep_no_colleagues_command_line_out(publish, db, narrow):
    publish()
    alice = pairing.person(claims_at=datetime.now(UTC))
    tokens = pairing.paired(alice, now=datetime.now(UTC))
    code = pairing.code_for(alice, now=datetime.now(UTC))
    guess = {"grant_type": "refresh_token", "client_id": pairing.CLIENT, "refresh_token": "rlg_rt_" + "x" * 43}
    statuses = [Client().post("/oauth/token", guess).status_code for _ in range(30)]
    assert statuses[-1] == 429
    renewed = Client().post("/oauth/token", {**guess, "refresh_token": tokens.refresh_token})
    assert renewed.status_code == 200
    assert pairing.redeem_over_http(Client(), code).status_code == 200
    # A spent one is a guess like any other, and is not even looked at.
    assert Client().post("/oauth/token", {**guess, "refresh_token": tokens.refresh_token}).status_code == 429
