"""What the faces read: grouped by account, in a constant number of statements, with the problem where there is no answer."""

from datetime import UTC, datetime, timedelta

import pytest

from federation import queries
from federation.aws.arns import ArnInvalid
from federation.errors import (
    AccessDenied,
    ClaimsTooOld,
    GroupsIncomplete,
    NotSignedIn,
    PersonDisabled,
    UnknownProvider,
)
from federation.flows import rotate_keys
from federation.models import Person, Role, Source, current
from tests import cast, saml_kit

NOBODY = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def alice(publish, sign_in_as):
    publish()
    return sign_in_as(cast.alice(mfa=True))


def roles(person, now):
    return queries.my_roles(person.pk, now=now)


def known(now, account, name, **more):
    """A role of an account that has been read."""
    arn = cast.role(account, name)
    Source.objects.update_or_create(key=f"account:{account}", defaults={"state": "ok", "succeeded_at": now})
    Role.objects.create(arn=arn, account_id=account, name=name, seen_at=now, **more)
    return arn


def test_the_sign_in_page_has_the_enabled_providers_in_the_documents_order(publish):
    publish()
    assert [(c.slug, c.name, c.email_domains) for c in queries.sign_in_choices()] == [
        ("corp", "Example Corp", ("example.com",)),
        ("entra", "Entra", ()),
    ]
    publish(cast.DOCUMENT.replace("slug: corp", "slug: corp\n    enabled: false"))
    assert [choice.slug for choice in queries.sign_in_choices()] == ["entra"]


def test_roles_are_grouped_by_account(alice, now):
    mine = roles(alice, now)
    assert {account.name: [role.name for role in account.roles] for account in mine.accounts} == {
        "shop-prod": ["Administrator", "Developer", "ReadOnly"], "shop-staging": ["Developer"], "shop-dev": ["Developer"],
    }  # fmt: skip
    assert mine.total == 5
    assert (mine.revision, mine.groups, mine.problem) == (1, ("engineering",), None)
    prod = next(account for account in mine.accounts if account.name == "shop-prod")
    assert (prod.account_id, prod.partition, prod.environment, prod.region) == (
        cast.PROD,
        "aws",
        "production",
        "eu-west-1",
    )
    assert prod.tags["team"] == "shop"


def test_a_line_says_what_may_be_asked_for(alice, now):
    lines = {(role.account_id, role.name): role for account in roles(alice, now).accounts for role in account.roles}
    read = lines[cast.PROD, "ReadOnly"]
    assert (read.arn, read.max_duration, read.console_duration) == (cast.role(cast.PROD, "ReadOnly"), 3600, 8 * 3600)
    assert read.rules == ("engineers-read-production",)
    assert (read.needs_approval, read.approvers, read.direct_console) == (False, (), False)
    admin = lines[cast.PROD, "Administrator"]
    assert (admin.needs_approval, admin.approvers) == (True, ("sre-leads",))
    assert lines[cast.DEV, "Developer"].direct_console
    assert not lines[cast.STAGING, "Developer"].direct_console  # federates by OpenID Connect


def test_the_roles_own_maximum_bounds_what_may_be_asked_for(alice, now):
    known(now, cast.DEV, "Developer", max_session_duration=3600)
    line = next(a for a in roles(alice, now).accounts if a.account_id == cast.DEV).roles[0]
    assert line.max_duration == 3600


def test_deny_and_unknown_give_no_line(publish, sign_in_as, now):
    publish()
    assert [account.name for account in roles(sign_in_as(cast.bob()), now).accounts] == ["shop-dev", "shop-staging"]
    assert roles(sign_in_as(cast.carol()), now).accounts == ()


@pytest.mark.parametrize("many", [1, 300])
def test_the_number_of_statements_does_not_grow(publish, sign_in_as, now, many, django_assert_num_queries):
    accounts = "".join(
        f'  - {{id: "{100_000_000_000 + n}", name: a{n}, federation: oidc, tags: {{team: shop}}}}\n'
        for n in range(many)
    )
    publish(cast.DOCUMENT.replace("staff:\n", accounts + "staff:\n"))
    person = sign_in_as(cast.alice())
    for n in range(many):
        known(now, str(100_000_000_000 + n), "Developer")
    current.mapping()
    with django_assert_num_queries(3):
        assert roles(person, now).total == 4 + many
    with django_assert_num_queries(2):
        assert queries.my_roles(person, now=now).total == 4 + many
    with django_assert_num_queries(1):
        queries.sign_in_choices()
    with django_assert_num_queries(7):
        queries.explain(person.pk, cast.role(cast.PROD, "ReadOnly"), now=now)


def test_the_etag_changes_with_what_is_shown_and_with_nothing_else(alice, publish, sign_in_as, now):
    first = roles(alice, now).etag
    assert roles(alice, now + timedelta(minutes=1)).etag == first
    known(now, cast.DEV, "Developer", max_session_duration=3600)
    second = roles(alice, now).etag
    publish(cast.DOCUMENT + "# a comment\n")
    assert len({first, second, roles(alice, now).etag, roles(sign_in_as(cast.identity("dave")), now).etag}) == 4


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        ({"active": False}, PersonDisabled, "person_disabled"),
        ({"claims_at": cast.NOW - timedelta(hours=12, seconds=1)}, ClaimsTooOld, "claims_too_old"),
        ({"claims_at": None}, ClaimsTooOld, "claims_too_old"),
        ({"claims_expire_at": cast.NOW}, ClaimsTooOld, "provider_session_ended"),
        ({"groups_complete": False}, GroupsIncomplete, "group_overage"),
        ({"provider": "gone"}, UnknownProvider, "provider_unknown_or_disabled"),
    ],
)
def test_where_roles_cannot_be_decided_the_problem_is_said_and_not_no_roles(alice, now, change, error, reason):
    Person.objects.update(**change)
    mine = roles(alice, now)
    assert isinstance(mine.problem, error)
    assert mine.problem.reason == reason
    assert (mine.accounts, mine.etag, mine.total) == ((), "", 0)
    with pytest.raises(error):
        queries.role_arn(alice.pk, cast.DEV, "Developer", now=now)


def test_nobody_has_no_list(publish, now):
    publish()
    for read in (
        lambda: queries.my_roles(NOBODY, now=now),
        lambda: queries.role_arn(NOBODY, cast.DEV, "Developer", now=now),
        lambda: queries.explain(NOBODY, cast.role(cast.DEV, "Developer"), now=now),
    ):
        with pytest.raises(NotSignedIn) as caught:
            read()
        assert caught.value.reason == "person_unknown"


def test_a_pages_address_leads_to_the_role(alice, now):
    assert queries.role_arn(alice.pk, cast.DEV, "Developer", now=now) == cast.role(cast.DEV, "Developer")


@pytest.mark.parametrize(
    ("account", "name"),
    [(cast.DEV, "ReadOnly"), ("999988887777", "Developer"), (cast.DEV, "developer"), (cast.DEV, "")],
)
def test_a_pages_address_of_something_else_is_denied(alice, now, account, name):
    with pytest.raises(AccessDenied) as caught:
        queries.role_arn(alice.pk, account, name, now=now)
    assert caught.value.reason == "role_not_granted"


def test_a_role_with_a_path_is_found_with_and_without_it(publish, sign_in_as, now):
    arn = f"arn:aws:iam::{cast.DEV}:role/teams/shop/Operator"
    publish(
        cast.DOCUMENT.replace(
            "mapping:\n",
            f'mapping:\n  - {{name: operators, when: {{groups: [engineering]}}, allow: {{arns: ["{arn}"]}}}}\n',
        )
    )
    alice = sign_in_as(cast.alice())
    for name in ("Operator", "teams/shop/Operator"):
        assert queries.role_arn(alice.pk, cast.DEV, name, now=now) == arn
    with pytest.raises(AccessDenied):
        queries.role_arn(alice.pk, cast.DEV, "shop/Operator", now=now)


def test_an_explanation_uses_what_the_decision_uses(alice, now):
    yes = queries.explain(alice.pk, cast.role(cast.PROD, "ReadOnly"), now=now)
    assert yes.explanation.verdict.allowed
    no = queries.explain(alice.pk, cast.role(cast.PROD, "Owner"), now=now)
    assert (no.explanation.verdict.allowed, no.explanation.verdict.code) == (False, "no_matching_rule")
    waits = queries.explain(alice.pk, cast.role(cast.PROD, "Administrator"), now=now)
    assert waits.explanation.verdict.code == "approval_required"
    with pytest.raises(ArnInvalid):
        queries.explain(alice.pk, "alice", now=now)


def test_the_documents_toward_aws_are_those_that_are_published(gateway_keys):
    now = datetime.now(UTC)
    for path, content in rotate_keys.published_documents(now=now).items():
        assert queries.issuer_document(path, now=now) == content


def test_the_metadata_for_the_provider_names_this_gateway(gateway_keys, publish):
    publish()
    tree = saml_kit.tree(queries.sp_metadata("corp"))
    assert tree.get("entityID") == "http://localhost:8000/saml/corp/metadata"
    for slug in ("entra", "nobody"):
        with pytest.raises(UnknownProvider):
            queries.sp_metadata(slug)


def test_the_gateways_name_is_its_host(settings):
    settings.ROLEGATE_URL = "https://gate.example.com"
    assert queries.gateway_name() == "gate.example.com"
