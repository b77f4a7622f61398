"""What a document would do to the company of today, before it is published. Writes nothing.

One evaluator for the preview and for enforcement: the people, their claims and the directory's latest word come from where
a mint takes them, and the engine decides (`mapping.impact`). The preview's digest binds text, base and effect together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.conf import settings

from federation.errors import PersonDisabled, RolegateError, UnknownProvider
from federation.flows import latest_word, written_mapping
from federation.flows.latest_word import subject_column
from federation.flows.newcomers import newcomers
from federation.identity import Identity
from federation.mapping.company import Company
from federation.mapping.engine import CompiledMapping, compile_mapping
from federation.mapping.findings import Tally
from federation.mapping.impact import Impact, Somebody, assess, both_reach
from federation.mapping.rules import Document
from federation.mapping.second_person import Draftsman, SecondPersonCode, needs_second_person
from federation.mapping.textdiff import unified
from federation.models import current
from federation.models.catalogue import reachable
from federation.models.mapping import MappingRevision
from federation.models.people import Person

_AT_ONCE = 500  # people
_STILL_HERE = timedelta(days=90)
"""Whoever has not signed in for so long, and is in no directory, is not counted among the people of today."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What publishing `text` on revision `base` would do. `second_person`: why the author alone may not publish it, if so.

    `digest`: SHA-256 over base, text and effect: what is published must be what was previewed. `text` may hold a client
    secret in clear, as it came; no traceback shows it. `never_signed_in`: how many of the impact's people a directory lists
    and nobody has seen here yet (`flows.newcomers`).
    """

    base: int
    text: str = field(repr=False)
    document: Document = field(repr=False)
    impact: Impact
    never_signed_in: int
    second_person: tuple[SecondPersonCode, ...]
    digest: str
    diff: str = field(repr=False)

    @property
    def is_sensitive(self) -> bool:
        """Whether publishing it wants a typed confirmation: production gets more, or is no longer production."""
        return not {"production", "unmarked"}.isdisjoint(self.second_person)

    def as_dict(self) -> dict[str, Any]:
        """The impact as plain data, with how many of its people have never signed in."""
        return {**self.impact.as_dict(), "never_signed_in": self.never_signed_in}


def preview(text: str, *, author: Person | None, now: datetime) -> Preview:
    """Compare `text` with the revision in force, on the people of today. Raises DocumentError with every fault."""
    document = written_mapping.read(text)
    before = current.mapping()
    completed = current.completed(document)
    after = compile_mapping(completed)
    # The document in force comes completed with what the organization says; compared is like with like.
    draft = current.CurrentMapping(before.number + 1, "", 0, 0, completed, after)
    people = list(_signed_in(before, draft, now=now))
    seen = len(people)
    people += _never_signed_in(before, draft, now=now)
    catalogue = reachable(both_reach(before.compiled, after))
    impact = assess(before.compiled, after, people, now, catalogue)
    draftsman = None if author is None else _draftsman(author, people)
    why = needs_second_person(
        before.compiled, after, impact, draftsman,
        now=now, most_people=settings.ROLEGATE_SECOND_PERSON_ABOVE, catalogue=catalogue,
    )  # fmt: skip
    bound = f"{before.number}\0{hashlib.sha256(text.encode()).hexdigest()}\0{impact.digest()}"
    return Preview(
        base=before.number,
        text=text,
        document=document,
        impact=impact,
        never_signed_in=len(people) - seen,
        second_person=why,
        digest=hashlib.sha256(bound.encode()).hexdigest(),
        diff=diff_to(text, before.number),
    )


def _draftsman(author: Person, people: Sequence[Somebody]) -> Draftsman:
    key = author.actor
    own = next((person for person in people if person.key == key), None)
    return Draftsman(key, own.after or own.before if own is not None else current.identity_of(author))


def diff_to(text: str, number: int) -> str:
    """The unified difference from a revision's text (0: from nothing) to `text`."""
    old = MappingRevision.objects.filter(number=number).values_list("text", flat=True).first() or ""
    return unified(old, text, f"revision {number}", "the draft")


def everybody(before: current.CurrentMapping, after: current.CurrentMapping, *, now: datetime) -> Iterator[Somebody]:
    """The people of today, each as either document would see them: who has signed in, then whom a directory lists besides.

    One statement for 500 people and each of their directories, and two more where a directory lists them.
    """
    yield from _signed_in(before, after, now=now)
    yield from _never_signed_in(before, after, now=now)


def _signed_in(before: current.CurrentMapping, after: current.CurrentMapping, *, now: datetime) -> Iterator[Somebody]:
    rows = Person.objects.filter(active=True, claims_at__isnull=False).order_by("provider", "subject")
    found = rows.iterator(chunk_size=_AT_ONCE)
    while people := list(islice(found, _AT_ONCE)):
        yield from _as_seen(people, before, after, now)


def _never_signed_in(
    before: current.CurrentMapping, after: current.CurrentMapping, *, now: datetime
) -> Iterator[Somebody]:
    """Whom a directory lists that speaks for all groups of its people: where claims count besides, nothing can be said yet."""
    listed = [one for side in (before, after) for one in side.document.directories if one.groups == "replace"]
    told = set[str]()
    for directory in {(one.slug, one.provider, subject_column(one)): one for one in listed}.values():
        for people in newcomers(directory, now=now):
            new = [person for person in people if person.actor not in told]
            told.update(person.actor for person in new)
            yield from _as_seen(new, before, after, now)


def _as_seen(
    people: Sequence[Person], before: current.CurrentMapping, after: current.CurrentMapping, now: datetime
) -> Iterator[Somebody]:
    same = before.document.directories == after.document.directories
    closed = [{p.slug for p in side.document.identity_providers if p.enabled} for side in (before, after)]
    old = latest_word.identities_of(people, before, now=now)
    new = old if same else latest_word.identities_of(people, after, now=now)
    for person, was, will in zip(people, old, new, strict=True):
        if isinstance(was, PersonDisabled) and isinstance(will, PersonDisabled):
            continue
        if _has_left(person, before, after, now):
            continue
        one = _decidable(was, person.provider in closed[0])
        other = one if was is will and closed[0] == closed[1] else _decidable(will, person.provider in closed[1])
        yield Somebody(person.actor, person.name or person.subject, person.email, one, other)


def _has_left(person: Person, before: current.CurrentMapping, after: current.CurrentMapping, now: datetime) -> bool:
    if before.directory_of(person.provider) is not None or after.directory_of(person.provider) is not None:
        return False
    return person.claims_at is None or now - person.claims_at > _STILL_HERE


def _decidable(told: Identity | RolegateError, enabled: bool) -> Identity | None:  # noqa: FBT001
    """The identity, or None where a mint would refuse whatever the rules say: nobody asks then."""
    if isinstance(told, RolegateError) or not enabled or not told.groups_complete:
        return None
    return told


@dataclass(frozen=True, slots=True)
class Measure:
    """What a rule of a draft does today: how many people it matches, and how many different roles it gives them."""

    people: int
    roles: int


def measure(document: Document, *, now: datetime) -> dict[str, Measure]:
    """For each rule of a document that is not published what it does to the people of today, by name."""
    before = current.mapping()
    completed = current.completed(document)
    compiled: CompiledMapping = compile_mapping(completed)
    draft = current.CurrentMapping(before.number + 1, "", 0, 0, completed, compiled)
    company = Company(compiled, now, reachable)
    tally = Tally()
    for person in everybody(draft, draft, now=now):
        if person.after is not None:
            tally.add(company.standing(person.after))
    people, roles = tally.people_of_standings(), tally.roles()
    return {rule.name: Measure(people[rule.name], len(roles.get(rule.name, ()))) for rule in document.rules}


def identity_in(person: Person, document: Document, *, now: datetime) -> tuple[CompiledMapping, Identity]:
    """The compiled document and the person as it would see them: for asking "would alice get X?" of a draft.

    Raises PersonDisabled, NotInDirectory, UnknownProvider.
    """
    completed = current.completed(document)
    compiled = compile_mapping(completed)
    draft = current.CurrentMapping(0, "", 0, 0, completed, compiled)
    if all(provider.slug != person.provider or not provider.enabled for provider in document.identity_providers):
        raise UnknownProvider("provider_unknown_or_disabled", detail=person.provider)
    return compiled, latest_word.identity_of(person, draft, now=now)
