"""Typed reading of a node tree that collects every fault instead of stopping at the first."""

from __future__ import annotations

import difflib
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from federation.errors import BadRequest
from federation.mapping.patterns import MAX_PROGRAMS
from federation.mapping.yamltree import Node
from federation.said import say

MAX_FAULTS = 1_000
MAX_HINTS, MAX_COMPARED = 50, 2_000
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_NAMES = {
    "mapping": say("a mapping"),
    "list": say("a list"),
    "text": say("text"),
    "integer": say("a number"),
    "number": say("a number"),
    "boolean": say("true or false"),
    "nothing": say("nothing"),
}
TEXT = _NAMES["text"]

# Without ink, or turning what stands beside it: Unicode's Default_Ignorable_Code_Point, the blank of Braille, and blanks that are
# no blank. Joiners, the wide blank and the selector of a coloured emoji are for scripts that have them: not beside ASCII.
_UNSEEN = re.compile(
    "[\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200b\u200e\u200f\u2028-\u202f\u205f-\u206f\u2800"
    "\u3164\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
    "|(?<![^\\x00-\\x7f])[\u200c\u200d\u3000\ufe0f]|[\u200c\u200d](?![^\\x00-\\x7f])"
)
MAX_UNSEEN = 100

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong. `path` such as "mapping[2].when.groups[0]", `line` from 1, `message`: what would be right."""

    path: str
    line: int
    message: str

    @property
    def sentence(self) -> str:
        """The fault with its place, for where it stands alone."""
        line = str(self.line)
        if self.path:
            return say("line {line}: {path}: {message}", line=line, path=self.path, message=self.message)
        return say("line {line}: {message}", line=line, message=self.message)

    def __str__(self) -> str:
        return str(self.sentence)


class DocumentError(BadRequest):
    """A mapping document is refused whole; `faults` has everything that is wrong with it, in the order of the lines."""

    code = "mapping_document_invalid"
    sentence = (
        "The mapping document was refused; nothing was changed. Correct every fault that is listed, then try again."
    )

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__(detail="; ".join(str(fault) for fault in self.faults[:20]))


class Report:
    """Collects faults. `bounded`: whether a document's expressions together may be too large."""

    def __init__(self, *, bounded: bool = True) -> None:
        self.faults: list[Fault] = []
        self._bounded = bounded
        self._expressions: set[str] = set()
        self._programs = 0

    @property
    def is_full(self) -> bool:
        """Whether the document's expressions are too large together: no further one is to be compiled."""
        return self._bounded and self._programs > MAX_PROGRAMS

    @property
    def programs(self) -> int:
        """Instructions of all the document's expressions and globs."""
        return self._programs

    def weigh(self, expression: str, size: int) -> bool:
        """Count a compiled expression, each once. True for the one by which it becomes too much."""
        if expression in self._expressions:
            return False
        self._expressions.add(expression)
        self._programs += size
        return self.is_full

    def add(self, path: str, line: int, message: str) -> None:
        # Bounded: a hostile document of a million faults must not become an answer of a gigabyte.
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(Fault(path, line, message))


def quoted(value: str, longest: int = 60) -> str:
    """A value inside a message: bounded, control characters escaped."""
    cut = value if len(value) <= longest else value[:longest] + "…"
    return '"' + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut) + '"'


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant, or "" if none is near."""
    near = difflib.get_close_matches(word[:80], list(itertools.islice(known, MAX_COMPARED)), n=1, cutoff=0.55)
    return near[0] if near else ""


@dataclass(frozen=True, slots=True)
class Value:
    """A node together with where it stands and where faults go."""

    node: Node
    path: str
    report: Report

    def fault(self, message: str, near: str = "") -> None:
        """Report it, and the known word that is `near`, if any."""
        if near:
            message = say('{fault}; did you mean "{word}"?', fault=message, word=near)
        self.report.add(self.path, self.node.line, message)

    def near(self, word: str, known: Iterable[str]) -> str:
        """The known word that was probably meant, or "". Only for the first faults: comparing costs, and a document can have many."""
        return "" if len(self.report.faults) >= MAX_HINTS else nearest(word, known)

    def wrong(self, wanted: str) -> None:
        """Report that another kind of value is wanted here."""
        found = _NAMES[self.node.kind]
        if wanted.startswith("text") and self.node.kind in ("integer", "number", "boolean"):
            self.fault(say("{wanted} is wanted here, not {found}; put it in quotes", wanted=wanted, found=found))
        else:
            self.fault(say("{wanted} is wanted here, not {found}", wanted=wanted, found=found))

    def text(
        self, *, longest: int = 2_048, wanted: str = TEXT, multiline: bool = False, empty: bool = False
    ) -> str | None:
        """The text, or None after a fault. Control and bidi characters are faults: they make a rule read as another."""
        if self.node.kind != "text":
            self.wrong(wanted if wanted.startswith("text") else say("text ({what})", what=wanted))
            return None
        value = self.node.text
        if not value and not empty:
            self.fault(say("{wanted} is wanted here, and this is empty", wanted=wanted))
        elif len(value) > longest:
            self.fault(
                say("at most {most} characters are accepted, and these are {number}", most=longest, number=len(value))
            )
        elif bad := _first_unreadable(value, multiline=multiline):
            self.fault(say("has the invisible character {character}; take it out", character=f"U+{ord(bad):04X}"))
        else:
            return value
        return None

    def boolean(self) -> bool | None:
        if self.node.kind != "boolean":
            self.wrong(say("true or false"))
            return None
        return self.node.text.casefold() == "true"

    def items(self, *, scalar_too: bool = False, at_least_one: bool = True) -> list[Value]:
        """The values of a list; with `scalar_too` a single value stands for a list of one."""
        if self.node.kind != "list":
            if scalar_too and self.node.kind != "nothing":
                return [self]
            self.wrong(say("a list"))
            return []
        if at_least_one and not self.node.items:
            self.fault(say("the list is empty; name at least one, or leave the key out"))
        return [Value(item, f"{self.path}[{index}]", self.report) for index, item in enumerate(self.node.items)]

    def texts(
        self, check: Callable[[Value], str | None] | None = None, *, scalar_too: bool = False, at_least_one: bool = True
    ) -> tuple[str, ...]:
        """A list of text, each through `check`, without duplicates."""
        return self.each(check or Value.text, scalar_too=scalar_too, at_least_one=at_least_one)

    def each(
        self, parse: Callable[[Value], T | None], *, scalar_too: bool = False, at_least_one: bool = True
    ) -> tuple[T, ...]:
        """Every item of a list through `parse`; those that gave a fault are left out, and doubles are a fault."""
        read: list[T] = []
        for item in self.items(scalar_too=scalar_too, at_least_one=at_least_one):
            value = parse(item)
            if value is None:
                continue
            if value in read:
                item.fault(say("is in the list twice; take one out"))
            read.append(value)
        return tuple(read)

    def fields(self, allowed: Iterable[str], required: Iterable[str] = ()) -> Fields:
        """The entries of a mapping, each key known, single and present if required."""
        return Fields(self, tuple(allowed), tuple(required))

    def entries(self, wanted: str = _NAMES["mapping"]) -> list[tuple[str, Value]]:
        """The entries of a mapping whose keys are free; a key that comes twice is a fault."""
        if self.node.kind != "mapping":
            self.wrong(wanted)
            return []
        seen: set[str] = set()
        read: list[tuple[str, Value]] = []
        for key, line, node in self.node.entries:
            path = f"{self.path}.{key[:60]}" if self.path else key[:60]
            if key in seen:
                # A reviewer reads one of the two, a lenient loader takes the other.
                self.report.add(path, line, say("the key is here twice; keep one of them"))
                continue
            seen.add(key)
            if bad := _first_unreadable(key, multiline=False):
                self.report.add(
                    self.path,
                    line,
                    say("a key has the invisible character {character}; take it out", character=f"U+{ord(bad):04X}"),
                )
                continue
            read.append((key, Value(node, path, self.report)))
        return read


class Fields:
    """The entries of a mapping with known keys."""

    def __init__(self, value: Value, allowed: tuple[str, ...], required: tuple[str, ...]) -> None:
        self.value = value
        self._known: dict[str, Value] = {}
        if value.node.kind != "mapping":
            value.wrong(say("a mapping with {keys}", keys=", ".join(allowed)))
            return
        for key, entry in value.entries():
            if key not in allowed:
                near = entry.near(key, allowed)
                known = say("unknown key; known here: {keys}", keys=", ".join(allowed))
                entry.fault(say("unknown key") if near else known, near)
            else:
                self._known[key] = entry
        for key in required:
            if key not in self._known:
                value.fault(say("`{key}` is missing", key=key))

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __bool__(self) -> bool:
        return bool(self._known)

    def get(self, key: str) -> Value | None:
        return self._known.get(key)

    def read(self, key: str, parse: Callable[[Value], T | None], default: T) -> T:
        """The entry through `parse`; `default` where it is absent or gave a fault."""
        entry = self._known.get(key)
        if entry is None:
            return default
        value = parse(entry)
        return default if value is None else value

    def text(self, key: str, default: str = "", *, longest: int = 256) -> str:
        return self.read(key, lambda value: value.text(longest=longest), default)

    def boolean(self, key: str, *, default: bool) -> bool:
        return self.read(key, Value.boolean, default)


def unseen_in(text: str) -> list[tuple[int, str]]:
    """The lines, from 1, that have a character which nobody sees, each with its first one; at most a hundred of them."""
    if text.isascii() or _UNSEEN.search(text) is None:
        return []
    found: list[tuple[int, str]] = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if (unseen := _UNSEEN.search(line)) is not None:
            found.append((number, unseen[0]))
        if len(found) >= MAX_UNSEEN:
            break
    return found


def _first_unreadable(text: str, *, multiline: bool) -> str:
    """The first character that hides or reorders text, or "". Attack: bidi tricks in a reviewed rule (CVE-2021-42574)."""
    if text.isascii() and text.isprintable():
        return ""
    for character in text:
        if multiline and character in "\n\r\t":
            continue
        if character in _BIDI or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            return character
    return ""
