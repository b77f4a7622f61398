"""What the mapping's pages need: words for codes, and a unified difference as lines."""

from __future__ import annotations

from collections.abc import Iterator

from django import template
from django.utils.translation import gettext

from portal.staff import mapping_words
from portal.staff.rights import RIGHT_WORDS

register = template.Library()
_MOST_LINES = 3_000


@register.filter
def word(code: str, kind: str) -> object:
    """What a code is called; the code itself where it has no word."""
    return mapping_words.EVERY[kind].get(code, code)


@register.filter
def right_said(right: str) -> str:
    """A right as the mapping's core calls it (`owner`, `account-owner of shop-prod, shop-dev`), in the reader's language."""
    name, of, accounts = right.partition(" of ")
    word = next((str(words) for role, words in RIGHT_WORDS.items() if role == name), name)
    return gettext("%(right)s of %(accounts)s") % {"right": word, "accounts": accounts} if of else word


@register.filter
def diff_lines(diff: str) -> Iterator[tuple[str, str]]:
    """(kind, text) of each line of a unified difference: `ins`, `del`, `same` or `hunk`; bounded."""
    for number, line in enumerate(diff.splitlines()):
        if number >= _MOST_LINES:
            yield "hunk", "…"
            return
        if line.startswith(("+++", "---", "@@")):
            yield "hunk", line
        else:
            yield {"+": "ins", "-": "del"}.get(line[:1], "same"), line[1:]


@register.filter
def minus(one: int, other: int) -> int:
    """The difference of two numbers."""
    return one - other
