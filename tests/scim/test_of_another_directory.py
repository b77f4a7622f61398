"""Attack: the token of one directory, and the people and groups of another. Nothing is read, changed, or given over there."""

from __future__ import annotations

import unicodedata

import pytest

from federation.errors import AccessDenied, NotInDirectory
from federation.flows import access
from federation.models import AuditEvent, DirectoryGroup, DirectoryUser, GroupNesting, Membership, PortalSession, Source
from tests import cast
from tests.scim.conftest import BULK, GROUP, USER, Directory, error_of

READ = cast.role(cast.PROD, "ReadOnly")


@pytest.fixture
def stranger(token) -> Directory:
    """The directory of the provider `entra`, which has a token of its own."""
    return Directory(token("other", "scim:other"))


@pytest.fixture
def theirs(directory, sign_in_as, now):
    """Alice of corp, in engineering by the word of her own directory, with a session."""
    member = directory.person("alice", externalId="00u1")
    alice = sign_in_as(cast.alice(groups=()), at=now)
    PortalSession.objects.create(session_key="a" * 64, session_data="x", expire_date=now, person=alice)
    return alice, member, directory.group("engineering", [member])


def state():
    rows = (DirectoryUser, DirectoryGroup, Membership, GroupNesting)
    return [list(model.objects.order_by("pk").values()) for model in rows] + [
        Source.objects.values("version", "state").get(pk="directory:staff"), PortalSession.objects.count()
    ]  # fmt: skip


def test_an_id_of_another_directory_is_nobodys(stranger, theirs):
    alice, member, group = theirs
    before = state()
    change = {"op": "replace", "path": "active", "value": False}
    for path, body in ((f"Users/{member}", {"userName": "x"}), (f"Groups/{group}", {"displayName": "x"})):
        for answer in (
            stranger.get(path), stranger.delete(path), stranger.patch(path, change),
            stranger.put(path, {"schemas": [USER if "User" in path else GROUP], **body}),
        ):  # fmt: skip
            assert error_of(answer) == (404, "", "not_found")
    operations = [
        {"method": "DELETE", "path": f"/Users/{member}"},
        {"method": "PATCH", "path": f"/Groups/{group}", "data": {"Operations": [{"op": "remove", "path": "members"}]}},
    ]
    done = stranger.post("Bulk", {"schemas": [BULK], "Operations": operations}).json()["Operations"]
    assert [one["status"] for one in done] == ["404", "404"]
    assert state() == before
    assert access.decide(alice.pk, READ, now=cast.NOW).grant.rule == "engineers-read-production"


def test_a_member_of_another_directory_is_nobody(stranger, theirs):
    _, member, group = theirs
    own = stranger.group("engineering", [stranger.person("mallory")])
    before = state()
    for wanted in (member, group):
        for operation in (
            {"op": "add", "path": "members", "value": [{"value": wanted}]},
            {"op": "replace", "path": "members", "value": [{"value": wanted}]},
            {"op": "add", "path": "members", "value": [{"$ref": f"https://x/scim/v2/Users/{wanted}"}]},
        ):
            assert error_of(stranger.patch(f"Groups/{own}", operation)) == (400, "invalidValue", "scim_refused")
        body = {"schemas": [GROUP], "displayName": "mine", "members": [{"value": wanted}]}
        assert error_of(stranger.post("Groups", body)) == (400, "invalidValue", "scim_refused")
    assert state() == before


def test_nobody_of_another_directory_is_found(stranger, theirs):
    for kind, filter_ in (
        ("Users", 'userName eq "alice"'), ("Users", 'externalId eq "00u1"'), ("Users", "id pr"), ("Groups", 'displayName eq "engineering"'),
        ("Groups", f'members.value eq "{theirs[1]}"'), ("Users", 'not (userName eq "x")'),
    ):  # fmt: skip
        answer = stranger.client.get(f"/scim/v2/{kind}", {"filter": filter_})
        assert answer.status_code in {200, 400}
        assert answer.status_code == 400 or answer.json()["totalResults"] == 0, filter_


def test_one_of_the_same_name_is_another_person(stranger, directory, theirs):
    """Neither is alice of corp disabled by it, nor is she in a group of it."""
    alice, member, group = theirs
    directory.patch(f"Groups/{group}", {"op": "remove", "path": f'members[value eq "{member}"]'})
    twin = stranger.person("alice", externalId="00u1")
    stranger.group("engineering", [twin])
    with pytest.raises(AccessDenied) as caught:
        access.decide(alice.pk, READ, now=cast.NOW)
    assert caught.value.reason == "no_matching_rule"
    stranger.patch(f"Users/{twin}", {"op": "replace", "path": "active", "value": False})
    stranger.delete(f"Users/{twin}")
    assert PortalSession.objects.count() == 1
    assert not AuditEvent.objects.filter(kind="revoked").exists()


@pytest.mark.parametrize(
    "name",
    [
        "Engineering",
        "engineering ",
        "еngineering",
        "engineering\u200b",
        "ｅngineering",
        "engineering\u0000"[:-1] + "\u00ad",
    ],
)
def test_a_group_that_only_looks_like_another_gives_nothing(directory, sign_in_as, now, name):
    """Case, blanks, other alphabets, what is not seen: names are compared letter by letter."""
    assert name != "engineering"
    alice = sign_in_as(cast.alice(groups=()), at=now)
    directory.group(name, [directory.person("alice")])
    with pytest.raises(AccessDenied) as caught:
        access.decide(alice.pk, READ, now=now)
    assert caught.value.reason == "no_matching_rule"


def test_two_forms_of_one_text_are_two_groups_and_two_people(directory, sign_in_as, now):
    composed, decomposed = (unicodedata.normalize(form, "zoë") for form in ("NFC", "NFD"))
    assert composed != decomposed
    zoe = sign_in_as(cast.identity(composed, groups=()), at=now)
    directory.person(decomposed)
    with pytest.raises(NotInDirectory) as caught:
        access.decide(zoe.pk, READ, now=now)
    assert caught.value.reason == "not_in_directory"
    # Of one directory nobody may have the name that is the same to people.
    answer = directory.post("Users", {"schemas": [USER], "userName": composed})
    assert error_of(answer) == (409, "uniqueness", "scim_conflict")
    directory.group(composed)
    directory.group(decomposed)
    assert DirectoryGroup.objects.count() == 2
