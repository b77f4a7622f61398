"""A role's trust policy: read, and evaluated as IAM does, with a third answer beside yes and no. Pure.

Owns the grammar ("Grammar of the IAM JSON policy language", "JSON policy elements: Principal") and the evaluation
("Policy evaluation logic", "IAM JSON policy elements: Condition operators", "Multivalued context keys"; all in the IAM user
guide). Not everything that a condition asks can be known here: the caller's address, the hour, what AWS adds one day. Such a
condition is `UNKNOWN`, and so is whatever depends on it: guessing yes would hide a role that nobody can use, guessing
no would cry wolf.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from federation.said import say

# IAM takes 2,048 characters, 4,096 with a raised quota ("IAM and STS quotas"); white space does not count there.
MAX_TEXT = 65_536
_VERSIONS = ("2012-10-17", "2008-10-17")
_POLICY_ELEMENTS = frozenset({"Version", "Id", "Statement"})
_STATEMENT_ELEMENTS = frozenset(
    {"Sid", "Effect", "Action", "NotAction", "Principal", "NotPrincipal", "Condition"}
)  # no Resource: "MalformedPolicyDocument: Has prohibited field Resource"
_PRINCIPAL_KINDS = frozenset({"AWS", "Federated", "Service", "CanonicalUser"})
_POSITIVE = frozenset(
    {
        "StringEquals", "StringEqualsIgnoreCase", "StringLike", "NumericEquals", "NumericLessThan", "NumericLessThanEquals",
        "NumericGreaterThan", "NumericGreaterThanEquals", "DateEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan",
        "DateGreaterThanEquals", "Bool", "BinaryEquals", "IpAddress", "ArnEquals", "ArnLike",
    }
)  # fmt: skip
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
    "NotIpAddress": "IpAddress",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
}
_STRINGS = frozenset({"StringEquals", "StringEqualsIgnoreCase", "StringLike"})
_SESSION_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]{2,64}")
_VARIABLE = re.compile(r"\$\{([^}]*)\}")


class Answer(StrEnum):
    """Yes, no, or: not to be known from the document alone."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


YES, NO, UNKNOWN = Answer.YES, Answer.NO, Answer.UNKNOWN


def _answer(truth: object) -> Answer:
    return YES if truth else NO


def all_of(answers: Iterable[Answer]) -> Answer:
    """Kleene's "and": one no is a no."""
    found = frozenset(answers)
    return NO if NO in found else UNKNOWN if UNKNOWN in found else YES


def any_of(answers: Iterable[Answer]) -> Answer:
    """Kleene's "or": one yes is a yes."""
    found = frozenset(answers)
    return YES if YES in found else UNKNOWN if UNKNOWN in found else NO


def negation(answer: Answer) -> Answer:
    """Kleene's "not"."""
    return {YES: NO, NO: YES, UNKNOWN: UNKNOWN}[answer]


# --- What a call says about itself --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fact:
    """What is known of one condition key: whether the call has it, and its one value.

    `exact`: the value. Where that is None: a person's session name (STS: 2 to 64 of letters, digits and `_+=,.@-`) after `prefix`.
    """

    present: Answer = YES
    exact: str | None = None
    prefix: str = ""


ABSENT = Fact(NO)
A_PERSON = Fact(YES)
NOT_KNOWN = Fact(UNKNOWN)


@dataclass(frozen=True, slots=True)
class CallContext:
    """The condition keys of one call, in lower case, as IAM compares them.

    `speaks_for`: the OIDC provider (host and path, lower case) of whose other keys nothing is known; the keys of every other
    provider, and `saml:` keys that are not in `facts`, are absent: a call has one provider.
    """

    facts: Mapping[str, Fact]
    speaks_for: str = ""

    def fact(self, key: str) -> Fact:
        """What is known of `key`, in any case."""
        key = key.lower()
        if key in self.facts:
            return self.facts[key]
        if self.speaks_for and key.rpartition(":")[0] == self.speaks_for:
            return NOT_KNOWN
        space = key.partition(":")[0]
        # A host: `token.actions.githubusercontent.com:sub`, `127.0.0.1:8000/issuer:aud`, `[::1]/issuer:aud`.
        if "." in space or space == "saml" or key.startswith(("localhost", "[")):
            return ABSENT
        return NOT_KNOWN


# --- The document ------------------------------------------------------------------------------------


class PolicyUnreadable(ValueError):
    """Not a policy. `code`: not_json or not_a_policy; the text says what is wrong, and quotes nothing of the document."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.sentence = text


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator with one key and its values."""

    operator: str
    key: str
    values: tuple[str, ...]

    @property
    def plain(self) -> str:
        """The operator without ForAnyValue:, ForAllValues: and IfExists."""
        return self.operator.rpartition(":")[2].removesuffix("IfExists")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. `number` counts from 1; `fault`: why IAM would not take it, or "".

    `federated`, `aws`, `others` (services, canonical users): the principals as written. `anybody`: `"*"` or `{"AWS": "*"}`. `inverted`: it has NotPrincipal
    (the principals are those left out).
    """

    number: int
    effect: str
    actions: tuple[str, ...]
    not_actions: bool
    federated: tuple[str, ...] = ()
    aws: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    anybody: bool = False
    inverted: bool = False
    conditions: tuple[Condition, ...] = ()
    fault: str = ""

    @property
    def allows(self) -> bool:
        return self.effect == "Allow"

    def covers(self, action: str) -> bool:
        """Whether it speaks of `action` (`sts:TagSession`): wildcards, any case, NotAction."""
        return any(like(pattern.lower(), action.lower()) for pattern in self.actions) != self.not_actions

    def names(self, provider: str) -> Answer:
        """Whether `provider` (ARN) is among those it speaks of."""
        if self.fault:
            return UNKNOWN
        if self.inverted:
            # IAM takes no NotPrincipal in a trust policy; should one be there, a denial is believed and a permission is not.
            return NO if provider in self.federated else UNKNOWN if self.allows else YES
        if provider in self.federated:
            return YES
        if self.anybody:
            # That a denial to everybody hits federated principals is documented; that a permission to everybody reaches them is not.
            return UNKNOWN if self.allows else YES
        return UNKNOWN if "*" in self.federated else NO


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """A trust policy as it was read. `document` is what was given, parsed; do not change it."""

    document: Mapping[str, Any]
    statements: tuple[Statement, ...]
    has_variables: bool

    def applies(self, statement: Statement, action: str, provider: str, context: CallContext) -> Answer:
        """Whether `statement` speaks of this call."""
        if statement.fault:
            return UNKNOWN
        named = statement.names(provider)
        if named is NO or not statement.covers(action):
            return NO
        return all_of([named, *(self.met(c, context) for c in statement.conditions)])

    def decide(self, action: str, provider: str, context: CallContext) -> Answer:
        """Whether `provider` (ARN) may call `action` in `context`. An explicit denial wins; nothing said is a no."""
        allowed = any_of(self.applies(s, action, provider, context) for s in self.statements if s.allows or s.fault)
        denied = any_of(self.applies(s, action, provider, context) for s in self.statements if not s.allows or s.fault)
        return all_of([allowed, negation(denied)])

    def met(self, condition: Condition, context: CallContext) -> Answer:
        """Whether one condition holds.

        Sources: "Condition operators" ("if the key is not present, the values do not match"; a negated operator then holds, and so
        does IfExists), "Multivalued context keys" (ForAllValues holds without the key, ForAnyValue does not).
        """
        quantifier, _, plain = condition.operator.rpartition(":")
        if_exists, plain = plain.endswith("IfExists"), plain.removesuffix("IfExists")
        fact = context.fact(condition.key)
        if plain == "Null":
            wanted = {value.lower() for value in condition.values}
            if quantifier or if_exists or wanted not in ({"true"}, {"false"}):
                return UNKNOWN
            return negation(fact.present) if wanted == {"true"} else fact.present
        negated = plain in _NEGATED
        positive = _NEGATED.get(plain, plain)
        if positive not in _POSITIVE or quantifier not in ("", "ForAnyValue", "ForAllValues"):
            return UNKNOWN  # an operator that is not known here may be known to AWS
        if fact.present is NO:
            if negated and quantifier == "ForAnyValue" and not if_exists:
                return UNKNOWN  # the two rules contradict each other, and no page of AWS decides
            return _answer(if_exists or negated or quantifier == "ForAllValues")
        if fact.present is UNKNOWN or positive not in _STRINGS:
            return UNKNOWN
        # Every key whose value is known has one value: the quantifiers make no difference then.
        matched = any_of(self._match(positive, value, fact, negated=negated) for value in condition.values)
        return negation(matched) if negated else matched

    def _match(self, operator: str, pattern: str, fact: Fact, *, negated: bool) -> Answer:
        variables = _VARIABLE.findall(pattern) if self.has_variables else []
        if variables:
            # aws:username is only there for IAM users ("Where you can use policy variables"); without it nothing is equal.
            return NO if "aws:username" in [v.lower() for v in variables] and not negated else UNKNOWN
        if operator == "StringEqualsIgnoreCase":
            pattern = pattern.lower()
            fact = Fact(fact.present, None if fact.exact is None else fact.exact.lower(), fact.prefix.lower())
        if fact.exact is not None:
            return _answer(like(pattern, fact.exact) if operator == "StringLike" else pattern == fact.exact)
        if operator != "StringLike":
            rest = pattern[len(fact.prefix) :] if pattern.startswith(fact.prefix) else ""
            return UNKNOWN if _SESSION_NAME.fullmatch(rest) else NO
        # A star at the end that takes the prefix takes whatever follows it as well.
        if pattern.endswith("*") and like(pattern, fact.prefix):
            return YES
        return UNKNOWN if _may_begin(pattern, fact.prefix) else NO


def like(pattern: str, text: str) -> bool:
    """IAM's wildcards, in exact letters: `*` any run of characters, `?` one.

    At most len(pattern) times len(text) steps: a regular expression of thirty stars, in somebody else's policy, would take years.
    """
    if "*" not in pattern and "?" not in pattern:
        return pattern == text
    p = t = mark = 0
    star = -1
    while t < len(text):
        if p < len(pattern) and pattern[p] == "*":
            star, mark = p, t
            p += 1
        elif p < len(pattern) and pattern[p] in ("?", text[t]):
            p, t = p + 1, t + 1
        elif star >= 0:
            mark += 1
            p, t = star + 1, mark
        else:
            return False
    return all(c == "*" for c in pattern[p:])


def _may_begin(pattern: str, prefix: str) -> bool:
    """Whether some text that is longer than `prefix` and begins with it can match."""
    for position, character in enumerate(pattern):
        if character == "*" or position >= len(prefix):
            return True
        if character not in ("?", prefix[position]):
            return False
    return False


# --- Reading ------------------------------------------------------------------------------------------


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise PolicyUnreadable("not_a_policy", say("an element is given twice"))
    return found


def read(policy: str | Mapping[str, Any]) -> TrustPolicy:
    """A trust policy out of its JSON text, or parsed already. Raises PolicyUnreadable: not_json, not_a_policy.

    A statement that IAM would not take is kept, with its fault: the others can still be judged.
    """
    document: Any = policy
    if isinstance(policy, str):
        if len(policy) > MAX_TEXT:
            raise PolicyUnreadable("not_a_policy", say("it has {number} characters", number=len(policy)))
        try:
            document = json.loads(policy, object_pairs_hook=_no_duplicates)
        except PolicyUnreadable:
            raise
        except (ValueError, RecursionError):
            raise PolicyUnreadable("not_json", say("it is not JSON")) from None
    if not isinstance(document, Mapping):
        raise PolicyUnreadable("not_a_policy", say("it is not a JSON object"))
    if not _POLICY_ELEMENTS.issuperset(document):
        raise PolicyUnreadable("not_a_policy", say("it has elements beside Version, Id and Statement"))
    # Without Version it is 2008-10-17, which has no policy variables ("JSON policy elements: Version").
    version = document.get("Version", _VERSIONS[1])
    if version not in _VERSIONS:
        raise PolicyUnreadable("not_a_policy", say("its Version is neither 2012-10-17 nor 2008-10-17"))
    given = document.get("Statement")
    statements = [given] if isinstance(given, Mapping) else given
    if not isinstance(statements, list) or not statements:
        raise PolicyUnreadable("not_a_policy", say("it has no Statement"))
    read_ones = tuple(_statement(one, number) for number, one in enumerate(statements, 1))
    return TrustPolicy(document, read_ones, version == _VERSIONS[0])


def _texts(value: Any) -> tuple[str, ...] | None:
    """A string, number or Boolean, or a list of them, as strings; None for anything else."""
    found = []
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, bool):
            found.append("true" if one else "false")
        elif isinstance(one, str | int | float):
            found.append(str(one))
        else:
            return None
    return tuple(found)


class _Fault(Exception):
    """Why IAM would not take a statement."""

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence
        super().__init__(sentence)


def _statement(given: Any, number: int) -> Statement:
    try:
        return _read_statement(given, number)
    except _Fault as fault:
        return Statement(number, "", (), not_actions=False, fault=fault.sentence)


def _read_statement(given: Any, number: int) -> Statement:
    if not isinstance(given, Mapping):
        raise _Fault(say("it is not a JSON object"))
    if unknown := sorted(set(map(str, given)) - _STATEMENT_ELEMENTS):
        raise _Fault(say("a trust policy's statement has no element {name}", name=ascii(unknown[0][:40])))
    effect = given.get("Effect")
    if effect not in ("Allow", "Deny"):
        raise _Fault(say("its Effect is neither Allow nor Deny"))
    for one, other in (("Action", "NotAction"), ("Principal", "NotPrincipal")):
        if (one in given) == (other in given):
            raise _Fault(say("it must have exactly one of {one} and {other}", one=one, other=other))
    actions = _texts(given.get("Action", given.get("NotAction")))
    if not actions:
        raise _Fault(say("its Action is no string and no list of strings"))
    conditions = _conditions(given.get("Condition", {}))
    inverted = "NotPrincipal" in given
    principal = given["NotPrincipal"] if inverted else given["Principal"]
    if principal == "*":
        return Statement(
            number, effect, actions, "NotAction" in given, anybody=True, inverted=inverted, conditions=conditions
        )
    if not isinstance(principal, Mapping) or not principal or not _PRINCIPAL_KINDS.issuperset(principal):
        raise _Fault(say("its Principal is neither * nor an object of AWS, Federated and Service"))
    lists = {kind: _texts(value) for kind, value in principal.items()}
    if None in lists.values():
        raise _Fault(say("its Principal holds something else than strings"))
    aws = lists.get("AWS") or ()
    return Statement(
        number,
        effect,
        actions,
        "NotAction" in given,
        federated=lists.get("Federated") or (),
        aws=tuple(one for one in aws if one != "*"),
        others=(*(lists.get("Service") or ()), *(lists.get("CanonicalUser") or ())),
        anybody="*" in aws,
        inverted=inverted,
        conditions=conditions,
    )


def _conditions(given: Any) -> tuple[Condition, ...]:
    if not isinstance(given, Mapping):
        raise _Fault(say("its Condition is not a JSON object"))
    found = []
    for operator, keys in given.items():
        if not isinstance(keys, Mapping):
            raise _Fault(say("its Condition has an operator without keys"))
        for key, value in keys.items():
            values = _texts(value)
            if values is None:
                raise _Fault(say("its Condition has a value that is neither a string nor a list of strings"))
            found.append(Condition(str(operator), str(key), values))
    return tuple(found)
