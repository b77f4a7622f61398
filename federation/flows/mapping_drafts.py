"""A change of the mapping on its way: drafted, previewed, handed to a second person where that is asked for, published.

Each step asks again who may do it, on today's mapping: a right that is gone is gone at the next click. What is published is
exactly what was previewed: text, base and effect are bound by one digest. Nobody gives themselves a role alone. The way
around all this is the operator at the shell (`manage.py apply`), who could write the database as well.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from federation.audit.events import Kind, Origin
from federation.audit.record import record
from federation.errors import BadRequest, NotFound, RolegateError
from federation.flows import staff_rights
from federation.flows.assess_mapping import Preview, preview
from federation.flows.publish_mapping import Published, RevisionMovedOn, publish
from federation.mapping.capabilities import Capability, Powers
from federation.mapping.document import DocumentError, parse
from federation.mapping.impact import changed_sections
from federation.mapping.merging import merged
from federation.mapping.second_person import OWNERS_ONLY
from federation.models.mapping import MappingDraft, MappingRevision
from federation.models.people import Person
from federation.models.secrets import SecretNotSealable, sealed_text
from federation.said import say

CONFIRMATION = "production"
"""What is typed before production gets more."""
_PATH = "/staff/mapping/"
_OPEN = (MappingDraft.Status.DRAFT, MappingDraft.Status.WAITING)
# `client_secret` with a value that is neither a reference nor sealed.
_CLEAR_SECRET = re.compile(r"client_secret[\"']?\s*:\s*[\"']?(?!\$\{|sealed:)[^\s\"'#,}]")


class DraftDecided(RolegateError):
    """The draft has been published or withdrawn already, or is not where this step begins."""

    code = "draft_decided"
    status = 409
    sentence = "This draft is no longer open for that: somebody has published it, withdrawn it or given it back. Open it again to see."


class DraftChanged(RolegateError):
    """The draft's text was changed in another window since this one was opened."""

    code = "draft_changed"
    status = 409
    sentence = (
        "This draft was changed in another window in the meantime. Keep a copy of your text, then open the draft again."
    )


class DraftNotYours(RolegateError):
    """Only its author changes a draft: who else wrote in it could not be told from the second person."""

    code = "draft_not_yours"
    status = 403
    sentence = "Only the author can change this draft. Give it back with a note, or begin one of your own."


class PreviewChanged(RolegateError):
    """The effect is no longer the one that was looked at: people, roles, the text or the base have changed."""

    code = "preview_changed"
    status = 409
    sentence = "What this would do is no longer what you have looked at. Look at the preview again, then publish."


class SecondPersonNeeded(RolegateError):
    """The author may not publish this alone; `reason` says why."""

    code = "second_person_needed"
    status = 403
    sentence = "You cannot publish this alone: hand it to a second person, who publishes it."


class SectionNotYours(RolegateError):
    """The draft changes a part of the document that only an owner of the gateway may change."""

    code = "section_owners_only"
    status = 403
    sentence = "Only an owner of the gateway changes staff, identity providers and directories. Take those changes out, or ask an owner."


class ConfirmationMissing(BadRequest):
    """Production gets more, and the word was not typed."""

    code = "confirmation_missing"
    sentence = say("Type {word} to confirm that you have looked at what changes in production.", word=CONFIRMATION)


class NothingToPublish(BadRequest):
    """The draft is, letter by letter, what is in force."""

    code = "nothing_to_publish"
    sentence = "The draft does not differ from the revision in force: there is nothing to publish."


@dataclass(frozen=True, slots=True)
class Merge:
    """A draft on the newest revision: its new text, and the places where both had changed the same lines (then nothing is saved)."""

    draft: MappingDraft
    conflicts: tuple[str, ...]


# --- Reading ------------------------------------------------------------------------------------------


def find(draft_id: UUID) -> MappingDraft:
    """The draft. Raises NotFound."""
    draft = MappingDraft.objects.select_related("author").filter(pk=draft_id).first()
    if draft is None:
        raise NotFound("no_such_draft")
    return draft


def newest() -> MappingRevision | None:
    """The revision in force."""
    return MappingRevision.objects.order_by("-number").first()


def may_publish_alone(draft: MappingDraft, shown: Preview, person: Person) -> bool:
    """Whether this person may publish it now, as far as the second person is concerned."""
    return not shown.second_person or not is_author(draft, person)


# --- Writing ------------------------------------------------------------------------------------------


def begin(
    person: Person, *, origin: Origin, now: datetime, from_revision: int | None = None, comment: str = ""
) -> MappingDraft:
    """A new draft of the person's, with the text in force or that of an earlier revision (to go back to it).

    Raises StaffForbidden, NotFound (no such revision).
    """
    _require(person, Capability.EDIT_MAPPING, origin, now)
    current = newest()
    base = current.number if current else 0
    source = current
    if from_revision is not None:
        source = MappingRevision.objects.filter(number=from_revision).first()
        if source is None:
            raise NotFound("no_such_revision")
    text = source.text if source else "version: 1\n"
    draft = MappingDraft(
        author=person, base=base, text=text, sha256=_sha256(text), comment=comment[:1000], created_at=now, changed_at=now
    )  # fmt: skip
    with transaction.atomic():
        draft.save(force_insert=True)
        _record(draft, "begun", person, origin, now, from_revision=from_revision)
    return draft


def save(
    person: Person,
    draft_id: UUID,
    text: str,
    *,
    version: int,
    origin: Origin,
    now: datetime,
    comment: str | None = None,
    by_hand: bool = True,
) -> MappingDraft:
    """Keep the text, with its faults if it has any. A draft that waited for a second person is its author's again.

    `version`: of the draft as the window knows it. `by_hand` False: kept while typing, which is no event of its own; the text
    that comes into force is in those of handing over and publishing. A client secret in clear is sealed.
    Raises StaffForbidden, DraftNotYours, DraftDecided, DraftChanged, SecretNotSealable, DocumentTooLarge.
    """
    _require(person, Capability.EDIT_MAPPING, origin, now)
    stored = storable(text)
    with transaction.atomic():
        draft = _locked(draft_id, _OPEN)
        _refuse_others(draft, person)
        if draft.version != version:
            raise DraftChanged("draft_changed", detail=f"{version} is not {draft.version}")
        changed = draft.text != stored
        if comment is not None:
            draft.comment = comment[:1000]
        if changed or draft.status == MappingDraft.Status.WAITING:
            draft.version += 1
            draft.text, draft.sha256 = stored, _sha256(stored)
            draft.status, draft.digest, draft.preview = MappingDraft.Status.DRAFT, "", {}
        draft.changed_at = now
        draft.save()
        if by_hand and changed:
            _record(draft, "saved", person, origin, now)
    return draft


def storable(text: str) -> str:
    """The text as a draft keeps it: line ends as in a file, and no client secret in clear. Raises SecretNotSealable."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "\ufffd")
    if len(text) > 2_000_000:
        raise BadRequest("document_too_large", sentence="The mapping document is larger than 2,000,000 bytes.")
    try:
        return sealed_text(text, parse(text))
    except DocumentError:
        # What cannot be read cannot be sealed, and a draft is kept, shown and compared: better not kept at all.
        if _CLEAR_SECRET.search(text):
            raise SecretNotSealable("secret_in_faulty_draft") from None
        return text


def show(person: Person, draft: MappingDraft, *, now: datetime) -> Preview:
    """What publishing the draft would do. Raises DocumentError, NothingToPublish, RevisionMovedOn, SectionNotYours."""
    shown = preview(draft.text, author=draft.author, now=now)
    if shown.base != draft.base:
        raise RevisionMovedOn("draft_is_stale", detail=f"on {draft.base}, in force is {shown.base}")
    return shown


def hand_over(
    person: Person, draft_id: UUID, *, digest: str, comment: str, origin: Origin, now: datetime
) -> MappingDraft:
    """Ask for a second person. Raises what `show` raises, StaffForbidden, DraftNotYours, DraftDecided, PreviewChanged."""
    powers = _require(person, Capability.EDIT_MAPPING, origin, now)
    draft = _open(draft_id, (MappingDraft.Status.DRAFT,))
    _refuse_others(draft, person)
    shown = _as_shown(person, draft, digest, now)
    _refuse_sections(draft, shown, powers)
    with transaction.atomic():
        row = _locked(draft_id, (MappingDraft.Status.DRAFT,))
        if row.version != draft.version:
            raise DraftChanged("draft_changed")
        row.status, row.digest, row.preview = MappingDraft.Status.WAITING, shown.digest, shown.as_dict()
        row.comment, row.note, row.changed_at = comment.strip()[:1000], "", now
        row.save()
        _record(row, "handed_over", person, origin, now, why=list(shown.second_person))
    return row


def give_back(person: Person, draft_id: UUID, *, note: str, origin: Origin, now: datetime) -> MappingDraft:
    """The second person does not publish it; the author reads why. Raises StaffForbidden, DraftDecided, BadRequest."""
    _require(person, Capability.PUBLISH_MAPPING, origin, now)
    if not note.strip():
        raise BadRequest("note_missing", sentence="Say in a few words what the author should change.")
    with transaction.atomic():
        draft = _locked(draft_id, (MappingDraft.Status.WAITING,))
        draft.status, draft.note, draft.changed_at = MappingDraft.Status.DRAFT, note.strip()[:1000], now
        draft.version += 1
        draft.save()
        _record(draft, "given_back", person, origin, now)
    return draft


def withdraw(person: Person, draft_id: UUID, *, origin: Origin, now: datetime) -> MappingDraft:
    """The author gives it up. Raises StaffForbidden, DraftNotYours, DraftDecided."""
    _require(person, Capability.EDIT_MAPPING, origin, now)
    with transaction.atomic():
        draft = _locked(draft_id, _OPEN)
        _refuse_others(draft, person)
        draft.status, draft.decided_at, draft.decided_by = MappingDraft.Status.WITHDRAWN, now, person.actor
        draft.save()
        _record(draft, "withdrawn", person, origin, now)
    return draft


def bring_up_to_date(person: Person, draft_id: UUID, *, origin: Origin, now: datetime) -> Merge:
    """Put the draft's changes onto the newest revision; where both changed the same lines nothing is saved.

    Raises StaffForbidden, DraftNotYours, DraftDecided.
    """
    _require(person, Capability.EDIT_MAPPING, origin, now)
    with transaction.atomic():
        draft = _locked(draft_id, _OPEN)
        _refuse_others(draft, person)
        current = newest()
        number, latest = (current.number, current.text) if current else (0, "version: 1\n")
        old = MappingRevision.objects.filter(number=draft.base).values_list("text", flat=True).first() or "version: 1\n"
        text, conflicts = merged(old, draft.text, latest)
        if conflicts:
            return Merge(draft, conflicts)
        draft.base, draft.text, draft.sha256 = number, text, _sha256(text)
        draft.status, draft.digest, draft.preview = MappingDraft.Status.DRAFT, "", {}
        draft.version += 1
        draft.changed_at = now
        draft.save()
        _record(draft, "brought_up_to_date", person, origin, now)
    return Merge(draft, ())


def publish_draft(
    person: Person, draft_id: UUID, *, digest: str, confirmation: str, comment: str, origin: Origin, now: datetime
) -> Published:
    """Put the draft in force: exactly what was previewed under `digest`, on the revision that it stands on.

    A refusal is audited. Raises StaffForbidden, DraftDecided, DraftNotYours, RevisionMovedOn, PreviewChanged, SectionNotYours,
    SecondPersonNeeded, ConfirmationMissing, NothingToPublish, DocumentError, and what `publish` raises.
    """
    powers = _require(person, Capability.PUBLISH_MAPPING, origin, now)
    draft = _open(draft_id, _OPEN)
    try:
        shown = _as_shown(person, draft, digest, now)
        _refuse_sections(draft, shown, powers)
        own = is_author(draft, person)
        if not own and draft.status != MappingDraft.Status.WAITING:
            raise DraftNotYours("not_handed_over")
        if own and shown.second_person:
            # Attack: a mapper gives a role to a group of their own, or approves what they have written themselves.
            raise SecondPersonNeeded(
                f"second_person_needed:{shown.second_person[0]}", detail=",".join(shown.second_person)
            )
        if shown.is_sensitive and confirmation.strip().casefold() != CONFIRMATION:
            raise ConfirmationMissing("confirmation_missing")
        return _put_in_force(person, draft, shown, comment=comment, origin=origin, now=now)
    except RolegateError as refused:
        with transaction.atomic():
            _record(draft, "publish", person, origin, now, outcome="refused", reason=refused.reason)
        raise


def _put_in_force(
    person: Person, draft: MappingDraft, shown: Preview, *, comment: str, origin: Origin, now: datetime
) -> Published:
    own = is_author(draft, person)
    with transaction.atomic():
        row = _locked(draft.pk, _OPEN)
        if row.version != draft.version:
            # Attack: the author changes the text between the second person's look and their click.
            raise PreviewChanged("draft_changed_meanwhile")
        published = publish(
            draft.text,
            author=draft.author.actor,
            comment=(comment.strip() or draft.comment)[:1000],
            origin=origin,
            now=now,
            only_on=draft.base,
            impact=shown.as_dict(),
            published_by="" if own else person.actor,
        )
        if not published.changed:
            raise NothingToPublish("nothing_to_publish")
        row.status, row.decided_at, row.decided_by = MappingDraft.Status.PUBLISHED, now, person.actor
        row.revision, row.digest, row.preview = published.number, shown.digest, shown.as_dict()
        row.save()
        _record(row, "published", person, origin, now, revision=published.number)
    return published


# --- What the steps share -----------------------------------------------------------------------------


def _require(person: Person, capability: Capability, origin: Origin, now: datetime) -> Powers:
    return staff_rights.require(person, capability, account_id=None, path=_PATH, origin=origin, now=now)


def _open(draft_id: UUID, states: tuple[MappingDraft.Status, ...]) -> MappingDraft:
    draft = find(draft_id)
    if draft.status not in states:
        raise DraftDecided(f"draft_is_{draft.status}")
    return draft


def _locked(draft_id: UUID, states: tuple[MappingDraft.Status, ...]) -> MappingDraft:
    """The row, locked: of two who decide at once the second finds it decided."""
    draft = MappingDraft.objects.select_for_update().filter(pk=draft_id).first()
    if draft is None:
        raise NotFound("no_such_draft")
    if draft.status not in states:
        raise DraftDecided(f"draft_is_{draft.status}")
    return draft


def is_author(draft: MappingDraft, person: Person) -> bool:
    """Whether they are the same human, as far as can be told. Attack: approving one's own draft through a second provider.

    People are never linked by e-mail to give anything; here the same address only takes away.
    """
    same_address = bool(person.email) and person.email.casefold() == draft.author.email.casefold()
    return draft.author_id == person.pk or same_address


def _refuse_others(draft: MappingDraft, person: Person) -> None:
    if draft.author_id != person.pk:
        raise DraftNotYours("draft_not_yours")


def _as_shown(person: Person, draft: MappingDraft, digest: str, now: datetime) -> Preview:
    shown = show(person, draft, now=now)
    if not hmac.compare_digest(shown.digest.encode(), digest.encode("utf-8", "replace")):
        raise PreviewChanged("preview_changed")
    if not shown.diff:
        raise NothingToPublish("nothing_to_publish")
    return shown


def refused_sections(draft: MappingDraft, shown: Preview, powers: Powers) -> tuple[str, ...]:
    """Sections that the draft changes and that these powers do not cover."""
    if "owner" in powers.rights:
        return ()
    base = MappingRevision.objects.filter(number=draft.base).values_list("text", flat=True).first() or "version: 1\n"
    return tuple(name for name in changed_sections(parse(base), shown.document) if name in OWNERS_ONLY)


def _refuse_sections(draft: MappingDraft, shown: Preview, powers: Powers) -> None:
    refused = refused_sections(draft, shown, powers)
    if refused:
        raise SectionNotYours(f"section_owners_only:{refused[0]}", detail=",".join(refused))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _record(
    draft: MappingDraft,
    change: str,
    person: Person,
    origin: Origin,
    now: datetime,
    *,
    outcome: str = "ok",
    reason: str = "",
    **more: Any,
) -> None:
    record(
        Kind.MAPPING_DRAFT,
        actor=person.actor,
        outcome="ok" if outcome == "ok" else "refused",
        origin=origin,
        now=now,
        reason=reason,
        draft=str(draft.pk),
        change=change,
        base=draft.base,
        sha256=draft.sha256,
        author=draft.author.actor,
        **more,
    )
