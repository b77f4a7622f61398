"""A document published by whoever runs the gateway: from a file, at the start, or an earlier revision again.

The effect is worked out first and kept with the revision, as for a draft of the portal. Nobody is asked for a second person:
the operator at the shell could write the database as well, and must be able to help when nobody can sign in.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from federation.audit.events import Origin
from federation.errors import NotFound
from federation.flows.assess_mapping import Preview, preview
from federation.flows.publish_mapping import Published, RevisionMovedOn, publish
from federation.models import current
from federation.models.mapping import MappingRevision

_TRIES = 5


@dataclass(frozen=True, slots=True)
class Applied:
    """What was done, and what it did to the people of today; `preview` is None where the text was in force already, or what is
    in force cannot be read, so that there is nothing to compare with.
    """

    published: Published
    preview: Preview | None


def apply(text: str, *, author: str, comment: str, origin: Origin, now: datetime, dry_run: bool = False) -> Applied:
    """Work out the effect of `text`, then put it in force on the very revision that it was worked out for.

    Idempotent and all-or-nothing. Raises what `publish` raises; RevisionMovedOn only where others publish without end.
    """
    for attempt in range(_TRIES):
        unchanged = publish(text, author=author, comment=comment, origin=origin, now=now, dry_run=True)
        if not unchanged.changed:
            return Applied(unchanged, None)
        try:
            shown = preview(text, author=None, now=now)
        except current.MappingUnreadable:
            shown = None  # this is the way out of it
        try:
            published = publish(
                text, author=author, comment=comment, origin=origin, now=now, dry_run=dry_run,
                only_on=shown.base if shown else unchanged.number, impact=shown.as_dict() if shown else None,
            )  # fmt: skip
        except RevisionMovedOn:
            if attempt == _TRIES - 1:
                raise
            continue
        return Applied(published, shown)
    raise AssertionError("unreachable")  # pragma: no cover


def earlier_text(number: int | None) -> tuple[int, str]:
    """Number and text of the revision to go back to: the one named, or the last whose text is another one.

    Raises NotFound.
    """
    revisions = MappingRevision.objects.order_by("-number")
    newest = revisions.first()
    if newest is None:
        raise NotFound(
            "no_such_revision", sentence="There is no revision yet: publish one with `manage.py apply FILE`."
        )
    if number is None:
        found = revisions.exclude(sha256=newest.sha256).first()
    else:
        found = revisions.filter(number=number).first()
    if found is None:
        raise NotFound(
            "no_such_revision", sentence="There is no such revision to go back to; `manage.py revisions` lists them."
        )
    return found.number, found.text
