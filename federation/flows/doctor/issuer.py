"""The keys that AWS believes, and what AWS can read of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta

from cryptography.x509 import load_pem_x509_certificate
from django.conf import settings

from federation import net
from federation.errors import RolegateError
from federation.flows import rotate_keys
from federation.flows.doctor.findings import Finding, ok, problem, span, warning
from federation.issuer import publish
from federation.issuer.signing import KeySealBroken
from federation.models import current
from federation.models.keys import SigningKey
from federation.said import say

SOON = timedelta(days=30)
KEY_STATES = {
    SigningKey.State.NEXT: say("next"), SigningKey.State.ACTIVE: say("active"), SigningKey.State.RETIRING: say("retiring"),
    SigningKey.State.RETIRED: say("retired"),
}  # fmt: skip
_OVERDUE = timedelta(days=3)  # the next key waits a day in public, and a worker may have been away


def keys(now: datetime) -> Iterator[Finding]:
    """One active key of each kind, which this process can open; none too old, none about to end."""
    faults = 0
    rows = list(SigningKey.objects.exclude(state=SigningKey.State.RETIRED))
    active = {(row.purpose, row.algorithm): row for row in rows if row.state == SigningKey.State.ACTIVE}
    for kind in rotate_keys.KINDS:
        if kind not in active:
            faults += 1
            yield problem(
                "key_missing",
                say("There is no active {kind} key.", kind=" ".join(kind)),
                say("Run manage.py keys list, which makes what is missing."),
            )
    for row in rows:
        for found in _one(row, now):
            faults += 1
            yield found
    if not faults:
        oldest = min(row.activated_at or row.created_at for row in active.values())
        yield ok(f"{len(active)} active keys, the oldest in use for {span(now - oldest)}")


def _one(row: SigningKey, now: datetime) -> Iterator[Finding]:
    key = {
        "state": KEY_STATES[SigningKey.State(row.state)],
        "purpose": row.purpose,
        "algorithm": row.algorithm,
        "kid": row.kid,
    }
    try:
        current.unseal_key(row)
    except KeySealBroken:
        yield problem(
            "key_sealed",
            say(
                "The {state} {purpose} {algorithm} key {kid} cannot be opened: it was sealed under another ROLEGATE_SECRET_KEY.",
                **key,
            ),
            say(
                "Put the earlier value into ROLEGATE_SECRET_KEY_FALLBACKS. If it is lost: manage.py keys rotate PURPOSE --at-once, and give AWS the new keys."
            ),
        )
    ends = load_pem_x509_certificate(row.certificate.encode()).not_valid_after_utc
    if ends - now < SOON:
        yield (problem if ends <= now else warning)(
            "key_certificate_ends",
            say(
                "The {state} {purpose} {algorithm} key {kid} has a certificate that ends on {day}.",
                **key,
                day=f"{ends:%Y-%m-%d}",
            ),
            say(
                "Run manage.py keys rotate {purpose}: twice, with time for AWS to learn the new one in between (docs/runbook.md).",
                purpose=row.purpose,
            ),
        )
    used = now - (row.activated_at or row.created_at)
    if row.purpose == SigningKey.Purpose.TOKEN and row.state == SigningKey.State.ACTIVE:
        late = used - settings.ROLEGATE_TOKEN_KEY_AGE
        if late > _OVERDUE:
            yield warning(
                "key_overdue",
                say(
                    "The {state} {purpose} {algorithm} key {kid} should have been replaced {span} ago.",
                    **key,
                    span=span(late),
                ),
                say(
                    "See that the worker runs, and whether its log says next_key_not_public: then publish the files of the static host again."
                ),
            )


def public_documents(now: datetime) -> Iterator[Finding]:
    """Discovery, JWKS and metadata as the world reads them at ROLEGATE_ISSUER_URL are the gateway's own."""
    ours = rotate_keys.published_documents(now=now)
    theirs: dict[str, bytes] = {}
    base = str(settings.ROLEGATE_ISSUER_URL)
    for path in ours:
        try:
            answer = net.request("GET", f"{base}/{path}")
        except RolegateError as error:
            yield _unreadable(base, path, error.reason)
            continue
        if answer.status != 200:
            yield _unreadable(base, path, f"HTTP {answer.status}")
            continue
        theirs[path] = answer.body
    found = [
        difference
        for path, compare in ((publish.DISCOVERY, _discovery), (publish.JWKS, _jwks), (publish.METADATA, _metadata))
        if path in theirs
        for difference in compare(ours[path], theirs[path])
    ]
    yield from found
    if len(theirs) == len(ours) and not found:
        yield ok(f"{base} serves our discovery, JWKS and SAML metadata")


# What does not work without each. Of the JWKS the gateway itself makes sure, before it signs with a new key.
_WITHOUT = {
    publish.DISCOVERY: "AWS cannot check the gateway's tokens",
    publish.JWKS: "AWS cannot check the gateway's tokens, and no new key is taken into use",
    publish.METADATA: "no account can be given the gateway's metadata from there",
}


def _unreadable(base: str, path: str, why: str) -> Finding:
    url = f"{base}/{path}"
    return problem(
        "issuer_unreadable",
        f"{url} cannot be read ({why}): {_WITHOUT[path]}.",
        "The gateway itself serves it if it runs and the URL leads here. For a static host: manage.py keys publish --directory DIR, and upload the files.",
        url=url,
    )


_PUBLISH = "Run manage.py keys publish --directory DIR, and upload the files to the host of ROLEGATE_ISSUER_URL."


def _discovery(ours: bytes, theirs: bytes) -> Iterator[Finding]:
    if _json(theirs) != _json(ours):
        yield problem(
            "discovery_differs", "The discovery document at ROLEGATE_ISSUER_URL is not this gateway's.", _PUBLISH
        )


def _jwks(ours: bytes, theirs: bytes) -> Iterator[Finding]:
    """A key that signs and is not public: AWS refuses. One that is public and ours no longer: AWS believes a retired key."""
    public, own = _by_kid(theirs), _by_kid(ours)
    active = SigningKey.objects.filter(purpose=SigningKey.Purpose.TOKEN, state=SigningKey.State.ACTIVE)
    signing = set(active.values_list("kid", flat=True))
    unknown = sorted(kid for kid in signing if public.get(kid) != own.get(kid))
    if unknown:
        yield problem(
            "jwks_lacks_active_key",
            f"The JWKS at ROLEGATE_ISSUER_URL lacks what signs now: {', '.join(unknown)}.",
            _PUBLISH,
        )
    elif public != own:
        changed = sorted(kid for kid in public.keys() | own.keys() if public.get(kid) != own.get(kid))
        yield warning(
            "jwks_differs", f"The JWKS at ROLEGATE_ISSUER_URL is not up to date: {', '.join(changed)[:300]}.", _PUBLISH
        )


def _metadata(ours: bytes, theirs: bytes) -> Iterator[Finding]:
    if theirs.strip() != ours.strip():
        yield warning(
            "metadata_differs",
            "The SAML metadata at ROLEGATE_ISSUER_URL is not this gateway's: an account that is onboarded with it would trust other keys.",
            _PUBLISH,
        )


def _json(document: bytes) -> object:
    try:
        return json.loads(document)
    except ValueError:
        return None


def _by_kid(document: bytes) -> dict[str, object]:
    read = _json(document)
    listed = read.get("keys") if isinstance(read, dict) else None
    return {str(key.get("kid")): key for key in listed or () if isinstance(key, dict)}
