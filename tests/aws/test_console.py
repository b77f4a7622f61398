"""The console: the sign-in token from a scripted federation endpoint, and the URL."""

from __future__ import annotations

import json
import logging
from urllib.parse import parse_qs, urlsplit

import pytest

from federation.aws import console
from federation.aws.console import (
    ConsoleDurationInvalid,
    SigninRefused,
    SigninToken,
    SigninUnreachable,
    console_url,
    signin_token,
)
from federation.aws.partitions import PARTITION_NAMES, partition
from tests.aws.scripted import SECRET_KEY, SESSION_TOKEN, Reply, credentials, serving

AWS = partition("aws")
GATEWAY = "https://access.example.com/?from=aws"


def token_is(value) -> Reply:
    return Reply(200, json.dumps({"SigninToken": value}), "application/json")


def test_the_session_is_posted_and_not_in_the_address():
    with serving(token_is("TESTTOKEN_abc-1")) as double:
        token = signin_token(
            credentials(), partition=AWS, session_duration=28_800, endpoint_url=double.url + "/federation"
        )
    (call,) = double.calls
    assert call.path == "/federation"
    assert json.loads(call.fields.pop("Session")) == {
        "sessionId": "ASIATESTKEY000000001",
        "sessionKey": SECRET_KEY,
        "sessionToken": SESSION_TOKEN,
    }
    assert call.fields == {"Action": "getSigninToken", "SessionDuration": "28800"}
    assert token == SigninToken("TESTTOKEN_abc-1", duration_dropped=False)
    assert "TESTTOKEN" not in repr(token)


def test_no_duration_is_sent_where_none_is_asked():
    with serving(token_is("t")) as double:
        signin_token(credentials(), partition=AWS, endpoint_url=double.url)
    assert "SessionDuration" not in double.calls[0].fields


def test_a_400_with_a_duration_is_tried_once_without_and_said():
    with serving(Reply(400, "Bad"), token_is("t")) as double:
        token = signin_token(credentials(), partition=AWS, session_duration=3600, endpoint_url=double.url)
    assert token.duration_dropped
    assert ["SessionDuration" in c.fields for c in double.calls] == [True, False]


@pytest.mark.parametrize(("duration", "calls"), [(3600, 2), (None, 1)])
def test_a_lasting_400_is_final(duration, calls):
    with serving(Reply(400, "Bad")) as double, pytest.raises(SigninRefused) as failed:
        signin_token(credentials(), partition=AWS, session_duration=duration, endpoint_url=double.url)
    assert (failed.value.reason, failed.value.aws_code, len(double.calls)) == ("signin_rejected", "400", calls)


@pytest.mark.parametrize("seconds", [0, 899, 43_201])
def test_durations_out_of_range_are_not_sent(seconds):
    with pytest.raises(ConsoleDurationInvalid) as failed:
        signin_token(credentials(), partition=AWS, session_duration=seconds)
    assert failed.value.reason == "console_duration_out_of_range"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, "<html>"),
        Reply(200, "[]"),
        Reply(200, "{}"),
        token_is(1),
        token_is(""),
        token_is("a b"),
        token_is("a\nb"),
        token_is("x" * 16_001),
        Reply(200, "[" * 60_000),
    ],
)
def test_answers_that_hold_no_token(reply, caplog):
    with caplog.at_level(logging.DEBUG), serving(reply) as double, pytest.raises(SigninRefused) as failed:
        signin_token(credentials(), partition=AWS, endpoint_url=double.url)
    assert failed.value.reason == "signin_answer_invalid"
    for text in (str(failed.value), repr(vars(failed.value)), caplog.text):
        assert SECRET_KEY not in text
        assert SESSION_TOKEN[:40] not in text


def test_a_failing_endpoint():
    with serving(Reply(503, "")) as double, pytest.raises(SigninUnreachable) as failed:
        signin_token(credentials(), partition=AWS, session_duration=3600, endpoint_url=double.url)
    assert (failed.value.reason, failed.value.status, failed.value.retry_after) == ("signin_failing", 503, 30)


def test_an_endpoint_that_is_not_there():
    with pytest.raises(SigninUnreachable) as failed:
        signin_token(credentials(), partition=AWS, endpoint_url="http://127.0.0.1:9/federation")
    assert failed.value.reason == "unreachable"
    assert SECRET_KEY not in repr(vars(failed.value))


@pytest.mark.parametrize("name", PARTITION_NAMES)
def test_each_partition_has_its_own_endpoint(name, monkeypatch):
    asked = []

    def request(method, url, **options):
        asked.append((method, url))
        return console.net.Answer(200, {}, b'{"SigninToken": "t"}')

    monkeypatch.setattr(console.net, "request", request)
    for region in partition(name).regions_fail_over():
        signin_token(credentials(), partition=partition(name), region=region)
        assert asked.pop() == ("POST", partition(name).federation_url(region))


@pytest.mark.parametrize("token", ["t0ken/+=&", SigninToken("t0ken/+=&")])
def test_the_url(token):
    url = urlsplit(console_url(token, issuer=GATEWAY, destination="s3", partition=AWS, region="eu-west-1"))
    assert f"{url.scheme}://{url.netloc}{url.path}" == "https://eu-west-1.signin.aws.amazon.com/federation"
    assert parse_qs(url.query, strict_parsing=True) == {
        "Action": ["login"],
        "Issuer": [GATEWAY],
        "Destination": ["https://eu-west-1.console.aws.amazon.com/s3/home"],
        "SigninToken": ["t0ken/+=&"],
    }


def test_the_url_at_another_endpoint():
    assert console_url(
        "t", issuer=GATEWAY, destination=None, partition=AWS, endpoint_url="http://localhost:9/federation"
    ).startswith("http://localhost:9/federation?Action=login&")
