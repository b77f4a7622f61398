"""Redis down: sign-in, portal and credentials go on, and nobody waits for it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest

from tests.faults.conftest import Town
from tests.faults.servers import listens
from tests.live import READ_ONLY_OIDC, READ_ONLY_SAML, Api, caller_identity


def ever_within(seconds: float, action: Callable[[], object], times: int = 25) -> bool:
    """Whether one of several runs takes no longer: a delay in the way would be in each, the machine's other business is not."""
    for _ in range(times):
        begun = time.monotonic()
        action()
        if time.monotonic() - begun < seconds:
            return True
    return False


@pytest.mark.parametrize("redis", ["nothing listens", "takes connections and never answers"])
def test_a_sign_in_ends_in_credentials_in_the_usual_time(town: Town, redis: str) -> None:
    gateway = town.stage.gateway
    assert gateway.environment["REDIS_URL"].endswith(f":{town.redis_port}/0")
    with socket.socket() as silent:
        if redis != "nothing listens":
            silent.bind(("127.0.0.1", town.redis_port))
            silent.listen()
        assert listens(town.redis_port) is (redis != "nothing listens")

        alice = town.sign_in()
        api = Api(gateway, alice.pair(gateway))
        for role in (READ_ONLY_SAML, READ_ONLY_OIDC):
            assert ":assumed-role/ReadOnly/" in caller_identity(town.stage.aws, api.credentials(role))
        page = alice.get(f"{gateway.url}/")
        opened = alice.submit(page, page.form(action="/roles/111122223333/ReadOnly/console"))
        assert opened.url == f"{town.stage.aws.url}/console", opened.text[:800]

        # redis-py and Celery wait a second and more before they give up: either would show.
        assert ever_within(1.0, town.sign_in)
        assert ever_within(0.5, lambda: api.credentials(READ_ONLY_SAML))
        assert ever_within(0.5, lambda: alice.get(f"{gateway.url}/"))
