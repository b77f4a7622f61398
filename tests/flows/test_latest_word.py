"""The directory's latest word decides: who is inactive or unknown there, and in which groups people are now."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from federation import queries
from federation.errors import AccessDenied, GroupsIncomplete, NotInDirectory, PersonDisabled
from federation.flows import access, explain_access, latest_word
from federation.models import (
    DirectoryGroup,
    DirectoryUser,
    GroupNesting,
    Membership,
    PastMembership,
    Person,
    Source,
    current,
)
from federation.models.directory import look_up
from tests import cast

READ, DEVELOP = cast.role(cast.PROD, "ReadOnly"), cast.role(cast.DEV, "Developer")


def with_directory(**keys) -> str:
    """The cast's document with a directory for `corp`."""
    entry = {"slug": "staff", "provider": "corp", "scim": "{}", **keys}
    listed = ", ".join(f"{key}: {value}" for key, value in entry.items() if value)
    return cast.DOCUMENT + f"directories: [{{{listed}}}]\n"


def listed(now, name="alice", groups=(), *, directory="staff", **more):
    """Somebody in the directory, with these groups."""
    fields = {
        "user_name": name,
        "user_name_key": name.lower() + more.pop("key", ""),
        "created_at": now,
        "modified_at": now,
    }
    user = DirectoryUser.objects.create(directory=directory, **{**fields, **more})
    for called in groups:
        found, _ = DirectoryGroup.objects.get_or_create(
            directory=directory, display_name=called, defaults={"created_at": now, "modified_at": now}
        )
        Membership.objects.create(user=user, group=found, since=now)
    return user


def group(name):
    return DirectoryGroup.objects.get(display_name=name)


@pytest.fixture
def alice(sign_in_as):
    return sign_in_as(cast.alice())


def decide(person, now, arn=READ):
    current.forget()
    return access.decide(person.pk, arn, now=now)


def refusal(kind, person, now, arn=READ):
    with pytest.raises(kind) as caught:
        decide(person, now, arn)
    return caught.value.reason


# --- replace ------------------------------------------------------------------------------------------


def test_the_directorys_groups_count_and_the_claims_do_not(publish, alice, now):
    publish(with_directory())
    user = listed(now, groups=["cloud-platform"])
    assert refusal(AccessDenied, alice, now) == "no_matching_rule"
    Membership.objects.create(user=user, group=DirectoryGroup.objects.create(directory="staff", display_name="engineering", created_at=now, modified_at=now), since=now)  # fmt: skip
    assert decide(alice, now).identity.groups == {"engineering", "cloud-platform"}
    Membership.objects.all().delete()
    assert refusal(AccessDenied, alice, now) == "no_matching_rule"


def test_a_deny_by_a_group_that_only_the_directory_knows_wins(publish, alice, now):
    publish(with_directory())
    listed(now, groups=["engineering", "contractors"])
    assert refusal(AccessDenied, alice, now) == "denied_by_rule"


def test_whoever_is_not_in_the_directory_has_nothing_and_is_told(publish, alice, now):
    publish(with_directory())
    listed(now, "Alice", ["engineering"])  # another letter is another person
    listed(now, "alice", ["engineering"], directory="other")
    assert refusal(NotInDirectory, alice, now) == "not_in_directory"
    mine = queries.my_roles(alice, now=now)
    assert (mine.total, mine.problem.code, mine.problem.status) == (0, "not_in_directory", 403)


@pytest.mark.parametrize("groups", ["replace", "add"])
def test_whoever_is_inactive_there_is_disabled_here(publish, alice, now, groups):
    publish(with_directory(groups=groups))
    user = listed(now, groups=["engineering"])
    assert decide(alice, now).person == alice
    DirectoryUser.objects.update(active=False)
    assert refusal(PersonDisabled, alice, now) == "directory_inactive"
    DirectoryUser.objects.update(active=True, deleted_at=now)
    assert refusal(PersonDisabled, alice, now) == "directory_deleted"
    listed(now, groups=["engineering"])  # made anew, beside the deleted one
    assert decide(alice, now).identity.groups == {"engineering"}
    assert DirectoryUser.objects.filter(pk=user.pk).exists()


def test_an_overage_is_healed(publish, sign_in_as, now):
    someone = sign_in_as(cast.alice(groups=(), groups_complete=False))
    publish()
    assert refusal(GroupsIncomplete, someone, now) == "group_overage"
    publish(with_directory())
    listed(now, groups=["engineering"])
    assert decide(someone, now).identity.groups_complete


def test_groups_within_groups_count_and_circles_end(publish, alice, now):
    publish(with_directory())
    listed(now, groups=["berlin"])
    listed(now, "bob", groups=["germany", "engineering"])
    for parent, child in (("germany", "berlin"), ("engineering", "germany"), ("berlin", "engineering")):
        GroupNesting.objects.create(parent=group(parent), child=group(child), since=now)
    assert decide(alice, now).identity.groups == {"berlin", "germany", "engineering"}


# --- add ----------------------------------------------------------------------------------------------


def test_with_add_both_count(publish, alice, now):
    publish(with_directory(groups="add"))
    assert decide(alice, now).identity.groups == {"engineering"}  # not in the directory: the claims stand
    listed(now, groups=["contractors"])
    assert refusal(AccessDenied, alice, now) == "denied_by_rule"


def test_with_add_an_overage_stays_one(publish, sign_in_as, now):
    """The directory does not speak for what the provider left out: a deny may be among it."""
    someone = sign_in_as(cast.alice(groups=(), groups_complete=False))
    publish(with_directory(groups="add"))
    listed(now, groups=["engineering"])
    assert refusal(GroupsIncomplete, someone, now) == "group_overage"


# --- Which attribute, which name ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subject", "column"), [("userName", "user_name"), ("externalId", "external_id"), ("emails", "email")]
)
def test_the_subject_is_the_attribute_that_the_mapping_names(publish, alice, now, subject, column):
    publish(with_directory(subject=subject))
    values = {"user_name": "x1", "external_id": "x2", "email": "x3", column: "alice"}
    listed(now, groups=["engineering"], key="x", **values)
    assert decide(alice, now)


@pytest.mark.parametrize("external", ["5b2b4d2e-7c3a-4c1d-9e55-0a6f6f5f3a11", "00u1-a2-b3", "Anna-Lena"])
def test_another_systems_id_is_a_text_of_its_own(publish, sign_in_as, now, external):
    publish(with_directory(subject="externalId"))
    listed(now, "x", groups=["engineering"], external_id=external)
    assert decide(sign_in_as(cast.identity(external, groups=())), now).identity.groups == {"engineering"}
    for other in (external.replace("-", ""), external.swapcase()):
        assert refusal(NotInDirectory, sign_in_as(cast.identity(other)), now) == "not_in_directory"


def test_the_subject_can_be_our_own_id(publish, sign_in_as, now):
    publish(with_directory(subject="id"))
    user = listed(now, "x", groups=["engineering"])
    person = sign_in_as(cast.identity(str(user.pk)))
    assert decide(person, now)
    for other in (str(user.pk).upper(), user.pk.hex, str(uuid4()), "alice"):
        assert refusal(NotInDirectory, sign_in_as(cast.identity(other)), now) == "not_in_directory"


def test_an_attribute_that_names_two_people_names_nobody(publish, alice, now):
    publish(with_directory(subject="emails"))
    listed(now, "one", email="alice", groups=["engineering"])
    listed(now, "two", email="alice", groups=["engineering"])
    assert refusal(NotInDirectory, alice, now) == "directory_ambiguous"


def test_groups_can_be_known_by_their_ids(publish, alice, now):
    publish(with_directory(scim="{group_name: externalId}"))
    listed(now, groups=["Engineering at Example", "no id"])
    DirectoryGroup.objects.filter(display_name__startswith="Eng").update(external_id="engineering")
    assert decide(alice, now).identity.groups == {"engineering"}


def test_a_directory_that_is_read_goes_by_its_own_subject(publish, alice, now):
    publish(with_directory(scim="", ldap="{url: ldap://127.0.0.1:9, base_dn: 'dc=x'}"))
    Source.objects.create(key="directory:staff", state="ok", succeeded_at=now)
    listed(now, "uid-7", subject="alice", groups=["engineering"])
    assert decide(alice, now)


def test_other_providers_people_are_not_asked_about(publish, sign_in_as, now):
    publish(with_directory())
    assert decide(sign_in_as(cast.alice(provider="entra")), now)


# --- A directory that has fallen silent -----------------------------------------------------------------


@pytest.mark.parametrize("groups", ["replace", "add"])
def test_a_silent_directory_closes_production_and_nothing_else(publish, alice, now, groups):
    publish(with_directory(scim="", ldap="{url: ldap://127.0.0.1:9, base_dn: 'dc=x'}", groups=groups))
    listed(now, "uid-7", subject="alice", groups=["engineering"])
    source = Source.objects.create(key="directory:staff", state="failed", succeeded_at=now - timedelta(hours=24))
    assert decide(alice, now)
    source.succeeded_at = now - timedelta(hours=24, seconds=1)
    source.save()
    assert refusal(AccessDenied, alice, now) == "directory_stale"
    assert decide(alice, now, DEVELOP)
    mine = queries.my_roles(alice, now=now)
    assert {(account.name, role.name) for account in mine.accounts for role in account.roles} == {
        ("shop-staging", "Developer"), ("shop-dev", "Developer"),
    }  # fmt: skip
    story = explain_access.tell(alice.pk, READ, now=now)
    assert (story.explanation.verdict.code, story.stopped_by) == ("directory_stale", "")
    assert "silent for too long" in story.as_text()


def test_a_deny_is_the_reason_before_silence_is(publish, alice, now):
    publish(with_directory(stale_after="1h"))
    listed(now, groups=["engineering", "contractors"])
    assert refusal(AccessDenied, alice, now) == "denied_by_rule"


def test_one_that_was_never_heard_of_is_stale_and_one_that_pushes_never_is(publish, alice, now):
    listed(now, groups=["engineering"])
    publish(with_directory())
    assert decide(alice, now + timedelta(hours=11))
    publish(with_directory(stale_after="1h"))
    assert refusal(AccessDenied, alice, now) == "directory_stale"


# --- What it costs --------------------------------------------------------------------------------------


def statements(person, now):
    decide(person, now)  # everything that is kept in memory is there
    with CaptureQueriesContext(connection) as captured:
        access.decide(person.pk, READ, now=now)
    return len(captured)


def test_it_is_one_statement_and_none_without_a_directory(publish, alice, now):
    publish()
    without = statements(alice, now)
    publish(cast.DOCUMENT + "directories: [{slug: other, provider: entra, scim: {}}]\n")
    assert statements(alice, now) == without
    publish(with_directory())
    listed(now, groups=["engineering", *(f"g{n}" for n in range(50))])
    assert statements(alice, now) == without + 1


def test_for_many_people_it_is_one_statement_too(publish, sign_in_as, now):
    publish(with_directory())
    people = [sign_in_as(cast.identity(name)) for name in ("alice", "bob", "carol", "dave")]
    people += [sign_in_as(cast.identity("erin", provider="entra"))]
    listed(now, "alice", ["engineering"])
    listed(now, "bob", ["engineering"], active=False)
    listed(now, "dave", [])
    mapping = current.mapping()
    with CaptureQueriesContext(connection) as captured:
        found = latest_word.identities_of(people, mapping, now=now)
    assert len(captured) == 1
    assert [type(one).__name__ if isinstance(one, Exception) else sorted(one.groups) for one in found] == [
        ["engineering"], "PersonDisabled", "NotInDirectory", [], ["engineering"],
    ]  # fmt: skip
    for person, one in zip(people, found, strict=True):
        if isinstance(one, Exception):
            with pytest.raises(type(one)) as caught:
                latest_word.identity_of(person, mapping, now=now)
            assert caught.value.reason == one.reason
        else:
            assert latest_word.identity_of(person, mapping, now=now) == one


# --- Explaining -----------------------------------------------------------------------------------------


def test_explaining_tells_what_stops_a_mint(publish, alice, now):
    publish(with_directory())
    story = explain_access.tell(alice.pk, READ, now=now)
    assert story.stopped_by == "not_in_directory"
    assert story.explanation.verdict.code != "allowed"
    listed(now, groups=["engineering"])
    assert explain_access.tell(alice.pk, READ, now=now).explanation.verdict.code == "allowed"


def test_who_could_goes_by_the_directory(publish, sign_in_as, now):
    publish(with_directory())
    alice, bob, carol = (sign_in_as(cast.identity(name, groups=("engineering",))) for name in ("alice", "bob", "carol"))
    listed(now, "alice", ["engineering"])
    listed(now, "bob", [])
    assert [person for person, *_ in explain_access.who_could(READ, now=now)] == [alice]
    assert Person.objects.count() == 3
    assert bob != carol


def test_the_past_is_what_the_directory_then_had(publish, sign_in_as, now):
    alice = sign_in_as(cast.alice(groups=()), at=now)
    publish(with_directory())
    user = listed(now + timedelta(days=2), groups=["engineering"])
    PastMembership.objects.create(
        user=user, group_id=UUID(int=1), display_name="contractors", since=now, until=now + timedelta(days=1)
    )
    later = now + timedelta(days=5)

    def then(days):
        return explain_access.tell(alice.pk, READ, now=later, at=now + timedelta(days=days)).explanation.verdict.code

    assert [then(days) for days in (0.5, 1.5, 3)] == ["no_matching_rule", "no_matching_rule", "allowed"]
    PastMembership.objects.create(
        user=user, group_id=UUID(int=2), display_name="engineering", since=now, until=now + timedelta(days=1)
    )
    assert [then(days) for days in (0.5, 1.5, 3)] == ["denied_by_rule", "no_matching_rule", "allowed"]


@pytest.mark.parametrize("group_column", ["display_name", "external_id"])
def test_of_many_people_it_says_what_it_says_of_each(db, now, group_column):
    """Groups within groups in circles, by two ways and by nobody; one that has no such name."""
    at = {"created_at": now, "modified_at": now}
    groups = [
        DirectoryGroup.objects.create(
            directory="staff", display_name=f"g{n}", external_id=f"x{n}" if n != 2 else "", **at
        )
        for n in range(6)
    ]
    for parent, child in ((0, 1), (1, 2), (2, 0), (3, 1), (3, 2), (5, 4)):
        GroupNesting.objects.create(parent=groups[parent], child=groups[child], since=now)
    for n, own in enumerate(((), (1,), (2,), (4,), (1, 4))):
        user = DirectoryUser.objects.create(directory="staff", user_name=f"p{n}", user_name_key=f"p{n}", **at)
        for number in own:
            Membership.objects.create(user=user, group=groups[number], since=now)
    names = [f"p{n}" for n in range(5)] + ["nobody"]
    columns = {"subject_column": "user_name", "group_column": group_column}
    together = look_up("staff", names, **columns)
    assert together == {name: look_up("staff", [name], **columns)[name] for name in names}
    letter = "x" if group_column == "external_id" else "g"
    assert together["p1"].groups == {f"{letter}{n}" for n in (0, 1, 2, 3)} - {"x2"}
    assert together["p0"].groups == frozenset()


# --- Names that differ by their case alone ------------------------------------------------------------


def test_whoever_leaves_under_another_letter_is_refused_where_groups_are_added(publish, sign_in_as, now):
    """Attack, or mishap: the directory pushes Alice@…, the provider signs her in as alice@…: her disable counted for nobody."""
    publish(with_directory(groups="add"))
    alice = sign_in_as(cast.alice())
    listed(now, "Alice", ["cloud-platform"])
    assert decide(alice, now).identity.groups == {"engineering"}  # its groups are not hers
    DirectoryUser.objects.update(active=False)
    assert refusal(PersonDisabled, alice, now) == "directory_inactive"
    with pytest.raises(PersonDisabled):
        latest_word.refuse_inactive(alice, current.mapping())
    DirectoryUser.objects.update(deleted_at=now)
    assert refusal(PersonDisabled, alice, now) == "directory_deleted"
    listed(now, "ALICE", key="2")
    assert decide(alice, now).person == alice  # made anew there
    DirectoryUser.objects.filter(user_name="ALICE").update(active=False)
    listed(now, "alice", key="3")
    assert decide(alice, now).person == alice  # known letter by letter: of whom the others are, it says nothing


def test_many_are_asked_about_at_once(publish, sign_in_as, now):
    publish(with_directory(groups="add"))
    people = [sign_in_as(cast.alice()), sign_in_as(cast.bob()), sign_in_as(cast.carol())]
    listed(now, "Alice", active=False)
    listed(now, "bob")
    mapping = current.mapping()
    with CaptureQueriesContext(connection) as captured:
        found = latest_word.identities_of(people, mapping, now=now)
    assert [type(one).__name__ for one in found] == ["PersonDisabled", "Identity", "Identity"]
    assert len(captured) == 2  # those it knows, and the others in any case


def test_by_an_id_nobody_is_another_by_case(publish, sign_in_as, now):
    publish(with_directory(groups="add", subject="id"))
    alice = sign_in_as(cast.alice())
    listed(now, "Alice", active=False)
    assert decide(alice, now).person == alice
