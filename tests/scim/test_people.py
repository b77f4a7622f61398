"""People by SCIM: made, read, replaced, patched, deleted, with versions."""

from __future__ import annotations

import pytest

from federation.models import AuditEvent, DirectoryUser, Membership, PastMembership, PortalSession, Source
from tests import cast
from tests.scim.conftest import ENTERPRISE, USER, document, error_of

ALICE = {
    "schemas": [USER, ENTERPRISE],
    "userName": "alice",
    "externalId": "00u1",
    "active": True,
    "name": {"givenName": "Alice", "familyName": "Liddell"},
    "displayName": "Alice Liddell",
    "emails": [{"value": "home@example.org", "type": "home"}, {"value": "Alice@corp.local", "type": "work", "primary": True}],
    "phoneNumbers": [{"value": "+44 1", "type": "work"}],
    ENTERPRISE: {"department": "shop", "manager": {"value": "b-1"}},
}  # fmt: skip


def row(user_id):
    return DirectoryUser.objects.get(pk=user_id)


def test_a_person_is_made_and_said_back(directory, now):
    answer = directory.post("Users", ALICE)
    body = answer.json()
    assert answer.status_code == 201
    assert {key: body[key] for key in ALICE} == ALICE
    where = f"http://localhost:8000/scim/v2/Users/{body['id']}"
    assert answer["Location"] == answer["Content-Location"] == body["meta"]["location"] == where
    assert body["meta"] == {
        "resourceType": "User", "location": where, "version": 'W/"1"', "created": "2026-05-03T09:00:00Z",
        "lastModified": "2026-05-03T09:00:00Z",
    }  # fmt: skip
    assert answer["ETag"] == 'W/"1"'
    assert directory.get(f"Users/{body['id']}").json() == body
    stored = row(body["id"])
    assert (stored.directory, stored.user_name, stored.external_id, stored.active) == ("staff", "alice", "00u1", True)
    assert (stored.name, stored.email) == ("Alice Liddell", "Alice@corp.local")


def test_a_password_is_never_kept_nor_said(directory):
    answer = directory.post("Users", {**ALICE, "password": "correct horse battery staple"})
    assert answer.status_code == 201
    assert "password" not in answer.json()
    user_id = answer.json()["id"]
    for answer in (
        directory.patch(f"Users/{user_id}", {"op": "replace", "path": "password", "value": "hunter2-hunter2"}),
        directory.patch(f"Users/{user_id}", {"op": "replace", "value": {"password": "hunter2-hunter2", "title": "Dr"}}),
        directory.put(f"Users/{user_id}", {**ALICE, "password": "hunter2-hunter2", "title": "Dr"}),
    ):
        assert answer.status_code == 200
        assert b"hunter2" not in answer.content
    everything = str(list(DirectoryUser.objects.values())) + str(list(AuditEvent.objects.values_list("data")))
    assert "hunter2" not in everything
    assert "correct horse" not in everything


def test_what_only_the_gateway_may_say_is_ignored(directory):
    """RFC 7644 section 3.3: read-only attributes in a request are ignored. Okta sends `groups` with every person."""
    body = directory.post("Users", {**ALICE, "id": "mine", "groups": [], "meta": {"version": "9"}}).json()
    assert body["id"] != "mine"
    assert body["meta"]["version"] == 'W/"1"'
    changed = directory.put(f"Users/{body['id']}", {**ALICE, "id": "other", "groups": [{"value": "x"}], "title": "Dr"})
    assert (changed.status_code, changed.json()["id"]) == (200, body["id"])


@pytest.mark.parametrize("name", ["alice", "ALICE", "Alice"])
def test_a_user_name_is_there_once_whatever_its_case(directory, name):
    directory.person("alice")
    assert error_of(directory.post("Users", {"schemas": [USER], "userName": name})) == (
        409,
        "uniqueness",
        "scim_conflict",
    )
    other = directory.person("bob")
    renamed = directory.patch(f"Users/{other}", {"op": "replace", "path": "userName", "value": name})
    assert error_of(renamed) == (409, "uniqueness", "scim_conflict")
    assert row(other).user_name == "bob"


def test_a_name_is_free_again_after_a_deletion_and_the_id_is_not(directory):
    first = directory.person("alice")
    assert directory.delete(f"Users/{first}").status_code == 204
    second = directory.person("alice")
    assert first != second
    assert directory.get(f"Users/{first}").status_code == 404


@pytest.mark.parametrize(
    ("body", "scim_type"),
    [
        ({"schemas": [USER]}, "invalidValue"),
        ({"schemas": [USER], "userName": ""}, "invalidValue"),
        ({"schemas": [USER], "userName": 7}, "invalidValue"),
        ({"schemas": [USER], "userName": "x" * 513}, "invalidValue"),
        ({"schemas": [USER], "userName": "a\x00b"}, "invalidValue"),
        ({"schemas": [USER], "userName": "x", "displayName": "\ud800"}, "invalidValue"),
        ({"schemas": [USER], "userName": "x", "active": "maybe"}, "invalidValue"),
        ({"schemas": [USER], "userName": "x", "emails": "x@example.com"}, "invalidValue"),
        ({"schemas": [USER], "userName": "x", "title": "t" * 70_000}, "tooMany"),
        (b"{", "invalidSyntax"),
        (b"[]", "invalidSyntax"),
        (b'{"userName": "a", "userName": "b"}', "invalidSyntax"),
        (b'{"userName": NaN}', "invalidSyntax"),
        (b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}", "invalidSyntax"),
        (b"\xff\xfe\x00", "invalidSyntax"),
        (b"", "invalidSyntax"),
    ],
    ids=range(16),
)  # fmt: skip
def test_what_is_no_person_is_refused(directory, body, scim_type):
    assert error_of(directory.post("Users", body)) == (400, scim_type, "scim_refused")
    assert not DirectoryUser.objects.exists()


def test_attributes_of_others_are_ignored(directory):
    body = {**ALICE, "urn:okta:custom:1.0:user": {"shoe": 42}, "favouriteColour": "blue"}
    body["schemas"] = [*body["schemas"], "urn:okta:custom:1.0:user"]
    answer = directory.post("Users", body)
    assert answer.status_code == 201
    assert "favouriteColour" not in answer.json()
    assert answer.json()["schemas"] == ALICE["schemas"]


_ODD = [
    {"profileUrl": ""}, {"title": 7}, {"phoneNumbers": "+49"}, {"photos": [{"value": "none"}]}, {"addresses": {}},
    {"roles": ["x"]}, {ENTERPRISE: {"employeeNumber": 12}}, {"entitlements": "", "profileUrl": "n/a"},
]  # fmt: skip


@pytest.mark.parametrize("odd", _ODD, ids=range(len(_ODD)))
@pytest.mark.parametrize("way", ["put", "value", "paths"])
def test_what_nothing_is_decided_by_keeps_nobody_active(directory, odd, way):
    """Attack, or mishap: OneLogin and JumpCloud send an empty `profileUrl`; the word that somebody has left must count."""
    user_id = directory.post("Users", {**ALICE, **odd}).json()["id"]
    assert not (directory.get(f"Users/{user_id}").json().keys() & odd.keys() - ALICE.keys())
    if way == "put":
        answer = directory.put(f"Users/{user_id}", {**ALICE, **odd, "active": False})
    elif way == "value":
        answer = directory.patch(f"Users/{user_id}", {"op": "replace", "value": {**odd, "active": False}})
    else:
        flat = {f"{key}:{name}": one for key, value in odd.items() if key == ENTERPRISE for name, one in value.items()}
        each = [{"op": "Replace", "path": key, "value": value} for key, value in (flat or odd).items()]
        answer = directory.patch(f"Users/{user_id}", *each, {"op": "Replace", "path": "active", "value": "False"})
    assert answer.status_code == 200, answer.content
    assert not row(user_id).active
    assert answer.json()["name"] == {"givenName": "Alice", "familyName": "Liddell"}


def test_what_is_decided_by_is_refused_beside_what_is_not(directory):
    user_id = directory.post("Users", ALICE).json()["id"]
    before = directory.get(f"Users/{user_id}").json()
    for fault in ({"active": "perhaps"}, {"emails": "x"}, {"externalId": 7}):
        odd = {"profileUrl": "", "title": "Dr", **fault}
        for answer in (
            directory.put(f"Users/{user_id}", {**ALICE, **odd}),
            directory.patch(f"Users/{user_id}", {"op": "replace", "value": odd}),
        ):
            assert error_of(answer) == (400, "invalidValue", "scim_refused")
    assert directory.get(f"Users/{user_id}").json() == before


# --- PUT ------------------------------------------------------------------------------------------------


def test_put_replaces_everything_but_an_active_that_it_does_not_mention(directory):
    user_id = directory.person("alice", title="Dr", nickName="Al", active=False)
    answer = directory.put(f"Users/{user_id}", {"schemas": [USER], "userName": "alice", "title": "Prof"})
    body = answer.json()
    assert (body["title"], "nickName" in body, body["active"]) == ("Prof", False, False)
    assert not row(user_id).active
    answer = directory.put(f"Users/{user_id}", {"schemas": [USER], "userName": "alice", "active": True})
    assert (answer.json()["active"], row(user_id).active) == (True, True)


def test_a_put_of_the_same_changes_nothing(directory, clock, events):
    user_id = directory.post("Users", ALICE).json()["id"]
    before, source = events(), Source.objects.get(pk="directory:staff")
    clock.forward(minutes=1)
    answer = directory.put(f"Users/{user_id}", ALICE)
    assert (answer.status_code, answer["ETag"]) == (200, 'W/"1"')
    assert answer.json()["meta"]["lastModified"] == "2026-05-03T09:00:00Z"
    assert events() == before
    assert Source.objects.get(pk="directory:staff").version == source.version


# --- PATCH ----------------------------------------------------------------------------------------------


def test_patch_changes_some_and_says_all(directory, clock):
    user_id = directory.post("Users", ALICE).json()["id"]
    clock.forward(minutes=1)
    answer = directory.patch(
        f"Users/{user_id}",
        {"op": "replace", "path": "name.familyName", "value": "Hargreaves"},
        {"op": "add", "path": "emails", "value": [{"value": "new@example.com", "type": "other"}]},
        {"op": "remove", "path": 'emails[type eq "home"]'},
        {"op": "remove", "path": "phoneNumbers"},
        {"op": "replace", "path": f"{ENTERPRISE}:department", "value": "research"},
    )
    body = answer.json()
    assert answer.status_code == 200
    assert body["name"] == {"givenName": "Alice", "familyName": "Hargreaves"}
    assert [email["value"] for email in body["emails"]] == ["Alice@corp.local", "new@example.com"]
    assert "phoneNumbers" not in body
    assert body[ENTERPRISE] == {"department": "research", "manager": {"value": "b-1"}}
    assert (body["meta"]["version"], body["meta"]["lastModified"]) == ('W/"2"', "2026-05-03T09:01:00Z")
    assert directory.get(f"Users/{user_id}").json() == body


@pytest.mark.parametrize(
    ("operation", "scim_type"),
    [
        ({"op": "remove", "path": "userName"}, "mutability"),
        ({"op": "replace", "path": "id", "value": "x"}, "mutability"),
        ({"op": "replace", "path": "groups", "value": []}, "mutability"),
        ({"op": "remove"}, "noTarget"),
        ({"op": "move", "path": "title"}, "invalidSyntax"),
        ({"path": "title", "value": "x"}, "invalidSyntax"),
        ({"op": "add", "path": "title"}, "invalidValue"),
        ({"op": "replace", "path": "active", "value": "perhaps"}, "invalidValue"),
        ({"op": "replace", "path": "emails[", "value": "x"}, "invalidPath"),
        ({"op": "replace", "path": ["title"], "value": "x"}, "invalidPath"),
        ({"op": "replace", "value": "title"}, "invalidValue"),
        ("replace", "invalidSyntax"),
    ],
)  # fmt: skip
def test_a_patch_that_cannot_be_changes_nothing(directory, operation, scim_type):
    user_id = directory.post("Users", ALICE).json()["id"]
    before = directory.get(f"Users/{user_id}").json()
    fine = {"op": "replace", "path": "title", "value": "Dr"}
    assert error_of(directory.patch(f"Users/{user_id}", fine, operation)) == (400, scim_type, "scim_refused")
    assert directory.get(f"Users/{user_id}").json() == before


@pytest.mark.parametrize(
    "operation", [{"op": "remove", "path": "active"}, {"op": "replace", "path": "active", "value": None}]
)
def test_taking_the_word_active_away_brings_nobody_back(directory, operation):
    """As for PUT, which leaves it out. The word itself is gone, as was asked."""
    user_id = directory.person(active=False)
    directory.patch(f"Users/{user_id}", operation)
    assert "active" not in directory.get(f"Users/{user_id}").json()
    assert not row(user_id).active
    directory.patch(f"Users/{user_id}", {"op": "replace", "path": "title", "value": "Dr"})
    assert not row(user_id).active
    directory.patch(f"Users/{user_id}", {"op": "replace", "path": "active", "value": True})
    assert row(user_id).active


@pytest.mark.parametrize("body", [{}, {"Operations": []}, {"Operations": {"op": "add"}}, {"schemas": [USER]}])
def test_a_patch_without_operations_is_none(directory, body):
    user_id = directory.person()
    assert error_of(directory.call("PATCH", f"Users/{user_id}", body)) == (400, "invalidSyntax", "scim_refused")


# --- Versions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    ("if_match", "passes"),
    [('W/"1"', True), ('"1"', True), ("*", True), ('W/"7", W/"1"', True), ('W/"2"', False), ("nonsense", False), ("1", False)],
)  # fmt: skip
def test_if_match_lets_nobody_overwrite_what_they_have_not_read(directory, method, if_match, passes):
    user_id = directory.post("Users", ALICE).json()["id"]
    body = {
        "PUT": {"schemas": [USER], "userName": "alice", "title": "x"},
        "PATCH": {"Operations": [{"op": "add", "path": "title", "value": "x"}]},
    }.get(method)
    answer = directory.call(method, f"Users/{user_id}", body, if_match=if_match)
    if passes:
        assert answer.status_code in (200, 204)
    else:
        assert error_of(answer) == (412, "", "version_mismatch")
        assert row(user_id).version == 1
        assert row(user_id).deleted_at is None


def test_if_none_match_saves_the_answer(directory):
    user_id = directory.person()
    unchanged = directory.get(f"Users/{user_id}", if_none_match='W/"1"')
    assert (unchanged.status_code, unchanged.content, unchanged["ETag"]) == (304, b"", 'W/"1"')
    assert directory.get(f"Users/{user_id}", if_none_match='W/"2"').status_code == 200


# --- DELETE ---------------------------------------------------------------------------------------------


def test_whoever_is_deleted_is_gone_and_what_is_kept_is_little(directory, clock, now):
    user_id = directory.post("Users", ALICE).json()["id"]
    directory.group("engineering", [user_id])
    clock.forward(hours=1)
    assert directory.delete(f"Users/{user_id}").status_code == 204
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        answer = directory.call(method, f"Users/{user_id}", {"schemas": [USER], "userName": "a", "Operations": [{"op": "add", "path": "title", "value": "x"}]})  # fmt: skip
        assert error_of(answer) == (404, "", "not_found")
    assert directory.found("Users", 'userName eq "alice"') == []
    stored = row(user_id)
    assert (stored.active, stored.deleted_at, stored.attributes, stored.name, stored.emails) == (
        False,
        clock.now,
        {},
        "",
        "",
    )
    assert not Membership.objects.exists()
    past = PastMembership.objects.get()
    assert (past.user_id, past.display_name, past.since, past.until) == (stored.pk, "engineering", now, clock.now)


@pytest.mark.parametrize("wanted", ["x", "00000000-0000-0000-0000-000000000000", "..%2f", "%00"])
def test_an_id_of_nobody_is_not_found(directory, wanted):
    assert error_of(directory.get(f"Users/{wanted}")) == (404, "", "not_found")


# --- What is recorded -----------------------------------------------------------------------------------


def test_each_change_is_one_event_with_names_and_without_values(directory):
    user_id = directory.post("Users", ALICE).json()["id"]
    directory.patch(f"Users/{user_id}", {"op": "replace", "path": "title", "value": "Secret title"})
    directory.patch(f"Users/{user_id}", {"op": "replace", "path": "active", "value": False})
    directory.patch(f"Users/{user_id}", {"op": "replace", "path": "active", "value": True})
    directory.delete(f"Users/{user_id}")
    told = [event for event in AuditEvent.objects.order_by("seq") if event.kind == "directory.person"]
    assert [event.data["change"] for event in told] == ["made", "changed", "disabled", "enabled", "deleted"]
    assert {(event.actor, event.outcome, event.data["directory"], event.data["user"], event.data["user_name"]) for event in told} == {
        ("service:okta", "ok", "staff", user_id, "alice")
    }  # fmt: skip
    assert [event.data["attributes"] for event in told[1:]] == [["title"], ["active"], ["active"], []]
    assert "Secret" not in str([event.data for event in told])


def test_each_change_moves_the_directorys_version_and_reading_does_not(directory, clock):
    def source():
        return Source.objects.values_list("version", "succeeded_at").get(pk="directory:staff")

    user_id = directory.person()
    version, _ = source()
    directory.patch(f"Users/{user_id}", {"op": "add", "path": "title", "value": "x"})
    assert source() == (version + 1, clock.now)
    clock.forward(minutes=6)
    directory.get(f"Users/{user_id}")
    assert source() == (version + 1, clock.now)  # but it was there


def test_whoever_has_somebodys_old_name_has_not_their_session(directory, sign_in_as, now):
    """Attack, or everyday: alice is called otherwise, and the next alice comes. The first one's browser is not the second's."""
    first = directory.person("alice", title="Dr")
    alice = sign_in_as(cast.alice(), at=now)
    PortalSession.objects.create(session_key="a" * 64, session_data="x", expire_date=now, person=alice)
    directory.patch(f"Users/{first}", {"op": "replace", "path": "title", "value": "Prof"})
    assert PortalSession.objects.count() == 1
    directory.patch(f"Users/{first}", {"op": "replace", "path": "userName", "value": "alice.liddell"})
    directory.person("alice")
    assert PortalSession.objects.count() == 0
    event = AuditEvent.objects.get(kind="revoked")
    assert event.data["why"] == "goes by another name in the directory staff"


def test_whoever_gets_somebodys_name_has_not_their_session(directory, sign_in_as, now):
    """Attack, or everyday: a guest whom no directory lists has gone, and an employee is called so now. The guest's browser is still open."""
    employee = directory.person("alice.liddell")
    guest = sign_in_as(cast.alice(), at=now)
    PortalSession.objects.create(session_key="a" * 64, session_data="x", expire_date=now, person=guest)
    directory.patch(f"Users/{employee}", {"op": "replace", "path": "userName", "value": "alice"})
    assert PortalSession.objects.count() == 0
    event = AuditEvent.objects.get(kind="revoked")
    assert (event.data["person"], event.data["why"]) == (str(guest.pk), "is another's name now in the directory staff")


def test_whoever_is_disabled_under_another_letter_is_out_where_groups_are_added(directory, publish, sign_in_as, now):
    """The directory says Alice, the provider alice: with `groups: add` she signs in by her claims, and her disable counted for nobody."""
    publish(document(groups="add"))
    alice, bob = sign_in_as(cast.alice()), sign_in_as(cast.bob())
    for number, person in enumerate((alice, bob)):
        PortalSession.objects.create(session_key=f"{number}" * 64, session_data="x", expire_date=now, person=person)
    user = directory.person("Alice")
    assert PortalSession.objects.count() == 2
    assert directory.patch(f"Users/{user}", {"op": "replace", "path": "active", "value": False}).status_code == 200
    assert [session.person for session in PortalSession.objects.all()] == [bob]
    (told,) = AuditEvent.objects.filter(kind="revoked")
    assert told.data["person"] == str(alice.pk)


def test_whom_it_knows_by_both_letters_it_tells_apart(directory, publish, sign_in_as, now):
    publish(document(groups="add", subject="externalId"))
    alice = sign_in_as(cast.alice())
    PortalSession.objects.create(session_key="a" * 64, session_data="x", expire_date=now, person=alice)
    directory.person("one", externalId="alice")
    user = directory.person("two", externalId="Alice")
    assert directory.patch(f"Users/{user}", {"op": "replace", "path": "active", "value": False}).status_code == 200
    assert PortalSession.objects.count() == 1
