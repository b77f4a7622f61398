"""Many rows in one statement leave what as many saves would have left, whatever is in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.db.utils import DataError

from federation.models.accounts import Role
from federation.models.bulk import upsert

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 5, 3, 9, 30, 15, 123456, tzinfo=UTC)
HOSTILE = "' \" \\ \\u0041 \t\n {1,2} (NULL) \\N %s %% ü 日本 🙂 \u2028 \u202e"


def row(number: int, **given: object) -> Role:
    plain = {
        "arn": f"arn:aws:iam::111111111111:role/r{number}",
        "account_id": "111111111111",
        "name": f"r{number}",
        "seen_at": NOW,
    }
    return Role(**{**plain, **given})


def stored() -> list[dict[str, object]]:
    return list(Role.objects.order_by("arn").values())


def test_what_is_written_is_what_was_given():
    rows = [
        row(1, description=HOSTILE, trust_policy=HOSTILE, tags={HOSTILE: HOSTILE, "": ""}, search=HOSTILE),
        row(2, policies=[{"name": HOSTILE, "arn": "", "document": "", "boundary": True}], max_session_duration=43_200),
        row(3, policies=None, max_session_duration=None, last_used_at=NOW, created_at=NOW - timedelta(days=9_000)),
        row(4, policies=[], present=False, removed_at=NOW),
    ]
    upsert(rows, unique="arn")
    given = [
        {f.attname: f.value_from_object(one) for f in Role._meta.concrete_fields if not f.primary_key} for one in rows
    ]
    assert [{name: value for name, value in one.items() if name != "id"} for one in stored()] == given
    with_policies = Role.objects.filter(policies__isnull=False).order_by("arn")  # None is NULL, and no null of JSON
    assert [role.name for role in with_policies] == ["r2", "r4"]


def test_a_row_takes_the_place_of_the_one_with_the_same_value_and_keeps_its_key():
    upsert([row(1, description="old", tags={"team": "shop"}, removed_at=NOW), row(2)], unique="arn")
    before = {role.arn: role.pk for role in Role.objects.all()}
    upsert([row(1, description="new"), row(3)], unique="arn")
    assert {role.arn: role.pk for role in Role.objects.all() if role.name != "r3"} == before
    changed = Role.objects.get(name="r1")
    assert (changed.description, changed.tags, changed.removed_at) == ("new", {}, None)


def test_more_rows_than_one_statement_takes_and_none_at_all():
    upsert([], unique="arn")
    upsert([row(number) for number in range(1_203)], unique="arn")
    assert Role.objects.count() == 1_203


def test_what_does_not_fit_is_refused_whole():
    """PostgreSQL looks at lengths, SQLite does not: there the row is as long as it was given."""
    rows = [row(1), row(2, name="x" * 65)]
    if connection.vendor == "postgresql":
        with pytest.raises(DataError), transaction.atomic():
            upsert(rows, unique="arn")
        assert not stored()
    else:
        upsert(rows, unique="arn")
        assert [len(one["name"]) for one in stored()] == [2, 65]
