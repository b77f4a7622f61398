"""The two calls against a scripted STS: what is sent, what is retried, where it goes next, how it ends. Real boto3, real HTTP."""

from __future__ import annotations

import gc
import json
import logging
import threading
import time
from datetime import UTC, datetime

import pytest
from botocore.regions import EndpointResolver

from federation.aws import sts
from federation.aws.partitions import RegionInvalid, UnknownPartition, partition
from federation.aws.policy import SessionPolicy
from federation.aws.sts import SamlCall, StsError, WebIdentityCall, assume_role
from tests.aws.scripted import SECRET_KEY, SESSION_TOKEN, Clock, Reply, granted, refused, serving

ROLE = "arn:aws:iam::111122223333:role/ReadOnly"
PROVIDER = "arn:aws:iam::111122223333:saml-provider/rolegate"
ASSERTION = "VEVTVCBBU1NFUlRJT04=" * 20
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJURVNUIn0.VEVTVA"
REGIONS = ("eu-west-1", "eu-central-1")


class Minting:
    """Alice's documents, each with its number in it, so that a retry with the same one can be told from a new one."""

    def __init__(self, **changes):
        self.regions, self.changes = [], changes

    def __call__(self, region):
        self.regions.append(region)
        return SamlCall(
            **{
                "role_arn": ROLE,
                "provider_arn": PROVIDER,
                "assertion": f"{len(self.regions):04}{ASSERTION}",
                "duration": 900,
            }
            | self.changes
        )


@pytest.fixture
def endpoint(monkeypatch):
    def use(double):
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", double.url)
        return double

    return use


def run(prepare=None, *, regions=REGIONS, deadline=12.0, clock=None):
    clock = clock or Clock()
    return assume_role(
        prepare or Minting(),
        regions=regions,
        partition=partition("aws"),
        deadline_seconds=deadline,
        clock=clock,
        sleep=clock.sleep,
    )


# --- what is sent and what comes back


def test_saml_call_is_unsigned_and_complete(endpoint):
    policy = SessionPolicy(inline='{"Version":"2012-10-17"}', managed=("arn:aws:iam::aws:policy/ReadOnlyAccess",))
    with serving(granted()) as double:
        endpoint(double)
        got = run(Minting(policy=policy))
    (call,) = double.calls
    assert call.fields == {
        "Action": "AssumeRoleWithSAML",
        "Version": "2011-06-15",
        "RoleArn": ROLE,
        "PrincipalArn": PROVIDER,
        "SAMLAssertion": f"0001{ASSERTION}",
        "DurationSeconds": "900",
        "Policy": '{"Version":"2012-10-17"}',
        "PolicyArns.member.1.arn": "arn:aws:iam::aws:policy/ReadOnlyAccess",
    }
    assert "authorization" not in call.headers
    assert got.access_key_id == "ASIATESTKEY000000001"
    assert (got.secret_access_key, got.session_token) == (SECRET_KEY, SESSION_TOKEN)
    assert got.expiration == datetime(2026, 3, 4, 13, 30, 15, tzinfo=UTC)
    assert got.expiration.tzinfo is UTC
    assert got.assumed_role_arn == "arn:aws:sts::111122223333:assumed-role/ReadOnly/alice@example.com"
    assert got.packed_policy_size == 6


def test_web_identity_call(endpoint):
    with serving(granted("AssumeRoleWithWebIdentity", size="")) as double:
        endpoint(double)
        got = run(
            lambda region: WebIdentityCall(role_arn=ROLE, token=TOKEN, session_name="alice@example.com", duration=3600)
        )
    (call,) = double.calls
    assert call.fields == {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": ROLE,
        "WebIdentityToken": TOKEN,
        "RoleSessionName": "alice@example.com",
        "DurationSeconds": "3600",
    }
    assert "authorization" not in call.headers
    assert got.packed_policy_size is None


def test_no_region_means_the_partitions_own(endpoint):
    prepare = Minting()
    with serving(granted()) as double:
        endpoint(double)
        run(prepare, regions=())
    assert prepare.regions == ["us-east-1"]


def test_a_region_of_another_partition_is_refused_before_anything_is_minted():
    prepare = Minting()
    with pytest.raises(RegionInvalid):
        run(prepare, regions=("cn-north-1",))
    assert prepare.regions == []


@pytest.mark.parametrize(
    "reply",
    [
        granted(secret="two\nlines"),
        granted(secret=""),
        Reply(
            200,
            "<AssumeRoleWithSAMLResponse><AssumeRoleWithSAMLResult/><ResponseMetadata><RequestId>x</RequestId></ResponseMetadata></AssumeRoleWithSAMLResponse>",
        ),
    ],
)
def test_an_answer_without_usable_credentials_is_an_error(endpoint, reply):
    with serving(reply) as double:
        endpoint(double)
        with pytest.raises(sts.StsAnswerInvalid) as failed:
            run()
    assert failed.value.reason == "sts_answer_invalid"


def test_an_expiration_without_a_zone_is_an_error():
    answer = {
        "Credentials": {
            "AccessKeyId": "a",
            "SecretAccessKey": "b",
            "SessionToken": "c",
            "Expiration": datetime(2026, 1, 1),
        }
    }
    with pytest.raises(sts.StsAnswerInvalid):
        sts._credentials(answer)


# --- retries


TRANSIENT = [
    refused("Throttling", "Rate exceeded"),
    refused("ThrottlingException"),
    refused("RequestLimitExceeded", status=503),
    refused("SomethingNew", status=429),
    refused("IDPCommunicationError"),
    refused(
        "InvalidIdentityToken",
        "Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity documentation for requirements",
    ),
]


@pytest.mark.parametrize("reply", TRANSIENT)
def test_what_may_pass_is_retried_with_the_same_document(endpoint, reply):
    prepare, clock = Minting(), Clock()
    with serving(reply, reply, granted()) as double:
        endpoint(double)
        run(prepare, clock=clock)
    assert [c.fields["SAMLAssertion"][:4] for c in double.calls] == ["0001", "0001", "0001"]
    assert prepare.regions == ["eu-west-1"]
    assert 0.05 <= clock.slept[0] <= 0.1 <= clock.slept[1] <= 0.2


def test_waits_are_spread(monkeypatch):
    assert len({sts._jitter(3) for _ in range(20)}) > 10
    assert max(sts._jitter(50) for _ in range(50)) <= 2.0


def test_lasting_throttling_moves_to_the_next_region_with_a_new_document(endpoint):
    prepare, clock = Minting(), Clock()
    with serving(*[refused("Throttling")] * 5, granted()) as double:
        endpoint(double)
        run(prepare, clock=clock)
    assert prepare.regions == ["eu-west-1", "eu-central-1"]
    assert [c.fields["SAMLAssertion"][:4] for c in double.calls] == ["0001"] * 5 + ["0002"]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (TRANSIENT[0], sts.StsThrottled),
        (TRANSIENT[4], sts.StsIdpCommunication),
        (TRANSIENT[5], sts.StsIdpCommunication),
    ],
)
def test_in_the_last_region_it_goes_on_until_the_deadline(endpoint, reply, error):
    clock = Clock()
    with serving(reply) as double:
        endpoint(double)
        with pytest.raises(error) as failed:
            run(regions=("eu-west-1",), clock=clock, deadline=12)
    assert 8 <= clock.now < 12
    assert len(double.calls) > 7
    assert failed.value.retry_after == 30
    assert failed.value.status == 503
    assert failed.value.aws_code in ("Throttling", "IDPCommunicationError", "InvalidIdentityToken")


def test_the_waits_fit_inside_the_deadline_of_a_real_clock(endpoint):
    begun = time.monotonic()
    with serving(refused("Throttling")) as double:
        endpoint(double)
        with pytest.raises(sts.StsThrottled) as failed:
            assume_role(Minting(), regions=("eu-west-1",), partition=partition("aws"), deadline_seconds=0.8)
    assert 0.3 < time.monotonic() - begun < 0.8 + 0.5
    assert 3 <= len(double.calls) <= 5
    assert failed.value.aws_code == "Throttling"


def test_throttled_in_the_next_region_too_it_ends_at_the_deadline_and_tells_of_both(endpoint):
    prepare, clock = Minting(), Clock()
    with serving(refused("InternalFailure", status=500), refused("Throttling")) as double:
        endpoint(double)
        with pytest.raises(sts.StsThrottled) as failed:
            run(prepare, clock=clock)
    assert prepare.regions == ["eu-west-1", "eu-central-1"]
    assert 8 <= clock.now < 12
    assert (failed.value.aws_code, failed.value.status, failed.value.retry_after) == ("Throttling", 503, 30)
    assert "eu-central-1: Throttling" in failed.value.detail
    assert "before that, sts_unreachable: eu-west-1: InternalFailure" in failed.value.detail


@pytest.mark.parametrize(
    "code", ["ExpiredTokenException", "ExpiredToken", "InvalidIdentityToken", "InvalidIdentityTokenException"]
)
def test_a_stale_document_is_made_anew_once(endpoint, code):
    prepare = Minting()
    with serving(refused(code), granted()) as double:
        endpoint(double)
        run(prepare)
    assert [c.fields["SAMLAssertion"][:4] for c in double.calls] == ["0001", "0002"]
    assert prepare.regions == ["eu-west-1", "eu-west-1"]


@pytest.mark.parametrize(
    ("code", "error"), [("ExpiredTokenException", sts.StsTokenExpired), ("InvalidIdentityToken", sts.StsTokenInvalid)]
)
def test_but_not_twice(endpoint, code, error):
    prepare = Minting()
    with serving(refused(code)) as double:
        endpoint(double)
        with pytest.raises(error):
            run(prepare)
    assert len(double.calls) == 2


def test_nor_after_the_deadline(endpoint):
    with serving(refused("ExpiredTokenException")) as double:
        endpoint(double)
        with pytest.raises(sts.StsTokenExpired):
            run(clock=Clock(step=20))
    assert len(double.calls) == 1


# --- regions


@pytest.mark.parametrize(
    "reply",
    [
        refused("RegionDisabledException", status=403),
        refused("InternalFailure", status=500),
        refused("ServiceUnavailable", status=503),
        Reply(502, "<html>Bad gateway</html>", "text/html"),
        Reply(200, "this is no XML"),
        Reply(200, "<html><body>Sign in to the guest network</body></html>"),
        Reply(200, "<Response/>"),
        granted(expires="tomorrow"),
    ],
)
def test_a_failing_region_is_left_at_once_with_a_new_document(endpoint, reply):
    prepare, clock = Minting(), Clock()
    with serving(reply, granted()) as double:
        endpoint(double)
        assert run(prepare, clock=clock).access_key_id
    assert prepare.regions == ["eu-west-1", "eu-central-1"]
    assert clock.slept == []
    assert [c.fields["SAMLAssertion"][:4] for c in double.calls] == ["0001", "0002"]


def test_a_region_that_does_not_answer_in_time_is_left(endpoint, monkeypatch):
    monkeypatch.setattr(sts, "READ_TIMEOUT_SECONDS", 0.3)
    prepare = Minting()
    with serving(Reply(200, "", delay=1.5), granted()) as double:
        endpoint(double)
        run(prepare)
    assert prepare.regions == ["eu-west-1", "eu-central-1"]


def test_nothing_listens(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    prepare = Minting()
    with pytest.raises(sts.StsUnreachable) as failed:
        run(prepare)
    assert prepare.regions == list(REGIONS)
    assert failed.value.status == 503
    assert failed.value.retry_after == 30
    assert "EndpointConnectionError" in failed.value.detail
    assert "before that" in failed.value.detail


def test_a_region_switched_off_everywhere(endpoint):
    with serving(refused("RegionDisabledException", status=403)) as double:
        endpoint(double)
        with pytest.raises(sts.StsRegionDisabled) as failed:
            run()
    assert len(double.calls) == 2
    assert failed.value.aws_code == "RegionDisabledException"


def test_the_deadline_ends_the_search(endpoint):
    with serving(refused("InternalFailure", status=500)) as double:
        endpoint(double)
        with pytest.raises(sts.StsUnreachable):
            run(regions=("eu-west-1", "eu-central-1", "us-east-1", "us-west-2"), clock=Clock(step=7))
    assert len(double.calls) == 2


def test_access_denied_after_a_fail_over_names_the_likelier_cause(endpoint):
    with serving(refused("InternalFailure", status=500), refused("AccessDenied", status=403)) as double:
        endpoint(double)
        with pytest.raises(sts.StsAccessDenied) as failed:
            run()
    assert failed.value.reason == "access_denied_after_fail_over"
    assert "SAML:aud" in failed.value.public_sentence
    assert "InternalFailure" in failed.value.detail


# --- every error


FINAL = [
    ("AccessDenied", "Not authorized to perform sts:AssumeRoleWithSAML", 403, "sts_access_denied"),
    ("AccessDeniedException", "No.", 403, "sts_access_denied"),
    ("IDPRejectedClaim", "No.", 403, "sts_identity_rejected"),
    ("MalformedPolicyDocument", "Syntax errors in policy.", 400, "sts_policy_malformed"),
    (
        "PackedPolicyTooLarge",
        "Packed size of session tags consumes 132% of the allotted space.",
        400,
        "sts_session_too_large",
    ),
    ("PackedPolicyTooLargeException", "x", 400, "sts_session_too_large"),
    (
        "ValidationError",
        "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        400,
        "sts_duration_too_long",
    ),
    ("ValidationError", "1 validation error detected", 400, "sts_validation"),
    ("SomethingNew", "No.", 400, "sts_error"),
]


@pytest.mark.parametrize(("code", "message", "status", "ours"), FINAL)
def test_final_errors_are_not_retried_and_say_what_to_do(endpoint, code, message, status, ours):
    with serving(refused(code, message, status)) as double:
        endpoint(double)
        with pytest.raises(StsError) as failed:
            run()
    assert len(double.calls) == 1
    assert failed.value.code == failed.value.reason == ours
    assert failed.value.aws_code == code
    assert message in failed.value.detail
    assert len(failed.value.public_sentence) > 40


def test_access_denied_lists_the_four_causes():
    for cause in ("does not exist", "trust policy does not name", "sts:TagSession", "deleted or made anew"):
        assert cause in sts.StsAccessDenied.sentence


def test_too_large_names_the_largest_tag(endpoint):
    with serving(refused("PackedPolicyTooLarge")) as double:
        endpoint(double)
        with pytest.raises(sts.StsSessionTooLarge) as failed:
            run(Minting(tags={"Team": "shop", "Projects": "p" * 250}))
    assert "the tag 'Projects' with 258 characters" in failed.value.public_sentence


def test_codes_are_distinct_and_sentences_too():
    def below(cls):
        return [cls, *[leaf for child in cls.__subclasses__() for leaf in below(child)]]

    classes = below(StsError)
    assert len({c.code for c in classes}) == len({c.sentence for c in classes}) == len(classes) >= 13


def test_a_call_that_does_not_fit_the_model_never_leaves(endpoint):
    with serving(granted()) as double:
        endpoint(double)
        with pytest.raises(sts.StsValidation) as failed:
            run(Minting(role_arn="short"))
    assert double.calls == []
    assert "short" not in str(failed.value)


# --- secrets


def everything_of(error: BaseException) -> str:
    return " ".join(map(repr, (error, vars(error), error.__cause__, error.args)))


@pytest.mark.parametrize("code", ["AccessDenied", "MalformedPolicyDocument", "SomethingNew", "InternalFailure"])
def test_nothing_secret_is_in_an_error_or_in_the_log_even_at_debug(endpoint, caplog, code):
    assertion = "Q0FOQVJZLUFTU0VSVElPTg" * 20
    echo = lambda call: refused(code, f"Could not take {call.fields['SAMLAssertion']} nor {TOKEN}", 400)
    logging.getLogger("botocore").setLevel(logging.NOTSET)
    sts._clients.clear()
    with serving(echo) as double, caplog.at_level(logging.DEBUG):
        endpoint(double)
        with pytest.raises(StsError) as failed:
            run(Minting(assertion=assertion))
    for text in (everything_of(failed.value), caplog.text):
        assert "Q0FOQVJZ" not in text
        assert TOKEN not in text
    assert any(r.message == "sts_attempt_failed" and r.aws_code == code for r in caplog.records)


def test_secrets_of_success_are_not_logged_or_shown(endpoint, caplog):
    logging.getLogger("botocore").setLevel(logging.NOTSET)
    sts._clients.clear()
    with serving(granted()) as double, caplog.at_level(logging.DEBUG):
        endpoint(double)
        got = run()
    for text in (repr(got), caplog.text, repr(Minting()("eu-west-1")), repr(WebIdentityCall(ROLE, TOKEN, "alice"))):
        assert SECRET_KEY not in text
        assert SESSION_TOKEN[:40] not in text
        assert ASSERTION[:40] not in text
        assert TOKEN not in text
    assert "ASIATESTKEY000000001" in repr(got)


# --- clients


def test_one_client_a_region_and_endpoint_made_once_however_many_threads(endpoint, monkeypatch):
    made, built = [], []
    real = sts.boto3.session.Session

    class Counting(real):
        def __init__(self, **options):
            built.append(1)
            super().__init__(**options)

        def client(self, *arguments, **options):
            made.append(options["region_name"])
            return super().client(*arguments, **options)

    monkeypatch.setattr(sts.boto3.session, "Session", Counting)
    monkeypatch.setattr(sts, "_session", None)
    monkeypatch.setattr(sts, "_clients", {})
    with serving(granted()) as double:
        endpoint(double)
        threads = [threading.Thread(target=run) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(double.calls) == 12
    assert (made, built) == (["eu-west-1"], [1])


def test_what_is_read_to_make_a_client_does_not_stay_in_memory(monkeypatch):
    """Seven megabytes of each worker: the endpoints of all of AWS's services, for one."""
    monkeypatch.setattr(sts, "_clients", {})
    gc.collect()
    before = {id(one) for one in gc.get_objects() if isinstance(one, EndpointResolver)}
    sts.warm(["aws"])
    gc.collect()
    assert [one for one in gc.get_objects() if isinstance(one, EndpointResolver) and id(one) not in before] == []
    kept = {name for client in sts._clients.values() for name in client._loader._cache}
    assert kept
    assert not [name for name in kept if "endpoints" in name]
    assert sts._session is None


def test_warm_builds_the_clients_without_a_call(monkeypatch):
    monkeypatch.setattr(sts, "_clients", {})
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    sts.warm(["aws-cn"])
    assert [region for _, region, _ in sts._clients] == ["cn-north-1", "cn-northwest-1"]
    with pytest.raises(UnknownPartition):
        sts.warm(["aws-moon"])


def test_no_credentials_are_looked_for(endpoint, monkeypatch):
    monkeypatch.setattr(sts, "_clients", {})
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATESTNEVERUSED0001")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-never-used")
    looked = []
    monkeypatch.setattr("botocore.credentials.CredentialResolver.load_credentials", lambda self: looked.append(1))
    with serving(granted()) as double:
        endpoint(double)
        run()
    assert looked == []
    assert "AKIATESTNEVERUSED0001" not in json.dumps([vars(c) for c in double.calls])


def test_what_prepare_raises_goes_through(endpoint):
    def prepare(region):
        raise PermissionError("no longer allowed")

    with pytest.raises(PermissionError):
        run(prepare)
