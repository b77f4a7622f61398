"""A tag on a role, read by the catalogue, opens the role to a group; taken away, it is closed at the next request."""

import pytest

from federation.aws.catalogue import RoleListing, RoleRecord
from federation.errors import AccessDenied
from federation.flows import leases
from federation.flows.access import decide
from federation.flows.refresh_catalogue import _ACCOUNT_LEASE, _take_roles, source_of
from federation.flows.sources import attempted
from federation.models import Role, Source, current
from tests import cast

ARN = f"arn:aws:iam::{cast.DEV}:role/team/Own"
DOCUMENT = (
    cast.DOCUMENT
    + f'delegations:\n  - {{accounts: {{ids: ["{cast.DEV}"]}}, groups: ["engineering"], max_duration: 2h}}\n'
)


@pytest.fixture
def listing(now):
    """Takes over a listing of the account, as the refresh does once it has read it whole."""

    def take(**tags):
        records = tuple(
            RoleRecord(arn=arn, account_id=cast.DEV, name=arn.rpartition("/")[2], path=path, description="", max_session_duration=3600,
                       trust_policy="{}", tags=given)
            for arn, path, given in ((ARN, "team", tags), (f"arn:aws:iam::{cast.DEV}:role/rolegate-reader", "", {}))
        )  # fmt: skip
        attempted(source_of(cast.DEV), now=now)
        with leases.leased(source_of(cast.DEV), _ACCOUNT_LEASE) as lease:
            return _take_roles(cast.DEV, RoleListing(records, ()), lease, now=now)

    return take


def test_a_tag_gives_and_its_going_takes_away(publish, sign_in_as, listing, now):
    publish(DOCUMENT)
    alice = sign_in_as(cast.alice())
    listing(owner="shop")
    with pytest.raises(AccessDenied) as caught:
        decide(alice.pk, ARN, now=now)
    assert caught.value.reason == "no_matching_rule"
    listing(**{"rolegate:groups": "engineering", "rolegate:duration": "30m"})
    access = decide(alice.pk, ARN, now=now)
    assert access.grant.rule == f"tags of {cast.DEV}/team/Own"
    assert access.grant.session.duration == 1800
    assert access.role_maximum == 3600
    listing()
    with pytest.raises(AccessDenied) as caught:
        decide(alice.pk, ARN, now=now)
    assert caught.value.reason == "no_matching_rule"


def test_a_tag_beyond_the_delegation_gives_nothing(publish, sign_in_as, listing, now):
    publish(DOCUMENT)
    bob = sign_in_as(cast.bob())
    listing(**{"rolegate:groups": "engineering:sre", "rolegate:duration": "30m"})
    with pytest.raises(AccessDenied):
        decide(bob.pk, ARN, now=now)


def test_without_a_delegation_tags_are_only_tags(publish, sign_in_as, listing, now):
    publish()
    alice = sign_in_as(cast.alice())
    listing(**{"rolegate:groups": "engineering"})
    with pytest.raises(AccessDenied):
        decide(alice.pk, ARN, now=now)


def test_other_tags_leave_the_compiled_mapping_as_it_is(publish, listing):
    publish(DOCUMENT)
    listing(**{"rolegate:groups": "engineering"})
    held = current.mapping()
    listing(**{"rolegate:groups": "engineering"})
    assert current.mapping() is held
    assert Source.objects.get(key=current.ROLE_TAGS).version == 1


def test_the_exported_document_does_not_hold_what_tags_say(publish, listing):
    publish(DOCUMENT)
    listing(**{"rolegate:groups": "engineering"})
    assert "tags of" not in current.MappingRevision.objects.get().text
    assert any(rule.name.startswith("tags of") for rule in current.mapping().document.rules)
    assert Role.objects.filter(present=True).count() == 2
