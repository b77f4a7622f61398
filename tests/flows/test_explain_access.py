"""Why somebody has a role, now and on a past day; told from the revision, claims and roles that were in force then."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from federation.aws.arns import saml_provider_arn
from federation.aws.gateway_trust import policy_of, recipients, saml_statement
from federation.errors import NotFound
from federation.flows import explain_access
from federation.models import PastClaims, Person, Role, Source
from tests import cast

READ = cast.role(cast.PROD, "ReadOnly")
DAY = timedelta(days=1)


def tell(person, now, role=READ, **more):
    return explain_access.tell(person.pk, role, now=now, **more)


def code(story):
    return story.explanation.verdict.code


def test_claims_are_remembered_when_they_change_and_only_then(publish, sign_in_as, now):
    publish()
    for days in range(4):
        sign_in_as(cast.alice(now=now + days * DAY), at=now + days * DAY)
    alice = Person.objects.get()
    assert PastClaims.objects.filter(person=alice).count() == 1
    sign_in_as(cast.identity("alice", groups=("contractors",), now=now + 5 * DAY), at=now + 5 * DAY)
    sign_in_as(cast.alice(now=now + 6 * DAY), at=now + 6 * DAY)
    assert [row.groups for row in PastClaims.objects.order_by("id")] == [
        ["engineering"],
        ["contractors"],
        ["engineering"],
    ]


def test_it_is_told_on_the_claims_of_that_day(publish, sign_in_as, now):
    publish()
    sign_in_as(cast.identity("alice", groups=("engineering",), now=now + DAY), at=now + DAY)
    alice = sign_in_as(
        cast.identity("alice", groups=("contractors", "engineering"), now=now + 9 * DAY), at=now + 9 * DAY
    )
    then, later = now + 2 * DAY, now + 9 * DAY
    past = tell(alice, later, at=then)
    assert (code(past), past.at, past.claims_at) == ("allowed", then, now + DAY)
    assert code(tell(alice, later)) == "denied_by_rule"
    before = tell(alice, later, at=now + DAY / 2)
    assert code(before) == "no_matching_rule"
    assert any("No sign-in of this person" in note for note in before.notes)


def test_it_is_told_by_the_revision_of_that_day(publish, sign_in_as, now):
    publish()
    alice = sign_in_as(cast.alice())
    publish(cast.DOCUMENT.replace("groups: [engineering]", "groups: [nobody]"), at=now + 3 * DAY)
    later = now + 4 * DAY
    assert (code(tell(alice, later, at=now + DAY)), tell(alice, later, at=now + DAY).revision) == ("allowed", 1)
    story = tell(alice, later)
    assert (code(story), story.revision) == ("no_matching_rule", 2)
    with pytest.raises(NotFound) as caught:
        tell(alice, later, at=now - 300 * DAY)
    assert caught.value.reason == "no_revision_then"


def test_it_is_told_on_the_roles_of_that_day(publish, sign_in_as, now):
    publish()
    alice = sign_in_as(cast.alice())
    common = {"account_id": cast.PROD, "seen_at": now}
    Role.objects.create(arn=READ, name="ReadOnly", present=False, removed_at=now + 2 * DAY, **common)
    Role.objects.create(arn=cast.role(cast.PROD, "rolegate-reader"), name="rolegate-reader", **common)
    Source.objects.create(key=f"account:{cast.PROD}", state="ok", succeeded_at=now + 2 * DAY)
    later = now + 3 * DAY
    assert code(tell(alice, later, at=now + DAY)) == "allowed"
    assert code(tell(alice, later, at=now + 2 * DAY)) == "role_unknown"
    assert code(tell(alice, later)) == "role_unknown"


def test_what_stops_a_mint_is_said_beside_the_mappings_yes(publish, sign_in_as, now):
    publish()
    alice = sign_in_as(cast.alice())
    assert tell(alice, now).stopped_by == ""
    old = tell(alice, now + 2 * DAY)
    assert (code(old), old.stopped_by) == ("allowed", "claims_too_old")
    assert "sign in again" in old.as_text()
    Person.objects.update(active=False)
    assert tell(alice, now).stopped_by == "person_disabled"


def test_the_last_answer_of_aws_is_in_it(publish, sign_in_as, now, origin, aws):
    from federation.errors import RolegateError
    from federation.flows.issue_credentials import issue_credentials

    now = timezone.now()  # the local AWS goes by the real clock
    alice = sign_in_as(cast.alice(now=now), at=now)
    assert tell(alice, now).last_use is None
    issue_credentials(alice.pk, READ, duration=None, policy=None, channel="api", origin=origin, now=now)
    assert tell(alice, now).last_use.outcome == "ok"
    with pytest.raises(RolegateError):
        issue_credentials(
            alice.pk, cast.role(cast.PROD, "Owner"), duration=None, policy=None, channel="api", origin=origin, now=now
        )
    refused = tell(alice, now, cast.role(cast.PROD, "Owner")).last_use
    assert (refused.outcome, refused.reason, refused.request_id) == ("refused", "no_matching_rule", origin.request_id)
    assert origin.request_id in refused.sentence()


def test_the_trust_policy_is_a_link_of_the_chain(publish, sign_in_as, now):
    publish()
    alice = sign_in_as(cast.alice())
    assert tell(alice, now).trusted is None  # the catalogue does not have the role
    policies = {
        True: json.dumps(
            policy_of(saml_statement(saml_provider_arn("aws", cast.PROD, "rolegate"), recipients("aws", "eu-west-1")))
        ),
        False: '{"Version": "2012-10-17", "Statement": []}',
    }
    role = Role.objects.create(arn=READ, account_id=cast.PROD, name="ReadOnly", seen_at=now)
    for trusted, policy in policies.items():
        Role.objects.filter(pk=role.pk).update(trust_policy=policy)
        story = tell(alice, now)
        assert (story.trusted, bool(story.trust)) == (trusted, not trusted)
        assert ("lets people in through the gateway" in story.as_text()) is trusted
        assert story.as_dict()["trusted"] is trusted
    assert tell(alice, now, at=now - timedelta(0)).trusted is False
    assert tell(alice, now + DAY, at=now).trusted is None  # the past of trust policies is not kept


def test_everybody_who_could_use_a_role(publish, sign_in_as, now):
    publish()
    sign_in_as(cast.alice())
    sign_in_as(cast.bob())
    sign_in_as(cast.identity("eve", groups=("engineering",), now=now + DAY), at=now + DAY)
    found = [(person.subject, rule) for person, rule, _ in explain_access.who_could(READ, now=now + DAY / 2)]
    assert ("alice", "engineers-read-production") in found
    assert "bob" not in [subject for subject, _ in found]
    then = [person.subject for person, *_ in explain_access.who_could(READ, now=now + 9 * DAY, at=now + DAY / 2)]
    assert then == ["alice"]
    later = [person.subject for person, *_ in explain_access.who_could(READ, now=now + 9 * DAY, at=now + 8 * DAY)]
    assert later == ["alice", "eve"]
    approved = {
        p.subject: rule for p, rule, _ in explain_access.who_could(cast.role(cast.PROD, "Administrator"), now=now)
    }
    assert all(rule.endswith("(with an approval)") for rule in approved.values())
