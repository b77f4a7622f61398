"""Signing out, ours and the provider's: SAML single logout both ways. An unsigned message ends nobody's session."""

import zlib
from base64 import b64decode, b64encode
from datetime import timedelta
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
import yaml

from federation.audit import record
from federation.errors import OidcRefused, SamlRefused, UnknownProvider
from federation.flows import sign_out
from federation.models import AuditEvent, PortalSession, SignInState
from federation.models.sessions import LONGEST_SESSION_INDEX, session_row_key
from tests import cast
from tests import saml_kit as kit

NOW = kit.NOW


def document(metadata=None, **saml):
    return yaml.safe_dump(
        {
            "version": 1,
            "identity_providers": [
                {
                    "slug": "corp",
                    "name": "Example Corp",
                    "saml": {"metadata_xml": metadata or kit.metadata_xml(), **saml},
                    "claims": {"subject": "NameID", "groups": "memberOf"},
                }
            ],
        }
    )


@pytest.fixture
def gateway(gateway_keys, publish, settings):
    settings.ROLEGATE_URL = "https://rolegate.example.com"
    publish(document())


@pytest.fixture
def alice(gateway, sign_in_as):
    return sign_in_as(cast.alice(format=kit.PERSISTENT))


def session(person, cookie, *, index="session-1", name="alice", provider="corp"):
    return PortalSession.objects.create(
        session_key=session_row_key(cookie),
        session_data="",
        expire_date=NOW + timedelta(hours=1),
        person=person,
        provider=provider,
        session_index=index,
        name_id={"value": name, "format": kit.PERSISTENT, "name_qualifier": "", "sp_name_qualifier": ""}
        if name
        else {},
    )


def sessions():
    return sorted(PortalSession.objects.values_list("session_index", flat=True))


def slo(origin, query, **more):
    return sign_out.saml_logout(
        "corp", method="GET", params=dict(parse_qsl(query)), raw_query=query, origin=origin, now=NOW, **more
    )


def message(url, name):
    return kit.tree(zlib.decompress(b64decode(parse_qs(urlsplit(url).query)[name][0]), -15))


def refused(origin, query, reason, events):
    with pytest.raises(SamlRefused) as caught:
        slo(origin, query)
    assert caught.value.reason == reason
    assert events()[-1] == ("sign_out.by_provider", "refused", reason)


# --- Ours -------------------------------------------------------------------------------------------


def test_signing_out_ends_this_session_and_goes_on_at_the_provider(alice, origin, events):
    session(alice, "cookie")
    session(alice, "other browser", index="session-2")
    url = sign_out.sign_out(alice, "cookie", origin=origin, now=NOW)
    assert sessions() == ["session-2"]
    assert url.startswith("https://idp.example.com/slo?")
    request = message(url, "SAMLRequest")
    assert request.findtext(kit.SAML + "NameID") == "alice"
    assert request.findtext(kit.SAMLP + "SessionIndex") == "session-1"
    assert "Signature=" in url
    assert events()[1:] == [("sign_out", "ok", "")]


def test_the_providers_answer_to_ours_is_taken_once_it_is_signed(alice, origin, events):
    session(alice, "cookie")
    asked = message(sign_out.sign_out(alice, "cookie", origin=origin, now=NOW), "SAMLRequest").get("ID")
    state = SignInState.objects.get()
    assert state.completed_at is None
    answer = slo(origin, kit.query(kit.logout_response_xml(in_response_to=asked), field="SAMLResponse"))
    assert answer.redirect_url is None
    state.refresh_from_db()
    assert state.completed_at == NOW


def test_an_answer_signed_by_somebody_else_is_refused(alice, origin, events):
    xml = kit.logout_response_xml()
    refused(origin, kit.query(xml, field="SAMLResponse", by=kit.pair("mallory")), "signature_invalid", events)


def test_a_state_of_a_logout_is_no_state_of_a_sign_in(alice, origin):
    """The id of our LogoutRequest travels through the browser: it must not be taken for an outstanding sign-in."""
    from dataclasses import replace

    from federation.flows import sign_in

    session(alice, "cookie")
    asked = message(sign_out.sign_out(alice, "cookie", origin=origin, now=NOW), "SAMLRequest").get("ID")
    response = kit.signed(replace(kit.Draft(), in_response_to=asked, response_in_response_to=asked))
    with pytest.raises(SamlRefused) as caught:
        sign_in.receive_saml("corp", saml_response=kit.post(response), relay_state="", origin=origin, now=NOW)
    assert caught.value.reason == "in_response_to_unknown"


@pytest.mark.parametrize("cookie", [None, "", "unknown"])
def test_signing_out_without_a_session_is_no_error(alice, origin, events, cookie):
    session(alice, "cookie")
    assert sign_out.sign_out(alice, cookie, origin=origin, now=NOW) is None
    assert sessions() == ["session-1"]
    assert events()[1:] == [("sign_out", "ok", "")]


def test_a_session_without_a_name_or_a_provider_without_logout_ends_here(alice, publish, origin):
    session(alice, "no name", name="")
    assert sign_out.sign_out(alice, "no name", origin=origin, now=NOW) is None
    publish(document(kit.metadata_xml(slo="")))
    session(alice, "no logout")
    assert sign_out.sign_out(alice, "no logout", origin=origin, now=NOW) is None
    session(alice, "no provider", provider="")
    assert sign_out.sign_out(alice, "no provider", origin=origin, now=NOW) is None
    assert sessions() == []


def test_a_provider_that_cannot_be_had_keeps_nobody_signed_in(alice, publish, origin, events):
    publish()  # the cast's provider is at a closed port
    session(alice, "cookie")
    assert sign_out.sign_out(alice, "cookie", origin=origin, now=NOW) is None
    assert sessions() == []
    publish("version: 1\n")
    session(alice, "cookie")
    assert sign_out.sign_out(alice, "cookie", origin=origin, now=NOW) is None
    assert sessions() == []


# --- The provider's ---------------------------------------------------------------------------------


def test_the_providers_request_ends_the_named_session_and_is_answered(alice, origin, events):
    session(alice, "a")
    session(alice, "b", index="session-2")
    answer = slo(origin, kit.query(kit.logout_request_xml(), relay_state="where it was"))
    assert sessions() == ["session-2"]
    assert answer.redirect_url.startswith("https://idp.example.com/slo?")
    response = message(answer.redirect_url, "SAMLResponse")
    assert response.get("InResponseTo") == "_logout-1"
    assert response.find(f".//{kit.SAMLP}StatusCode").get("Value").endswith(":Success")
    assert parse_qs(urlsplit(answer.redirect_url).query)["RelayState"] == ["where it was"]
    assert events()[-1] == ("sign_out.by_provider", "ok", "")
    assert AuditEvent.objects.latest("seq").data["sessions"] == 1
    assert record.verify() == []


def test_a_session_of_a_long_name_is_found_by_what_was_kept_of_it(alice, origin):
    long = "s" * 300
    session(alice, "a", index=long[:LONGEST_SESSION_INDEX])
    session(alice, "b", index="session-2")
    slo(origin, kit.query(kit.logout_request_xml(sessions=(long,))))
    assert sessions() == ["session-2"]


def test_a_request_without_session_ends_every_session_of_that_name_at_that_provider(alice, sign_in_as, origin):
    bob = sign_in_as(cast.bob(format=kit.PERSISTENT))
    session(alice, "a")
    session(alice, "b", index="session-2")
    session(bob, "c", name="bob", index="bobs")
    session(alice, "d", provider="elsewhere", index="elsewhere")
    slo(origin, kit.query(kit.logout_request_xml(sessions=())))
    assert sessions() == ["bobs", "elsewhere"]


def test_a_request_may_come_by_post_signed_inside(alice, origin):
    session(alice, "a")
    signed = kit.sign(kit.tree(kit.logout_request_xml()))
    params = {"SAMLRequest": kit.post(signed)}
    answer = sign_out.saml_logout("corp", method="POST", params=params, raw_query="", origin=origin, now=NOW)
    assert sessions() == []
    assert answer.redirect_url


def test_a_provider_that_takes_no_answer_is_not_answered(alice, publish, origin):
    posts = '<md:SingleLogoutService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="https://idp.example.com/slo"/>'
    publish(document(kit.metadata_xml(slo=posts)))
    session(alice, "a")
    assert slo(origin, kit.query(kit.logout_request_xml())).redirect_url is None
    assert sessions() == []


def test_an_unsigned_request_ends_nothing(alice, origin, events):
    session(alice, "a")
    query = "SAMLRequest=" + b64encode(kit.deflate(kit.logout_request_xml())).decode().replace("+", "%2B").replace(
        "/", "%2F"
    ).replace("=", "%3D")
    refused(origin, query, "signature_missing", events)
    assert sessions() == ["session-1"]


@pytest.mark.parametrize(
    ("xml", "reason"),
    [
        (kit.logout_request_xml(issuer="https://mallory.example"), "issuer_wrong"),
        (kit.logout_request_xml(destination="https://rolegate.example.com/saml/other/slo"), "destination_wrong"),
        (kit.logout_request_xml(until=kit.at(-61)), "expired"),
        (kit.logout_request_xml(issued=kit.at(-3600), until=None), "expired"),
    ],
)
def test_a_signed_request_that_is_not_for_us_now_ends_nothing(alice, origin, events, xml, reason):
    session(alice, "a")
    refused(origin, kit.query(xml), reason, events)
    assert sessions() == ["session-1"]


def test_a_request_signed_by_somebody_else_ends_nothing(alice, origin, events):
    session(alice, "a")
    refused(origin, kit.query(kit.logout_request_xml(), by=kit.pair("mallory")), "signature_invalid", events)
    assert sessions() == ["session-1"]


def test_an_empty_request_is_refused(alice, origin, events):
    refused(origin, "", "logout_message_missing", events)


def test_logout_at_an_unknown_provider_or_one_of_another_kind_is_refused(gateway_keys, publish, origin, events):
    publish()
    for slug, error, reason in [
        ("nobody", UnknownProvider, "provider_unknown_or_disabled"),
        ("entra", UnknownProvider, "not_a_saml_provider"),
    ]:
        with pytest.raises(error):
            sign_out.saml_logout(slug, method="GET", params={}, raw_query="", origin=origin, now=NOW)
        assert events()[-1] == ("sign_out.by_provider", "refused", reason)
    with pytest.raises(OidcRefused) as caught:
        sign_out.oidc_backchannel_logout("corp", logout_token="x", origin=origin, now=NOW)
    assert caught.value.reason == "not_an_oidc_provider"
    assert events()[-1] == ("sign_out.by_provider", "refused", "not_an_oidc_provider")
