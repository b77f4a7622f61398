"""Search of the audit log, for staff: newest first, a page at a time, at a constant price however long the log is.

Exact things (a person, a role, an access key id, a request id, an address, a kind, a reason, a rule, a span of time) are
found by indexes. Words are looked for in what is left of the log after those, `WINDOW` events at a time: a page says how far
back it has looked (`searched_to`), and its cursor goes on from there.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import F, Q, QuerySet, TextField, Value
from django.db.models.functions import Cast, Concat

from federation.audit.events import Kind
from federation.errors import BadRequest
from federation.models.accounts import Role
from federation.models.audit import AuditEvent, text_in_data
from federation.models.audit_digest import DailyCount
from federation.models.people import Person
from federation.said import say

PAGE: Final = 50
WINDOW: Final = 10_000
"""Events that are read for words at a time: some 60 to 90 ms."""
_PEOPLE: Final = 50  # that one word for a person may mean
_ROLES: Final = 500  # that one role name may mean
_KINDS: Final = frozenset(kind.value for kind in Kind)
_OUTCOMES: Final = frozenset({"ok", "refused", "failed"})


class SearchInvalid(BadRequest):
    """A part of a search cannot be read."""

    code = "search_invalid"
    sentence = "This search cannot be read."


@dataclass(frozen=True, slots=True)
class AuditSearch:
    """What is looked for; everything that is set must hold. `without_…`: what must not be.

    `person`: id, session name, e-mail, subject, or part of a name; finds what they did and what was done about them.
    `role`: an ARN, or a role's name in whatever account. `since` counts, `until` no longer does (aware).
    `words`: texts that are somewhere in the event, whatever their case.
    """

    person: str = ""
    actor: str = ""
    role: str = ""
    access_key_id: str = ""
    request_id: str = ""
    address: str = ""
    rule: str = ""
    kinds: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    words: tuple[str, ...] = ()
    without_kinds: tuple[str, ...] = ()
    without_actors: tuple[str, ...] = ()
    without_outcomes: tuple[str, ...] = ()
    without_reasons: tuple[str, ...] = ()
    without_words: tuple[str, ...] = ()


_SINGLE = {
    "person": "person", "actor": "actor", "role": "role", "key": "access_key_id", "request": "request_id", "address": "address", "rule": "rule",
}  # fmt: skip
_SEVERAL = {"kind": "kinds", "outcome": "outcomes", "reason": "reasons"}
_WITHOUT = {
    "kind": "without_kinds",
    "actor": "without_actors",
    "outcome": "without_outcomes",
    "reason": "without_reasons",
}
_ALLOWED = {"kind": _KINDS, "outcome": _OUTCOMES}


def parse_search(text: str) -> AuditSearch:
    """A search as people type it: `person:alice kind:credentials -outcome:ok since:2026-05-01 "some words" -but`.

    Keys: person, actor, role, key (access key id), request, address, rule, kind, outcome, reason, since, until (a day or a
    moment, UTC). `-` before kind, actor, outcome, reason or a word leaves it out. Raises SearchInvalid.
    """
    found: dict[str, Any] = {}
    for part in _parts(text[:2000].replace("\x00", "")):
        without, body = part.startswith("-") and len(part) > 1, part.removeprefix("-")
        key, colon, value = body.partition(":")
        if not colon or key not in {*_SINGLE, *_SEVERAL, "since", "until"}:
            name = "without_words" if without else "words"
            found[name] = (*found.get(name, ()), body if without else part)
            continue
        if not value:
            raise _invalid(say("Write what to look for behind {key}:, without a space between.", key=key))
        if value not in _ALLOWED.get(key, {value}):
            known = ", ".join(sorted(_ALLOWED[key]))
            raise _invalid(say("{value} is no {key}; there are {known}.", value=value, key=key, known=known))
        if without:
            if key not in _WITHOUT:
                raise _invalid(
                    say(
                        "{key}: cannot be left out with a minus; that goes for {keys} and words.",
                        key=key,
                        keys=", ".join(_WITHOUT),
                    )
                )
            found[_WITHOUT[key]] = (*found.get(_WITHOUT[key], ()), value)
        elif key in _SEVERAL:
            found[_SEVERAL[key]] = (*found.get(_SEVERAL[key], ()), value)
        elif key in {"since", "until"}:
            found[key] = _moment(value)
        else:
            found[_SINGLE[key]] = value
    return AuditSearch(**found)


def _parts(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    lexer.quotes = '"'
    lexer.escape = ""
    try:
        return list(lexer)
    except ValueError as error:
        raise _invalid(say("A quotation mark has no partner.")) from error


def _invalid(sentence: str) -> SearchInvalid:
    return SearchInvalid("search_invalid", sentence=sentence)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _invalid(say("{text} is no day or moment; write 2026-05-03 or 2026-05-03T14:00.", text=text)) from error
    return moment


@dataclass(frozen=True, slots=True)
class AuditPage:
    """A page, newest first. `older`: the cursor of what follows, "" at the log's beginning. `searched_to`: the moment down to
    which words were looked for, where it was given up before the page was full; None otherwise. `people`: whom `person` meant.
    """

    events: tuple[AuditEvent, ...]
    older: str
    searched_to: datetime | None = None
    people: tuple[Person, ...] = ()
    newest: int = field(default=0)


def search(wanted: AuditSearch, cursor: str = "", *, size: int = PAGE) -> AuditPage:
    """One page of what `wanted` finds. At most four statements. A cursor that cannot be read is the first page."""
    rows, people = _found(wanted)
    if rows is None:
        return AuditPage((), "", people=people)
    place = _read_cursor(cursor)
    if place is not None:
        rows = rows.filter(_older_than(*place))
    rows = rows.order_by("-at", "-seq")
    if not (wanted.words or wanted.without_words):
        return _page(list(rows[: size + 1]), size, people)
    floor = rows.values_list("at", "seq")[WINDOW - 1 : WINDOW].first()
    looked = rows if floor is None else rows.filter(_from(*floor))
    page = _page(list(_with_words(looked, wanted)[: size + 1]), size, people)
    if page.older or floor is None:
        return page
    return replace(page, older=_write_cursor(*floor), searched_to=floor[0])


class Followed(NamedTuple):
    """What has come, oldest first, and the number of the last event that was looked at: where the next look begins."""

    events: list[AuditEvent]
    last: int


def follow(wanted: AuditSearch, after: int, *, size: int = 200) -> Followed:
    """What has been found since the event number `after`: for watching the log live. Looks at `WINDOW` events at most."""
    until = min(newest(), after + WINDOW)  # before the look: what comes meanwhile is for the next one
    rows, _ = _found(wanted)
    if rows is None:
        return Followed([], max(after, until))
    events = list(_with_words(rows.filter(seq__gt=after, seq__lte=until), wanted).order_by("seq")[:size])
    return Followed(events, events[-1].seq if len(events) == size else max(after, until))


def newest() -> int:
    """The number of the log's last event, 0 before the first: where `follow` begins."""
    return AuditEvent.objects.order_by("-seq").values_list("seq", flat=True).first() or 0


def _found(wanted: AuditSearch) -> tuple[QuerySet[AuditEvent] | None, tuple[Person, ...]]:
    """The events by everything but words; None where nobody, or no role, is meant."""
    if any("\x00" in text for text in _texts(wanted)):
        return None, ()  # no event holds one, and PostgreSQL takes none
    rows = AuditEvent.objects.all()
    people: tuple[Person, ...] = ()
    moments = {"at__gte": wanted.since, "at__lt": wanted.until}
    span = {name: moment for name, moment in moments.items() if moment}
    # What is left out of a closed list is said as what stays: of that the planner knows how rare it is.
    kinds = wanted.kinds
    if wanted.without_kinds:
        kinds = tuple(sorted(set(kinds or _KINDS).difference(wanted.without_kinds)))
        if not kinds:
            return None, ()
    if wanted.person:
        people = tuple(_people(wanted.person))
        if not people:
            return None, ()
        ids = [str(person.pk) for person in people]
        actors = [*ids, *(person.actor for person in people)]
        # Two indexes, one after the other: of an OR the planner may make a walk through everybody's events.
        theirs = AuditEvent.objects.filter(actor__in=actors, **span).values("seq")
        about = AuditEvent.objects.alias(about=text_in_data("person")).filter(about__in=ids, **span).values("seq")
        rows = rows.filter(seq__in=theirs.union(about))
    if wanted.role:
        arns = _arns(wanted.role)
        if not arns:
            return None, people
        rows = rows.alias(role=text_in_data("role_arn")).filter(role__in=arns)
    if wanted.access_key_id:
        rows = rows.alias(key=text_in_data("access_key_id")).filter(key=wanted.access_key_id)
    if wanted.rule:
        rows = rows.alias(rule=text_in_data("rule")).filter(rule=wanted.rule)
    exact = {
        "actor": wanted.actor, "request_id": wanted.request_id, "address": wanted.address, "kind__in": kinds,
        "outcome__in": wanted.outcomes, "reason__in": wanted.reasons, **span,
    }  # fmt: skip
    rows = rows.filter(**{name: value for name, value in exact.items() if value})
    without = {
        "actor__in": wanted.without_actors, "outcome__in": wanted.without_outcomes,
        "reason__in": wanted.without_reasons,
    }  # fmt: skip
    for name, value in without.items():
        if value:
            rows = rows.exclude(**{name: value})
    return rows, people


def _texts(wanted: AuditSearch) -> Iterator[str]:
    for one in fields(wanted):
        value = getattr(wanted, one.name)
        if isinstance(value, str):
            yield value
        elif isinstance(value, tuple):
            yield from value


def _people(text: str) -> list[Person]:
    wanted = Q(session_name=text) | Q(email__iexact=text) | Q(subject=text) | Q(name__icontains=text)
    try:
        wanted |= Q(pk=UUID(text))
    except ValueError:
        provider, _, name = text.partition(":")
        wanted |= Q(provider=provider, session_name=name) | Q(provider=provider, subject=name)
    return list(Person.objects.filter(wanted).order_by("provider", "subject")[:_PEOPLE])


def _arns(role: str) -> list[str]:
    if role.startswith("arn:"):
        return [role]
    return list(Role.objects.filter(name=role).order_by("arn").values_list("arn", flat=True)[:_ROLES])


def _with_words(rows: QuerySet[AuditEvent], wanted: AuditSearch) -> QuerySet[AuditEvent]:
    if wanted.words or wanted.without_words:
        space = Value(" ")
        parts = [part for name in _COLUMNS for part in (F(name), space)]
        rows = rows.alias(said=Concat(*parts, Cast("data", TextField()), output_field=TextField()))
    for word in wanted.words:
        rows = rows.filter(_says(word))
    for word in wanted.without_words:
        rows = rows.exclude(_says(word))
    return rows


_COLUMNS: Final = ("actor", "kind", "reason", "request_id", "address")


def _says(word: str) -> Q:
    said = Q(said__icontains=word)
    if connection.vendor == "sqlite" and not word.isascii():
        said |= Q(said__icontains=json.dumps(word)[1:-1])  # there the column is text, as Python wrote it
    return said


def _page(found: list[AuditEvent], size: int, people: tuple[Person, ...]) -> AuditPage:
    shown = found[:size]
    more = len(found) > size
    return AuditPage(
        tuple(shown),
        _write_cursor(shown[-1].at, shown[-1].seq) if more else "",
        people=people,
        newest=shown[0].seq if shown else 0,
    )


def _older_than(at: datetime, seq: int) -> Q:
    return Q(at__lte=at) & (Q(at__lt=at) | Q(seq__lt=seq))


def _from(at: datetime, seq: int) -> Q:
    return Q(at__gte=at) & (Q(at__gt=at) | Q(seq__gte=seq))


def _write_cursor(at: datetime, seq: int) -> str:
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%S.%f}-{seq}"


def _read_cursor(text: str) -> tuple[datetime, int] | None:
    moment, _, number = text.partition("-")
    try:
        at, seq = datetime.strptime(moment, "%Y%m%dT%H%M%S.%f").replace(tzinfo=UTC), int(number)
    except ValueError:
        return None
    return (at, seq) if 0 < seq < 2**62 else None


# --- Charts ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Day:
    """One day (UTC) of a chart: events that went well, were refused and failed."""

    day: datetime
    ok: int
    refused: int
    failed: int


def per_day(kinds: Sequence[str], *, until: datetime, days: int = 30) -> list[Day]:
    """How many events of these kinds there were on each of the last `days` days, the last one with `until` in it. One statement.

    As far as the log has been added up (`flows.digest_audit`, each minute).
    """
    last = until.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first = last - timedelta(days - 1)
    rows = DailyCount.objects.filter(kind__in=kinds, day__gte=first.date(), day__lte=last.date())
    sums: dict[tuple[Any, str], int] = {}
    for day, outcome, events in rows.values_list("day", "outcome", "events"):
        sums[day, outcome] = sums.get((day, outcome), 0) + events
    every = [first + timedelta(number) for number in range(days)]
    return [Day(day, *(sums.get((day.date(), outcome), 0) for outcome in ("ok", "refused", "failed"))) for day in every]


def causes(kinds: Sequence[str], *, until: datetime, days: int = 30) -> list[tuple[str, int]]:
    """Why events of these kinds were refused or failed in the last `days` days: (reason, how many), the most frequent first."""
    first = until.astimezone(UTC).date() - timedelta(days - 1)
    rows = DailyCount.objects.filter(kind__in=kinds, day__gte=first, day__lte=until.date()).exclude(outcome="ok")
    sums: dict[str, int] = {}
    for reason, events in rows.values_list("reason", "events"):
        sums[reason] = sums.get(reason, 0) + events
    return sorted(sums.items(), key=lambda item: (-item[1], item[0]))
