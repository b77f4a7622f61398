"""Credentials end to end: decided, minted, redeemed at a strict STS that shares no code with us, recorded."""

from datetime import UTC, datetime, timedelta

import boto3
import pytest

from federation.audit import record
from federation.aws import sts
from federation.errors import (
    AccessDenied,
    ApprovalRequired,
    BadRequest,
    ClaimsTooOld,
    GroupsIncomplete,
    NotSignedIn,
    PersonDisabled,
    RateLimited,
)
from federation.flows import rate_limits
from federation.flows.issue_credentials import issue_credentials
from federation.models import AuditEvent, Person, Role, Source
from tests import cast

READ = cast.role(cast.PROD, "ReadOnly")
DEVELOP_SAML = cast.role(cast.DEV, "Developer")
DEVELOP_OIDC = cast.role(cast.STAGING, "Developer")


@pytest.fixture
def now():
    return datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def alice(sign_in_as):
    return sign_in_as(cast.alice())


def issue(person, arn, origin, now, **more):
    options = {"duration": None, "policy": None, "channel": "api", **more}
    return issue_credentials(
        person.pk if isinstance(person, Person) else person, arn, origin=origin, now=now, **options
    )


def caller(aws, credentials):
    client = boto3.client(
        "sts",
        region_name="us-east-1",
        endpoint_url=aws.url,
        aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=credentials.secret_access_key,
        aws_session_token=credentials.session_token,
    )
    return client.get_caller_identity()


def test_saml_credentials_work_and_carry_the_persons_session_name(aws, alice, origin, now):
    issued = issue(alice, READ, origin, now)
    assert issued.account_id == cast.PROD
    assert issued.duration == 3600
    who = caller(aws, issued.credentials)
    assert who["Account"] == cast.PROD
    assert who["Arn"] == f"arn:aws:sts::{cast.PROD}:assumed-role/ReadOnly/{alice.session_name}"


def test_web_identity_credentials_work(aws, alice, origin, now):
    issued = issue(alice, DEVELOP_OIDC, origin, now)
    who = caller(aws, issued.credentials)
    assert who["Arn"] == f"arn:aws:sts::{cast.STAGING}:assumed-role/Developer/{alice.session_name}"
    assert issued.duration == 7200


def test_each_mint_has_its_event_and_the_credentials_theirs(aws, alice, origin, now):
    issued = issue(alice, READ, origin, now)
    mint, handed_out = AuditEvent.objects.filter(kind__in=["mint.assertion", "credentials"]).order_by("seq")
    assert mint.kind == "mint.assertion"
    assert mint.data["assertion_id"].startswith("_")
    assert mint.data["role_arn"] == READ
    assert mint.data["rule"] == "engineers-read-production"
    assert handed_out.data["access_key_id"] == issued.credentials.access_key_id
    assert handed_out.data["source_identity"] == alice.session_name
    assert mint.request_id == handed_out.request_id == origin.request_id
    assert record.verify() == []


def test_what_aws_saw_is_what_the_mapping_says(aws, alice, origin, now):
    issue(alice, READ, origin, now)
    seen = aws.trail[-1]
    text = repr(seen)
    assert alice.session_name in text
    assert READ in text


def test_no_assertion_is_minted_twice_for_two_calls(aws, alice, origin, now):
    issue(alice, READ, origin, now)
    issue(alice, READ, origin, now)
    ids = [e.data["assertion_id"] for e in AuditEvent.objects.filter(kind="mint.assertion")]
    assert len(set(ids)) == 2


@pytest.mark.parametrize(
    ("arn", "reason"),
    [
        (cast.role(cast.PROD, "Owner"), "no_matching_rule"),
        (cast.role("999988887777", "ReadOnly"), "account_unknown"),
        (cast.role(cast.PROD, "AWSReservedSSO_Admin_0123456789abcdef"), "role_reserved"),
    ],
)
def test_what_the_mapping_does_not_give_is_refused_and_recorded(aws, alice, origin, now, arn, reason):
    with pytest.raises(AccessDenied) as caught:
        issue(alice, arn, origin, now)
    assert caught.value.reason == reason
    event = AuditEvent.objects.latest("seq")
    assert (event.kind, event.outcome, event.reason) == ("credentials", "refused", reason)
    assert not AuditEvent.objects.filter(kind__startswith="mint").exists()


def test_deny_wins(aws, sign_in_as, origin, now):
    with pytest.raises(AccessDenied) as caught:
        issue(sign_in_as(cast.bob()), READ, origin, now)
    assert caught.value.reason == "denied_by_rule"


def test_a_role_that_needs_an_approval_is_not_given(aws, sign_in_as, origin, now):
    with pytest.raises(ApprovalRequired):
        issue(sign_in_as(cast.alice(mfa=True)), cast.role(cast.PROD, "Administrator"), origin, now)


def test_something_that_is_no_arn_is_refused(aws, alice, origin, now):
    with pytest.raises(BadRequest) as caught:
        issue(alice, "arn:aws:iam::111122223333:role/ReadOnly,arn:aws:iam::1:saml-provider/x", origin, now)
    assert caught.value.status == 400


def test_a_role_withdrawn_between_the_page_and_the_click_is_gone(aws, publish, alice, origin, now):
    issue(alice, READ, origin, now)
    publish(cast.DOCUMENT.replace("roles: [ReadOnly]", "roles: [Auditor]"))
    with pytest.raises(AccessDenied) as caught:
        issue(alice, READ, origin, now)
    assert caught.value.reason == "no_matching_rule"


def test_claims_that_are_too_old_are_not_decided_on(aws, sign_in_as, origin, now, settings):
    person = sign_in_as(cast.alice(), at=now - settings.ROLEGATE_CLAIMS_MAX_AGE - timedelta(seconds=1))
    with pytest.raises(ClaimsTooOld) as caught:
        issue(person, READ, origin, now)
    assert caught.value.reason == "claims_too_old"


def test_a_provider_session_that_has_ended_gives_nothing(aws, sign_in_as, origin, now):
    with pytest.raises(ClaimsTooOld) as caught:
        issue(sign_in_as(cast.alice(expires_at=now)), READ, origin, now)
    assert caught.value.reason == "provider_session_ended"


def test_groups_that_were_left_out_are_not_no_groups(aws, sign_in_as, origin, now):
    with pytest.raises(GroupsIncomplete) as caught:
        issue(sign_in_as(cast.alice(groups_complete=False)), READ, origin, now)
    assert caught.value.reason == "group_overage"


def test_a_disabled_person_gets_nothing(aws, alice, origin, now):
    Person.objects.update(active=False)
    with pytest.raises(PersonDisabled):
        issue(alice, READ, origin, now)


def test_nobody_gets_nothing(aws, origin, now):
    with pytest.raises(NotSignedIn):
        issue("00000000-0000-0000-0000-000000000000", READ, origin, now)


def listed(now, arn, **more):
    """The only role of an account that has been read."""
    Source.objects.create(key=f"account:{cast.DEV}", state="ok", succeeded_at=now)
    Role.objects.create(arn=arn, account_id=cast.DEV, name=arn.rpartition("/")[2], seen_at=now, **more)


def test_the_duration_is_kept_within_a_known_maximum_and_says_so(aws, alice, origin, now):
    listed(now, DEVELOP_SAML, max_session_duration=3600)
    issued = issue(alice, DEVELOP_SAML, origin, now, duration=7200)
    assert issued.duration == 3600
    assert issued.notices
    assert AuditEvent.objects.filter(kind="mint.assertion").count() == 1


def test_a_role_whose_maximum_is_not_known_falls_back_to_an_hour_and_says_so(aws, alice, origin, now):
    issued = issue(alice, DEVELOP_SAML, origin, now)  # the mapping says two hours, the role allows one
    assert issued.duration == 3600
    assert "one hour" in issued.notices[-1]
    assert AuditEvent.objects.filter(kind="mint.assertion").count() == 2


def test_a_role_that_the_catalogue_does_not_know_is_refused(aws, alice, origin, now):
    listed(now, cast.role(cast.DEV, "Other"))
    with pytest.raises(AccessDenied) as caught:
        issue(alice, DEVELOP_SAML, origin, now)
    assert caught.value.reason == "role_unknown"


@pytest.mark.parametrize("duration", [899, 43_201, 0, -1])
def test_a_duration_out_of_range_is_refused(aws, alice, origin, now, duration):
    with pytest.raises(BadRequest) as caught:
        issue(alice, READ, origin, now, duration=duration)
    assert caught.value.reason == "duration_out_of_range"


def test_a_caller_may_shorten_and_narrow(aws, alice, origin, now):
    issued = issue(alice, DEVELOP_OIDC, origin, now, duration=900, policy="read-only")
    assert issued.duration == 900
    assert issued.credentials.expiration <= now + timedelta(seconds=960)


@pytest.mark.parametrize(
    ("code", "error", "public"),
    [
        ("AccessDenied", sts.StsAccessDenied, "sts_access_denied"),
        ("IDPRejectedClaim", sts.StsIdentityRejected, "sts_identity_rejected"),
        ("PackedPolicyTooLarge", sts.StsSessionTooLarge, "sts_session_too_large"),
    ],
)
def test_a_final_error_of_aws_is_translated_and_recorded(aws, alice, origin, now, code, error, public):
    aws.inject(code)
    with pytest.raises(error) as caught:
        issue(alice, READ, origin, now)
    assert caught.value.code == public
    assert caught.value.aws_code.startswith(code)
    event = AuditEvent.objects.latest("seq")
    assert event.kind == "credentials"
    assert event.outcome in {"failed", "refused"}
    assert event.data["aws_code"].startswith(code)


def test_a_token_that_aws_finds_stale_is_minted_once_more(aws, alice, origin, now):
    aws.inject("ExpiredTokenException")
    assert issue(alice, READ, origin, now).credentials.access_key_id
    assert AuditEvent.objects.filter(kind="mint.assertion").count() == 2


def test_throttling_is_ridden_out(aws, alice, origin, now):
    aws.inject("Throttling", times=2)
    assert issue(alice, READ, origin, now).credentials.access_key_id


def test_too_many_calls_by_one_person_are_limited(aws, alice, origin, now, monkeypatch):
    monkeypatch.setitem(rate_limits.LIMITS, "credentials", rate_limits.Limit(60, 1, 100))
    issue(alice, READ, origin, now)
    with pytest.raises(RateLimited):
        issue(alice, READ, origin, now)


def test_two_people_whose_names_clean_to_the_same_have_different_session_names(aws, sign_in_as, origin, now):
    people = [sign_in_as(cast.identity("ann", email=email)) for email in ("ann.lee@example.com",)]
    people.append(sign_in_as(cast.identity("ANN", email="ann.lee@example.com")))
    people.append(sign_in_as(cast.identity("ann", provider="entra", email="ann.lee@example.com")))
    arns = {caller(aws, issue(person, DEVELOP_SAML, origin, now).credentials)["Arn"] for person in people}
    assert len(arns) == 3


@pytest.mark.parametrize("slow", [True, False])
def test_disabled_while_sts_was_answering_nothing_is_handed_out(aws, alice, origin, now, monkeypatch, slow):
    """After twelve seconds of fail-over between regions everything is decided anew; after a moment this is looked at all the same."""
    monkeypatch.setattr("federation.flows.access.STANDS_SECONDS", 0.0 if slow else 60.0)
    answer = sts.assume_role

    def disabled_meanwhile(*args, **more):
        credentials = answer(*args, **more)
        Person.objects.update(active=False)
        return credentials

    monkeypatch.setattr(sts, "assume_role", disabled_meanwhile)
    with pytest.raises(PersonDisabled):
        issue(alice, READ, origin, now)
    event = AuditEvent.objects.get(kind="credentials")
    assert (event.outcome, event.reason) == ("refused", "person_disabled")
