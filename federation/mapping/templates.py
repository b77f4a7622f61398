"""Templates: text with `{field}` in it, used for role ARNs and session tags."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

_FIELD = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|attributes\.[^{}\s]+")


class TemplateError(ValueError):
    """The text is not a template; the message says what would be right."""


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
            raise TemplateError("has a brace without its partner; write fields as {name}")
        if _NAME.fullmatch(name) is None:
            raise TemplateError(
                f"has a field {{{name}}} that is no name; write {{email}}, {{attributes.department}} or the name of a capture"
            )
        parts.append((literal, name))
        end = found.end()
    rest = text[end:]
    if "{" in rest or "}" in rest:
        raise TemplateError("has a brace without its partner; write fields as {name}")
    if rest or not parts:
        parts.append((rest, ""))
    return Template(tuple(parts))
