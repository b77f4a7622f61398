"""Evaluates a role's trust policy: action, federated principal, conditions. Deny wins; what is not understood is a no."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Context = Mapping[str, tuple[str, ...]]


def _listed(value: Any) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, list) else (str(value),)


def _like(pattern: str, value: str, flags: int = 0) -> bool:
    """IAM wildcards: * any run of characters, ? one."""
    expression = "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern)
    return re.fullmatch(expression, value, flags | re.DOTALL) is not None


_COMPARE = {
    "StringEquals": lambda wanted, given: wanted == given,
    "StringEqualsIgnoreCase": lambda wanted, given: wanted.lower() == given.lower(),
    "StringLike": _like,
}
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
}


def _condition_holds(operator: str, key: str, wanted: tuple[str, ...], context: Context) -> bool:
    """One operator with one key. The key's name is compared without case, its value with it."""
    given = context.get(key.lower(), ())
    if operator == "Null":
        return wanted == ("true",) if not given else wanted == ("false",)
    quantifier, _, plain = operator.rpartition(":")
    if_exists = plain.endswith("IfExists")
    plain = plain.removesuffix("IfExists")
    negated = plain in _NEGATED
    compare = _COMPARE.get(_NEGATED.get(plain, plain))
    if compare is None or quantifier not in {"", "ForAnyValue", "ForAllValues"}:
        return False  # an operator that this reading does not know must not open a role
    if not given:
        return if_exists or negated or quantifier == "ForAllValues"

    def one(value: str) -> bool:
        matched = any(compare(pattern, value) for pattern in wanted)
        return not matched if negated else matched

    return all(map(one, given)) if quantifier == "ForAllValues" or negated else any(map(one, given))


def _speaks_of(statement: Mapping[str, Any], action: str) -> bool:
    """Action or NotAction, with wildcards and in any case."""
    if "NotAction" in statement:
        return not any(_like(pattern, action, re.IGNORECASE) for pattern in _listed(statement["NotAction"]))
    return any(_like(pattern, action, re.IGNORECASE) for pattern in _listed(statement.get("Action", [])))


def _speaks_to(statement: Mapping[str, Any], principal: str) -> bool:
    """Whether the provider is meant. A denial to everybody hits it as well; a permission must name it."""
    denies = statement.get("Effect") == "Deny"
    if "NotPrincipal" in statement:
        spared = statement["NotPrincipal"]
        return denies and not (isinstance(spared, dict) and principal in _listed(spared.get("Federated", [])))
    meant = statement.get("Principal", {})
    if meant == "*" or (isinstance(meant, dict) and "*" in _listed(meant.get("AWS", []))):
        named = isinstance(meant, dict) and principal in _listed(meant.get("Federated", []))
        return denies or named
    return isinstance(meant, dict) and principal in _listed(meant.get("Federated", []))


def _statement_applies(statement: Mapping[str, Any], action: str, principal: str, context: Context) -> bool:
    if not _speaks_of(statement, action) or not _speaks_to(statement, principal):
        return False
    conditions = statement.get("Condition", {})
    return all(
        _condition_holds(operator, key, _listed(wanted), context)
        for operator, keys in conditions.items()
        for key, wanted in keys.items()
    )


def allows(policy: Mapping[str, Any], action: str, principal: str, context: Context) -> bool:
    """Whether `principal` (a provider's ARN) may call `action` (`sts:...`) in `context` (keys in lower case)."""
    statements = policy.get("Statement", [])
    effects = [
        statement.get("Effect")
        for statement in ([statements] if isinstance(statements, dict) else statements)
        if _statement_applies(statement, action, principal, context)
    ]
    return "Allow" in effects and "Deny" not in effects
