"""Templates: text with `{field}` in it, used for role ARNs and session tags."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from federation.said import say

_FIELD = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|attributes\.[^{}\s]+")

_LONE_BRACE = say("has a brace without its partner; write fields as {{name}}")


class TemplateError(ValueError):
    """The text is not a template; `sentence` says what would be right."""

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence
        super().__init__(sentence)


@dataclass(frozen=True, slots=True)
class Template:
    """`parts`: (literal text, field that follows it or "") in order."""

    parts: tuple[tuple[str, str], ...]

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields in order, each once."""
        return tuple(dict.fromkeys(name for _, name in self.parts if name))

    def render(self, value: Callable[[str], str | None]) -> str | None:
        """The text with each field replaced by its value, or None as soon as one has none."""
        rendered: list[str] = []
        for literal, name in self.parts:
            rendered.append(literal)
            if name:
                replacement = value(name)
                if not replacement:
                    return None
                rendered.append(replacement)
        return "".join(rendered)

    def shape(self) -> str:
        """An RE2 expression for every role ARN text that the template can become: fields are runs of name characters."""
        run = "[A-Za-z0-9_+=.@-]+"
        return "".join(re.escape(text) + (run if name else "") for text, name in self.parts)


@lru_cache(maxsize=32_768)
def parse_template(text: str) -> Template:
    """The template in `text`. Raises TemplateError for a stray brace or a field that is no name."""
    parts: list[tuple[str, str]] = []
    end = 0
    for found in _FIELD.finditer(text):
        literal, name = text[end : found.start()], found[1]
        if "{" in literal or "}" in literal:
            raise TemplateError(_LONE_BRACE)
        if _NAME.fullmatch(name) is None:
            raise TemplateError(
                say(
                    "has a field {field} that is no name; write {{email}}, {{attributes.department}} or the name of a capture",
                    field=f"{{{name}}}",
                )
            )
        parts.append((literal, name))
        end = found.end()
    rest = text[end:]
    if "{" in rest or "}" in rest:
        raise TemplateError(_LONE_BRACE)
    if rest or not parts:
        parts.append((rest, ""))
    return Template(tuple(parts))
