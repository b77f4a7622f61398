"""Keep the entitlements true: who has which role, worked out ahead for lists and reports. Minting never looks here.

What has changed is found by versions (mapping, catalogue), by notes (`models.access_changes`: sign-ins, directories, people
disabled), by moments (a rule that begins or ends, a directory that falls silent). Of the company only those are worked out
again whom a change can concern, and only rows that differ are written (`models.entitlement_rows`), in one transaction that
also says what it was worked out from: killed at any moment, what was in force stays in force. A lease keeps two workers from
doing the same; the transaction asks for it once more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import chain, islice
from typing import Final
from uuid import UUID

from django.db import connection

from federation.flows import company, leases, runs
from federation.flows.latest_word import subject_column
from federation.identity import Identity
from federation.mapping.company import Company, Given
from federation.mapping.concerned import Concerned, changed_rules, rules_into, turned
from federation.mapping.document import parse
from federation.mapping.rules import Document, Rule
from federation.models import compiled, current
from federation.models.access_changes import AccessChange
from federation.models.catalogue import reachable, versions
from federation.models.directory import SOURCE, DirectoryUser
from federation.models.entitlement_rows import Staging, Streaming
from federation.models.entitlements import (
    EntitlementState,
    GivenRole,
    before,
    counting_people,
    forgetting_unused,
    held_by,
    ids_of,
)
from federation.models.mapping import MappingRevision
from federation.models.people import Person, called_in_any_case
from federation.models.sync import Source

TASK: Final = "refresh_entitlements"
FEW: Final = 40
"""People who are worked out one by one: for more of them it is quicker to work out the mapping for everybody."""
# Raised whenever the same document and the same claims come to give something else than before: the lists of a gateway that is
# upgraded are worked out anew. 1: a deny finds its people in any case. 2: and in any Unicode form.
MEANING: Final = 2
_NOTES_AT_ONCE: Final = 10_000
_state = compiled.ByKey(EntitlementState, "id")
_oldest_notes = compiled.Oldest(AccessChange, most=_NOTES_AT_ONCE)

_last: current.CurrentMapping | None = None  # what the last refresh of this process went by: saves parsing it again


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh did. `people`: worked out again. `added`, `gone`: rows. `everybody`: nobody was left out."""

    people: int
    added: int
    gone: int
    everybody: bool


@dataclass(slots=True)
class _Plan:
    """What is to be done. `everybody`, or those in `people` and `providers`, and those whom `rules` can concern."""

    mapping: current.CurrentMapping
    now: datetime
    accounts: dict[str, int]
    silent: list[str]
    notes: list[int] = field(default_factory=list)
    everybody: bool = False
    people: set[UUID] = field(default_factory=set)
    providers: set[str] = field(default_factory=set)
    rules: list[Rule] = field(default_factory=list)
    state: EntitlementState | None = None
    reach: Counter[str] = field(default_factory=Counter)  # how many people more each rule has; of `everybody`, how many

    @property
    def finished_at(self) -> datetime | None:
        """When the refresh ended that this one goes on from."""
        return self.state.finished_at if self.state is not None else None

    @property
    def is_needed(self) -> bool:
        """Whether anything in what the entitlements are worked out from has changed."""
        state = self.state
        return (
            state is None
            or bool(self.notes or self.everybody or self.people or self.providers or self.rules)
            or (state.revision, state.sha256, state.organization, state.role_tags, state.accounts, state.silent)
            != (*_stamp(self.mapping), self.accounts, self.silent)
        )


def refresh(*, now: datetime, full: bool = False) -> Refreshed | None:
    """Bring the entitlements up to date; with `full`, by working out everybody anew. None where another worker is at it.

    Where nothing has changed it costs a few indexed reads, and no run is recorded.
    """
    global _last  # noqa: PLW0603
    plan = _plan(now)
    if not full and not plan.is_needed:
        runs.still_alive(TASK, {"people": 0})
        return Refreshed(0, 0, 0, everybody=False)
    with runs.run(TASK) as run:
        if run is None:
            return None
        if EntitlementState.objects.filter(pk=1).values_list("finished_at", flat=True).first() != plan.finished_at:
            plan = _plan(now)  # somebody was at it since
        plan.everybody = plan.everybody or full
        if plan.everybody:
            run.total(Person.objects.count())
        streams = plan.everybody and connection.vendor == "postgresql" and not connection.in_atomic_block
        with Streaming() if streams else Staging() as staging:
            people = _work_out(plan, staging, run, _Behind() if streams else _Here())
            staging.swap(lambda: _seal(plan, staging, run.lease))
        _last = plan.mapping
        done = Refreshed(people, staging.added, staging.gone, plan.everybody)
        run.row.total = run.row.done = people
        run.detail = {"people": people, "added": staging.added, "gone": staging.gone, "everybody": plan.everybody}
        return done


# --- What has changed -----------------------------------------------------------------------------------------


def _plan(now: datetime) -> _Plan:
    in_force, listings, last, noted = compiled.ask(
        current.newest(), versions(), _state.statement(1), _oldest_notes.statement()
    )
    mapping, accounts = current.mapping(in_force), dict(listings.rows)
    state = _state.found(last)
    plan = _Plan(mapping, now, accounts, _silent(mapping, now), state=state)
    _read_notes(plan, map(_oldest_notes.instance, noted.rows))
    if state is None or state.meaning != MEANING:
        plan.everybody = True
        return plan
    if (state.revision, state.sha256, state.organization, state.role_tags) != _stamp(mapping):
        _compare_mappings(plan, state)
    changed = {key for key in {*accounts, *state.accounts} if accounts.get(key) != state.accounts.get(key)}
    if changed:
        plan.rules += rules_into(mapping.compiled, changed)
    plan.rules += turned(mapping.compiled.timed, state.judged_at, now)
    plan.providers |= set(state.silent) ^ set(plan.silent)
    return plan


def _stamp(mapping: current.CurrentMapping) -> tuple[int, str, int, int]:
    return mapping.number, mapping.sha256, mapping.organization, mapping.role_tags


def _silent(mapping: current.CurrentMapping, now: datetime) -> list[str]:
    """Slugs of the providers whose directory's word is too old to be believed for production."""
    limited = [found for found in mapping.document.directories if found.stale_after is not None]
    if not limited:
        return []
    keys = [f"{SOURCE}{directory.slug}" for directory in limited]
    heard = dict(Source.objects.filter(pk__in=keys).values_list("key", "succeeded_at"))
    silent = []
    for directory in limited:
        at = heard.get(f"{SOURCE}{directory.slug}")
        if at is None or now - at > timedelta(seconds=directory.stale_after or 0):
            silent.append(directory.provider)
    return sorted(silent)


def _compare_mappings(plan: _Plan, state: EntitlementState) -> None:
    """Which rules differ from those that the entitlements go by; everybody, where more than rules may differ."""
    if (state.organization, state.role_tags) != (plan.mapping.organization, plan.mapping.role_tags):
        plan.everybody = True  # what the organization and the tags said then is not kept
        return
    old = _last.document if _last is not None and _stamp(_last) == _stamp_of(state) else _read(state)
    new = plan.mapping.document
    if old is None or (old.accounts, old.identity_providers, old.directories) != (
        new.accounts, new.identity_providers, new.directories,
    ):  # fmt: skip
        plan.everybody = True
        return
    for rules in changed_rules(old.rules, new.rules):
        plan.rules += rules


def _stamp_of(state: EntitlementState) -> tuple[int, str, int, int]:
    return state.revision, state.sha256, state.organization, state.role_tags


def _read(state: EntitlementState) -> Document | None:
    text = MappingRevision.objects.filter(pk=state.revision, sha256=state.sha256).values_list("text", flat=True).first()
    return None if text is None else current.completed(parse(text, published=True))


def _read_notes(plan: _Plan, notes: Iterable[AccessChange]) -> None:
    members: list[str] = []
    for row in notes:
        plan.notes.append(row.pk)
        match row.kind:
            case AccessChange.About.PERSON:
                plan.people.update(UUID(key) for key in row.keys)
            case AccessChange.About.SUBJECT:
                plan.people.update(_people_called(row.keys[0], row.keys[1:]))
            case AccessChange.About.MEMBER:
                members += row.keys
            case AccessChange.About.PROVIDER:
                plan.providers.update(row.keys)
            case _:
                plan.everybody = True
    if members:
        plan.people.update(_people_behind(plan.mapping, members))


def _people_called(provider: str, subjects: list[str]) -> Iterable[UUID]:
    # In any case: a directory takes away so (`latest_word`), and whoever is worked out once more has what they had.
    return called_in_any_case(provider, subjects)


def _people_behind(mapping: current.CurrentMapping, user_ids: list[str]) -> Iterator[UUID]:
    """Ids of the people who sign in as these people of directories."""
    for directory in mapping.document.directories:
        of_directory = DirectoryUser.objects.filter(directory=directory.slug)
        for start in range(0, len(user_ids), company.AT_ONCE):
            some = of_directory.filter(pk__in=[UUID(key) for key in user_ids[start : start + company.AT_ONCE]])
            subjects = [str(value) for value in some.values_list(subject_column(directory), flat=True)]
            yield from _people_called(directory.provider, subjects)


# --- Working it out --------------------------------------------------------------------------------------------


class _Here:
    """Stages each batch before the next is worked out."""

    def __enter__(self) -> Callable[[Callable[[], None]], None]:
        return self._run

    def __exit__(self, *raised: object) -> None:
        pass

    def _run(self, stage: Callable[[], None]) -> None:
        stage()


def _close_connection() -> None:
    connection.close()  # looked up in the thread whose connection it is


class _Behind(_Here):
    """Stages one batch, in a thread with a connection of its own, while the next is worked out: the one waits for the
    database most of the time, the other never. Raises at the next batch, or at the end, what staging raised.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "entitlements-staged")
        self._staged: Future[None] | None = None

    def __exit__(self, *raised: object) -> None:
        try:
            if self._staged is not None:
                self._staged.result()
        finally:
            self._thread.submit(_close_connection).result()
            self._thread.shutdown()

    def _run(self, stage: Callable[[], None]) -> None:
        if self._staged is not None:
            self._staged.result()
        self._staged = self._thread.submit(stage)


def _work_out(plan: _Plan, staging: Staging, run: runs.Run, staged: _Here) -> int:
    """Stage the rows that differ. Returns how many people were worked out."""
    members = _members(plan)
    batch = list(islice(members, FEW + 1))
    if len(batch) <= FEW:
        give = _one_by_one(plan)
    else:
        of_everybody = Company(plan.mapping.compiled, plan.now, reachable)
        give = lambda identity: of_everybody.standing(identity).grants
    ids = _Ids(from_nothing=plan.state is None and not GivenRole.objects.exists())
    people = 0
    with staged as stage:
        while batch:
            people += len(batch)
            gets = {member.person.pk: tuple(give(member.identity)) if member.identity else () for member in batch}
            stage(partial(_stage, gets, plan, staging, ids))
            run.progress(people)
            batch = list(islice(members, company.AT_ONCE))
    return people


class _Ids:
    """Ids of the given roles that were met so far, by the object: a company's million rows are not hashed one by one."""

    def __init__(self, *, from_nothing: bool) -> None:
        """`from_nothing`: no given role is stored yet but those of this refresh."""
        self._from_nothing = from_nothing
        self._known: dict[int, int] = {}
        self._kept: list[Given] = []  # an object that went would leave its number to another

    def learn(self, givens: Iterable[Given]) -> None:
        """Find, or store, those that are new. At most four statements."""
        new = {id(given): given for given in givens if id(given) not in self._known}
        self._kept += new.values()
        self._known.update(zip(new, ids_of(list(new.values()), all_new=self._from_nothing), strict=True))

    def of(self, givens: Iterable[Given]) -> list[int]:
        """The ids, in order, of given roles that were learnt."""
        return list(map(self._known.__getitem__, map(id, givens)))


def _members(plan: _Plan) -> Iterator[company.Member]:
    """Those whom what has changed can concern."""
    if not (plan.everybody or plan.providers or plan.rules):
        chosen = sorted(plan.people)
        for start in range(0, len(chosen), company.AT_ONCE):
            rows = Person.objects.filter(pk__in=chosen[start : start + company.AT_ONCE]).order_by("pk")
            yield from company.members(list(rows), plan.mapping, now=plan.now)
        return
    concerned = Concerned(plan.mapping.document, plan.rules, plan.now)
    for member in company.everybody(plan.mapping, now=plan.now):
        if (
            plan.everybody
            or member.person.pk in plan.people
            or member.person.provider in plan.providers
            or (member.identity is not None and concerned(member.identity))
        ):
            yield member


def _one_by_one(plan: _Plan) -> Callable[[Identity], Iterable[Given]]:
    """The decision that a page would make, with the little of the catalogue that it reads."""

    def give(identity: Identity) -> list[Given]:
        decision = plan.mapping.compiled.decide(identity, plan.now, reachable)
        return [
            Given(g.role_arn, g.role_name, g.account.id, g.rule, g.rules, g.approval is not None)
            for g in decision.grants
        ]

    return give


def _stage(gets: Mapping[UUID, tuple[Given, ...]], plan: _Plan, staging: Staging, ids: _Ids) -> None:
    """Compare what these people have with what they are to have."""
    ids.learn(chain.from_iterable(gets.values()))
    held = held_by(list(gets))
    differ: dict[UUID, tuple[set[int], dict[int, Given]]] = {}
    for who, givens in gets.items():
        wanted = ids.of(givens)
        has = held.get(who)
        if has is None:
            staging.add(who, wanted, plan.mapping.number, plan.now)
            plan.reach.update(_rules(givens))
        elif has != set(wanted):
            differ[who] = has, dict(zip(wanted, givens, strict=True))
        elif plan.everybody:
            plan.reach.update(_rules(givens))
    if not differ:
        return
    known, rules = before(list(differ), {given_id for has, _ in differ.values() for given_id in has})
    for who, (has, by_id) in differ.items():
        plan.reach.update(_rules(by_id.values()))
        if not plan.everybody:
            plan.reach.subtract({rule for given_id in has for rule in rules.get(given_id, ())})
        staging.take(who, has - by_id.keys())
        for given_id in by_id.keys() - has:
            # The same role by other rules: they have had it since then all the same.
            since = known.get((who, by_id[given_id].role_arn), plan.now)
            staging.add(who, [given_id], plan.mapping.number, since)


def _rules(givens: Iterable[Given]) -> set[str]:
    return set(chain.from_iterable([given.rules for given in givens]))


def _seal(plan: _Plan, staging: Staging, lease: leases.Held) -> None:
    """The end of the transaction that writes the rows: what they were worked out from, and the notes that were seen to."""
    if not lease.is_ours():
        raise leases.LeaseLost(TASK)
    values = {
        "accounts": plan.accounts, "silent": plan.silent, "revision": plan.mapping.number, "sha256": plan.mapping.sha256,
        "organization": plan.mapping.organization, "role_tags": plan.mapping.role_tags, "judged_at": plan.now, "meaning": MEANING,
    }  # fmt: skip
    if plan.state is None:
        EntitlementState.objects.create(pk=1, finished_at=plan.now, **values)
    changed = {name: value for name, value in values.items() if plan.state and getattr(plan.state, name) != value}
    compiled.ask(
        compiled.update(EntitlementState, 1, finished_at=plan.now, **changed),
        compiled.delete(AccessChange, plan.notes),
        *counting_people(plan.reach, anew=plan.everybody),
        *(forgetting_unused(staging.given_gone) if staging.given_gone else ()),
    )
