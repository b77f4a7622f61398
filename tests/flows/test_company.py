"""The whole company, read in pieces: everybody once, on the directory's word, whatever the age of their claims."""

from datetime import timedelta

from django.utils import timezone

from federation.flows.company import everybody
from federation.mapping.company import grants_of_everyone
from federation.models import Person, current
from federation.models.catalogue import reachable
from tests.cast import NOW, PROD, alice, bob, carol, identity, role


def listed(**more):
    return {member.person.subject: member for member in everybody(current.mapping(), now=NOW, **more)}


def test_everybody_once_however_small_the_pieces(publish, sign_in_as, django_assert_num_queries):
    publish()
    for n in range(7):
        sign_in_as(identity(f"p{n}"))
    mapping = current.mapping()
    for at_once, queries in ((3, 3), (7, 2), (100, 1)):
        with django_assert_num_queries(queries):
            found = list(everybody(mapping, now=NOW, at_once=at_once))
        assert sorted(member.person.subject for member in found) == [f"p{n}" for n in range(7)]
        assert [member.person.pk for member in found] == sorted(member.person.pk for member in found)


def test_old_claims_are_said_and_counted(publish, sign_in_as):
    publish()
    sign_in_as(alice())
    sign_in_as(bob(), at=NOW - timedelta(days=3))
    ended = sign_in_as(carol())
    Person.objects.filter(pk=ended.pk).update(claims_expire_at=NOW)
    found = listed()
    assert {name: (member.needs_sign_in, member.stopped_by) for name, member in found.items()} == {
        "alice": (False, ""),
        "bob": (True, ""),
        "carol": (True, ""),
    }
    assert found["bob"].identity.groups == bob().groups


def test_who_cannot_be_decided_says_why(publish, sign_in_as):
    publish()
    Person.objects.filter(pk=sign_in_as(alice()).pk).update(active=False)
    Person.objects.filter(pk=sign_in_as(bob()).pk).update(groups_complete=False)
    Person.objects.filter(pk=sign_in_as(carol()).pk).update(claims_at=None)
    sign_in_as(identity("dave", provider="gone"))
    found = listed()
    assert {name: (member.identity, member.stopped_by) for name, member in found.items()} == {
        "alice": (None, "person_disabled"),
        "bob": (None, "groups_incomplete"),
        "carol": (None, "claims_too_old"),
        "dave": (None, "unknown_provider"),
    }


def test_with_the_catalogue_it_is_who_has_what(publish, sign_in_as, django_assert_max_num_queries):
    publish()
    for who in (alice(), bob(), carol()):
        sign_in_as(who)
    mapping = current.mapping()
    with django_assert_max_num_queries(2):
        members = list(everybody(mapping, now=timezone.now()))
        identities = [member.identity for member in members]
        grants = dict(
            zip(
                (member.person.subject for member in members),
                grants_of_everyone(mapping.compiled, identities, NOW, reachable),
                strict=True,
            )
        )
    assert role(PROD, "ReadOnly") in {given.role_arn for given in grants["alice"]}
    assert PROD not in {given.account_id for given in grants["bob"]}
    assert grants["carol"] == ()
