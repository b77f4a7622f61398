"""Which of the catalogue's roles a decision can look at at all, worked out before the catalogue is read. Pure.

An organization has 200,000 roles; a person's rules name five of them. Whoever keeps the catalogue in a database reads what
is in the reach, and nothing else: the decision on that is the decision on the whole (tests/mapping/test_reach.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from federation.mapping.rules import Catalogue


@dataclass(frozen=True, slots=True)
class Wanted:
    """In each of `accounts`: the roles with one of these names (without path), or that one of the globs may match.

    A glob with a slash speaks about path and name, one without about the name.
    """

    accounts: frozenset[str]
    names: frozenset[str]
    globs: frozenset[str]


@dataclass(frozen=True, slots=True)
class Reach:
    """`arns`: role ARNs wanted by themselves. `accounts`: every account that is wanted anything of."""

    wanted: tuple[Wanted, ...]
    arns: frozenset[str]
    accounts: frozenset[str]


CatalogueReader = Callable[[Reach], Catalogue]
"""Reads the catalogue as far as it is reached. An account that was read whole is in the answer, be it with no role."""


def reach(wanted: Iterable[Wanted], arns: Iterable[tuple[str, str]]) -> Reach:
    """Put together what several rules want; `arns` with their account ids before them. What is wanted of the same accounts becomes one."""
    merged: dict[frozenset[str], tuple[set[str], set[str]]] = {}
    for one in wanted:
        if one.accounts and (one.names or one.globs):
            names, globs = merged.setdefault(one.accounts, (set(), set()))
            names.update(one.names)
            globs.update(one.globs)
    single = {arn: account for account, arn in arns}
    return Reach(
        wanted=tuple(Wanted(of, frozenset(names), frozenset(globs)) for of, (names, globs) in merged.items()),
        arns=frozenset(single),
        accounts=frozenset(single.values()).union(*merged),
    )
