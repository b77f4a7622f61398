"""Trying an identity provider before anybody signs in with it: an entry that is not in force, and a sign-in that makes nothing.

The sign-in is verified by the same code as any other, against the entry that is being tried. It makes no session and no
person, and leaves the tester's own session alone; what it received is kept a day, for whoever tries it alone to see. What
comes into force goes through a draft of the mapping like everything else.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import transaction

from federation.audit.events import Kind, Origin
from federation.audit.record import record
from federation.errors import BadRequest, ConfigurationError, NotFound, OidcRefused, RolegateError, SamlRefused
from federation.flows import provider_documents, rate_limits
from federation.flows.sign_in import digest, redirect_uri, service_provider
from federation.identity import Identity
from federation.mapping.document import DocumentError, parse
from federation.mapping.rules import IdentityProvider
from federation.mapping.writing import plain_yaml, provider_entry
from federation.models import current
from federation.models.people import Person
from federation.models.providers import ProviderTrial
from federation.models.secrets import reveal, sealed_text
from federation.models.sessions import UsedCredential
from federation.signin import assertion, oidc, saml
from federation.signin.protocol import NameId

LABEL: Final = "test."
"""What RelayState and state of a test sign-in begin with: an ordinary one has no full stop in it."""
KEPT: Final = timedelta(days=1)
_MINUTES: Final = timedelta(minutes=10)
_REFERENCE: Final = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")


class TrialFaulty(BadRequest):
    """The entry is not one that a mapping document takes; `faults` says what is wrong at which key."""

    code = "provider_entry_invalid"
    sentence = "The identity provider's entry has faults: see the fields."

    def __init__(self, faults: tuple[tuple[str, str], ...]) -> None:
        self.faults = faults
        super().__init__(
            "provider_entry_invalid", detail="; ".join(f"{path}: {message}" for path, message in faults)[:500]
        )


class SecretOfAnother(ConfigurationError):
    """The entry names a secret that a provider in force uses for another issuer, or a directory to be read."""

    code = "secret_of_another_provider"
    status = 403
    sentence = "This secret belongs to another identity provider. Give this one an environment variable of its own."


# --- The entry ----------------------------------------------------------------------------------------


def begin(person: Person, entry: Mapping[str, Any], *, now: datetime) -> ProviderTrial:
    """Keep an entry (plain data, as in a document) to be tried. Raises TrialFaulty, SecretNotSealable."""
    text, provider = _read(entry)
    trial = ProviderTrial(person=person, slug=provider.slug, text=text, created_at=now, changed_at=now)
    trial.save(force_insert=True)
    return trial


def change(person: Person, trial_id: UUID, entry: Mapping[str, Any], *, now: datetime) -> ProviderTrial:
    """Keep another entry. What a test received stays, and is read through the new claim map. Raises as `begin`, NotFound."""
    trial = find(person, trial_id)
    if entry.get("slug") != trial.slug:
        raise TrialFaulty((("slug", "a provider keeps its slug: it is part of who its people are"),))
    text, _ = _read(entry)
    ProviderTrial.objects.filter(pk=trial.pk).update(text=text, changed_at=now)
    return find(person, trial_id)


def find(person: Person, trial_id: UUID) -> ProviderTrial:
    """The person's own trial: what was received may be about them. Raises NotFound."""
    trial = ProviderTrial.objects.filter(pk=trial_id, person=person).first()
    if trial is None:
        raise NotFound("no_such_trial")
    return trial


def is_tried(slug: str) -> bool:
    """Whether somebody tries an entry of this slug: then its provider must be able to read our metadata."""
    return ProviderTrial.objects.filter(slug=slug).exists()


def provider_of(trial: ProviderTrial) -> IdentityProvider:
    """The provider that the entry describes, as if it were enabled."""
    return replace(parse(trial.text).identity_providers[0], enabled=True)


def entry_of(trial: ProviderTrial) -> dict[str, Any]:
    """The entry as plain data."""
    return provider_entry(parse(trial.text).identity_providers[0])


def _read(entry: Mapping[str, Any]) -> tuple[str, IdentityProvider]:
    """(text of a document with this one entry, secrets sealed; the provider)."""
    text = plain_yaml({"version": 1, "identity_providers": [dict(entry)]})
    try:
        document = parse(text)
    except DocumentError as error:
        found = tuple(
            (fault.path.removeprefix("identity_providers[0]").lstrip("."), fault.message) for fault in error.faults
        )
        raise TrialFaulty(found) from error
    provider = document.identity_providers[0]
    _refuse_files(provider)
    return sealed_text(text, document), provider


def _refuse_files(provider: IdentityProvider) -> None:
    """A file of the server is named by the operator's document alone. Attack: reading files through the console's messages."""
    path = provider.saml.metadata_file if provider.saml else ""
    held = {one.saml.metadata_file for one in current.mapping().document.identity_providers if one.saml}
    if path and path not in held:
        raise TrialFaulty(
            (("saml.metadata_file", "a file can be named in the mapping document alone, by the operator"),)
        )


def read(entry: Mapping[str, Any]) -> IdentityProvider:
    """The provider that an entry describes, as if it were enabled; nothing is kept. Raises TrialFaulty, SecretNotSealable."""
    return replace(_read(entry)[1], enabled=True)


def _source_digest(provider: IdentityProvider) -> str:
    """Of what a test proves: where the provider is and how it is spoken to, not what its claims are called here."""
    source = {
        "slug": provider.slug,
        "saml": asdict(provider.saml) if provider.saml else None,
        "oidc": asdict(provider.oidc) if provider.oidc else None,
    }
    return hashlib.sha256(json.dumps(source, sort_keys=True, default=str).encode()).hexdigest()


def is_proven(trial: ProviderTrial) -> bool:
    """Whether a test of exactly this provider has succeeded, and its claims name a person."""
    provider = provider_of(trial)
    if trial.outcome != ProviderTrial.Outcome.OK or trial.proven != _source_digest(provider):
        return False
    try:
        return identity_in(trial, provider, now=trial.finished_at or trial.changed_at) is not None
    except RolegateError:
        return False


# --- A test sign-in -----------------------------------------------------------------------------------


def begin_test(person: Person, trial_id: UUID, *, origin: Origin, now: datetime) -> str:
    """Where to send the browser. Raises NotFound, RateLimited, ProviderUnavailable, MetadataInvalid, OidcRefused, SecretOfAnother."""
    trial = find(person, trial_id)
    rate_limits.hit("sign_in", person=None, address=origin.address, now=now)
    provider = provider_of(trial)
    handle = LABEL + secrets.token_urlsafe(24)
    changes: dict[str, Any] = {"nonce": "", "code_verifier": ""}
    if provider.saml is not None:
        metadata = provider_documents.unkept_metadata(provider, now=now)
        request = saml.authn_request(service_provider(provider.slug), metadata, provider, relay_state=handle, now=now)
        changes["request_id"], url = digest("trial", request.id), request.url
    else:
        _secret(provider)  # before anybody is sent away: what cannot be used later is said now
        authorization = oidc.begin(
            provider, provider_documents.oidc_documents, redirect_uri=redirect_uri(provider.slug), now=now, label=LABEL
        )
        handle, url = authorization.state, authorization.url
        changes |= {"request_id": "", "nonce": authorization.nonce, "code_verifier": authorization.code_verifier}
    ProviderTrial.objects.filter(pk=trial.pk).update(
        handle=digest("trial", handle), begun_at=now, finished_at=None, outcome="", reason="", code="", detail="",
        sample={}, proven="", **changes,
    )  # fmt: skip
    return url


def _secret(provider: IdentityProvider) -> str:
    """The client secret in clear. Attack: an owner alone learns the secret of another provider, or the password that reads a
    directory, by testing an issuer of their own.
    """
    own = provider.oidc
    if own is None:
        return ""
    document = current.mapping().document
    clients = [(one.slug, one.client) for one in document.identity_providers]
    held = [(slug, client.client_secret, client.issuer) for slug, client in clients if client is not None]
    held += [(one.slug, one.ldap.password, "") for one in document.directories if one.ldap]
    named = set(_REFERENCE.findall(own.client_secret))
    for slug, secret, issuer in held:
        same = bool(own.client_secret) and secret == own.client_secret
        if (same or named & set(_REFERENCE.findall(secret))) and issuer != own.issuer:
            raise SecretOfAnother("secret_of_another_provider", detail=slug)
    return reveal(own.client_secret)


def receive_saml(slug: str, *, saml_response: str, relay_state: str, origin: Origin, now: datetime) -> UUID | None:
    """Verify the answer to a test sign-in. Returns the trial, whose page says how it went; None where no such test waits.

    RelayState only chooses the test: the response must answer that test's own request. Raises RateLimited.
    """
    trial = _taken(slug, relay_state, origin, now) if relay_state.startswith(LABEL) else None
    if trial is None:
        return None

    def verify(provider: IdentityProvider, told: Callable[[Any], None]) -> Any:
        metadata = provider_documents.unkept_metadata(provider, now=now)
        return saml.verify_response(
            service_provider(slug), metadata, provider, saml_response,
            is_outstanding=lambda request_id: digest("trial", request_id) == trial.request_id,
            now=now, max_validity=timedelta(seconds=provider.saml.max_validity if provider.saml else 0), witness=told,
        )  # fmt: skip

    return _finish(trial, verify, SamlRefused, origin, now)


def receive_oidc(
    slug: str, *, params: Mapping[str, str], person: Person | None, origin: Origin, now: datetime
) -> UUID | None:
    """Verify the callback of a test sign-in, in the browser of the person who began it; None where no such test waits.

    Raises RateLimited.
    """
    state = params.get("state", "")
    trial = _taken(slug, state, origin, now) if state.startswith(LABEL) else None
    # Attack: another's browser is sent here with a code that is not theirs.
    if trial is None or person is None or person.pk != trial.person_id:
        return None

    def verify(provider: IdentityProvider, told: Callable[[Any], None]) -> Any:
        return oidc.complete(
            provider, provider_documents.oidc_documents, client_secret=_secret(provider), redirect_uri=redirect_uri(slug),
            params=params, state=state, nonce=trial.nonce, code_verifier=trial.code_verifier, now=now, witness=told,
        )  # fmt: skip

    return _finish(trial, verify, OidcRefused, origin, now)


def _taken(slug: str, handle: str, origin: Origin, now: datetime) -> ProviderTrial | None:
    """The test that waits for this answer, used up: of two answers one gets it."""
    rate_limits.hit("sign_in", person=None, address=origin.address, now=now)
    trial = ProviderTrial.objects.select_related("person").filter(handle=digest("trial", handle), slug=slug).first()
    if trial is None or trial.begun_at is None or now - trial.begun_at > _MINUTES:
        return None
    taken = ProviderTrial.objects.filter(pk=trial.pk, finished_at=None, handle=trial.handle).update(finished_at=now)
    return trial if taken == 1 else None


def _finish(
    trial: ProviderTrial, verify: Callable[[IdentityProvider, Callable[[Any], None]], Any],
    refuse: type[SamlRefused | OidcRefused], origin: Origin, now: datetime,
) -> UUID:  # fmt: skip
    """Verify, keep what came of it and record it. A refusal is a result here: its reason is for the page of the trial."""
    provider = provider_of(trial)
    sample: dict[str, Any] = {}

    def told(received: assertion.Received | oidc.Received) -> None:
        sample.update(_as_json(received))

    reason = code = detail = ""
    try:
        verified = verify(provider, told)
        # The same assertion must not be good for a sign-in afterwards.
        if not UsedCredential.use(verified.replay_key, expires_at=verified.replay_until):
            raise refuse("replayed")
    except RolegateError as error:
        reason, code, detail = error.reason[:128], error.code, error.detail[:1000]
    outcome = ProviderTrial.Outcome.REFUSED if reason else ProviderTrial.Outcome.OK
    with transaction.atomic():
        ProviderTrial.objects.filter(pk=trial.pk).update(
            outcome=outcome, reason=reason, code=code, detail=detail, sample=sample,
            proven="" if reason else _source_digest(provider),
        )  # fmt: skip
        record(
            Kind.PROVIDER_TESTED,
            actor=trial.person.actor,
            outcome="refused" if reason else "ok",
            origin=origin,
            now=now,
            reason=reason,
            provider=trial.slug,
            protocol="saml" if provider.saml else "oidc",
            code=code,
        )
    return trial.pk


# --- What was received --------------------------------------------------------------------------------


def _as_json(received: assertion.Received | oidc.Received) -> dict[str, Any]:
    if isinstance(received, oidc.Received):
        return {"id_token": dict(received.id_token), "userinfo": dict(received.userinfo), "partial": received.partial}
    return asdict(received)


def _from_json(sample: Mapping[str, Any]) -> assertion.Received | oidc.Received:
    if "id_token" in sample:
        return oidc.Received(sample["id_token"], sample["userinfo"], sample["partial"])
    name_id = None if sample["name_id"] is None else NameId(**sample["name_id"])
    attributes = tuple((name, friendly, tuple(values)) for name, friendly, values in sample["attributes"])
    return assertion.Received(
        **{**sample, "name_id": name_id, "attributes": attributes, "contexts": tuple(sample["contexts"])}
    )


def identity_in(trial: ProviderTrial, provider: IdentityProvider, *, now: datetime) -> Identity | None:
    """Whom the provider's claim map finds in what the last test received; None before one has received anything.

    Raises SamlRefused, OidcRefused as a sign-in would.
    """
    if not trial.sample:
        return None
    told = _from_json(trial.sample)
    if isinstance(told, oidc.Received):
        return oidc.identity_of(told, provider, now)
    return assertion.identity_of(told, provider, now)


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim that came: its name, its other name ("" for none), its values as text, and what the claim map reads it as."""

    name: str
    also: str
    values: tuple[str, ...]
    read_as: tuple[str, ...]


def claims_in(trial: ProviderTrial, provider: IdentityProvider) -> list[Claim]:
    """Every claim that the last test received, in the provider's order."""
    if not trial.sample:
        return []
    told = _from_json(trial.sample)
    mapped = provider.claims
    uses: dict[str, list[str]] = {}
    for use, name in (
        ("subject", mapped.subject), ("email", mapped.email), ("name", mapped.name), ("groups", mapped.groups),
        *((f"attributes.{own}", name) for own, name in mapped.attributes.items()),
    ):  # fmt: skip
        uses.setdefault(name, []).append(use)
    found: list[Claim] = []
    if isinstance(told, assertion.Received):
        if told.name_id is not None:
            found.append(Claim("NameID", told.name_id.format, (told.name_id.value,), tuple(uses.get("NameID", ()))))
        named = {name for name, _, _ in told.attributes}
        for name, friendly, values in told.attributes:
            # FriendlyName counts only where no attribute has it as its Name.
            read = (*uses.get(name, ()), *(uses.get(friendly, ()) if friendly not in named else ()))
            if name == assertion.METHODS and set(values) & set(mapped.mfa):
                read = (*read, "mfa")
            found.append(Claim(name, friendly, values, read))
        found.append(
            Claim("AuthnContextClassRef", "", told.contexts, ("mfa",) if set(told.contexts) & set(mapped.mfa) else ())
        )
        return found
    for where, claims in (("", told.id_token), ("userinfo", told.userinfo)):
        for name, value in claims.items():
            if where and name in told.id_token:
                continue
            read = tuple(uses.get(name, ())) + tuple(
                use
                for path, named in uses.items()
                if path.startswith(f"{name}.") and path not in claims
                for use in named
            )
            if name in {"amr", "acr"} and set(_texts(value)) & set(mapped.mfa):
                read = (*read, "mfa")
            found.append(Claim(name, where, _texts(value), read))
    return found


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in value)
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False),)
