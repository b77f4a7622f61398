"""OpenID discovery documents and key sets: fetched ahead, kept for every process, the last good copy for seven days."""

from __future__ import annotations

from datetime import timedelta

import pytest
import yaml

from federation.errors import ProviderUnavailable
from federation.flows import provider_documents
from federation.flows.provider_documents import DatabaseShelf
from federation.models import AuditEvent, OpenIdDocument
from federation.signin.jwks import discovery_url
from federation.signin.oidc import ProviderDocuments
from tests import oidc_kit as kit

MINUTE = timedelta(minutes=1)


@pytest.fixture
def op(gateway_keys, publish, monkeypatch):
    monkeypatch.setattr(provider_documents, "oidc_documents", process())
    with kit.running() as provider:
        publish(
            yaml.safe_dump(
                {
                    "version": 1,
                    "identity_providers": [
                        {
                            "slug": "corp",
                            "name": "Corp",
                            "oidc": {"issuer": provider.issuer, "client_id": kit.CLIENT_ID},
                        }
                    ],
                }
            )
        )
        yield provider


def process(shelf=None) -> ProviderDocuments:
    """What a process that has just started holds: nothing of its own."""
    return ProviderDocuments(shelf=shelf or DatabaseShelf())


def refresh(op, after=timedelta(0)) -> str:
    return provider_documents.refresh_all(now=op.now + after)["corp"]


def kids(op, after=timedelta(0), documents=None, **more):
    found = (documents or process()).keys(op.issuer, now=op.now + after, **more)
    return {key.kid for key in found}


def test_what_the_worker_has_fetched_no_sign_in_waits_for(op):
    assert refresh(op) == "fetched"
    assert dict(op.calls) == {"/.well-known/openid-configuration": 1, "/jwks": 1}
    assert kids(op, 29 * MINUTE) == {"rsa"}
    assert dict(op.calls) == {"/.well-known/openid-configuration": 1, "/jwks": 1}
    assert kids(op, 31 * MINUTE) == {"rsa"}  # nobody has refreshed it: asked as ever
    assert dict(op.calls) == {"/.well-known/openid-configuration": 2, "/jwks": 2}


def test_it_is_fetched_ahead_so_that_no_sign_in_has_to(op):
    for minutes in range(0, 60, 10):
        assert refresh(op, minutes * MINUTE) == "fetched"
    asked = dict(op.calls)
    assert asked["/jwks"] == 6  # once each time
    assert kids(op, 79 * MINUTE) == {"rsa"}
    assert dict(op.calls) == asked


def test_a_gateway_that_starts_while_the_provider_is_away_has_the_last_good_copy(op):
    refresh(op)
    op.statuses = {"/jwks": 503, "/.well-known/openid-configuration": 503}
    assert kids(op, timedelta(days=6)) == {"rsa"}
    with pytest.raises(ProviderUnavailable):
        kids(op, timedelta(days=8))


def test_a_broken_answer_never_takes_its_place(op):
    refresh(op)
    op.bodies = {"/jwks": b'{"keys": 7}', "/.well-known/openid-configuration": b"<html>"}
    assert refresh(op, 11 * MINUTE) == "document_malformed"
    assert kids(op, 40 * MINUTE) == {"rsa"}
    assert {row.fetched_at for row in OpenIdDocument.objects.all()} == {op.now}


def test_a_provider_that_was_never_there_says_so(op):
    op.statuses = {"/.well-known/openid-configuration": 404}
    assert refresh(op) == "document_unavailable"
    assert not OpenIdDocument.objects.exists()


def test_an_unknown_key_is_asked_for_at_once_and_seen_by_the_others(op):
    refresh(op)
    op.keys = [kit.jwk("rsa"), kit.jwk("rsa-new")]
    assert kids(op, 2 * MINUTE) == {"rsa"}
    assert kids(op, 2 * MINUTE, again=True) == {"rsa", "rsa-new"}
    assert kids(op, 3 * MINUTE) == {"rsa", "rsa-new"}
    calls = op.calls["/jwks"]
    assert kids(op, 2.5 * MINUTE, again=True) == {"rsa", "rsa-new"}  # another process, half a minute later
    assert op.calls["/jwks"] == calls


def test_a_withdrawn_key_is_gone_with_the_refresh(op):
    op.keys = [kit.jwk("rsa"), kit.jwk("rsa-new")]
    refresh(op)
    documents = process()
    assert kids(op, MINUTE, documents) == {"rsa", "rsa-new"}
    op.keys = [kit.jwk("rsa")]
    refresh(op, 11 * MINUTE)
    # A process holds what it has for an hour from the moment at which the provider said it, not from when it was read here.
    assert kids(op, 61 * MINUTE, documents) == {"rsa"}


def test_a_change_of_keys_or_addresses_is_in_the_audit_log_once(op):
    refresh(op)
    refresh(op, 11 * MINUTE)
    told = AuditEvent.objects.filter(kind="provider.documents").order_by("seq")
    assert [event.data["source"] for event in told] == [discovery_url(op.issuer), f"{op.issuer}/jwks"]
    assert told[0].data["endpoints"]["token_endpoint"] == f"{op.issuer}/token"
    op.keys = [kit.jwk("rsa-new")]
    refresh(op, 22 * MINUTE)
    assert told.all().count() == 3
    last = told.all().last().data
    assert (len(last["keys"]), len(last["keys_before"])) == (1, 1)
    assert last["keys"] != last["keys_before"]


def test_what_cannot_be_kept_is_read_all_the_same(op):
    op.bodies = {"/jwks": '{"keys": []}'.encode("utf-16")}
    DatabaseShelf().keep("https://idp.example.com/jwks", '{"keys": []}'.encode("utf-16"), now=op.now)
    assert not OpenIdDocument.objects.exists()


def test_a_copy_from_the_future_is_not_believed(op):
    refresh(op)
    OpenIdDocument.objects.update(fetched_at=op.now + timedelta(days=30))
    kids(op)
    assert op.calls["/jwks"] == 2
