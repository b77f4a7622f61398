"""STS takes each connection and never answers, while a whole office asks for credentials: everything else goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.conftest import Town
from tests.live import READ_ONLY_SAML, Api, caller_identity

ASKING = 24  # at once, three times as many as there are threads
STALL_SECONDS = 24.0  # until a few have waited for each region in vain
PROMISED_SECONDS = 2.0


@pytest.fixture
def hanging(town: Town, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Set it to have STS answer again."""
    well = threading.Event()
    answer = town.stage.aws._sts_answer

    def hang(params):
        well.wait(30)
        return answer(params)

    monkeypatch.setattr(town.stage.aws, "_sts_answer", hang)
    yield well
    well.set()


def test_the_portal_and_the_lists_of_roles_are_served(town: Town, hanging: threading.Event) -> None:
    api = Api(town.stage.gateway, town.sign_in().pair(town.stage.gateway))
    stop, codes = threading.Event(), set()

    def ask() -> None:
        while not stop.is_set():
            answer = api.post("/credentials", {"role_arn": READ_ONLY_SAML})
            codes.add((answer.status_code, answer.json().get("code", "")))
            time.sleep(0.3)

    callers = [threading.Thread(target=ask) for _ in range(ASKING)]
    for caller in callers:
        caller.start()
    time.sleep(STALL_SECONDS)
    held = []
    for _ in range(15):
        began = time.monotonic()
        assert api.get("/roles").status_code == 200
        held.append(time.monotonic() - began)
        time.sleep(0.2)
    stop.set()
    for caller in callers:
        caller.join()
    assert max(held) < PROMISED_SECONDS, held
    assert codes == {(503, "sts_unreachable")}
    hanging.set()
    assert ":assumed-role/ReadOnly/" in caller_identity(town.stage.aws, api.credentials(READ_ONLY_SAML))
