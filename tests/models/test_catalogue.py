"""The catalogue is read as far as somebody reaches, in one statement, and says the same as the whole of it."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from federation import queries
from federation.mapping.patterns import compile_expression, glob_expression
from federation.mapping.reach import Reach, Wanted
from federation.mapping.rules import CatalogueRole
from federation.models import Role, Source, current
from federation.models.catalogue import reachable, whole
from tests import cast

READ, NEVER_READ, EMPTY = cast.DEV, cast.PROD, cast.STAGING
NAMES = ["ReadOnly", "readonly", "Read_Only", "ReadXOnly", "a%b", "team-1-admin", "team-2-admin", "x=y+z@w.v", "Gone"]
PATHS = ["", "team", "team/sub", "te_am"]


@pytest.fixture
def filled(db, now):
    """One account with each name under each path, one that was read and has nothing left, one that was never read."""
    for account in (READ, EMPTY):
        Source.objects.create(key=f"account:{account}", state="ok", succeeded_at=now)
    Source.objects.create(key=f"account:{NEVER_READ}", state="failed", attempted_at=now)
    made = {}
    for path in PATHS:
        for name in NAMES:
            qualified = f"{path}/{name}" if path else name
            arn = cast.role(READ, qualified)
            Role.objects.create(
                arn=arn, account_id=READ, name=name, path=path, seen_at=now, present=name != "Gone", max_session_duration=7200
            )  # fmt: skip
            if name != "Gone":
                made[qualified] = CatalogueRole(arn, name, path, 7200)
    return made


def of(accounts, names=(), globs=()):
    return Wanted(frozenset(accounts), frozenset(names), frozenset(globs))


def read(*wanted, arns=(), accounts=None):
    everybody = frozenset().union(*(one.accounts for one in wanted), accounts or ())
    return reachable(Reach(tuple(wanted), frozenset(arns), everybody))


def test_nothing_in_reach_costs_no_statement(db, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert read() == {}


def test_names_are_exact_and_at_any_path(filled):
    found = read(of([READ], ["ReadOnly"]))
    assert found == {READ: {role.arn: role for role in filled.values() if role.name == "ReadOnly"}}
    assert len(found[READ]) == len(PATHS)


@pytest.mark.parametrize(
    "glob", ["*", "Read*", "*only", "Read_Only", "Read?Only", "a%b", "a%*", "team-?-admin", "team/*", "*/sub/*", "te_am/*", "*/Read?Only", "t[e]am*", "[!x]*", "\\*"]
)  # fmt: skip
def test_a_glob_means_to_the_database_what_it_means_to_the_mapping(filled, glob):
    """Taken for its own wildcards, `_` and `%` would bring neighbours; less than the glob matches must it never bring."""
    expression = compile_expression(glob_expression(glob))
    matched = {
        role.arn
        for role in filled.values()
        if expression.fullmatch(f"{role.path}/{role.name}".lstrip("/") if "/" in glob else role.name)
    }
    found = read(of([READ], globs=[glob]))[READ]
    assert matched <= found.keys()
    assert not {role.arn for role in found.values() if role.arn not in matched and (role.path or "/" not in glob)}


def test_a_read_account_is_known_although_nothing_of_it_is_wanted_or_left(filled):
    found = read(of([READ, EMPTY, NEVER_READ, "000000000001"], ["Nothing"]))
    assert found == {READ: {}, EMPTY: {}}


def test_a_removed_role_is_not_there(filled):
    assert read(of([READ], ["Gone"])) == {READ: {}}
    assert read(arns=[cast.role(READ, "Gone")], accounts=[READ]) == {READ: {}}


def test_an_arn_is_found_by_itself(filled):
    arn = cast.role(READ, "team/ReadOnly")
    assert read(arns=[arn, cast.role(READ, "none")], accounts=[READ]) == {READ: {arn: filled["team/ReadOnly"]}}


def test_rows_of_an_account_that_was_never_read_whole_do_not_count(filled, now):
    Role.objects.create(arn=cast.role(NEVER_READ, "ReadOnly"), account_id=NEVER_READ, name="ReadOnly", seen_at=now)
    assert read(of([NEVER_READ], ["ReadOnly"], ["*"])) == {}


def test_hundreds_of_different_choices_of_accounts_are_read_too(filled, django_assert_num_queries):
    wanted = [of([READ, f"{number:012}"], ["ReadOnly"]) for number in range(730)]
    with django_assert_num_queries(8):
        assert len(read(*wanted)[READ]) == len(PATHS)


def test_the_whole_account_for_explaining(filled, publish, now):
    publish()
    assert current.catalogue(READ) == {READ: {role.arn: role for role in filled.values()}}
    assert current.catalogue(EMPTY) == {EMPTY: {}}
    assert current.catalogue(NEVER_READ) == {}
    assert reachable(whole(EMPTY)) == {EMPTY: {}}


def test_an_account_that_is_no_longer_the_mappings_is_not_explained_either(filled, publish):
    publish(cast.DOCUMENT.replace(READ, "999988887777"))
    assert current.catalogue(READ) == {}


# --- A large organization -----------------------------------------------------------------------------

ACCOUNTS, ROLES = 60, 50


@pytest.fixture
def large(publish, sign_in_as, now):
    """60 accounts with 50 roles each. A person with one role in five accounts, and one with one in every account."""
    ids = [str(100_000_000_000 + number) for number in range(ACCOUNTS)]
    rows = "".join(
        f'  - {{id: "{one}", name: a{n}, federation: oidc, tags: {{five: "{int(n < 5)}"}}}}\n'
        for n, one in enumerate(ids)
    )
    head, rules = cast.DOCUMENT.split("mapping:\n")[0].split("staff:\n")
    publish(
        head + rows + "staff:\n" + rules + "mapping:\n"
        "  - {name: few, when: {groups: [few]}, allow: {roles: [role-07], accounts: {tags: {five: '1'}}}}\n"
        "  - {name: many, when: {groups: [many]}, allow: {roles: [role-07, 'role-1?'], accounts: {names: ['a*']}}}\n"
    )  # fmt: skip
    Source.objects.bulk_create(Source(key=f"account:{one}", state="ok", succeeded_at=now) for one in ids)
    Role.objects.bulk_create(
        Role(arn=cast.role(one, f"role-{n:02}"), account_id=one, name=f"role-{n:02}", seen_at=now)
        for one in ids
        for n in range(ROLES)
    )
    return {
        "few": sign_in_as(cast.identity("few", groups=("few",))),
        "many": sign_in_as(cast.identity("many", groups=("many",))),
    }


@pytest.mark.parametrize(("who", "roles", "rows"), [("few", 5, 5 + 5), ("many", 660, 660 + ACCOUNTS)])
def test_a_page_reads_the_rows_that_it_shows_and_not_the_organization(large, now, who, roles, rows, monkeypatch):
    fetched = []
    current.mapping()

    def counting(cursor_execute, sql, params, many, context):
        answer = cursor_execute(sql, params, many, context)
        with connection.cursor() as again:
            if "max_session_duration" in sql and not fetched:
                fetched.append(0)
                again.execute(f"SELECT COUNT(*) FROM ({sql}) AS counted", params)
                fetched[0] = again.fetchone()[0]
        return answer

    with CaptureQueriesContext(connection) as captured:
        mine = queries.my_roles(large[who], now=now)
    assert mine.total == roles
    assert len(captured) == 2  # the revision in force, the catalogue
    with connection.execute_wrapper(counting):
        queries.my_roles(large[who], now=now)
    assert fetched == [rows]
