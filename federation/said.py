"""Sentences for people that are made of values, kept so that they can be said in another language. Pure.

What knows no Django writes `say("has group {group}", group=name)`. The answer is text in English, and goes wherever text goes:
log, API, terminal. It remembers its pieces, and a page says it anew by `translated`, in the language of whoever reads.
`manage.py makemessages` finds the first argument of each `say`, which is a literal therefore.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence


class Said(str):
    """A sentence in English. `template`: with {names}; `values`: what stands for them, text or further sentences."""

    __slots__ = ("template", "values")

    template: str
    values: dict[str, str]


def say(template: str, /, **values: object) -> Said:
    """The sentence; braces that are meant are doubled. Raises KeyError where a name of the template has no value."""
    pieces = {name: value if isinstance(value, str) else str(value) for name, value in values.items()}
    said = Said(template.format(**pieces))
    said.template, said.values = template, pieces
    return said


def translated(text: str, gettext: Callable[[str], str]) -> str:
    """`text` as `gettext` has it, its pieces too; what was not made by `say` is looked up as it is.

    Only the template is ours: a value is put in as it is, whatever it looks like.
    """
    if not isinstance(text, Said):
        return gettext(text) if text else ""
    pieces = {
        name: translated(value, gettext) if isinstance(value, Said) else value for name, value in text.values.items()
    }
    return gettext(text.template).format(**pieces)


def either(names: Sequence[str]) -> str:
    """The names with "or" between them; "" for none."""
    said = names[0] if names else ""
    for name in names[1:]:
        said = say("{one} or {other}", one=said, other=name)
    return said


def lines(sentences: Sequence[str]) -> str:
    """The sentences, one a line; "" for none."""
    said = sentences[0] if sentences else ""
    for sentence in sentences[1:]:
        said = say("{above}\n{line}", above=said, line=sentence)
    return said
