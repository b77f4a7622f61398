"""The catalogue, read as far as a decision can look at it: of 200,000 roles a person's rules name a few."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from types import MappingProxyType
from typing import Any, Final

from django.db import connection

from federation.mapping.reach import Reach, Wanted
from federation.mapping.rules import Catalogue, CatalogueRole
from federation.models import compiled
from federation.models.accounts import Role
from federation.models.sync import Source

ACCOUNT: Final = "account:"  # with the account's id behind it: the key of the source of its roles
_GROUPS_A_STATEMENT = 100  # SQLite joins at most 500 selects
_COLUMNS = "account_id, arn, name, path, max_session_duration"


def whole(account_id: str) -> Reach:
    """The reach of one account with all of its roles. For explaining and reports."""
    accounts = frozenset({account_id})
    return Reach((Wanted(accounts, frozenset(), frozenset({"*"})),), frozenset(), accounts)


def reachable(reach: Reach) -> Catalogue:
    """What is known within the reach, by account and ARN. One statement, none for an empty reach.

    An account is known once it has been read whole, whatever became of its roles since: then no role of it is trusted to
    be there because a rule names it.
    """
    known: dict[str, dict[str, CatalogueRole]] = {}
    roles: list[tuple[str, str, str, str, int | None]] = []
    for sql, params in _statements(reach):
        with connection.cursor() as cursor:
            cursor.execute(sql, params)
            for row in cursor.fetchall():
                if row[1] is None:
                    known[row[0]] = {}
                else:
                    roles.append(row)
    for account_id, arn, name, path, longest in roles:
        if account_id in known:
            known[account_id][arn] = CatalogueRole(arn, name, path, longest)
    return MappingProxyType(known)


def versions() -> compiled.Statement:
    """The question for the version of each account's listing, by the account's id; to be sent along with others."""
    table = compiled.table(Source)
    return f"SELECT SUBSTR(key, {len(ACCOUNT) + 1}), version FROM {table} WHERE key LIKE %s", [f"{ACCOUNT}%"]  # noqa: S608  ours


def _statements(reach: Reach) -> Iterator[compiled.Statement]:
    """SQL and parameters: the roles, and a row without a role for each account that is known."""
    if not reach.accounts:
        return
    for start in range(0, max(1, len(reach.wanted)), _GROUPS_A_STATEMENT):
        parts = [_role_select(one) for one in reach.wanted[start : start + _GROUPS_A_STATEMENT]]
        if start == 0:
            if reach.arns:
                parts.append(_of_roles(*compiled.among("arn", sorted(reach.arns))))
            parts.append(_known_select(reach.accounts))
        yield " UNION ALL ".join(sql for sql, _ in parts), [value for _, values in parts for value in values]


def _role_select(one: Wanted) -> compiled.Statement:
    in_accounts, params = compiled.among("account_id", sorted(one.accounts))
    named = [compiled.among("name", sorted(one.names))] if one.names else []
    likes = [_like(glob) for glob in sorted(one.globs)]
    either = " OR ".join(sql for sql, _ in (*named, *likes))
    return _of_roles(
        f"{in_accounts} AND ({either})", [*params, *(value for _, values in (*named, *likes) for value in values)]
    )


def _of_roles(condition: str, params: Sequence[Any]) -> compiled.Statement:
    return f"SELECT {_COLUMNS} FROM {compiled.table(Role)} WHERE present AND {condition}", params  # noqa: S608  ours


def _known_select(accounts: Iterable[str]) -> compiled.Statement:
    among, params = compiled.among("key", sorted(ACCOUNT + account_id for account_id in accounts))
    account = f"SUBSTR(key, {len(ACCOUNT) + 1})"
    table = compiled.table(Source)
    return f"SELECT {account}, NULL, NULL, NULL, NULL FROM {table} WHERE succeeded_at IS NOT NULL AND {among}", params  # noqa: S608


def _like(glob: str) -> compiled.Statement:
    """A condition that every role fulfils which the glob matches; the mapping itself looks closer."""
    column = "path || '/' || name" if "/" in glob else "name"
    if connection.vendor == "postgresql":
        escaped = re.sub(r"([\\%_])", r"\\\1", glob)
        return f"{column} LIKE %s", [escaped.translate({ord("*"): "%", ord("?"): "_"})]
    return f"{column} GLOB %s", [glob.replace("[", "[[]")]
