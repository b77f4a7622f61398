from datetime import UTC, datetime

import pytest
from django.test import Client

from tests import cast
from tests.aws.scripted import granted, serving
from tests.oauth.pairing import paired


class Api:
    """A command line: every request carries this person's access token."""

    def __init__(self, person, scope: str = "") -> None:
        self.person = person
        self.token = paired(person, now=datetime.now(UTC), scope=scope).access_token
        self.client = Client(headers={"authorization": f"Bearer {self.token}"})

    def get(self, path: str, **more):
        return self.client.get(f"/api/v1/{path}", **more)

    def post(self, path: str, body, **more):
        return self.client.post(f"/api/v1/{path}", body, **{"content_type": "application/json", **more})


@pytest.fixture
def api(sign_in_as):
    def do(identity=None, scope: str = "") -> Api:
        now = datetime.now(UTC)
        return Api(sign_in_as(identity or cast.alice(now=now), at=now), scope)

    return do


@pytest.fixture
def sts(monkeypatch):
    """A SCRIPTED DOUBLE of STS, for as long as the test lasts."""

    def by_operation(call):
        return granted(call.fields["Action"])

    with serving(by_operation) as double:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", double.url)
        yield double


@pytest.fixture
def federated(gateway_keys, publish):
    """Keys and the cast's mapping: roles can be used."""
    publish()
