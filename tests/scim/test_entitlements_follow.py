"""What a directory pushes shows in the entitlements, and only the people whom it is about are worked out again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from federation.flows.refresh_entitlements import refresh
from federation.models import AccessChange
from tests.cast import NOW, alice, bob
from tests.flows.test_refresh_entitlements import as_decided, held

LATER = NOW + timedelta(hours=1)


@pytest.fixture
def pushed(directory, sign_in_as):
    """Alice, known to the directory and in engineering by its word."""
    sign_in_as(alice(groups=()))
    sign_in_as(bob(), at=NOW)
    member = directory.person("alice")
    engineering = directory.group("engineering", [member])
    refresh(now=NOW)
    assert len(held("alice")) == 4
    return directory, member, engineering


def test_a_member_who_comes_or_goes_is_worked_out_alone(pushed):
    directory, member, engineering = pushed
    gone = {"op": "remove", "path": f'members[value eq "{member}"]'}
    assert directory.patch(f"Groups/{engineering}", gone).status_code == 204
    done = refresh(now=LATER)
    assert (done.people, done.gone) == (1, 4)
    came = {"op": "add", "path": "members", "value": [{"value": member}]}
    directory.patch(f"Groups/{engineering}", came)
    done = refresh(now=LATER)
    assert (done.people, done.added) == (1, 4)


def test_whoever_the_directory_disables_or_deletes_has_nothing(pushed):
    directory, member, _ = pushed
    directory.patch(f"Users/{member}", {"op": "replace", "path": "active", "value": False})
    assert refresh(now=LATER).gone == 4
    directory.patch(f"Users/{member}", {"op": "replace", "path": "active", "value": True})
    assert refresh(now=LATER).added == 4
    directory.delete(f"Users/{member}")
    assert refresh(now=LATER).gone == 4


def test_whoever_is_called_otherwise_now_is_two_people(pushed):
    directory, member, _ = pushed
    directory.patch(f"Users/{member}", {"op": "replace", "path": "userName", "value": "bob"})
    done = refresh(now=LATER)
    assert done.people == 2
    assert {who for who, _, _ in held()} == {"bob"}
    assert held() == as_decided(LATER)


def test_a_group_that_is_renamed_nested_or_deleted_is_followed(pushed):
    directory, _, engineering = pushed
    directory.patch(f"Groups/{engineering}", {"op": "replace", "path": "displayName", "value": "makers"})
    assert refresh(now=LATER).gone == 4
    outer = directory.group("engineering", [engineering])
    assert refresh(now=LATER).added == 4
    directory.delete(f"Groups/{outer}")
    refresh(now=LATER)
    assert held("alice") == as_decided(LATER) == []


def test_people_who_have_never_signed_in_are_nobody_here(pushed):
    directory, _, engineering = pushed
    more = directory.people(3)
    value = [{"value": one} for one in more]
    directory.patch(f"Groups/{engineering}", {"op": "add", "path": "members", "value": value})
    done = refresh(now=LATER)
    assert (done.people, done.added) == (0, 0)
    assert not AccessChange.objects.exists()
