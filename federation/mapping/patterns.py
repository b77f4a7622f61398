"""Expressions in linear time: the one door to RE2. Globs are translated; both speak about the whole text."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any
from unicodedata import normalize

import re2

from federation.mapping.rules import GroupMatch

MAX_PATTERN = 1_024
MAX_PROGRAM = 20_000
"""Instructions of one compiled expression. `(a{1000}){…}` is short to write and large to run."""
MAX_PROGRAMS = 1_000_000
"""Instructions of all expressions of a document. A large company's 20,000 globs have some 600,000."""
_LARGE = 2_000  # instructions of an expression, above which few are kept: of drafts, everybody has others


class PatternError(ValueError):
    """The expression does not compile, for RE2's own `cause`; or it does and is too large, which has none."""

    def __init__(self, cause: str = "") -> None:
        self.cause = cause
        super().__init__(cause or "too large once compiled")


def _options(max_mem: int) -> Any:
    options = re2.Options()
    options.max_mem = max_mem
    options.log_errors = False  # RE2 would write the pattern to standard error
    return options


class _Large(Exception):
    """The expression is not one of which thousands are kept."""


def compile_expression(pattern: str) -> Any:
    """The compiled RE2 expression. Raises PatternError; use `fullmatch` on what it returns."""
    try:
        return _small(pattern)
    except _Large:
        return _compiled(pattern)


def program_size(pattern: str) -> int:
    """Instructions of a compiled expression: what it costs in memory, some 20 bytes each. Raises PatternError."""
    return int(compile_expression(pattern).programsize)


@lru_cache(maxsize=32_768)
def _small(pattern: str) -> Any:
    """Kept where it is small. Raises PatternError, _Large."""
    compiled = _compiled(pattern)
    if int(compiled.programsize) > _LARGE:
        raise _Large
    return compiled


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    try:
        compiled = re2.compile(pattern, _options(8 << 20))
        size = int(compiled.programsize)
    except (re2.error, UnicodeError) as error:
        cause = error.args[0] if error.args else error
        cause = cause.decode("utf-8", "replace") if isinstance(cause, bytes) else str(cause)
        raise PatternError(cause or "unreadable") from error
    if size > MAX_PROGRAM:
        raise PatternError
    return compiled


def composed(text: str) -> str:
    """`text` in Unicode's composed form (UAX #15, NFC): `ü` is one character, whoever wrote it as two."""
    return text if text.isascii() else normalize("NFC", text)


def in_any_form(text: str) -> str:
    """`text` as what takes away compares it: without case, and in one Unicode form.

    Attack, or mishap: a directory writes "Pr\u00fcfer" with two characters for the ü, the mapping with one, and the deny misses them.
    """
    return composed(composed(text).casefold())


def expression_of(match: GroupMatch) -> str:
    """The RE2 text of a glob or an expression; group names of a glob's text are literal. With `fold` it is for `composed` names."""
    pattern = composed(match.pattern) if match.fold else match.pattern
    expression = pattern if match.kind == "regex" else glob_expression(pattern)
    return f"(?i){expression}" if match.fold else expression


def glob_expression(pattern: str) -> str:
    """RE2 text for a glob: `*` any run of any characters (a newline too: no name slips past a deny), `?` any one."""
    return "(?s)" + "".join(
        {"*": ".*", "?": "."}.get(part) or re.escape(part) for part in re.split(r"([*?])", collapse(pattern))
    )


_LITERAL = re.compile(r"\^([A-Za-z0-9_ /@:,=-]*)(.?)", re.DOTALL)


def required_prefix(match: GroupMatch) -> str:
    """Text that every name which the pattern matches begins with; "" where that is not plain to see.

    Only what cannot be read otherwise counts: `^` and letters, with no alternative anywhere in the expression, and
    without the letter that a quantifier may make optional.
    """
    if match.fold:
        return ""
    if match.kind != "regex":
        return re.split(r"[*?]", match.pattern, maxsplit=1)[0]
    found = _LITERAL.match(match.pattern)
    if found is None or "|" in match.pattern:
        return ""
    return found[1][:-1] if found[2] and found[2] in "?*+{" else found[1]


def collapse(pattern: str) -> str:
    """A glob with runs of stars made one: the same meaning, a smaller program."""
    return re.sub(r"\*+", "*", pattern)


def is_glob(text: str) -> bool:
    """True if the text has `*` or `?`. Brackets are ordinary characters: group names have them."""
    return "*" in text or "?" in text


def glob_matches(pattern: str, text: str) -> bool:
    """True if the glob names exactly this text."""
    if not is_glob(pattern):
        return pattern == text
    return compile_expression(glob_expression(pattern)).fullmatch(text) is not None


def names_group(match: GroupMatch, group: str) -> bool:
    """True if the match names exactly this group: one of each, outside the engine's own sets."""
    if match.kind == "exact":
        return in_any_form(match.pattern) == in_any_form(group) if match.fold else match.pattern == group
    text = composed(group) if match.fold else group
    return compile_expression(expression_of(match)).fullmatch(text) is not None


def is_anchored(pattern: str) -> bool:
    """True if the expression says itself that it means the whole text: `^…$`, flags before it allowed."""
    body = re.sub(r"^\(\?[imsU]+\)", "", pattern)
    return body.startswith(("^", r"\A")) and body.endswith(("$", r"\z")) and not body.endswith(r"\$")


def captures_of(match: GroupMatch) -> tuple[str, ...]:
    """The named captures of an expression."""
    return tuple(compile_expression(match.pattern).groupindex) if match.kind == "regex" else ()
