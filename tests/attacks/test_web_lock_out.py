"""A page on another site that somebody in the office opens must not use up the office's limits: everybody there has one address.

What such a page can send without anybody's doing (a picture, a script's fetch, a frame) says so itself, in the headers of Fetch
Metadata, which no page can write. What the browser sends when it goes somewhere is let through, as is a program without them.
"""

import pytest
from django.test import Client

from federation.flows import rate_limits
from federation.models import AuditEvent, SignInState
from federation.models.access import RateWindow

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
