"""Signing in: the request out, the answer in, and the person it proves. One-use everything, in the database.

A SAML answer is a cross-site POST, which carries no SameSite=Lax cookie. So the ACS only verifies: it stores the
verified identity under a one-use code and the browser comes back with a same-site GET, where its binding cookie is
compared with the one that started the sign-in. An answer that another browser started (login CSRF) ends there, and has
left nothing at the person whom it names: what a sign-in says of somebody is taken over when it is completed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from functools import cache
from types import MappingProxyType
from typing import Any

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction

from federation.audit.events import Kind, Origin
from federation.audit.record import Guard, record
from federation.errors import (
    OidcRefused,
    PersonDisabled,
    RateLimited,
    RolegateError,
    SamlRefused,
    SignInExpired,
    SignInRefused,
    UnknownProvider,
)
from federation.flows import latest_word, overage, provider_documents, provider_keys, purge, rate_limits
from federation.flows.closed_providers import voice
from federation.flows.refusals import record_refusal
from federation.identity import Identity, Subject
from federation.mapping.rules import IdentityProvider
from federation.mapping.session import session_name
from federation.models import compiled, current
from federation.models.access_changes import note_person_if
from federation.models.people import PastClaims, Person
from federation.models.secrets import reveal
from federation.models.sessions import LONGEST_SESSION_INDEX, SignInState, UsedCredential
from federation.signin import oidc, saml
from federation.signin.protocol import ServiceProvider, Verified
from federation.signin.reasons import Reason as SamlReason

log = structlog.get_logger(__name__)

SIGN_IN_MINUTES = timedelta(minutes=10)
CODE_SECONDS = timedelta(seconds=60)
CONFIRM_MINUTES = timedelta(minutes=5)
PURGE_ONE_IN = 250  # one begun sign-in in so many throws away up to a thousand that ended long ago


@dataclass(frozen=True, slots=True)
class Begin:
    """Where to send the browser."""

    url: str


@dataclass(frozen=True, slots=True)
class Received:
    """A verified SAML answer, waiting for its browser: `code` is one-use and good for 60 seconds."""

    code: str = field(repr=False)
    provider_slug: str
    unsolicited: bool


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A sign-in that becomes a session."""

    person: Person
    provider_slug: str
    next_path: str
    session_index: str
    name_id: dict[str, str]


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """A sign-in that no browser began (IdP-initiated): it waits for the person's own yes, and its code is still good."""

    identity: Identity


def digest(*parts: str) -> str:
    """SHA-256 of the parts, for values that are looked up but must not be stored in clear."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def service_provider(slug: str, mapping: current.CurrentMapping | None = None) -> ServiceProvider:
    """The gateway as SAML service provider toward one identity provider. Raises ConfigurationError without keys.

    `mapping`: what this request has read already, for it says which keys are in use.
    """
    base = f"{settings.ROLEGATE_URL}/saml/{slug}"
    pairs = current.sp_keys(mapping.keys if mapping else None)
    return ServiceProvider(
        entity_id=f"{base}/metadata",
        acs_url=f"{base}/acs",
        slo_url=f"{base}/slo",
        private_key_pem=pairs[0][0],
        certificate_pem=pairs[0][1],
        older=tuple(pairs[1:]),
    )


def _state_key(provider: str, protocol: str, value: str) -> str:
    return digest("state", protocol, provider, value)


def begin(provider_slug: str, *, next_path: str, binding: str, origin: Origin, now: datetime) -> Begin:
    """Start a sign-in: remember it and return the provider's URL.

    `binding`: the random string in the browser's binding cookie. `next_path`: already checked to be local.
    Raises UnknownProvider, ProviderUnavailable, RateLimited; each is in the audit log.
    """
    try:
        question = current.newest()
        in_force = rate_limits.hit_and_ask("sign_in", address=origin.address, now=now, question=question, begun=True)
        started = _begin(current.mapping(in_force), provider_slug, next_path, binding, now)
    except RolegateError as error:
        _refused(error, provider_slug, origin, now)
        raise
    if secrets.randbelow(PURGE_ONE_IN) == 0:
        purge.purge_some_sign_in_states(now=now)
    return started


def _begin(mapping: current.CurrentMapping, provider_slug: str, next_path: str, binding: str, now: datetime) -> Begin:
    provider = mapping.provider(provider_slug)
    state = SignInState(
        provider=provider.slug,
        binding=digest("binding", binding),
        next_path=next_path[:2048],
        created_at=now,
        expires_at=now + SIGN_IN_MINUTES,
    )
    if provider.saml is not None:
        metadata = provider_documents.saml_metadata(provider, now=now)
        # RelayState is the request's own id, never a URL: an open redirect has nothing to carry it.
        request = saml.authn_request(
            service_provider(provider.slug, mapping), metadata, provider, relay_state="", now=now
        )
        state.key = _state_key(provider.slug, "saml", request.id)
        url = request.url
    else:
        authorization = oidc.begin(
            provider, provider_documents.oidc_documents, redirect_uri=redirect_uri(provider.slug), now=now
        )
        state.key = _state_key(provider.slug, "oidc", authorization.state)
        state.nonce = authorization.nonce
        state.code_verifier = authorization.code_verifier
        url = authorization.url
    _store_state(state)
    return Begin(url)


def redirect_uri(slug: str) -> str:
    """The redirect URI that is registered at the OpenID provider."""
    return f"{settings.ROLEGATE_URL}/oidc/{slug}/callback"


def _refused(error: RolegateError, provider_slug: str, origin: Origin, now: datetime) -> None:
    """Record a refused sign-in, in its own transaction: nothing of the sign-in itself is left."""
    if error.status < 500 and not isinstance(error, RateLimited):
        # Not where the fault is the provider's or ours: a company that tries in vain must get in once it is mended.
        rate_limits.count_refusal("sign_in", address=origin.address, now=now)
    slug = provider_slug[:64]  # it came out of the address, and may be anything
    if error.context.get("alert"):
        # Nobody comes here by accident: a forbidden algorithm, a foreign or expired certificate, a verifier deceived.
        log.error("sign_in_alert", provider=slug, reason=error.reason, address=origin.address)
    agent = origin.user_agent
    record_refusal(Kind.SIGN_IN, error, actor=f"{slug}:?", origin=origin, now=now, provider=slug, user_agent=agent)


@dataclass(frozen=True, slots=True)
class _Begun:
    """A sign-in that was begun here, by the key of its state: whether it waits for its answer, has time left, and whether nothing
    that came with its id has been refused yet.
    """

    key: str
    waits: bool
    in_time: bool
    is_clean: bool


def _begun_by(key: str, now: datetime) -> compiled.Statement:
    what = "received_at IS NULL, expires_at > %s, relay_state = ''"
    sql = f"SELECT {what} FROM {compiled.table(SignInState)} WHERE key = %s"  # noqa: S608  ours
    return sql, compiled.adapt(SignInState, expires_at=now, key=key)


def _begun(key: str, answer: compiled.Answer) -> _Begun | None:
    """What the answer to `_begun_by` says; None: nothing was begun under this key."""
    return _Begun(key, *map(bool, answer.rows[0])) if answer.rows else None


@dataclass(frozen=True, slots=True)
class _Looked:
    """What was looked at once when an answer came in: the mapping in force, and the sign-in that it says to answer."""

    mapping: current.CurrentMapping
    begun: _Begun | None


@contextmanager
def _answering(provider_slug: str, protocol: str, handle: str, origin: Origin, now: datetime) -> Iterator[_Looked]:
    """Count an answer of a provider against its address; record what is refused inside the block.

    `handle`: the RelayState or state that came with it. Where that is of a sign-in that waits for its answer, it is counted with what
    is begun here, and not with what anybody can send: whoever floods the gateway with forgeries keeps nobody out who shares their
    address. Once: what comes with it again after a refusal is counted with the forgeries. It proves nothing else.
    """
    key = _state_key(provider_slug, protocol, handle)
    found, in_force = compiled.ask(_begun_by(key, now), current.newest())
    begun = _begun(key, found)
    apart = begun is not None and begun.waits and begun.in_time and begun.is_clean
    try:
        rate_limits.hit("sign_in", person=None, address=origin.address, now=now, begun=apart)
        yield _Looked(current.mapping(in_force), begun)
    except RolegateError as error:
        if apart and not isinstance(error, RateLimited):
            SignInState.objects.filter(key=key).update(relay_state=_REFUSED_ONCE)
        _refused(error, provider_slug, origin, now)
        raise


_REFUSED_ONCE = "refused"


def _using_once(verified: Verified) -> compiled.Statement:
    """Replay: the second use of the same assertion or token changes nothing, however many arrive at once."""
    return UsedCredential.using(verified.replay_key, expires_at=verified.replay_until)


@dataclass(frozen=True, slots=True)
class _Use:
    """What uses a sign-in up, and the refusal where another has done so: then `statement` changes nothing."""

    statement: compiled.Statement = field(repr=False)
    refusal: SignInRefused


_CLAIMS = (
    "name",
    "email",
    "groups",
    "groups_complete",
    "attributes",
    "mfa",
    "authenticated_at",
    "claims_at",
    "claims_expire_at",
)
_KEY = ("provider", "subject_format", "subject")
_store_state = compiled.Insert(SignInState)
_state_by_key = compiled.ByKey(SignInState, "key")
_state_by_code = compiled.ByKey(SignInState, "code")
_upsert_person = compiled.Insert(
    Person, unique=_KEY, update=_CLAIMS, returning=("id", "session_name", "active", "session_epoch")
)


def store_person(identity: Identity, now: datetime, use: _Use | None = None) -> Person:
    """The row of this (provider, format, subject), with today's claims. Never looked up by e-mail.

    One upsert: two first sign-ins of one person at once make one row. The session name is that of the first. `use`: is sent
    along with it; raises its refusal.
    """
    subject = identity.subject
    person = Person(
        provider=subject.provider,
        subject_format=subject.format,
        subject=subject.value,
        session_name=session_name(identity),
        name=identity.name[:1024],
        email=identity.email[:1024],
        groups=sorted(identity.groups),
        groups_complete=identity.groups_complete,
        attributes={key: list(values) for key, values in identity.attributes.items()},
        mfa=identity.mfa,
        authenticated_at=identity.authenticated_at,
        claims_at=identity.verified_at,
        claims_expire_at=identity.expires_at,
    )
    *used, stored = compiled.ask(*([use.statement] if use else ()), _upsert_person.statement(person))
    if use and not used[0].changed:
        raise use.refusal
    _upsert_person.stored(person, stored)
    _keep_claims(person, now)
    return person


def _keep_claims(person: Person, now: datetime) -> None:
    """Remember these claims, and note the change, if they differ from the last ones that are remembered. One round trip."""
    claims = {
        "groups": person.groups,
        "groups_complete": person.groups_complete,
        "attributes": person.attributes,
        "mfa": person.mfa,
    }
    digest_of = hashlib.sha256(json.dumps(claims, sort_keys=True).encode()).hexdigest()
    values = {"person_id": person.pk, "since": now, "digest": digest_of, **claims}
    new = _new_claims_sql(), compiled.adapt(PastClaims, person_id=person.pk, digest=digest_of)
    keep = compiled.insert_if(new, PastClaims, **values)
    compiled.ask(note_person_if(new, person.pk, at=now), keep)


@cache
def _new_claims_sql() -> str:
    """A condition: the last claims of a person that are remembered are others."""
    last = f"SELECT digest FROM {compiled.table(PastClaims)} WHERE person_id = %s ORDER BY since DESC, id DESC LIMIT 1"  # noqa: S608  ours
    return f"NOT EXISTS (SELECT 1 FROM ({last}) newest WHERE newest.digest = %s)"  # noqa: S608


def _limit_person(identity: Identity, now: datetime) -> None:
    """So many sign-ins a minute by one person, from wherever. Only verified answers count: nobody can lock another out."""
    subject = identity.subject
    who = f"{subject.provider}\0{subject.format}\0{subject.value}"
    rate_limits.hit("sign_in", person=who, address="", now=now)


def _admit(signing_in: _SigningIn, mapping: current.CurrentMapping, now: datetime) -> Person:
    person = store_person(signing_in.identity, now, signing_in.use)
    if not person.active:
        raise PersonDisabled("person_disabled", detail=str(person.pk))
    latest_word.refuse_inactive(person, mapping)
    return person


def _kept(verified: Verified) -> dict[str, Any]:
    """What a state keeps of a verified identity until its browser comes; `_recalled` is its inverse."""
    identity = verified.identity
    return {
        "object_id": verified.object_id,
        "format": identity.subject.format,
        "subject": identity.subject.value,
        "name": identity.name,
        "email": identity.email,
        "groups": sorted(identity.groups),
        "groups_complete": identity.groups_complete,
        "attributes": {key: list(values) for key, values in identity.attributes.items()},
        "mfa": identity.mfa,
        "verified_at": identity.verified_at.isoformat(),
        "authenticated_at": identity.authenticated_at.isoformat(),
        "expires_at": identity.expires_at.isoformat() if identity.expires_at else None,
    }


def _recalled(provider: str, kept: Mapping[str, Any]) -> Identity:
    return Identity(
        subject=Subject(provider, kept["format"], kept["subject"]),
        name=kept["name"],
        email=kept["email"],
        groups=frozenset(kept["groups"]),
        verified_at=datetime.fromisoformat(kept["verified_at"]),
        authenticated_at=datetime.fromisoformat(kept["authenticated_at"]),
        attributes=MappingProxyType({key: tuple(values) for key, values in kept["attributes"].items()}),
        mfa=kept["mfa"],
        groups_complete=kept["groups_complete"],
        expires_at=datetime.fromisoformat(kept["expires_at"]) if kept["expires_at"] else None,
    )


def receive_saml(
    provider_slug: str, *, saml_response: str, relay_state: str, origin: Origin, now: datetime
) -> Received:
    """Verify a SAML response at the ACS and keep what it proves. `complete_saml` makes a session of it, in the browser
    that began; until then nothing of the person has changed.

    Raises SamlRefused and the other sign-in errors; each is in the audit log with its precise reason.
    """
    with _answering(provider_slug, "saml", relay_state, origin, now) as looked:
        return _receive_saml(looked, provider_slug, saml_response, now)


def refuse_unreadable(
    refusal: type[SignInRefused], provider_slug: str, *, cause: str, origin: Origin, now: datetime
) -> SignInRefused:
    """An answer that could not even be read (`cause`: too large, too many fields): recorded as any other refusal.

    Returned, to be raised by the caller. Raises RateLimited.
    """
    error = refusal("form_unreadable", detail=cause)
    try:
        rate_limits.hit("sign_in", person=None, address=origin.address, now=now)
    except RolegateError as limited:
        _refused(limited, provider_slug, origin, now)
        raise
    _refused(error, provider_slug, origin, now)
    return error


def _receive_saml(looked: _Looked, provider_slug: str, saml_response: str, now: datetime) -> Received:
    mapping = looked.mapping
    provider = mapping.provider(provider_slug)
    if provider.saml is None:
        raise SamlRefused("not_a_saml_provider")
    metadata = provider_documents.saml_metadata(provider, now=now)

    answered: list[str] = []

    def is_outstanding(request_id: str) -> bool:
        key = _state_key(provider.slug, "saml", request_id)
        begun = looked.begun
        if begun is None or begun.key != key:  # the RelayState was not the request's id
            begun = _begun(key, compiled.ask(_begun_by(key, now))[0])
        if begun is None:
            return False
        if not begun.waits:
            answered.append(request_id)
        return begun.waits and begun.in_time

    try:
        verified = saml.verify_response(
            service_provider(provider.slug, mapping),
            metadata,
            provider,
            saml_response,
            is_outstanding=is_outstanding,
            now=now,
            max_validity=timedelta(seconds=provider.saml.max_validity),
        )
    except SamlRefused as error:
        if answered and error.reason == SamlReason.IN_RESPONSE_TO_UNKNOWN:
            # Signed and ours, but its request has had its answer: what an investigator looks for is the replay.
            raise SamlRefused("replayed", detail=answered[0]) from error
        raise
    code = secrets.token_urlsafe(32)
    answer = {
        "received_at": now,
        "code": digest("code", code),
        "subject": verified.identity.subject.digest,
        "identity": _kept(verified),
        "session_index": verified.session_index[:LONGEST_SESSION_INDEX],
        "name_id": {key: value or "" for key, value in asdict(verified.name_id).items()} if verified.name_id else {},
    }
    if verified.in_response_to:
        _answer(_state_key(provider.slug, "saml", verified.in_response_to), answer, verified, now)
    else:
        # Unsolicited and allowed by this provider (verify_response has refused it otherwise): no browser began it.
        with transaction.atomic():
            if not compiled.execute(*_using_once(verified)):
                raise SamlRefused("replayed")
            SignInState.objects.create(
                key=_state_key(provider.slug, "unsolicited", code),
                provider=provider.slug,
                created_at=now,
                expires_at=now + CONFIRM_MINUTES,
                unsolicited=True,
                **answer,
            )
    provider_keys.note_use(provider.slug, verified.signed_by, now=now)
    return Received(code, provider.slug, unsolicited=not verified.in_response_to)


def _answer(key: str, answer: dict[str, Any], verified: Verified, now: datetime) -> None:
    """Use up the assertion and the request with this key, both or neither.

    Raises SamlRefused: replayed. Of two copies of an assertion, and of two answers to one request, one gets through.
    """
    changes = ", ".join(f"{compiled.column(SignInState, name)} = %s" for name in answer)
    where = "key = %s AND received_at IS NULL AND expires_at > %s"
    params = compiled.adapt(SignInState, **answer) + compiled.adapt(SignInState, key=key, expires_at=now)
    take = f"UPDATE {compiled.table(SignInState)} SET {changes} WHERE {where}"  # noqa: S608  ours
    try:
        _, taken = compiled.together(
            UsedCredential.insertion(verified.replay_key, expires_at=verified.replay_until), (take, params)
        )
    except IntegrityError as error:
        raise SamlRefused("replayed") from error
    if not taken:
        raise SamlRefused("replayed")  # another answer was quicker


def _completing(state: SignInState, now: datetime) -> compiled.Statement:
    """What marks a sign-in completed and forgets whose it was: of two at once, one changes a row."""
    changes = "SET completed_at = %s, identity = NULL"
    sql = f"UPDATE {compiled.table(SignInState)} {changes} WHERE id = %s AND completed_at IS NULL"
    return sql, compiled.adapt(SignInState, completed_at=now, id=state.pk)


def complete_saml(
    provider_slug: str, *, code: str, binding: str, confirmed: bool, origin: Origin, now: datetime
) -> SignedIn | Unconfirmed:
    """Turn a verified answer into a sign-in, once, in the browser that began it.

    `confirmed`: the person has agreed, on a page of ours, to an IdP-initiated sign-in. Raises SignInExpired, UnknownProvider
    (closed in between), PersonDisabled; each is in the audit log.
    """
    try:
        return _complete_saml(provider_slug, code, binding, confirmed=confirmed, origin=origin, now=now)
    except RolegateError as error:
        # Counted only when refused: the sign-in itself was counted twice already. Guesses must not flood the audit log.
        try:
            rate_limits.hit("sign_in", person=None, address=origin.address, now=now)
        except RateLimited as limited:
            _refused(limited, provider_slug, origin, now)
            raise
        _refused(error, provider_slug, origin, now)
        raise


def _complete_saml(
    provider_slug: str, code: str, binding: str, *, confirmed: bool, origin: Origin, now: datetime
) -> SignedIn | Unconfirmed:
    found, in_force = compiled.ask(_state_by_code.statement(digest("code", code)), current.newest())
    waiting = _state_by_code.found(found)
    if waiting is None or waiting.provider != provider_slug:
        raise SignInExpired("code_unknown")
    mapping = current.mapping(in_force)
    provider = mapping.provider(waiting.provider)  # first: where it was closed meanwhile, its codes have ended with it
    if waiting.completed_at is not None or waiting.received_at is None or waiting.identity is None:
        raise SignInExpired("code_unknown")
    if now - waiting.received_at > (CONFIRM_MINUTES if waiting.unsolicited else CODE_SECONDS):
        raise SignInExpired("code_expired")
    if not waiting.unsolicited and not hmac.compare_digest(waiting.binding, digest("binding", binding)):
        # Login CSRF: somebody else's sign-in was sent to this browser. The code is burnt with it.
        compiled.execute(*_completing(waiting, now))
        raise SignInExpired("binding_mismatch")
    identity = _recalled(waiting.provider, waiting.identity)
    if waiting.unsolicited and not confirmed:
        return Unconfirmed(identity)
    _limit_person(identity, now)
    object_id = waiting.identity.get("object_id", "")  # the version before kept none
    identity, graph_said = overage.completed(provider, identity, object_id, mapping, now=now)
    used = _Use(_completing(waiting, now), SignInExpired("code_used"))
    signing_in = _SigningIn(identity, provider, "saml", used, unsolicited=waiting.unsolicited, graph=graph_said)
    person = _signed_in(signing_in, mapping, origin, now)
    return SignedIn(person, waiting.provider, waiting.next_path, waiting.session_index, dict(waiting.name_id))


@dataclass(frozen=True, slots=True)
class _SigningIn:
    """A verified sign-in on its way to a session."""

    identity: Identity
    provider: IdentityProvider
    protocol: str
    use: _Use
    unsolicited: bool = False
    graph: str = ""


class _RevisionMovedOn(Exception):
    """Another revision was published since the sign-in was looked at."""


def _signed_in(signing_in: _SigningIn, mapping: current.CurrentMapping, origin: Origin, now: datetime) -> Person:
    """The person, once the sign-in is used up and recorded: all of it, or nothing.

    Attack: a provider is closed because somebody signs in by it as whoever they like, and one such sign-in is under way. A session
    that begins behind the revision would not end with it (`closed_providers`). So where a revision came into force since `mapping`
    was read, the provider is looked at again. Raises UnknownProvider, SignInExpired (provider_changed), PersonDisabled, and
    `use.refusal`.
    """
    provider = signing_in.provider
    while True:
        try:
            with transaction.atomic():
                person = _admit(signing_in, mapping, now)
                _record_signed_in(signing_in, person, mapping.number, origin, now)
                return person
        except _RevisionMovedOn:
            mapping = current.mapping()
            if voice(mapping.provider(provider.slug), now=now) != voice(provider, now=now):
                raise SignInExpired("provider_changed", detail=provider.slug) from None


def _record_signed_in(signing_in: _SigningIn, person: Person, revision: int, origin: Origin, now: datetime) -> None:
    def refuse_other_revision(answer: compiled.Answer) -> None:
        if current.read_number(answer) != revision:
            raise _RevisionMovedOn

    record(
        Kind.SIGN_IN,
        actor=person.actor,
        outcome="ok",
        origin=origin,
        now=now,
        guard=Guard(current.number(), refuse_other_revision),
        provider=person.provider,
        protocol=signing_in.protocol,
        person=str(person.pk),
        mfa=person.mfa,
        groups=len(person.groups),
        groups_complete=person.groups_complete,
        unsolicited=signing_in.unsolicited,
        user_agent=origin.user_agent,
        graph=signing_in.graph,
    )


def complete_oidc(
    provider_slug: str, *, params: Mapping[str, str], binding: str, origin: Origin, now: datetime
) -> SignedIn:
    """Verify an OpenID Connect callback: state, binding, code exchange, ID token; one sign-in each.

    Raises OidcRefused and the other sign-in errors; each is in the audit log with its precise reason.
    """
    with _answering(provider_slug, "oidc", params.get("state", ""), origin, now) as looked:
        return _complete_oidc(looked.mapping, provider_slug, params, binding, origin=origin, now=now)


def _complete_oidc(
    mapping: current.CurrentMapping,
    provider_slug: str,
    params: Mapping[str, str],
    binding: str,
    *,
    origin: Origin,
    now: datetime,
) -> SignedIn:
    provider = mapping.provider(provider_slug)
    if provider.oidc is None:
        raise OidcRefused("not_an_oidc_provider")
    state_value = params.get("state", "")
    if not state_value:
        raise OidcRefused("state_missing")
    key = _state_key(provider.slug, "oidc", state_value)
    state = _state_by_key(key)
    if state is None or state.provider != provider.slug:
        raise OidcRefused("state_unknown")
    if state.expires_at <= now:
        raise SignInExpired("state_expired")
    if not hmac.compare_digest(state.binding, digest("binding", binding)):
        raise SignInExpired("binding_mismatch")  # login CSRF
    # Taken before the exchange: of two callbacks with one state, one gets through.
    if SignInState.objects.filter(pk=state.pk, completed_at=None).update(completed_at=now, received_at=now) != 1:
        raise OidcRefused("state_used")
    verified = oidc.complete(
        provider,
        provider_documents.oidc_documents,
        client_secret=reveal(provider.oidc.client_secret),
        redirect_uri=redirect_uri(provider.slug),
        params=params,
        state=state_value,
        nonce=state.nonce,
        code_verifier=state.code_verifier,
        now=now,
    )
    _limit_person(verified.identity, now)
    identity, graph_said = overage.completed(provider, verified.identity, verified.object_id, mapping, now=now)
    used = _Use(_using_once(verified), OidcRefused("replayed"))
    signing_in = _SigningIn(identity, provider, "oidc", used, graph=graph_said)
    person = _signed_in(signing_in, mapping, origin, now)
    called = asdict(verified.name_id) if verified.name_id else {}
    return SignedIn(person, provider.slug, state.next_path, verified.session_index[:LONGEST_SESSION_INDEX], called)


def provider_of(slug: str) -> IdentityProvider:
    """The enabled provider with this slug. Raises UnknownProvider."""
    return current.mapping().provider(slug)


def saml_provider(slug: str) -> IdentityProvider:
    """The enabled SAML provider with this slug. Raises UnknownProvider (also for one that does not speak SAML)."""
    provider = provider_of(slug)
    if provider.saml is None:
        raise UnknownProvider("not_a_saml_provider", detail=slug)
    return provider
