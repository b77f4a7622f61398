"""The AWS console: by a sign-in token or by the browser's own POST; at a federation endpoint that shares no code with us."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from federation.aws import console
from federation.aws.console import DestinationNotAllowed, SigninRefused, SigninUnreachable
from federation.errors import AccessDenied, BadRequest, PersonDisabled, RateLimited
from federation.flows import rate_limits
from federation.flows.open_console import console_form, open_console
from federation.models import AuditEvent, Role, Source
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


def opened(person, arn, origin, now, destination=None):
    return open_console(person.pk, arn, destination=destination, channel="portal", origin=origin, now=now)


def form(person, arn, origin, now, destination=None):
    return console_form(person.pk, arn, destination=destination, channel="portal", origin=origin, now=now)


def visit(url):
    """What a browser does with the URL; the text of the page where the console would be."""
    with requests.Session() as browser:
        answer = browser.get(url, timeout=5)
    return answer.status_code, answer.text


@pytest.mark.parametrize("arn", [READ, DEVELOP_SAML, DEVELOP_OIDC])
def test_the_url_opens_the_console_of_the_role(aws, alice, origin, now, arn):
    opening = opened(alice, arn, origin, now)
    assert opening.expires_at == now + timedelta(minutes=15)
    status, page = visit(opening.url)
    assert status == 200
    assert alice.session_name in page
    assert aws.trail[-1]["eventName"] == "ConsoleOpened"
    assert aws.trail[-1]["roleArn"] == arn


def test_the_destination_is_where_the_console_opens(aws, alice, origin, now):
    opening = opened(alice, READ, origin, now, destination="s3")
    query = parse_qs(urlsplit(opening.url).query)
    assert query["Destination"] == ["https://eu-west-1.console.aws.amazon.com/s3/home"]
    assert query["Issuer"] == ["http://localhost:8000"]
    visit(opening.url)
    assert aws.trail[-1]["destination"] == "https://eu-west-1.console.aws.amazon.com/s3/home"


def test_the_event_tells_of_the_session_and_not_of_the_url(aws, alice, origin, now):
    opening = opened(alice, READ, origin, now)
    event = AuditEvent.objects.latest("seq")
    assert (event.kind, event.outcome) == ("console", "ok")
    assert event.data["way"] == "sign-in token"
    assert event.data["role_arn"] == READ
    assert event.data["console_duration"] == 8 * 3600
    assert event.data["duration_dropped"] is False
    assert event.data["access_key_id"] == aws.trail[-1]["accessKeyId"]
    token = parse_qs(urlsplit(opening.url).query)["SigninToken"][0]
    assert token not in repr(list(AuditEvent.objects.values_list("data", flat=True)))


@pytest.mark.parametrize(
    "destination", ["https://evil.example/", "//evil.example", "https://console.aws.amazon.com.evil.example/"]
)
def test_a_foreign_destination_costs_no_credentials(aws, alice, origin, now, destination):
    for way in (opened, form):
        with pytest.raises(DestinationNotAllowed):
            way(alice, DEVELOP_SAML, origin, now, destination)
        event = AuditEvent.objects.latest("seq")
        assert (event.kind, event.outcome, event.reason) == ("console", "refused", "destination_not_allowed")
    assert not AuditEvent.objects.filter(kind__startswith="mint").exists()


def test_deny_wins_here_too(aws, sign_in_as, origin, now):
    bob = sign_in_as(cast.bob())
    for way in (opened, form):
        with pytest.raises(AccessDenied) as caught:
            way(bob, READ, origin, now)
        assert caught.value.reason == "denied_by_rule"
        assert AuditEvent.objects.latest("seq").outcome == "refused"
    assert not AuditEvent.objects.filter(kind__startswith="mint").exists()


def test_a_federation_endpoint_that_is_away_is_a_failure(aws, alice, origin, now, settings):
    settings.ROLEGATE_SIGNIN_ENDPOINT_URL = "http://127.0.0.1:9/federation"
    with pytest.raises(SigninUnreachable):
        opened(alice, READ, origin, now)
    event = AuditEvent.objects.latest("seq")
    assert (event.kind, event.outcome, event.reason) == ("console", "failed", "unreachable")


def test_a_federation_endpoint_that_refuses_is_recorded_with_its_status(aws, alice, origin, now, settings):
    settings.ROLEGATE_SIGNIN_ENDPOINT_URL = aws.url + "/nothing-here"
    with pytest.raises(SigninRefused) as caught:
        opened(alice, DEVELOP_SAML, origin, now)
    event = AuditEvent.objects.latest("seq")
    assert event.reason == caught.value.reason
    assert event.data["aws_code"] == caught.value.aws_code != ""


def test_the_form_signs_the_browser_in_without_the_gateway(aws, alice, origin, now, settings):
    settings.ROLEGATE_SAML_ENDPOINT_URL = f"{aws.url}/saml"
    made = form(alice, DEVELOP_SAML, origin, now)
    assert made.action == f"{aws.url}/saml"
    with requests.Session() as browser:
        answer = browser.post(
            made.action, {"SAMLResponse": made.saml_response, "RelayState": made.relay_state}, timeout=5
        )
    assert answer.status_code == 200
    assert alice.session_name in answer.text
    mint, event = AuditEvent.objects.exclude(kind="mapping.published").order_by("seq")
    assert (mint.kind, event.kind) == ("mint.assertion", "console")
    assert event.data["way"] == "assertion"
    assert event.data["assertion_id"] == mint.data["assertion_id"]


@pytest.mark.parametrize(
    ("asked", "maximum", "seconds"), [("8h", None, 3600), ("8h", 3600, 3600), ("8h", 7200, 7200), ("30m", 3600, 1800)]
)
def test_the_form_asks_for_no_longer_than_the_role_allows(
    aws, publish, alice, origin, now, settings, asked, maximum, seconds
):
    """AWS clamps nothing: it refuses, in the browser, where nobody is left to ask for less. Every role allows an hour."""
    settings.ROLEGATE_SAML_ENDPOINT_URL = f"{aws.url}/saml"
    publish(cast.DOCUMENT.replace("session: {duration: 2h}", f"session: {{duration: 2h, console_duration: {asked}}}"))
    if maximum is not None:
        Source.objects.create(key=f"account:{cast.DEV}", state="ok", attempted_at=now, succeeded_at=now)
        Role.objects.create(
            arn=DEVELOP_SAML, account_id=cast.DEV, name="Developer", seen_at=now, max_session_duration=maximum
        )
        policy = aws.registry.roles[DEVELOP_SAML].trust_policy
        aws.create_role(cast.DEV, "Developer", policy, max_session_duration=maximum)
    made = form(alice, DEVELOP_SAML, origin, now)
    with requests.Session() as browser:
        answer = browser.post(
            made.action, {"SAMLResponse": made.saml_response, "RelayState": made.relay_state}, timeout=5
        )
    assert answer.status_code == 200, answer.text
    ends = datetime.fromisoformat(aws.trail[-2]["expiration"])
    assert timedelta(seconds=seconds - 60) < ends - now <= timedelta(seconds=seconds + 60)


def test_without_an_endpoint_of_its_own_the_form_goes_to_the_partitions_sign_in(aws, alice, origin, now):
    assert form(alice, DEVELOP_SAML, origin, now).action == "https://signin.aws.amazon.com/saml"


def test_the_form_needs_an_account_that_federates_by_saml(aws, alice, origin, now):
    with pytest.raises(BadRequest) as caught:
        form(alice, DEVELOP_OIDC, origin, now)
    assert caught.value.reason == "console_form_needs_saml"
    assert AuditEvent.objects.latest("seq").reason == "console_form_needs_saml"


def test_the_form_never_widens_a_session_that_the_mapping_narrows(aws, alice, origin, now):
    """AWS takes no session policy with the direct POST: the read-only role would be the whole role."""
    with pytest.raises(BadRequest) as caught:
        form(alice, READ, origin, now)
    assert caught.value.reason == "console_form_drops_policy"
    assert not AuditEvent.objects.filter(kind="mint.assertion").exists()


def test_managed_session_policies_count_as_narrowing_too(aws, publish, alice, origin, now):
    publish(
        cast.DOCUMENT.replace(
            "session: {duration: 2h}",
            'session: {duration: 2h, policy_arns: ["arn:aws:iam::aws:policy/ReadOnlyAccess"]}',
        )
    )
    with pytest.raises(BadRequest) as caught:
        form(alice, DEVELOP_SAML, origin, now)
    assert caught.value.reason == "console_form_drops_policy"


def test_console_and_credentials_share_one_limit(aws, alice, origin, now, monkeypatch):
    monkeypatch.setitem(rate_limits.LIMITS, "credentials", rate_limits.Limit(60, 1, 100))
    opened(alice, DEVELOP_SAML, origin, now)
    for way in (opened, form):
        with pytest.raises(RateLimited):
            way(alice, DEVELOP_SAML, origin, now)


def test_disabled_while_a_slow_aws_was_answering_no_console_opens(aws, alice, origin, now, monkeypatch):
    monkeypatch.setattr("federation.flows.access.STANDS_SECONDS", 0.0)
    answer = console.signin_token

    def disabled_meanwhile(*args, **more):
        token = answer(*args, **more)
        type(alice).objects.update(active=False)
        return token

    monkeypatch.setattr(console, "signin_token", disabled_meanwhile)
    with pytest.raises(PersonDisabled):
        opened(alice, READ, origin, now)
    event = AuditEvent.objects.get(kind="console")
    assert (event.outcome, event.reason) == ("refused", "person_disabled")
