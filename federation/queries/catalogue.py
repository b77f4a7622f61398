"""The catalogue as the staff see it: accounts, roles and what is wrong with their trust. Constant numbers of queries.

`scope`: the accounts that whoever asks may see, None for all (`mapping.capabilities`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, Literal

from django.db.models import Count, Q, QuerySet

from federation.aws.gateway_trust import READER_ROLE
from federation.aws.trust import CODES, Severity, TrustReport
from federation.errors import NotFound
from federation.flows import check_trust
from federation.flows.refresh_findings import KEPT, SEVERITIES
from federation.mapping.engine import CompiledMapping
from federation.mapping.rolearn import parse_role_arn
from federation.mapping.rules import Account
from federation.models import current
from federation.models.accounts import NEVER_USED, OrganizationAccount, Role
from federation.models.catalogue import ACCOUNT
from federation.models.entitlements import Entitlement
from federation.models.findings import ExaminedAccount, TrustFinding
from federation.models.sync import Source
from federation.queries import keyset
from federation.said import unpacked

Scope = Collection[str] | None
RoleSort = Literal["name", "-name", "used", "-used"]
UNUSED_AFTER: Final = timedelta(days=90)
_NOTHING: Mapping[Severity, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class AccountLine:
    """One account. `owners`: the groups whose members own it in the console. `state`: of its source, "never" before the first reading.

    `cause`: what the last reading failed for, in AWS's words. `left_out`: how many roles no gateway can use, `examples`: their ARNs.
    `findings`: how many of each severity.
    """

    account: Account
    owners: tuple[str, ...]
    state: str
    read_at: datetime | None
    error_code: str
    roles: int
    findings: Mapping[Severity, int]
    cause: str = ""
    left_out: int = 0
    examples: tuple[str, ...] = ()

    @property
    def environment(self) -> str:
        """The account's tag of that name."""
        return self.account.tags.get("environment", "")

    @property
    def worst(self) -> list[tuple[Severity, int]]:
        """The severities that there are, the worst first."""
        return [(severity, self.findings[severity]) for severity in SEVERITIES if self.findings.get(severity)]


@dataclass(frozen=True, slots=True)
class AccountFilter:
    """What is asked for: words in name, id, tags, unit or owner; the environment; the state of its source; with findings only."""

    words: str = ""
    environment: str = ""
    state: str = ""
    findings: bool = False


@dataclass(frozen=True, slots=True)
class AccountsPage:
    """A page of accounts. `found` of `total`; `after`: the id to go on behind, "" at the end; `before` likewise."""

    lines: tuple[AccountLine, ...]
    found: int
    total: int
    first: int
    earlier: str
    later: str
    environments: tuple[str, ...]


def accounts(
    wanted: AccountFilter, *, scope: Scope, sort: str = "name", start: int = 0, size: int = keyset.PAGE_SIZE
) -> AccountsPage:
    """A page of accounts, sorted by `name`, `id`, `roles`, `read` or `findings` ("-" before it: descending). Four queries.

    The accounts themselves are in memory, with the mapping: at a thousand of them, a page's number is as good as a key.
    """
    compiled = current.mapping().compiled
    mine = _seen_by(scope, compiled.document.accounts)
    sources = {row.key.removeprefix(ACCOUNT): row for row in Source.objects.filter(key__startswith=ACCOUNT)}
    found_of = _findings_by_account()
    owners = _owners(compiled)
    lines = [_account_line(a, owners.get(a.id, ()), sources.get(a.id), found_of.get(a.id, _NOTHING)) for a in mine]
    matching = [line for line in lines if _matches(line, wanted)]
    matching.sort(key=_SORTS.get(sort.lstrip("-"), _SORTS["name"]), reverse=sort.startswith("-"))
    start = min(max(start, 0), max(0, (len(matching) - 1) // size * size))
    shown = matching[start : start + size]
    return AccountsPage(
        tuple(shown), len(matching), len(mine), start,
        str(max(0, start - size)) if start else "", str(start + size) if start + size < len(matching) else "",
        tuple(sorted({line.environment for line in lines if line.environment})),
    )  # fmt: skip


def account(account_id: str) -> AccountLine:
    """One account. Raises NotFound where neither the mapping nor the organization has it."""
    compiled = current.mapping().compiled
    known = compiled.accounts.get(account_id)
    if known is None:
        raise NotFound("account_unknown", sentence="The mapping and the organization have no such account.")
    source = Source.objects.filter(key=ACCOUNT + account_id).first()
    found = _findings_by_account(account_id).get(account_id, _NOTHING)
    return _account_line(known, _owners(compiled).get(account_id, ()), source, found)


def organization_account(account_id: str) -> OrganizationAccount | None:
    """What the organization says of it."""
    return OrganizationAccount.objects.filter(pk=account_id).first()


def _account_line(
    account: Account, owners: Sequence[str], source: Source | None, findings: Mapping[Severity, int]
) -> AccountLine:
    return AccountLine(
        account, tuple(owners), source.state if source else Source.State.NEVER.value,
        source.succeeded_at if source else None, source.error_code if source else "",
        int(source.counts.get("roles", 0)) if source else 0, findings, source.error_detail if source else "",
        int(source.counts.get("unusable", 0)) if source else 0, tuple(source.counts.get("examples", ())) if source else (),
    )  # fmt: skip


_SORTS: Final[Mapping[str, Any]] = {
    "name": lambda line: (line.account.name.casefold(), line.account.id),
    "id": lambda line: line.account.id,
    "roles": lambda line: (line.roles, line.account.id),
    "read": lambda line: (line.read_at.timestamp() if line.read_at else 0, line.account.id),
    "findings": lambda line: (*(line.findings.get(severity, 0) for severity in SEVERITIES), line.account.id),
}


def _matches(line: AccountLine, wanted: AccountFilter) -> bool:
    if wanted.environment and line.environment != wanted.environment:
        return False
    if wanted.state and line.state != wanted.state:
        return False
    if wanted.findings and not line.findings:
        return False
    account = line.account
    text = " ".join(
        (account.name, account.id, account.organizational_unit, *line.owners, *(f"{k}={v}" for k, v in account.tags.items()))
    ).lower()  # fmt: skip
    return all(word in text for word in wanted.words.lower().split())


def _owners(compiled: CompiledMapping) -> dict[str, tuple[str, ...]]:
    """Account id -> the groups that own it."""
    owners: dict[str, tuple[str, ...]] = {}
    for entry in compiled.document.staff:
        if entry.accounts is not None:
            for one in compiled.accounts_of(entry.accounts):
                owners[one.id] = (*owners.get(one.id, ()), *(str(match) for match in entry.groups))
    return owners


def _findings_by_account(account_id: str = "") -> dict[str, dict[Severity, int]]:
    rows = TrustFinding.objects.filter(account_id=account_id) if account_id else TrustFinding.objects.all()
    found: dict[str, dict[Severity, int]] = {}
    for of, rank, number in rows.values_list("account_id", "severity").annotate(number=Count("pk")):
        found.setdefault(of, {})[SEVERITIES[rank]] = number
    return found


# --- Roles ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RoleFilter:
    """What is asked for: words in name, path and tags, or in the account's name, id and tags; an account; how it is used.

    `used`: "" any, "never", "unused" (not within 90 days), "lately". `gone`: those that have been removed, instead.
    """

    words: str = ""
    account_id: str = ""
    environment: str = ""
    used: str = ""
    gone: bool = False


@dataclass(frozen=True, slots=True)
class RoleLine:
    """One role of the catalogue. `rules`: names of the rules that give it, in the document's order; a deny is not among them.

    `people`: how many have it, by the entitlements.
    """

    arn: str
    name: str
    path: str
    account: Account
    last_used_at: datetime | None
    present: bool
    removed_at: datetime | None
    worst: Severity | None
    rules: tuple[str, ...]
    people: int

    @property
    def environment(self) -> str:
        """The account's tag of that name."""
        return self.account.tags.get("environment", "")

    @property
    def qualified(self) -> str:
        """Path and name: how the role is named in an address."""
        return f"{self.path}/{self.name}" if self.path else self.name


def account_names(scope: Scope) -> list[str]:
    """What the accounts that may be seen are called, and where one has no name its id; each once, by name. No query but for the revision."""
    return sorted({one.name or one.id for one in _seen_by(scope, current.mapping().compiled.accounts.values())})


def _seen_by(scope: Scope, accounts: Iterable[Account]) -> list[Account]:
    """Those of these accounts that may be seen."""
    return [one for one in accounts if scope is None or one.id in scope]


@dataclass(frozen=True, slots=True)
class RolesPage:
    """A page of roles. `environments`: of the accounts that may be seen, to filter by."""

    lines: tuple[RoleLine, ...]
    earlier: str
    later: str
    environments: tuple[str, ...]


def roles(
    wanted: RoleFilter,
    *,
    scope: Scope,
    sort: RoleSort = "name",
    cursor: str = "",
    now: datetime,
    size: int = keyset.PAGE_SIZE,
) -> RolesPage:
    """A page of roles. Five queries: the revision in force, the keys out of an index, the rows, their findings, their people."""
    # First the keys alone: the database reads them out of an index, where 200,000 rows would be 150 MB.
    compiled = current.mapping().compiled
    rows = Role.objects.filter(_wanted(wanted, scope, compiled.accounts, now)).only("id", "name")
    by_use = sort.lstrip("-") == "used"
    rows = rows.annotate(used=NEVER_USED) if by_use else rows
    sign = "-" if sort.startswith("-") else ""
    keys = (f"{sign}{'used' if by_use else 'name'}", f"{sign}id")
    found = keyset.page(rows, keys, cursor, size=size)
    whole = Role.objects.defer("trust_policy", "description", "policies").in_bulk([row.pk for row in found.rows])
    shown = [whole[row.pk] for row in found.rows if row.pk in whole]
    environments = {one.tags.get("environment", "") for one in _seen_by(scope, compiled.accounts.values())} - {""}
    return RolesPage(_role_lines(shown, compiled), found.earlier, found.later, tuple(sorted(environments)))


def _wanted(wanted: RoleFilter, scope: Scope, accounts: Mapping[str, Account], now: datetime) -> Q:
    condition = Q(present=not wanted.gone)
    if scope is not None:
        condition &= Q(account_id__in=sorted(scope))
    if wanted.account_id:
        condition &= Q(account_id=wanted.account_id)
    if wanted.environment:
        condition &= Q(
            account_id__in=[a.id for a in accounts.values() if a.tags.get("environment") == wanted.environment]
        )
    if wanted.used == "never":
        condition &= Q(last_used_at=None)
    elif wanted.used == "unused":
        condition &= Q(last_used_at=None) | Q(last_used_at__lt=now - UNUSED_AFTER)
    elif wanted.used == "lately":
        condition &= Q(last_used_at__gte=now - UNUSED_AFTER)
    for word in _words(wanted.words):
        condition &= _has(word, accounts)
    return condition


def _words(text: str) -> list[str]:
    """The words of a search. A whole ARN is its account and its path and name."""
    words: list[str] = []
    for word in text.split()[:8]:
        arn = parse_role_arn(word)
        words += [arn.account_id, arn.qualified] if arn else [word]
    return [word.lower() for word in words]


def _has(word: str, accounts: Mapping[str, Account]) -> Q:
    """A role that has the word itself, or lies in an account that has it."""
    among = [
        a.id for a in accounts.values() if word in f"{a.name} {a.id} {' '.join(f'{k}={v}' for k, v in a.tags.items())}".lower()
    ]  # fmt: skip
    itself = Q(search__contains=word)
    return itself | Q(account_id__in=among) if among else itself


def _role_lines(rows: Sequence[Role], compiled: CompiledMapping) -> tuple[RoleLine, ...]:
    worst = _worst([row.arn for row in rows])
    people = _numbers_of_people([row.arn for row in rows])
    return tuple(
        RoleLine(
            row.arn, row.name, row.path, compiled.accounts.get(row.account_id) or Account(row.account_id, row.account_id),
            row.last_used_at, row.present, row.removed_at, worst.get(row.arn), rules_that_give(row.arn, compiled), people.get(row.arn, 0),
        )
        for row in rows
    )  # fmt: skip


def _worst(arns: Sequence[str]) -> dict[str, Severity]:
    found: dict[str, Severity] = {}
    rows = TrustFinding.objects.filter(role_arn__in=arns).order_by("-severity").values_list("role_arn", "severity")
    for arn, rank in rows:  # the worst comes last
        found[arn] = SEVERITIES[rank]
    return found


def rules_that_give(role_arn: str, compiled: CompiledMapping) -> tuple[str, ...]:
    """Names of the allow rules whose target has this role, in order. Asks no database; a rule that names roles by a person's
    own groups (captures) is among them where it may.
    """
    arn = parse_role_arn(role_arn)
    account = compiled.accounts.get(arn.account_id) if arn else None
    if arn is None or account is None:
        return ()
    return tuple(
        rule.rule.name
        for rule in compiled.rules
        if not rule.denies and rule.target.chooses(account) and rule.target.might_cover(arn)
    )


@dataclass(frozen=True, slots=True)
class RolePage:
    """One role with everything that is known. `report`: its trust examined now, None where the account or the policy is not known."""

    row: Role
    line: RoleLine
    report: TrustReport | None


def role(account_id: str, qualified: str) -> RolePage:
    """One role by its account, path and name. Raises NotFound."""
    path, _, name = qualified.rpartition("/")
    row = Role.objects.filter(account_id=account_id, name=name, path=path).first()
    if row is None:
        raise NotFound("role_unknown", sentence="The catalogue has no such role in this account.")
    (line,) = _role_lines([row], current.mapping().compiled)
    report = check_trust.trust_of(row.arn) if row.present else None
    return RolePage(row, line, report)


def _numbers_of_people(arns: Sequence[str]) -> dict[str, int]:
    # Each person has a role at most once, by whatever rules: counting rows is counting people.
    rows = Entitlement.objects.filter(given__role_arn__in=arns).values("given__role_arn").order_by()
    return dict(rows.annotate(number=Count("*")).values_list("given__role_arn", "number"))


# --- Findings ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FindingFilter:
    """What is asked for: a severity, a code, an account; only roles that a rule gives."""

    severity: str = ""
    code: str = ""
    account_id: str = ""
    mapped: bool = False


@dataclass(frozen=True, slots=True)
class FindingLine:
    """One finding. `meaning`: what its code means; `sentence`: what to do about this one."""

    role_arn: str
    role: str
    account: Account
    severity: Severity
    code: str
    meaning: str
    sentence: str
    rules: tuple[str, ...]
    correctable: bool
    found_at: datetime


@dataclass(frozen=True, slots=True)
class FindingsPage:
    """A page of findings, the worst first."""

    lines: tuple[FindingLine, ...]
    earlier: str
    later: str


def findings(wanted: FindingFilter, *, scope: Scope, cursor: str = "", size: int = keyset.PAGE_SIZE) -> FindingsPage:
    """A page of findings: by severity, then account. One query."""
    rows = _of_scope(TrustFinding.objects.all(), scope)
    if wanted.severity in {str(s) for s in KEPT}:
        rows = rows.filter(severity=SEVERITIES.index(Severity(wanted.severity)))
    if wanted.code in CODES:
        rows = rows.filter(code=wanted.code)
    if wanted.account_id:
        rows = rows.filter(account_id=wanted.account_id)
    if wanted.mapped:
        rows = rows.exclude(rules=[])
    found = keyset.page(rows, ("severity", "account_id", "id"), cursor, size=size)
    accounts = current.mapping().compiled.accounts
    lines = tuple(
        FindingLine(
            row.role_arn, row.role_arn.split(":role/", 1)[-1], accounts.get(row.account_id) or Account(row.account_id, row.account_id),
            SEVERITIES[row.severity], row.code, CODES.get(row.code, ""), unpacked(row.pieces) or row.sentence, tuple(row.rules), row.correctable, row.found_at,
        )
        for row in found.rows
    )  # fmt: skip
    return FindingsPage(lines, found.earlier, found.later)


def findings_by_severity(*, scope: Scope) -> list[tuple[Severity, int]]:
    """How many there are of each severity that is kept, the worst first. One query."""
    rows = _of_scope(TrustFinding.objects.all(), scope).values_list("severity").annotate(number=Count("pk"))
    numbers = dict(rows.values_list("severity", "number"))
    return [(severity, numbers.get(rank, 0)) for rank, severity in enumerate(SEVERITIES) if severity in KEPT]


def findings_by_code(*, scope: Scope) -> list[tuple[str, str, int]]:
    """Code, meaning and number of those that there are, the most frequent first. One query."""
    rows = (
        _of_scope(TrustFinding.objects.all(), scope)
        .values("code")
        .annotate(number=Count("pk"))
        .order_by("-number", "code")
    )
    return [(row["code"], CODES.get(row["code"], ""), row["number"]) for row in rows]


def examined_since() -> datetime | None:
    """When the account that was examined longest ago was: how old the findings are at most."""
    return ExaminedAccount.objects.order_by("examined_at").values_list("examined_at", flat=True).first()


def _of_scope(rows: QuerySet[TrustFinding], scope: Scope) -> QuerySet[TrustFinding]:
    return rows if scope is None else rows.filter(account_id__in=sorted(scope))


# --- For everybody -------------------------------------------------------------------------------------------------


# AWS's own, and what the gateway itself reads an account with: nobody gets these, whatever a rule says.
KEPT_FROM_PEOPLE: Final = (
    Q(name__startswith="AWSReservedSSO_") | Q(search__startswith="aws-service-role/") | Q(name=READER_ROLE)
)
# Roles of machines: their trust names services as principals, and neither an identity provider nor anybody else ("JSON policy
# elements: Principal"). By its text, which a database can look at: what only looks so is offered once too often, not too seldom.
FOR_SERVICES_ALONE: Final = (
    Q(trust_policy__contains='"Service"')
    & ~Q(trust_policy__contains='"Federated"')
    & ~Q(trust_policy__contains='"AWS"')
)
_LOOKED_THROUGH: Final = 4


@dataclass(frozen=True, slots=True)
class FoundRole:
    """A role that exists, as a search finds it: whether anybody has it is not said."""

    arn: str
    name: str
    account_id: str
    account_name: str
    environment: str
    description: str


def find_roles(query: str, *, most: int = 50) -> list[FoundRole]:
    """Roles of the accounts that the mapping knows, by name, tag, account name or id: each word must be in one of them.

    For whoever is signed in: that a role exists is no secret, who has it is. Roles that no person gets are not found. Three
    queries; the keys come out of an index, and the trust of a few times as many as are wanted is looked at.
    """
    accounts = current.mapping().compiled.accounts
    condition = Q(present=True, account_id__in=list(accounts))
    for word in _words(query)[:6]:
        condition &= _has(word, accounts)
    keys = list(
        Role.objects.filter(condition)
        .exclude(KEPT_FROM_PEOPLE)
        .order_by("name", "id")
        .values_list("id", flat=True)[: most * _LOOKED_THROUGH]
    )
    whole = Role.objects.exclude(FOR_SERVICES_ALONE).defer("trust_policy", "policies").in_bulk(keys)
    return [
        FoundRole(
            row.arn, row.name, row.account_id, accounts[row.account_id].name,
            accounts[row.account_id].tags.get("environment", ""), row.description,
        )
        for row in [whole[key] for key in keys if key in whole][:most]
    ]  # fmt: skip
