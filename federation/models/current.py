"""What is in force now, out of the database, kept parsed in memory: the mapping, the signers, a person's identity.

Each read asks the database for the newest number first (one indexed query), so a change is in force at the next
request of every process; the memory only saves parsing the same revision again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from types import MappingProxyType

import structlog
from django.db import connection

from federation.errors import BadRequest, ConfigurationError, RolegateError, UnknownProvider
from federation.identity import Identity, Subject
from federation.issuer.signing import LocalSigner
from federation.mapping.delegated import TaggedRole, is_ours, with_delegated
from federation.mapping.document import parse_published
from federation.mapping.engine import CompiledMapping, compile_mapping
from federation.mapping.rules import Account, Catalogue, Directory, Document, IdentityProvider
from federation.models import compiled
from federation.models.accounts import OrganizationAccount, Role
from federation.models.catalogue import reachable, whole
from federation.models.keys import SigningKey
from federation.models.mapping import MappingRevision
from federation.models.people import Person
from federation.models.secrets import unseal_with_any
from federation.models.sync import Source

log = structlog.get_logger(__name__)
_EMPTY = "version: 1\n"
# Sources whose version belongs to the mapping in force.
ORGANIZATION = "organization"
ROLE_TAGS = "role_tags"


class MappingUnreadable(RolegateError):
    """The revision in force is one that this version cannot read: a newer one has published it, or this one reads less."""

    code = "mapping_unreadable"
    status = 503
    sentence = (
        "This version of the gateway cannot read the mapping document that is in force, so it decides nothing. Administrators: "
        "go on with the version that published it, or publish a document that this one reads with `manage.py apply FILE`."
    )


@dataclass(frozen=True, slots=True)
class CurrentMapping:
    """The revision in force: its number (0 before the first), document and compiled form.

    `organization`: the version of the organization's listing that `document.accounts` is completed with, 0 without one.
    `role_tags`: the version of the roles' own tags, whose rules stand behind the document's where it delegates.
    `expressions`: instructions of its expressions and globs, all together.
    `keys`: which signing keys were in use at that moment (`sp_keys` takes it, and need not ask again); None: not asked.
    """

    number: int
    sha256: str
    organization: int
    role_tags: int
    document: Document
    compiled: CompiledMapping
    keys: str | None = field(default=None, compare=False)
    expressions: int = 0

    def provider(self, slug: str) -> IdentityProvider:
        """The enabled provider with this slug. Raises UnknownProvider."""
        for provider in self.document.identity_providers:
            if provider.slug == slug and provider.enabled:
                return provider
        raise UnknownProvider("provider_unknown_or_disabled", detail=slug[:64])

    def directory_of(self, provider: str) -> Directory | None:
        """The directory of a provider's people, if it has one."""
        return next((found for found in self.document.directories if found.provider == provider), None)

    def directory(self, slug: str) -> Directory | None:
        """The directory with this slug."""
        return next((found for found in self.document.directories if found.slug == slug), None)


_lock = threading.Lock()
_mapping: CurrentMapping | None = None
_READABLE = (0, "", "")
# Number, SHA-256 and fault of a revision that cannot be read: not tried at each request.
_unreadable: tuple[int, str, str] = _READABLE
_signers: dict[str, LocalSigner] = {}
_private: dict[str, str] = {}
_held_keys: tuple[str, tuple[SigningKey, ...]] = ("", ())


@cache
def _stamp_of_keys() -> str:
    """A subquery: the signing keys in use and their states, as one text."""
    aggregate = "string_agg" if connection.vendor == "postgresql" else "group_concat"
    rows = f"SELECT kid, state FROM {compiled.table(SigningKey)} WHERE state IN ('active', 'retiring') ORDER BY kid"  # noqa: S608  ours
    return f"(SELECT {aggregate}(kid || ' ' || state, ',') FROM ({rows}) used)"  # noqa: S608


@cache
def _newest_sql() -> str:
    version = f"(SELECT version FROM {compiled.table(Source)} WHERE key = %s)"  # noqa: S608  ours
    what = f"number, sha256, {version}, {version}, {_stamp_of_keys()}"
    return f"SELECT {what} FROM {compiled.table(MappingRevision)} ORDER BY number DESC LIMIT 1"  # noqa: S608


def newest() -> compiled.Statement:
    """The question which mapping is in force, to be sent along with others; `mapping` takes the answer."""
    return _newest_sql(), [ORGANIZATION, ROLE_TAGS]


def _read_newest(answer: compiled.Answer) -> tuple[tuple[int, str, int, int], str | None]:
    """Number and SHA-256 of the revision in force, 0 and "" before the first; versions of the organization and the role tags.

    And the stamp of the signing keys, None before the first revision.
    """
    if not answer.rows:
        return (0, "", 0, 0), None
    number, sha256, organization, role_tags, keys = answer.rows[0]
    return (number, sha256, organization or 0, role_tags or 0), keys or ""


def _with_organization(document: Document, rows: Iterable[OrganizationAccount]) -> Document:
    """The document with what the organization says of its accounts: unit and tags, below the document's own; and the
    accounts that the document does not name, if they are active.
    """
    listed = {row.id: row for row in rows}
    accounts = []
    for account in document.accounts:
        row = listed.pop(account.id, None)
        if row is not None:
            account = replace(account, tags={**row.tags, **account.tags})  # noqa: PLW2901
            if not account.organizational_unit:
                account = replace(account, organizational_unit=row.organizational_unit, unit_ids=_unit_ids(row))  # noqa: PLW2901
        accounts.append(account)
    accounts += [
        Account(
            id=row.id, name=row.name or row.id, partition=row.partition, organizational_unit=row.organizational_unit,
            unit_ids=_unit_ids(row), tags=row.tags,
        )
        for row in sorted(listed.values(), key=lambda row: row.id)
        if row.state == "ACTIVE"
    ]  # fmt: skip
    return replace(document, accounts=tuple(accounts))


def _unit_ids(row: OrganizationAccount) -> tuple[str, ...]:
    return tuple(row.organizational_unit_id.split("/")) if row.organizational_unit_id else ()


def completed(document: Document, listed: Iterable[OrganizationAccount] | None = None) -> Document:
    """The document with what is known from outside: the organization's accounts, and the rules of the roles' own tags.

    `listed`: accounts to take for the organization's, instead of those that it listed last.
    """
    if listed is None and OrganizationAccount.objects.exists():
        listed = OrganizationAccount.objects.filter(present=True)
    if listed is not None:
        document = _with_organization(document, listed)
    return with_delegated(document, tagged_roles()) if document.delegations else document


def tagged_roles() -> list[TaggedRole]:
    """The present roles that have a tag of ours."""
    rows = Role.objects.filter(present=True).exclude(tags={}).values_list("arn", "tags").iterator()
    return [TaggedRole(arn, tags) for arn, tags in rows if is_ours(tags)]


def mapping(answer: compiled.Answer | None = None) -> CurrentMapping:
    """The mapping in force. One indexed query; parses only when the revision has changed. Raises MappingUnreadable.

    `answer`: of the question `newest`, where this request has asked it already.
    """
    global _mapping  # noqa: PLW0603  one parsed revision a process, replaced whole
    number, keys = _read_newest(answer or compiled.ask(newest())[0])
    held = _still(number)
    if held is None:
        with _lock:
            held = _still(number)
            if held is None:
                parsed, size = _parsed(number[0], number[1])
                document = completed(parsed)
                held = _mapping = CurrentMapping(*number, document, compile_mapping(document), keys, size)
    if held.keys != keys:
        held = _mapping = replace(held, keys=keys)
    return held


def newest_number() -> int:
    """The number of the revision in force, 0 before the first. One indexed query, and nothing is read."""
    return read_number(compiled.ask(number())[0])


def number() -> compiled.Statement:
    """The question for `newest_number`, to be sent along with others; `read_number` takes the answer."""
    return f"SELECT max(number) FROM {compiled.table(MappingRevision)}", []  # noqa: S608  ours


def read_number(answer: compiled.Answer) -> int:
    """What the answer to `number` says."""
    return int(answer.rows[0][0] or 0)


def _parsed(number: int, sha256: str) -> tuple[Document, int]:
    """The document of a revision, and how large its expressions are together. Raises MappingUnreadable."""
    global _unreadable  # noqa: PLW0603  one revision a process, replaced whole
    known, digest, fault = _unreadable
    if (known, digest) != (number, sha256) or not number:
        try:
            return parse_published(_text(number))
        except BadRequest as error:
            fault = (error.detail or error.reason)[:1000]
            log.critical("mapping_unreadable", revision=number, detail=fault)
            _unreadable = (number, sha256, fault)
    raise MappingUnreadable("mapping_unreadable", detail=f"revision {number}: {fault}")


def _text(number: int) -> str:
    return MappingRevision.objects.values_list("text", flat=True).get(pk=number) if number else _EMPTY


def in_force_with(listed: Iterable[OrganizationAccount]) -> CurrentMapping:
    """The mapping as it would be with these accounts in the organization: for previews."""
    held = mapping()
    document = completed(_parsed(held.number, held.sha256)[0], listed)
    return replace(held, document=document, compiled=compile_mapping(document))


def _still(number: tuple[int, str, int, int]) -> CurrentMapping | None:
    """What is held, if it is what is in force."""
    held = _mapping
    if held is not None and (held.number, held.sha256, held.organization, held.role_tags) == number:
        return held
    return None


def catalogue(account_id: str) -> Catalogue:
    """The roles of one account, whole, where the mapping in force has the account: as decisions see it."""
    if account_id not in mapping().compiled.accounts:
        return MappingProxyType({})
    return reachable(whole(account_id))


def unseal_key(row: SigningKey) -> bytes:
    """The private key of `row` as PEM. Raises KeySealBroken when no secret fits."""
    return unseal_with_any(row.sealed_private_key, row.kid)


def signer_of(row: SigningKey) -> LocalSigner:
    """A signer for `row`, loaded once a process."""
    held = _signers.get(row.kid)
    if held is None:
        held = LocalSigner(
            kid=row.kid, algorithm=row.algorithm, private_pem=unseal_key(row), certificate_pem=row.certificate
        )
        _signers[row.kid] = held
    return held


def _keys(stamp: str | None = None) -> tuple[SigningKey, ...]:
    """Every signing key in use, active before retiring. One statement, none where the caller has its `stamp`; the rows are
    read again only when one has changed.
    """
    global _held_keys  # noqa: PLW0603  one set of keys a process, replaced whole
    if stamp is None:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {_stamp_of_keys()}")
            stamp = cursor.fetchone()[0] or ""
    held = _held_keys
    if held[0] != stamp:
        rows = SigningKey.objects.filter(state__in=["active", "retiring"]).order_by("state", "created_at")
        held = (stamp, tuple(rows))
        _held_keys = held
    return held[1]


def signer(purpose: str, algorithm: str = "RS256") -> LocalSigner:
    """The active signer for a purpose. Raises ConfigurationError when there is none yet."""
    for row in _keys():
        if (row.purpose, row.algorithm, row.state) == (purpose, algorithm, SigningKey.State.ACTIVE):
            return signer_of(row)
    raise ConfigurationError("no_active_key", detail=f"{purpose} {algorithm}")


def sp_keys(stamp: str | None = None) -> list[tuple[str, str]]:
    """The service provider's key pairs, private key and certificate as PEM: the active one first, then the retiring.

    `stamp`: `CurrentMapping.keys` of the same request, which saves the question. Raises ConfigurationError when there is no active one, KeySealBroken when no secret fits.
    """
    rows = [row for row in _keys(stamp) if row.purpose == SigningKey.Purpose.SERVICE_PROVIDER]
    if not rows or rows[0].state != SigningKey.State.ACTIVE:
        raise ConfigurationError("no_active_key", detail="sp")
    return [(_private_pem(row), row.certificate) for row in rows]


def _private_pem(row: SigningKey) -> str:
    held = _private.get(row.kid)
    if held is None:
        held = _private[row.kid] = unseal_key(row).decode()
    return held


def identity_of(person: Person) -> Identity:
    """The identity that the person's last verified sign-in wrote."""
    at = person.claims_at or datetime.fromtimestamp(0, UTC)
    return Identity(
        subject=Subject(person.provider, person.subject_format, person.subject),
        name=person.name,
        email=person.email,
        groups=frozenset(person.groups),
        verified_at=at,
        authenticated_at=person.authenticated_at or at,
        attributes=MappingProxyType({key: tuple(values) for key, values in person.attributes.items()}),
        mfa=person.mfa,
        groups_complete=person.groups_complete,
        expires_at=person.claims_expire_at,
    )


def forget() -> None:
    """Drop what is held in memory (tests, and after a restore)."""
    global _mapping, _unreadable, _held_keys  # noqa: PLW0603
    with _lock:
        _mapping = None
        _unreadable = _READABLE
        _held_keys = ("", ())
        _signers.clear()
        _private.clear()
