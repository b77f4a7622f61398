"""Documents that the provider really signed, but not for us, not now, or not for this request."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests import saml_kit as kit
from tests.saml_kit import ACS, IDP, NOW, SP, Draft, assertion_of, at, reason, signed


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"audiences": ()}, "audience_missing"),
        ({"audiences": (("https://other.example.com",),)}, "audience_wrong"),
        ({"audiences": ((SP[:-1],),)}, "audience_wrong"),
        ({"audiences": ((SP + "/",),)}, "audience_wrong"),
        ({"audiences": ((SP.upper(),),)}, "audience_wrong"),
        ({"audiences": ((f" {SP} ",),)}, "audience_wrong"),
        # Two restrictions are "and": python3-saml reads them as "or".
        ({"audiences": ((SP,), ("https://other.example.com",))}, "audience_wrong"),
        ({"recipient": None}, "recipient_missing"),
        ({"recipient": "https://evil.example.com/acs"}, "recipient_wrong"),
        ({"recipient": "https://evil.example.com/?" + ACS}, "recipient_wrong"),
        ({"recipient": ACS + "/../x"}, "recipient_wrong"),
        ({"recipient": ACS[:-1]}, "recipient_wrong"),
        ({"destination": None}, "destination_missing"),
        ({"destination": ""}, "destination_missing"),
        ({"destination": "https://evil.example.com/acs"}, "destination_wrong"),
        ({"destination": ACS + ".evil.example.com"}, "destination_wrong"),
        ({"destination": ACS[:-1]}, "destination_wrong"),
        ({"destination": ACS.upper()}, "destination_wrong"),
        ({"issuer": ""}, "issuer_missing"),
        ({"issuer": "https://evil.example.com"}, "issuer_wrong"),
        ({"issuer": IDP + "/"}, "issuer_wrong"),
        ({"issuer": IDP[:-1]}, "issuer_wrong"),
        ({"response_issuer": None}, "issuer_missing"),
        ({"response_issuer": ""}, "issuer_missing"),
        ({"response_issuer": "https://evil.example.com"}, "issuer_wrong"),
        ({"method": "urn:oasis:names:tc:SAML:2.0:cm:sender-vouches"}, "confirmation_method"),
        ({"method": "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key"}, "confirmation_method"),
        ({"confirmation_extra": f' NotBefore="{at(-2)}"'}, "attribute_forbidden"),
    ],
)
@pytest.mark.parametrize("what", ["assertion", "both"])
def test_not_for_us(changes, expected, what):
    assert reason(signed(Draft(**changes), what)) == expected


def test_several_audiences_in_one_restriction_are_or():
    assert reason(signed(Draft(audiences=(("https://other.example.com", SP),)))) == "accepted"


def test_an_issuer_of_another_format():
    draft = Draft().xml().replace("<saml:Issuer>", '<saml:Issuer Format="urn:x">')
    root = kit.tree(draft)
    kit.sign(assertion_of(root))
    assert reason(root) == "issuer_wrong"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"not_on_or_after": at(-60)}, "expired"),
        ({"confirmation_until": at(-60)}, "expired"),
        ({"not_on_or_after": at(-290), "issued": at(-590), "not_before": at(-590)}, "expired"),
        ({"not_before": at(61)}, "not_yet_valid"),
        ({"issued": at(61)}, "not_yet_valid"),
        ({"authn_instant": at(61)}, "not_yet_valid"),
        ({"not_on_or_after": None}, "not_on_or_after_missing"),
        ({"confirmation_until": None}, "not_on_or_after_missing"),
        ({"not_on_or_after": at(10 * 365 * 86400)}, "validity_too_long"),
        ({"not_on_or_after": at(599)}, "validity_too_long"),
        ({"confirmation_until": at(599)}, "validity_too_long"),
        ({"not_before": None, "not_on_or_after": at(599)}, "validity_too_long"),
        ({"not_before": at(-400)}, "validity_too_long"),
        ({"session_until": at(0)}, "session_expired"),
        ({"session_until": at(-3600)}, "session_expired"),
        ({"issued": "2026-03-02T11:59:58+00:00"}, "time_malformed"),
        ({"not_on_or_after": "2026-03-02T12:04:58"}, "time_malformed"),
        ({"confirmation_until": "2026-02-30T12:04:58Z"}, "time_malformed"),
        ({"authn_instant": "now"}, "time_malformed"),
    ],
)
def test_not_now(changes, expected):
    assert reason(signed(Draft(**changes))) == expected


@pytest.mark.parametrize(
    ("changes", "now", "expected"),
    [
        ({"not_on_or_after": at(-59)}, 0, "accepted"),
        ({"confirmation_until": at(-59)}, 0, "accepted"),
        ({"not_before": at(60), "issued": at(60), "authn_instant": at(60)}, 0, "accepted"),
        ({"not_on_or_after": at(598), "confirmation_until": at(598)}, 0, "accepted"),
        ({"not_before": None}, 0, "accepted"),
        ({}, 298 + 60, "expired"),
        ({}, -63, "not_yet_valid"),
    ],
)
def test_sixty_seconds_of_skew_and_ten_minutes_of_validity(changes, now, expected):
    assert reason(signed(Draft(**changes)), now=NOW + timedelta(seconds=now)) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"in_response_to": None, "response_in_response_to": None}, "unsolicited"),
        ({"in_response_to": "", "response_in_response_to": ""}, "unsolicited"),
        # Only the Response is unsigned: written in, deleted or changed there, it must not matter.
        ({"in_response_to": None}, "in_response_to_mismatch"),
        ({"response_in_response_to": None}, "in_response_to_mismatch"),
        ({"response_in_response_to": "_another"}, "in_response_to_mismatch"),
        ({"in_response_to": "_another"}, "in_response_to_mismatch"),
        ({"in_response_to": "_another", "response_in_response_to": "_another"}, "in_response_to_unknown"),
    ],
)
def test_not_for_this_request(changes, expected):
    assert reason(signed(Draft(**changes))) == expected


def test_a_request_that_was_answered_already():
    assert reason(signed(), outstanding=()) == "in_response_to_unknown"


def test_an_answer_to_nobody_is_not_unsolicited():
    """Where unsolicited responses are allowed, a response to a request that is not ours still is not."""
    allowing = kit.provider(allow_unsolicited=True)
    assert reason(signed(), outstanding=(), by=allowing) == "in_response_to_unknown"


@pytest.mark.parametrize(
    "status", ["urn:oasis:names:tc:SAML:2.0:status:Responder", "", "urn:oasis:names:tc:SAML:2.0:status:success"]
)
@pytest.mark.parametrize("with_assertion", [True, False])
def test_errors(status, with_assertion):
    root = signed(Draft(status=status), "response")
    if not with_assertion:
        root.remove(assertion_of(root))
    assert reason(root) == "status_not_success"


def test_an_error_with_an_inner_code():
    inner = '<samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:AuthnFailed"/>'
    text = Draft().xml().replace('status:Success"/>', f'status:Requester">{inner}</samlp:StatusCode>')
    assert reason(text) == "status_not_success"


def test_success_inside_an_error():
    inner = '<samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/>'
    text = Draft().xml().replace('status:Success"/>', f'status:Requester">{inner}</samlp:StatusCode>')
    assert reason(text) == "status_not_success"


def test_the_times_are_checked_on_a_signed_response_too():
    assert reason(signed(Draft(not_on_or_after=at(-60)), "response")) == "expired"


def test_a_forged_and_expired_document_is_called_forged():
    root = signed(Draft(not_on_or_after=at(-300), audiences=()))
    next(root.iter(kit.SAML + "NameID")).text = "carol"
    assert reason(root) == "signature_invalid"
