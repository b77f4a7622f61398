"""`manage.py makemessages`: Django's, and before it the sentences that are written where no Django is.

A sentence that an error class has, or that is handed to an error as it is raised, and every template of
`federation.said.say` is shown translated (`{{ sentence|said }}`). xgettext cannot know them as text to translate, so each is
listed in a file that is there while xgettext reads.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.commands.makemessages import Command as Django

WORDS = Path(__file__).resolve().parents[2] / "error_words.py"
_HEAD = "from django.utils.translation import gettext_noop as _\n\nSENTENCES = (\n"


def sentences() -> list[str]:
    """The fixed sentences of errors, and the templates of sentences, in federation and portal, sorted."""
    found: set[str] = set()
    for package in ("federation", "portal"):
        for path in sorted((settings.BASE_DIR / package).rglob("*.py")):
            found.update(_in(ast.parse(path.read_text(encoding="utf-8"))))
    return sorted(found)


def _in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for line in node.body:
                targets = (
                    line.targets
                    if isinstance(line, ast.Assign)
                    else [line.target]
                    if isinstance(line, ast.AnnAssign)
                    else []
                )
                if any(isinstance(target, ast.Name) and target.id == "sentence" for target in targets):
                    yield from _text(getattr(line, "value", None))
        elif isinstance(node, ast.keyword) and node.arg == "sentence":
            yield from _text(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say":
            yield from _text(node.args[0])


def _text(value: ast.expr | None) -> Iterator[str]:
    if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value:
        yield value.value


def module() -> str:
    """A module in which xgettext finds them."""
    return _HEAD + "".join(f"    _({sentence!r}),\n" for sentence in sentences()) + ")\n"


class Command(Django):
    """Django's own, with the sentences of `federation` among what xgettext reads."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Make the catalogues."""
        WORDS.write_text(module(), encoding="utf-8")
        try:
            super().handle(*args, **options)
        finally:
            WORDS.unlink()
