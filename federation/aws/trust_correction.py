"""The corrected trust policy: the given one with as little changed as opens it to the gateway, and to nobody else. Pure.

What is somebody else's stays: their statements are not touched, and where one statement speaks for several providers, ours is
taken out of it and gets a statement of its own. Whoever calls this examines the result again: a correction that
does not do what it is for is never shown (`trust.examine`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, MutableMapping
from typing import Any

from federation.aws.gateway_trust import GatewayTrust, Way
from federation.aws.trust_policy import NO, YES, Condition, Statement, TrustPolicy

# An audience that is nobody's: a statement that takes it takes any.
ANY_AUDIENCE = "https://any-audience.invalid/saml"
_EXTENDABLE = frozenset({"StringEquals", "StringLike", "StringEqualsIgnoreCase"})


def audience_conditions(statement: Statement, way: Way) -> list[Condition]:
    """The statement's conditions on the way's audience."""
    return [c for c in statement.conditions if c.key.lower() == way.audience_key.lower()]


def is_open(trust: TrustPolicy, statement: Statement, way: Way) -> bool:
    """Whether the statement's own conditions surely take a document that is addressed to anybody."""
    anybody = way.context(ANY_AUDIENCE)
    return all(trust.met(condition, anybody) is YES for condition in audience_conditions(statement, way))


def corrections(trust: TrustPolicy, gateway: GatewayTrust) -> Iterator[dict[str, Any]]:
    """Policies to try, that with the smallest change first."""
    yield _corrected(trust, gateway, replace=False)
    yield _corrected(trust, gateway, replace=True)


def _corrected(trust: TrustPolicy, gateway: GatewayTrust, *, replace: bool) -> dict[str, Any]:
    document: dict[str, Any] = copy.deepcopy(dict(trust.document))
    given = document["Statement"]
    statements: list[Any] = given if isinstance(given, list) else [given]
    appended = _open_way(trust, statements, gateway.way, replace=replace)
    other = gateway.other_way
    if other.audiences and _close_audience(trust, statements, other):
        appended.append(other.statement())
    statements += appended
    document["Statement"] = statements if isinstance(given, list) or len(statements) > 1 else statements[0]
    return document


def _named(trust: TrustPolicy, way: Way) -> list[Statement]:
    return [s for s in trust.statements if s.allows and not s.inverted and way.provider in s.federated]


def _is_ours_alone(statement: Statement) -> bool:
    return len(set(statement.federated)) == 1 and not (statement.aws or statement.others or statement.anybody)


def _open_way(trust: TrustPolicy, statements: list[Any], way: Way, *, replace: bool) -> list[dict[str, Any]]:
    """Put right what we have; returns what is to be appended where we have nothing that could be."""
    own = sorted((s for s in _named(trust, way) if _is_ours_alone(s)), key=lambda s: not s.covers(way.call))
    detached = _close_audience(trust, statements, way)
    missing = [a for a in way.actions if trust.decide(a, way.provider, way.context()) is not YES]
    if not own:
        return [way.statement()] if detached or missing else []
    best = own[0]
    target = statements[best.number - 1]
    if replace:
        target.pop("NotAction", None)
        fresh = way.statement()
        target.update({name: fresh[name] for name in ("Action", "Condition")})
        return []
    more = [action for action in missing if not best.covers(action)]
    if more and "NotAction" in target:
        del target["NotAction"]
        target["Action"] = list(way.actions)
    elif more:
        actions = target["Action"] if isinstance(target["Action"], list) else [target["Action"]]
        target["Action"] = [*actions, *more]
    _correct_conditions(trust, best, target, way)
    return []


def _close_audience(trust: TrustPolicy, statements: list[Any], way: Way) -> bool:
    """Give each of our statements that takes any audience a condition on it. True where ours left a shared statement."""
    left = False
    for statement in _named(trust, way):
        if not statement.covers(way.call) or not is_open(trust, statement, way):
            continue
        target = statements[statement.number - 1]
        if _is_ours_alone(statement):
            _set_audience(target, way, [])
            continue
        # A condition here would lock the others out.
        others = [one for one in statement.federated if one != way.provider]
        target["Principal"] = {**target["Principal"], "Federated": others}
        if not others:
            del target["Principal"]["Federated"]
        left = True
    return left


def _correct_conditions(trust: TrustPolicy, statement: Statement, target: MutableMapping[str, Any], way: Way) -> None:
    """Take out what no call of the gateway can ever meet, and list every audience that it may use."""
    audience = audience_conditions(statement, way)
    if not is_open(trust, statement, way):
        refused = [v for v in way.audiences if any(trust.met(c, way.context(v)) is NO for c in audience)]
        if refused:
            _set_audience(target, way, refused)
    for condition in statement.conditions:
        if condition not in audience and trust.met(condition, way.context()) is NO:
            _drop(target, condition.operator, condition.key)


def _set_audience(target: MutableMapping[str, Any], way: Way, missing: list[str]) -> None:
    """Extend the one condition on the audience, or put a plain one in the place of what is there."""
    found = [
        (operator, key)
        for operator, keys in target.get("Condition", {}).items()
        for key in keys
        if key.lower() == way.audience_key.lower()
    ]
    if missing and len(found) == 1 and found[0][0] in _EXTENDABLE:
        operator, key = found[0]
        value = target["Condition"][operator][key]
        target["Condition"][operator][key] = [*(value if isinstance(value, list) else [value]), *missing]
        return
    for operator, key in found:
        _drop(target, operator, key)
    values = list(way.audiences)
    condition = target.setdefault("Condition", {})
    condition.setdefault("StringEquals", {})[way.audience_key] = values if way.kind == "saml" else values[0]


def _drop(target: MutableMapping[str, Any], operator: str, key: str) -> None:
    del target["Condition"][operator][key]
    if not target["Condition"][operator]:
        del target["Condition"][operator]
    if not target["Condition"]:
        del target["Condition"]
