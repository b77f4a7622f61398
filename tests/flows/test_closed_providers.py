"""What ends with an identity provider that is closed, left out, or another one by now: nothing of it comes alive again."""

from __future__ import annotations

import pytest

from federation.errors import OidcRefused, SignInExpired, UnknownProvider
from federation.flows import approvals, client_tokens, overage, sign_in
from federation.flows.client_tokens import TokenRefused
from federation.models import AuditEvent, Person, ProviderMetadata, RequestedRole, SignInState
from tests import cast
from tests import saml_kit as kit
from tests.flows import test_sign_in_oidc as by_oidc
from tests.flows import test_sign_in_saml as by_saml
from tests.flows.requests_kit import DOCUMENT, alice, dana, desk
from tests.flows.test_sign_in_oidc import op
from tests.flows.test_sign_in_saml import gateway

__all__ = ["desk", "gateway", "op"]


def pair(person, origin, now):
    _, tokens = client_tokens.pair(
        person=person, client_id="rolegate-cli", scope="roles credentials", label="laptop", address="192.0.2.7",
        how="authorization_code", origin=origin, now=now,
    )  # fmt: skip
    return tokens


def is_paired(tokens, now):
    try:
        client_tokens.authenticate(tokens.access_token, now=now)
    except TokenRefused as error:
        assert error.reason == "session_ended"
        return False
    return True


CLOSED = {
    "disabled": ("  - slug: corp\n", "  - slug: corp\n    enabled: false\n"),
    "gone": ("slug: corp\n", "slug: renamed\n"),
    "at-another-address": ("http://127.0.0.1:9/metadata", "http://127.0.0.1:10/metadata"),
    "known-by-another-word": ("subject: NameID", "subject: employeeNumber"),
}


@pytest.mark.parametrize("change", CLOSED.values(), ids=CLOSED.keys())
def test_command_lines_end_with_their_provider(db, publish, sign_in_as, origin, now, change):
    """Attack: whoever broke into the provider has paired a command line. It is closed, mended and opened again within the hour."""
    publish()
    tokens = pair(sign_in_as(cast.alice(), at=now), origin, now)
    other = pair(sign_in_as(cast.identity("eve", provider="entra"), at=now), origin, now)
    assert is_paired(tokens, now)
    publish(cast.DOCUMENT.replace(*change))
    publish()
    assert not is_paired(tokens, now)
    assert is_paired(other, now)
    told = AuditEvent.objects.filter(kind="mapping.published").order_by("seq")[1].data
    assert told["people_signed_out"] == {"corp": 1}


def test_another_issuer_under_the_slug_is_another_provider(db, publish, sign_in_as, origin, now):
    publish()
    tokens = pair(sign_in_as(cast.identity("eve", provider="entra"), at=now), origin, now)
    publish(cast.DOCUMENT.replace('issuer: "http://127.0.0.1:9"', 'issuer: "http://127.0.0.1:10"'))
    assert not is_paired(tokens, now)


@pytest.mark.parametrize(
    "change",
    [
        ("name: Example Corp", "name: Example Corporation"),
        ("groups: memberOf", "groups: roles"),
        ("roles: [ReadOnly]", "roles: [Auditor]"),
        ("client_id: rolegate,", "client_id: rolegate-2,"),
    ],
)
def test_what_makes_nobody_else_of_people_ends_nothing(db, publish, sign_in_as, origin, now, change):
    publish()
    tokens = [
        pair(sign_in_as(identity, at=now), origin, now)
        for identity in (cast.alice(), cast.identity("eve", provider="entra"))
    ]
    publish(cast.DOCUMENT.replace(*change))
    assert all(is_paired(one, now) for one in tokens)


def test_another_certificate_of_the_same_provider_ends_nothing(gateway, publish, sign_in_as, origin):
    tokens = pair(sign_in_as(cast.alice(now=kit.NOW), at=kit.NOW), origin, kit.NOW)
    publish(by_saml.document(metadata_xml=kit.metadata_xml() + "\n"), at=kit.NOW)
    assert is_paired(tokens, kit.NOW)
    publish(by_saml.document(metadata_xml=kit.metadata_xml(entity_id="https://other.example.com")), at=kit.NOW)
    assert not is_paired(tokens, kit.NOW)


@pytest.mark.parametrize(("entity_id", "goes_on"), [(kit.IDP, True), ("https://idp.attacker.example", False)])
def test_metadata_that_are_pasted_instead_of_fetched_are_of_the_entity_that_they_name(
    gateway, publish, sign_in_as, origin, entity_id, goes_on
):
    """Whoever pastes what was fetched must not sign the company out in the morning."""
    there = "https://idp.example.com/metadata"
    publish(by_saml.document(metadata_url=there), at=kit.NOW)
    ProviderMetadata.objects.create(
        provider="corp", source=f"{there}#", document=kit.metadata_xml(), fetched_at=kit.NOW, checked_at=kit.NOW
    )
    tokens = pair(sign_in_as(cast.alice(now=kit.NOW), at=kit.NOW), origin, kit.NOW)
    publish(by_saml.document(metadata_xml=kit.metadata_xml(entity_id=entity_id)), at=kit.NOW)
    assert is_paired(tokens, kit.NOW) is goes_on


def test_approvals_and_requests_end_with_it(desk):
    asker, lead = desk.person(alice()), desk.person(dana())
    desk.decide(lead, desk.ask(asker))
    desk.forward(minutes=1)
    assert approvals.open_of(asker, now=desk.now)
    desk.publish(DOCUMENT.replace("  - slug: corp\n", "  - slug: corp\n    enabled: false\n"), at=desk.now)
    assert not approvals.open_of(asker, now=desk.now)
    assert RequestedRole.objects.get().ended_at == desk.now


# --- Sign-ins that are under way ----------------------------------------------------------------------


def test_an_answer_that_waits_for_its_browser_is_nobodys(gateway, publish, origin):
    request_id, _ = by_saml.begin(origin)
    received = by_saml.receive(origin, kit.signed(by_saml.draft(request_id)))
    document = by_saml.document()
    publish(document.replace("  slug: corp\n", "  slug: corp\n  enabled: false\n"), at=kit.NOW)
    assert SignInState.objects.get().identity is None
    publish(document, at=kit.NOW)
    with pytest.raises(SignInExpired) as refused:
        by_saml.complete(origin, received.code)
    assert refused.value.reason == "code_unknown"


def test_nor_is_a_code_of_another_issuer_taken_to_the_new_one(op, publish, origin):
    """Mix-up: the code would be handed to whoever speaks under the slug now."""
    _, params = by_oidc.begin(op, origin)
    document = by_oidc.document(op.issuer)
    publish(document.replace(op.issuer, "http://127.0.0.1:9"), at=op.now)
    asked = op.calls["/token"]
    with pytest.raises(OidcRefused) as refused:
        by_oidc.complete(op, origin, params)
    assert refused.value.reason == "state_used"
    assert op.calls["/token"] == asked


CHANGES = {
    "closed": (lambda text: text.replace("  slug: corp\n", "  slug: corp\n  enabled: false\n"), UnknownProvider, "provider_unknown_or_disabled"),
    "another": (lambda text: text.replace("subject: NameID", "subject: uid").replace("subject: sub", "subject: uid"), SignInExpired, "provider_changed"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "error", "reason"), CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("protocol", ["saml", "oidc"])
def test_a_sign_in_that_is_verified_already_makes_no_session_behind_the_revision(
    request, publish, origin, monkeypatch, change, error, reason, protocol
):
    complete, document, at = under_way(request, protocol, origin)
    publish_meanwhile(monkeypatch, lambda: publish(change(document), at=at))
    with pytest.raises(error) as refused:
        complete()
    assert refused.value.reason == reason
    assert not Person.objects.exists()
    last = AuditEvent.objects.latest("seq")
    assert (last.kind, last.outcome, last.reason) == ("sign_in", "refused", reason)


@pytest.mark.parametrize("protocol", ["saml", "oidc"])
def test_another_revision_is_no_hindrance(request, publish, origin, monkeypatch, protocol):
    complete, document, at = under_way(request, protocol, origin)
    publish_meanwhile(monkeypatch, lambda: publish(document + "# said anew\n", at=at))
    complete()
    assert AuditEvent.objects.latest("seq").outcome == "ok"


def under_way(request, protocol, origin):
    if protocol == "saml":
        request.getfixturevalue("gateway")
        request_id, _ = by_saml.begin(origin)
        received = by_saml.receive(origin, kit.signed(by_saml.draft(request_id)))
        return lambda: by_saml.complete(origin, received.code), by_saml.document(), kit.NOW
    provider = request.getfixturevalue("op")
    _, params = by_oidc.begin(provider, origin)
    return lambda: by_oidc.complete(provider, origin, params), by_oidc.document(provider.issuer), provider.now


def publish_meanwhile(monkeypatch, publish):
    """Between the look at the provider and the session."""
    completed = overage.completed

    def meanwhile(*args, **more):
        # What is under way was looked up already: only what begins later is to be seen.
        states = list(SignInState.objects.values_list("pk", "identity", "completed_at"))
        publish()
        for pk, identity, completed_at in states:
            SignInState.objects.filter(pk=pk).update(identity=identity, completed_at=completed_at)
        return completed(*args, **more)

    monkeypatch.setattr(sign_in.overage, "completed", meanwhile)
