"""The days of the company as audit events: sign-ins, roles used, refusals. Every event has the data that the flow itself writes.

tests/config/test_demo_history.py compares the two, kind by kind.
"""

from __future__ import annotations

import hashlib
import random
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from config.demo_history.company import Claims, Company, Employee
from federation.audit.events import Kind, Origin
from federation.audit.record import Entry
from federation.aws.partitions import partition
from federation.mapping.engine import CompiledMapping, Grant
from federation.mapping.session import clamp_duration, session_name

# Office -> (hours ahead of UTC, the addresses that its people come from; RFC 5737 and RFC 3849 documentation ranges).
_OFFICES: Final = {
    "Berlin": (1, "192.0.2.{}"),
    "London": (0, "198.51.100.{}"),
    "New York": (-5, "203.0.113.{}"),
    "Tokyo": (9, "192.0.2.2{}"),
    "home": (1, "2001:db8:{:x}::1"),
}
_BROWSERS: Final = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15",
)
COMMAND_LINE: Final = "rolegate-cli/0.1.0"
_DESTINATIONS: Final = (
    "",
    "",
    "",
    "https://eu-west-1.console.aws.amazon.com/ec2/home",
    "https://s3.console.aws.amazon.com/s3/home",
)
# Given by the mapping, and hardly ever used: what the report on unused access is about.
_UNUSED_RULES: Final = frozenset(
    {"release-managers-deploy-everywhere", "everybody-plays-in-the-sandbox", "security-investigates-everywhere"}
)
# (reason, code, how often of a thousand refusals)
_REFUSALS: Final = (
    ("code_expired", "sign_in_expired", 260),
    ("binding_mismatch", "sign_in_expired", 40),
    ("expired", "saml_refused", 230),
    ("in_response_to_unknown", "saml_refused", 180),
    ("replayed", "saml_refused", 60),
    ("status_not_success", "saml_refused", 150),
    ("not_yet_valid", "saml_refused", 50),
    ("unsolicited", "saml_refused", 30),
)
_DENIALS: Final = (
    ("claims_too_old", "claims_too_old", 500),
    ("approval_required", "approval_required", 250),
    ("no_matching_rule", "access_denied", 150),
    ("denied_by_rule", "access_denied", 100),
)
_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


@dataclass(slots=True)
class Known:
    """What is remembered of a person while the days go by."""

    employee: Employee
    id: uuid.UUID
    session_name: str
    browser: str
    last_sign_in: datetime | None = None

    @property
    def actor(self) -> str:
        """As the audit log names them."""
        return f"{self.employee.subject.provider}:{self.session_name}"


@dataclass(frozen=True, slots=True)
class InForce:
    """A revision of the mapping from `since` on, and what it gave to each set of claims."""

    number: int
    since: datetime
    compiled: CompiledMapping
    grants: dict[Any, tuple[Grant, ...]] = field(default_factory=dict)

    def given(self, employee: Employee, claims: Claims) -> tuple[Grant, ...]:
        """The roles that need no approval."""
        key = (claims.groups, claims.department, employee.mfa, employee.groups_complete)
        if key not in self.grants:
            decision = self.compiled.decide(employee.identity(claims, self.since), self.since)
            found = () if not employee.groups_complete else decision.grants
            self.grants[key] = tuple(grant for grant in found if grant.approval is None)
        return self.grants[key]


@dataclass(slots=True)
class Use:
    """How one person used one role: when last, at which page of the console, how often."""

    at: datetime
    destination: str
    times: int = 1


class Days:
    """Makes the events. `last_used`: role ARN -> when it was last used; `used_by`: the same for each person; once `entries` was called."""

    def __init__(self, company: Company, people: Sequence[Known], revisions: Sequence[InForce]) -> None:
        self.company, self.people, self.revisions = company, people, revisions
        self.last_used: dict[str, datetime] = {}
        self.used_by: dict[tuple[uuid.UUID, str], Use] = {}
        self._chance = random.Random("ninety days of Example Corp")  # noqa: S311  the same company each time, no secret
        self._favourites: dict[Any, tuple[Sequence[Grant], Sequence[int]]] = {}

    def entries(self) -> list[Entry]:
        """Every event, oldest first, all before now."""
        found: list[Entry] = []
        day = self.company.begin.replace(hour=0, minute=0, second=0, microsecond=0)
        while day <= self.company.now:
            found += self._day(day)
            day += timedelta(days=1)
        found += self._incidents()
        first, last = self.company.begin, self.company.now - timedelta(minutes=2)
        kept = [entry for entry in found if first + timedelta(hours=1) < entry.now < last]
        kept.sort(key=lambda entry: entry.now)
        return kept

    # --- One day ---------------------------------------------------------------------------------------

    def _day(self, day: datetime) -> Iterator[Entry]:
        weekend = day.weekday() >= 5
        for known in self.people:
            employee = known.employee
            on_call = any(group.endswith("-oncall") for group in employee.claims_at(day).groups)
            likely = employee.busy * (0.35 if on_call else 0.03) if weekend else employee.busy
            if self._chance.random() >= likely:
                continue
            ahead, _ = _OFFICES[employee.office]
            at = day + timedelta(hours=self._chance.gauss(9.1, 1.0) - ahead, seconds=self._chance.uniform(0, 3600))
            if at < employee.joined or (employee.left is not None and at > employee.left):
                continue
            yield from self._person(known, at)

    def _origin(self, known: Known | None, *, command_line: bool = False) -> Origin:
        if known is None:
            number, office, browser = self._chance.randint(1, 250), "home", _BROWSERS[0]
        else:
            number, office, browser = known.id.int % 250 + 1, known.employee.office, known.browser
        if office == "Tokyo":
            number %= 30
        return Origin(
            request_id=f"{self._chance.getrandbits(64):016x}",
            address=_OFFICES[office][1].format(number),
            user_agent=COMMAND_LINE if command_line else browser,
        )

    def _person(self, known: Known, at: datetime) -> Iterator[Entry]:
        """A working day of one person."""
        employee = known.employee
        if self._chance.random() < 0.025:
            yield self._refused_sign_in(known, at - timedelta(seconds=self._chance.uniform(20, 90)))
        yield self._sign_in(known, at)
        if at < self.company.now - timedelta(minutes=2):
            known.last_sign_in = at
        uses = min(9, int(self._chance.expovariate(1 / employee.uses) + 0.35))
        for _ in range(uses):
            when = at + timedelta(seconds=self._chance.expovariate(1 / 9000) + 15)
            if when > at + timedelta(hours=11):
                continue
            if self._chance.random() < 0.012:
                denied = self._denied(known, when)
                if denied is not None:
                    yield denied
                    continue
            yield from self._use(known, when)
        if self._chance.random() < 0.18:
            yield Entry(
                Kind.SIGN_OUT, known.actor, "ok", self._origin(known), at + timedelta(hours=self._chance.uniform(6, 10)),
                data={"person": str(known.id)},
            )  # fmt: skip

    def _sign_in(self, known: Known, at: datetime) -> Entry:
        employee, origin = known.employee, self._origin(known)
        claims = employee.claims_at(at)
        data = {
            "provider": employee.subject.provider,
            "protocol": "saml",
            "person": str(known.id),
            "mfa": employee.mfa,
            "groups": len(claims.groups),
            "groups_complete": employee.groups_complete,
            "unsolicited": False,
            "graph": "",
            "user_agent": origin.user_agent,
        }
        return Entry(Kind.SIGN_IN, known.actor, "ok", origin, at, data=data)

    def _refused_sign_in(
        self, known: Known | None, at: datetime, reason: str = "", code: str = "saml_refused"
    ) -> Entry:
        if not reason:
            reason, code, _ = self._chance.choices(_REFUSALS, [weight for *_, weight in _REFUSALS])[0]
        origin = self._origin(known)
        data = {"provider": "corp", "code": code, "user_agent": origin.user_agent}
        return Entry(Kind.SIGN_IN, "corp:?", "refused", origin, at, reason=reason, data=data)

    # --- Using a role ----------------------------------------------------------------------------------

    def _in_force(self, at: datetime) -> InForce | None:
        return next((revision for revision in reversed(self.revisions) if revision.since <= at), None)

    def _preferred(self, known: Known, revision: InForce, claims: Claims) -> tuple[Sequence[Grant], Sequence[int]]:
        """The few roles that this person really uses, and how often each: most of what people may use they never do."""
        key = (known.id, revision.number, claims.since)
        if key not in self._favourites:
            own = {group.partition("-")[0] for group in claims.groups if group.endswith(("-team", "-oncall"))}
            weighed = []
            for grant in revision.given(known.employee, claims):
                if grant.rule in _UNUSED_RULES:
                    continue
                taste = hashlib.sha256(f"{known.employee.login} {grant.role_arn}".encode()).digest()[0] + 1
                liked = 6 if grant.account.tags.get("team", "") in own else 1
                weighed.append((taste * liked, grant))
            weighed.sort(key=lambda pair: (-pair[0], pair[1].role_arn))
            few = weighed[: 2 + known.id.int % 4]
            self._favourites[key] = [grant for _, grant in few], [10, 6, 3, 2, 1][: len(few)]
        return self._favourites[key]

    def _use(self, known: Known, at: datetime) -> Iterator[Entry]:
        revision = self._in_force(at)
        if revision is None or at >= self.company.now - timedelta(minutes=2):
            return
        grants, weights = self._preferred(known, revision, known.employee.claims_at(at))
        if not grants:
            return
        grant = self._chance.choices(grants, weights)[0]
        command_line = known.employee.command_line and self._chance.random() < 0.7
        channel = "api" if command_line else "portal"
        origin = self._origin(known, command_line=command_line)
        common = {
            "person": str(known.id),
            "role_arn": grant.role_arn,
            "rule": grant.rule,
            "revision": revision.number,
            "source_identity": known.session_name,
        }
        tags = [] if not grant.session.tags else sorted(grant.session.tags)
        mint = {"channel": channel, **common, "session_name": known.session_name, "tags": tags}
        if grant.account.federation == "saml":
            recipient = partition(grant.account.partition).saml_recipient(grant.account.region)
            mint |= {"assertion_id": f"_{self._chance.getrandbits(160):040x}", "recipient": recipient}
            yield Entry(Kind.MINT_ASSERTION, known.actor, "ok", origin, at, data=mint)
        else:
            yield Entry(
                Kind.MINT_TOKEN,
                known.actor,
                "ok",
                origin,
                at,
                data={**mint, "token_id": f"{self._chance.getrandbits(128):032x}"},
            )
        access_key_id = "ASIA" + "".join(self._chance.choices(_ALPHABET, k=16))
        after = at + timedelta(milliseconds=self._chance.randint(90, 400))
        seconds = clamp_duration(None, grant.session, None)[0]
        data: dict[str, Any] = {"channel": channel, **common, "access_key_id": access_key_id, "duration": seconds}
        if command_line or self._chance.random() < 0.12:
            data["expires_at"] = after + timedelta(seconds=seconds)
            yield Entry(Kind.CREDENTIALS, known.actor, "ok", origin, after, data=data)
        else:
            data |= {
                "way": "sign-in token",
                "console_duration": grant.session.console_duration,
                "duration_dropped": False,
                "destination": self._chance.choice(_DESTINATIONS)
                or f"https://{grant.account.region or 'us-east-1'}.console.aws.amazon.com/console/home",
            }
            yield Entry(Kind.CONSOLE, known.actor, "ok", origin, after, data=data)
        use = self.used_by.setdefault((known.id, grant.role_arn), Use(at, "", 0))
        use.at, use.times = max(at, use.at), use.times + 1
        use.destination = "" if command_line else str(data.get("destination", ""))
        self.last_used[grant.role_arn] = max(at, self.last_used.get(grant.role_arn, at))

    def _denied(self, known: Known, at: datetime) -> Entry | None:
        revision = self._in_force(at)
        if revision is None:
            return None
        accounts = sorted(revision.compiled.accounts.values(), key=lambda account: account.id)
        account = self._chance.choice(accounts)
        reason, code, _ = self._chance.choices(_DENIALS, [weight for *_, weight in _DENIALS])[0]
        data = {
            "code": code,
            "channel": "portal",
            "role_arn": f"arn:{account.partition}:iam::{account.id}:role/Administrator",
        }
        kind = Kind.CONSOLE if self._chance.random() < 0.6 else Kind.CREDENTIALS
        return Entry(kind, str(known.id), "refused", self._origin(known), at, reason=reason, data=data)

    # --- What is told of at lunch ----------------------------------------------------------------------

    def _incidents(self) -> Iterator[Entry]:
        """A morning without the provider's new certificate, somebody who tried a forged response, a throttled hour of AWS."""
        now = self.company.now
        rollover = (now - timedelta(days=34)).replace(hour=8, minute=4, second=0)
        for number in range(46):
            known = self.people[(number * 7) % len(self.people)]
            yield self._refused_sign_in(known, rollover + timedelta(seconds=19 * number), "certificate_foreign")
        attack = (now - timedelta(days=12)).replace(hour=2, minute=41, second=0)
        for number, reason in enumerate(
            (
                "signature_missing",
                "assertion_misplaced",
                "duplicate_id",
                "algorithm_forbidden",
                "signature_invalid",
                "replayed",
            )
        ):
            for again in range(3):
                yield self._refused_sign_in(None, attack + timedelta(seconds=31 * number + 7 * again), reason)
        throttled = (now - timedelta(days=19)).replace(hour=13, minute=20, second=0)
        for number in range(17):
            known = self.people[number % len(self.people)]
            revision = self._in_force(throttled)
            given = revision.given(known.employee, known.employee.claims_at(throttled)) if revision else ()
            if given:
                data = {
                    "code": "sts_throttled",
                    "channel": "api",
                    "role_arn": given[0].role_arn,
                    "aws_code": "Throttling",
                }
                origin = self._origin(known, command_line=True)
                at = throttled + timedelta(seconds=41 * number)
                yield Entry(Kind.CREDENTIALS, str(known.id), "failed", origin, at, reason="sts_throttled", data=data)


def known(employee: Employee) -> Known:
    """The person as the days remember them; id and browser are the same each time."""
    number = uuid.uuid5(uuid.NAMESPACE_URL, f"https://example.com/people/{employee.subject.value}")
    name = session_name(employee.identity(employee.claims[-1], employee.joined))
    return Known(employee, number, name, _BROWSERS[number.int % len(_BROWSERS)])
