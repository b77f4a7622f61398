"""SCIM filters (RFC 7644 section 3.4.2.2) and sort orders as plain conditions, which the caller turns into a query.

What a directory asks by is understood: names, ids, addresses, any other single text, `active`, dates, members. The rest is
refused with a list of what can be asked, rather than answered by reading everybody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import scim2_models as rfc
from scim2_models.path import (
    CompareOperator,
    Comparison,
    FilterNode,
    LogicalExpr,
    LogicalOperator,
    Not,
    Present,
    ValuePath,
)

from federation.directory.scim import MANAGER, Group, Person, ScimRefused, name_key, storable

LONGEST_FILTER, MOST_TERMS, DEEPEST = 1_024, 20, 10
Operator = Literal["eq", "co", "sw", "ew", "gt", "ge", "lt", "le", "pr"]

# Attributes with a column of their own, by their names in lower case.
_PERSON: Final[Mapping[str, str]] = {
    "id": "id", "externalid": "external_id", "username": "user_name_key", "active": "active", "emails.value": "emails",
    "meta.created": "created_at", "meta.lastmodified": "modified_at", "groups.value": "groups",
}  # fmt: skip
_GROUP: Final[Mapping[str, str]] = {
    "id": "id", "externalid": "external_id", "displayname": "display_name", "members.value": "members",
    "meta.created": "created_at", "meta.lastmodified": "modified_at",
}  # fmt: skip
_COLUMNS: Final[Mapping[str, Mapping[str, str]]] = {"User": _PERSON, "Group": _GROUP}
_MODELS: Final[Mapping[str, Any]] = {"User": Person, "Group": Group}
_MOMENTS = frozenset({"created_at", "modified_at"})
_ONLY_EQUAL = frozenset({"id", "active", "members", "groups"})
_ASKED_BY: Final[Mapping[str, str]] = {
    "User": "id, externalId, userName, active, emails, groups.value, meta.created, meta.lastModified, and any single text such as name.familyName",
    "Group": "id, externalId, displayName, members.value, meta.created, meta.lastModified",
}


@dataclass(frozen=True, slots=True)
class Test:
    """One comparison. `column`: of the row, or `attributes.<path>` (keys joined by a newline) in the stored resource, whose text
    is compared without case where `folded`. `value` None with `pr`: is there anything. For `emails` the value is a piece of the
    column's own form.
    """

    column: str
    operator: Operator
    value: str | bool | datetime | None = None
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Both:
    """All of them hold."""

    terms: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """One of them holds."""

    terms: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Neither:
    """It does not hold."""

    term: Condition


Condition = Test | Both | Either | Neither


def read_filter(text: str, kind: str) -> Condition | None:
    """The condition of a filter over `User` or `Group`; None without one. Raises ScimRefused(invalidFilter)."""
    if not text.strip():
        return None
    _bounded(text)
    try:
        bound: Any = rfc.ScimFilter.__class_getitem__(_MODELS[kind])
        parsed = bound(_ENTRAS.sub(r"\1[(\2) and value \3]", _MANAGER.sub(_manager, text)))
    except (ValueError, RecursionError, rfc.SCIMException) as error:
        raise ScimRefused("invalidFilter", "The filter cannot be read.") from error
    return _Reader(kind, parsed).read(parsed.ast)


# `emails[type eq "work"].value eq "x"`, which the standard's grammar does not have, and Entra sends.
_ENTRAS = re.compile(r'(\w+)\[([^\[\]]*)\]\.value\s+(\w\w\s+"(?:[^"\\]|\\.)*"|pr)', re.IGNORECASE)


# `id eq "…" and manager eq "…"`: so Entra asks whether its word about somebody's manager has arrived.
_MANAGER = re.compile(r'"(?:[^"\\]|\\.)*"|(?<![\w:.])manager(?=\s+(?:eq|ne)\s)', re.IGNORECASE)


def _manager(found: re.Match[str]) -> str:
    return found[0] if found[0].startswith('"') else f"{MANAGER}.value"


def _bounded(text: str) -> None:
    """Refuse what would cost more than a directory's question does, before any of it is parsed."""
    storable(text)
    depth = deepest = 0
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)
    for character in bare:
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(character, 0)
        deepest = max(deepest, depth)
    terms = 1 + len(re.findall(r"\b(?:and|or)\b", bare, re.IGNORECASE))
    if len(text) > LONGEST_FILTER or deepest > DEEPEST or terms > MOST_TERMS:
        raise ScimRefused(
            "invalidFilter",
            f"A filter has at most {LONGEST_FILTER:,} characters, {MOST_TERMS} comparisons and {DEEPEST} levels of brackets.",
        )


class _Reader:
    """Walks the parsed filter."""

    def __init__(self, kind: str, parsed: Any) -> None:
        self._kind, self._parsed = kind, parsed

    def read(self, node: FilterNode) -> Condition:
        match node:
            case LogicalExpr():
                terms = tuple(self.read(term) for term in node.terms)
                return Both(terms) if node.op == LogicalOperator.and_ else Either(terms)
            case Not():
                return Neither(self.read(node.expr))
            case Present():
                column, folded = self._column(node.attr_path, comparing=False)
                return Test(column, "pr", folded=folded)
            case Comparison():
                return self._comparison(node)
            case ValuePath() if str(node.attr_path).lower().rpartition(":")[2] == "emails":
                return Test("emails", *_address(node.val_filter))
            case ValuePath(val_filter=Comparison(op=CompareOperator.eq, value=str(member)) as only) if (
                self._kind == "Group"
                and str(node.attr_path).lower() == "members"
                and str(only.attr_path).lower() == "value"
            ):
                return Test("members", "eq", member)
        raise self._cannot()

    def _comparison(self, node: Comparison) -> Condition:
        column, folded = self._column(node.attr_path, comparing=True)
        if node.op == CompareOperator.ne:
            return Neither(self._test(column, "eq", node.value, folded=folded))
        return self._test(column, node.op.value, node.value, folded=folded)

    def _test(self, column: str, operator: str, value: Any, *, folded: bool) -> Condition:
        if value is None and operator == "eq":
            return Neither(Test(column, "pr"))
        if column == "emails" and isinstance(value, str):
            return Test(column, *_piece(operator, value))
        if column in _MOMENTS:
            return Test(column, _operator(operator), _moment(value))
        if operator in ("gt", "ge", "lt", "le") or (column in _ONLY_EQUAL and operator != "eq"):
            raise self._cannot()
        if column == "active" and isinstance(value, str):
            value = value.lower() == "true"  # Entra quotes it
        if isinstance(value, bool) != (column == "active") or not isinstance(value, bool | str):
            raise self._cannot()
        if column == "user_name_key":
            value = name_key(str(value))
        return Test(column, _operator(operator), value, folded)

    def _column(self, path: Any, *, comparing: bool) -> tuple[str, bool]:
        """The column, or the path into the stored resource, of an attribute; whether its case does not count."""
        try:
            bound = self._parsed.resolve_comparison(path) if comparing else self._parsed.resolve(path)
        except (ValueError, rfc.SCIMException) as error:
            raise self._cannot() from error
        if bound is None:
            raise self._cannot()
        names = [bound.model._scim_name(bound.field_name)]
        if bound.sub_field_name is not None:
            names.append(bound.field_type._scim_name(bound.sub_field_name))
        core = bound.model is _MODELS[self._kind]
        column = _COLUMNS[self._kind].get(".".join(names).lower()) if core else None
        if column is None and core and not comparing:
            column = _COLUMNS[self._kind].get(f"{names[0]}.value".lower())
        if column is not None:
            return column, False
        text = isinstance(bound.target_type, type) and issubclass(bound.target_type, str)
        if self._kind != "User" or bound.is_multivalued or names[0] in ("password", "schemas", "meta"):
            raise self._cannot()
        if comparing and not text:
            raise self._cannot()
        keys = names if core else [str(bound.model.__schema__), *names]
        return "attributes." + "\n".join(keys), not bound.case_exact

    def _cannot(self) -> ScimRefused:
        return ScimRefused("invalidFilter", f"This cannot be asked. Ask by {_ASKED_BY[self._kind]}.")


def _operator(text: str) -> Operator:
    if text in ("eq", "co", "sw", "ew", "gt", "ge", "lt", "le"):
        return text  # type: ignore[return-value]
    raise ScimRefused("invalidFilter", "The filter has an operator that cannot be asked.")


def _moment(value: Any) -> datetime:
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError as error:
        raise ScimRefused("invalidFilter", 'A moment is "2026-01-31T09:00:00Z".') from error
    if at.tzinfo is None:
        raise ScimRefused("invalidFilter", 'A moment says its zone: "2026-01-31T09:00:00Z".')
    return at


def _piece(operator: str, value: str, kind: str | None = None) -> tuple[Operator, str]:
    """What the column of addresses contains if one of them (of this kind) compares so: a line is KIND, tab, address."""
    folded = re.sub(r"[\n\t]", " ", value).lower()
    start = "\t" if kind is None else f"\n{kind}\t"
    pieces = {"eq": f"{start}{folded}\n", "sw": f"{start}{folded}", "ew": f"{folded}\n", "co": folded}
    if operator not in pieces or (kind is not None and operator in ("ew", "co")):
        raise ScimRefused("invalidFilter", "Addresses are compared by eq, sw, ew and co.")
    return "co", pieces[operator]


def _address(inner: FilterNode) -> tuple[Operator, str | None]:
    """`emails[…]`: by type, by value, or by both."""
    kind: str | None = None
    compared: tuple[str, str] | None = None
    for term in _terms(inner):
        if isinstance(term, Present) and str(term.attr_path).lower() == "value":
            continue
        if not isinstance(term, Comparison) or not isinstance(term.value, str):
            raise ScimRefused("invalidFilter", 'Addresses are asked for as emails[type eq "work" and value eq "…"].')
        name = str(term.attr_path).lower()
        if name == "type" and term.op == CompareOperator.eq and kind is None:
            kind = re.sub(r"[\n\t]", " ", term.value).upper()
        elif name == "value" and compared is None:
            compared = (term.op.value, term.value)
        else:
            raise ScimRefused("invalidFilter", 'Addresses are asked for as emails[type eq "work" and value eq "…"].')
    if compared is not None:
        return _piece(*compared, kind)
    return ("co", f"\n{kind}\t") if kind is not None else ("pr", None)


def _terms(node: FilterNode) -> Iterator[FilterNode]:
    if isinstance(node, LogicalExpr) and node.op == LogicalOperator.and_:
        for term in node.terms:
            yield from _terms(term)
    else:
        yield node


_SORTS: Final[Mapping[str, Mapping[str, str]]] = {
    "User": {
        "id": "id", "externalid": "external_id", "username": "user_name_key", "displayname": "name", "emails": "email",
        "emails.value": "email", "meta.created": "created_at", "meta.lastmodified": "modified_at",
    },
    "Group": {
        "id": "id", "externalid": "external_id", "displayname": "display_name", "meta.created": "created_at",
        "meta.lastmodified": "modified_at",
    },
}  # fmt: skip


def read_sort(sort_by: str, sort_order: str, kind: str) -> str:
    """The column to sort by, behind a `-` if descending; "" without an order. Raises ScimRefused(invalidPath)."""
    if not sort_by:
        return ""
    name = re.sub(r"^urn:ietf:params:scim:schemas:core:2\.0:(?:user|group):", "", sort_by.strip().lower())
    column = _SORTS[kind].get(name)
    if column is None:
        raise ScimRefused("invalidPath", f"Sorted can be by {', '.join(_SORTS[kind])}.")
    return f"-{column}" if sort_order.lower() == "descending" else column
