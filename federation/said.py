"""Sentences for people that are made of values, kept so that they can be said in another language. Pure.

What knows no Django writes `say("has group {group}", group=name)`. The answer is text in English, and goes wherever text goes:
log, API, terminal. It remembers its pieces, and a page says it anew by `translated`, in the language of whoever reads.
What is kept in the database goes there by `packed` and comes back by `unpacked`.
`manage.py makemessages` finds the first argument of each `say`, which is a literal therefore.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Value = str | int


class Said(str):
    """A sentence in English. `template`: with {names}; `values`: what stands for them: text, further sentences, whole numbers."""

    __slots__ = ("template", "values")

    template: str
    values: dict[str, Value]


def say(template: str, /, **values: object) -> Said:
    """The sentence; braces that are meant are doubled. Raises KeyError where a name of the template has no value.

    A whole number has its thousands apart, as each language writes it; one that counts nothing is handed over as text.
    """
    pieces: dict[str, Value] = {
        name: value if isinstance(value, str) or _is_number(value) else str(value)  # type: ignore[misc]  # an int then
        for name, value in values.items()
    }
    said = Said(template.format(**{name: _english(value) for name, value in pieces.items()}))
    said.template, said.values = template, pieces
    return said


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _english(value: Value) -> str:
    return value if isinstance(value, str) else f"{value:,}"


def translated(text: str, gettext: Callable[[str], str], number: Callable[[int], str] = _english) -> str:
    """`text` as `gettext` has it, its pieces too, numbers as `number` writes them; what `say` did not make is looked up as it is.

    Only the template is ours: a value is put in as it is, whatever it looks like.
    """
    if not isinstance(text, Said):
        return gettext(text) if text else ""
    pieces = {name: _piece(value, gettext, number) for name, value in text.values.items()}
    return gettext(text.template).format(**pieces)


def _piece(value: Value, gettext: Callable[[str], str], number: Callable[[int], str]) -> str:
    if isinstance(value, Said):
        return translated(value, gettext, number)
    return value if isinstance(value, str) else number(value)


def packed(text: str) -> Any:
    """A sentence as plain JSON: [template, {name: value}], and what was not made by `say` as it is."""
    if not isinstance(text, Said):
        return text
    return [text.template, {name: packed(v) if isinstance(v, str) else v for name, v in text.values.items()}]


def unpacked(kept: Any) -> str:
    """The sentence that `packed` made this of; "" for what it cannot have made."""
    match kept:
        case str():
            return kept
        case [str(template), Mapping() as values]:
            pieces = {str(name): v if _is_number(v) else unpacked(v) for name, v in values.items()}
            try:
                return say(template, **pieces)
            except (KeyError, IndexError, ValueError, AttributeError):
                return ""
    return ""


def either(names: Sequence[str]) -> str:
    """The names with "or" between them; "" for none."""
    said = names[0] if names else ""
    for name in names[1:]:
        said = say("{one} or {other}", one=said, other=name)
    return said


def listed(names: Sequence[str]) -> str:
    """The names with commas between them; "" for none."""
    said = names[0] if names else ""
    for name in names[1:]:
        said = say("{first}, {next}", first=said, next=name)
    return said


def lines(sentences: Sequence[str]) -> str:
    """The sentences, one a line; "" for none."""
    said = sentences[0] if sentences else ""
    for sentence in sentences[1:]:
        said = say("{above}\n{line}", above=said, line=sentence)
    return said
