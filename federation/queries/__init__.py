"""Reads for the faces: plain frozen data, constant numbers of queries, no rule of their own."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from federation.aws.policy import READ_ONLY
from federation.errors import AccessDenied, NotSignedIn, RolegateError
from federation.flows import approvals, explain_access, provider_trials, rotate_keys, staff_rights
from federation.flows.access import fresh_identity
from federation.flows.sign_in import saml_provider, service_provider
from federation.identity import Identity
from federation.mapping.capabilities import NONE as NO_POWERS
from federation.mapping.capabilities import Powers
from federation.mapping.engine import CompiledMapping, Grant
from federation.mapping.rolearn import parse_role_arn
from federation.mapping.session import clamp_duration, longest_duration
from federation.models import current
from federation.models.catalogue import reachable
from federation.models.people import Person
from federation.models.requests import RequestedRole
from federation.signin import saml


@dataclass(frozen=True, slots=True)
class ProviderChoice:
    """One button of the sign-in page."""

    slug: str
    name: str
    email_domains: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RoleLine:
    """One role that the person has. Durations in seconds; `max_duration` is the longest that may be asked for.

    `policy`: the session policy that the mapping sets: "" none, "read-only", or "other". Only where there is none may the
    person ask for one. `needs_approval`: and there is none that counts now; where there is one, `approved_until` says until
    when, and `broken_glass` whether they took it themself. `asked`: the person's open request for it. `at_once`: whether they may take it in an emergency, without a yes.
    `usual_duration`: what credentials get unasked.
    """

    arn: str
    name: str
    account_id: str
    max_duration: int
    console_duration: int | None
    needs_approval: bool
    approvers: tuple[str, ...]
    rules: tuple[str, ...]
    direct_console: bool
    policy: str
    approved_until: datetime | None = None
    broken_glass: bool = False
    asked: UUID | None = None
    at_once: bool = False
    usual_duration: int = 3_600


@dataclass(frozen=True, slots=True)
class AccountRoles:
    """One account and the person's roles in it. `environment` is the account's tag of that name, or ""."""

    account_id: str
    name: str
    partition: str
    environment: str
    region: str
    tags: Mapping[str, str]
    roles: tuple[RoleLine, ...]


@dataclass(frozen=True, slots=True)
class MyRoles:
    """All roles of a person. `problem`: why they cannot be decided (then `accounts` is empty: unknown is not none).

    `staff`: what the person may do in the gateway's own console. `closed`: production is left out, because the person's
    directory has been silent for too long to be believed.
    """

    accounts: tuple[AccountRoles, ...]
    person_id: UUID
    total: int
    revision: int
    groups: tuple[str, ...] = ()
    problem: RolegateError | None = None
    staff: Powers = NO_POWERS
    closed: bool = False

    @property
    def etag(self) -> str:
        """Changes with anything that a client could see of it; "" where nothing could be decided. Worked out when asked for."""
        if self.problem is not None:
            return ""
        text = repr([(a.account_id, a.name, a.environment, a.roles) for a in self.accounts])
        return hashlib.sha256(f"{self.revision}\0{self.person_id}\0{text}".encode()).hexdigest()[:32]


def sign_in_choices() -> list[ProviderChoice]:
    """The enabled identity providers, in the document's order."""
    return [
        ProviderChoice(provider.slug, provider.name, provider.email_domains)
        for provider in current.mapping().document.identity_providers
        if provider.enabled
    ]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a person has asked for: the approvals that may count, and the open requests by role."""

    identity: Identity
    compiled: CompiledMapping
    rows: tuple[RequestedRole, ...]
    now: datetime
    lengths: dict[tuple[int | None, int | None], tuple[int, int]]

    def length(self, grant: Grant) -> tuple[int, int]:
        """The longest and the usual session of a grant, in seconds; worked out once for all that are alike."""
        key = grant.session.duration, grant.role_maximum
        if key not in self.lengths:
            self.lengths[key] = (
                longest_duration(grant.session, grant.role_maximum),
                clamp_duration(None, grant.session, grant.role_maximum)[0],
            )
        return self.lengths[key]

    def approved(self, grant: Grant) -> approvals.Approved | None:
        return approvals.valid(self.rows, grant, self.identity, self.compiled, now=self.now) if grant.approval else None

    def pending(self, grant: Grant) -> UUID | None:
        for row in self.rows:
            if row.role_arn == grant.role_arn and row.standing(row.request.expires_at, self.now) == "pending":
                return row.request_id
        return None


def _line(grant: Grant, asked: _Asked) -> RoleLine:
    longest, usual = asked.length(grant)
    approved = asked.approved(grant)
    if approved is not None:
        left = max(0, approved.seconds_left(asked.now))
        longest, usual = min(longest, left), min(usual, left)
    return RoleLine(
        arn=grant.role_arn,
        name=grant.role_name,
        account_id=grant.account.id,
        max_duration=longest,
        console_duration=grant.session.console_duration,
        needs_approval=grant.approval is not None and approved is None,
        approvers=tuple(str(match) for match in grant.approval.by) if grant.approval else (),
        rules=grant.rules,
        direct_console=grant.account.federation == "saml"
        and not grant.session.policy
        and not grant.session.policy_arns,
        policy=_policy(grant),
        approved_until=approved.ends_at if approved else None,
        broken_glass=approved is not None and approved.break_glass,
        asked=asked.pending(grant) if grant.approval else None,
        at_once=grant.approval is not None and asked.compiled.may_break_glass(asked.identity, grant.approval),
        usual_duration=usual,
    )


def _policy(grant: Grant) -> str:
    if grant.session.policy == READ_ONLY and not grant.session.policy_arns:
        return READ_ONLY
    return "other" if grant.session.policy or grant.session.policy_arns else ""


def my_roles(who: Person | UUID | str, *, now: datetime) -> MyRoles:
    """The person's roles by account; `who` is the row, or its id. At most five queries whatever their number: a directory is
    one, and where a rule asks for approvals, what the person has asked for is one.

    Raises NotSignedIn.
    """
    person = who if isinstance(who, Person) else Person.objects.filter(pk=who).first()
    if person is None:
        raise NotSignedIn("person_unknown")
    mapping = current.mapping()
    try:
        identity = fresh_identity(person, mapping, now=now)
    except RolegateError as problem:
        claimed = tuple(sorted(person.groups))
        return MyRoles((), person_id=person.pk, total=0, revision=mapping.number, groups=claimed, problem=problem)
    groups = tuple(sorted(identity.groups))
    decision = mapping.compiled.decide(identity, now, reachable)
    rows = approvals.open_of(person, now=now) if any(grant.approval for grant in decision.grants) else []
    asked = _Asked(identity, mapping.compiled, tuple(rows), now, {})
    by_account: dict[str, list[RoleLine]] = {}
    accounts = {}
    for grant in decision.grants:
        accounts[grant.account.id] = grant.account
        by_account.setdefault(grant.account.id, []).append(_line(grant, asked))
    listed = tuple(
        AccountRoles(
            account_id=account.id,
            name=account.name,
            partition=account.partition,
            environment=account.tags.get("environment", ""),
            region=account.region,
            tags=account.tags,
            roles=tuple(by_account[account.id]),
        )
        for account in accounts.values()
    )
    return MyRoles(
        listed, person_id=person.pk, total=sum(len(a.roles) for a in listed), revision=mapping.number, groups=groups,
        staff=staff_rights.powers_of(identity, mapping), closed=identity.directory_stale,
    )  # fmt: skip


def role_arn(who: Person | UUID | str, account_id: str, role_name: str, *, now: datetime) -> str:
    """The ARN behind a role page's address. Raises AccessDenied when the person has no such role."""
    return role_line(who, account_id, role_name, now=now)[1].arn


def role_line(
    who: Person | UUID | str, account_id: str, role_name: str, *, now: datetime
) -> tuple[AccountRoles, RoleLine]:
    """The role behind a page's address, with its account. Raises AccessDenied when the person has no such role."""
    roles = my_roles(who, now=now)
    if roles.problem is not None:
        raise roles.problem
    for account in roles.accounts:
        if account.account_id == account_id:
            for role in account.roles:
                if role_name in {role.name, role.arn.split(":role/", 1)[-1]}:
                    return account, role
    raise AccessDenied("role_not_granted", role=f"{account_id[:20]}/{role_name[:64]}")


def explain(
    person_id: UUID | str, wanted_arn: str, *, now: datetime, at: datetime | None = None
) -> explain_access.Story:
    """Why the person has, or has not, this role, now or at a past moment. Raises NotSignedIn, ArnInvalid, NotFound."""
    return explain_access.tell(person_id, wanted_arn, now=now, at=at)


@dataclass(frozen=True, slots=True)
class Help:
    """Whom to ask about a role. `approvers`: groups that could say yes; `owners`: groups that own the account, else the gateway.

    `asked`: the person's own open request for it, where there is one.
    """

    account_name: str
    askable: bool
    approvers: tuple[str, ...]
    owners: tuple[str, ...]
    gateway_owners: tuple[str, ...]
    asked: UUID | None


def whom_to_ask(person: Person, wanted_arn: str, *, now: datetime) -> Help:
    """Who could help with this role: approvers where it can be asked for, owners of its account, owners of the gateway."""
    mapping = current.mapping()
    arn = parse_role_arn(wanted_arn)
    account = mapping.compiled.accounts.get(arn.account_id) if arn is not None else None
    owners: list[str] = []
    gateway: list[str] = []
    for entry in mapping.document.staff:
        named = [str(match) for match in entry.groups]
        if (
            entry.role == "account-owner"
            and account is not None
            and account in mapping.compiled.accounts_of(entry.accounts)
        ):
            owners += named
        elif entry.role == "owner":
            gateway += named
    approving: tuple[str, ...] = ()
    with contextlib.suppress(RolegateError):  # the story says what stands in the way
        verdict = mapping.compiled.verdict(fresh_identity(person, mapping, now=now), wanted_arn, now, reachable)
        if verdict.code == "approval_required" and verdict.grant is not None and verdict.grant.approval is not None:
            approving = tuple(str(match) for match in verdict.grant.approval.by)
    return Help(
        account.name if account else "",
        bool(approving),
        approving,
        tuple(dict.fromkeys(owners)),
        tuple(dict.fromkeys(gateway)),
        approvals.pending(person, [wanted_arn], now=now) if approving else None,
    )


def issuer_document(path: str, *, now: datetime) -> bytes:
    """One of the documents toward AWS: `.well-known/openid-configuration`, `jwks.json`, `saml/metadata.xml`."""
    return rotate_keys.published_documents(now=now)[path]


def sp_metadata(provider_slug: str) -> bytes:
    """SAML metadata of the gateway as service provider, to a provider in force or one that is tried: it reads them first of all.

    Raises UnknownProvider, ConfigurationError without keys.
    """
    if not provider_trials.is_tried(provider_slug):
        saml_provider(provider_slug)
    return saml.sp_metadata(service_provider(provider_slug), now=timezone.now())


def gateway_name() -> str:
    """The gateway's host, for page titles."""
    return str(settings.ROLEGATE_URL).split("//", 1)[-1]
