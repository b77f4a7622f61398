"""Disabled in the directory: by one push to the running gateway, everything a person holds ends, on every worker process.

The promise is five seconds. What is asserted is more: from the answer to the push on, nothing is given any more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import requests

from demo.cast import CAST
from demo.idp.server import CorporateIdp
from tests.live import READ_ONLY_OIDC, READ_ONLY_SAML, TIMEOUT, Api, Stage, Visitor, caller_identity, mapping_document
from tests.scim.conftest import GROUP, PATCH, USER

PROMISED_SECONDS = 5
ROLES = (READ_ONLY_SAML, READ_ONLY_OIDC)


class Pusher:
    """The company's directory, which pushes to the running gateway."""

    def __init__(self, stage: Stage, token: str) -> None:
        self._base, self._headers = f"{stage.gateway.url}/scim/v2", {"Authorization": f"Bearer {token}"}

    def call(self, method: str, path: str, body: object = None, *, status: int) -> dict:
        answer = requests.request(method, f"{self._base}/{path}", json=body, headers=self._headers, timeout=TIMEOUT)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else {}

    def person(self, login: str) -> str:
        actor = CAST[login]
        body = {"schemas": [USER], "userName": actor.email, "externalId": actor.subject, "active": True}
        return self.call("POST", "Users", body, status=201)["id"]

    def patch(self, path: str, *operations: dict, status: int = 200) -> None:
        self.call("PATCH", path, {"schemas": [PATCH], "Operations": list(operations)}, status=status)

    def set_active(self, person: str, active: bool) -> None:
        self.patch(f"Users/{person}", {"op": "replace", "path": "active", "value": active})

    def join(self, group: str, person: str) -> None:
        self.patch(f"Groups/{group}", {"op": "add", "path": "members", "value": [{"value": person}]}, status=204)


@dataclass
class Holder:
    """Somebody with everything that there is to hold: two browsers, two command lines, and a pairing that is half done."""

    stage: Stage
    login: str
    browsers: list[Visitor] = field(default_factory=list)
    tokens: list[dict] = field(default_factory=list)

    def sign_in(self):
        visitor = Visitor()
        page = visitor.sign_in(self.stage.gateway, "corp", user=self.login, password=CAST[self.login].password)
        return visitor, page

    def take_everything(self) -> None:
        for _ in range(2):
            visitor, page = self.sign_in()
            assert (page.status, page.url) == (200, f"{self.stage.gateway.url}/"), page.text[:500]
            self.browsers.append(visitor)
            self.tokens.append(visitor.pair_for_tokens(self.stage.gateway))
        for held in self.tokens:
            for role in ROLES:
                document = Api(self.stage.gateway, held["access_token"]).credentials(role)
                assert ":assumed-role/ReadOnly/" in caller_identity(self.stage.aws, document)
        opened = self.console(self.browsers[0])
        assert opened.url == f"{self.stage.aws.url}/console", opened.text[:500]

    def console(self, visitor: Visitor):
        page = visitor.get(f"{self.stage.gateway.url}/")
        return visitor.submit(page, page.form(action="/roles/111122223333/ReadOnly/console"))

    def refresh(self, held: dict) -> requests.Response:
        data = {"grant_type": "refresh_token", "refresh_token": held["refresh_token"], "client_id": "rolegate-cli"}
        return requests.post(f"{self.stage.gateway.url}/oauth/token", data=data, timeout=TIMEOUT)

    def assert_has_nothing(self) -> None:
        url = self.stage.gateway.url
        for visitor in self.browsers:
            assert visitor.get(f"{url}/").url.startswith(f"{url}/signin/")
        for held in self.tokens:
            api = Api(self.stage.gateway, held["access_token"])
            for answer in (
                *(api.post(path, {"role_arn": role}) for path in ("/credentials", "/console") for role in ROLES),
                api.get("/me"),
                api.get("/roles"),
            ):
                assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token"), answer.text
            refused = self.refresh(held)
            assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant"), refused.text

    def assert_cannot_come_back(self) -> None:
        visitor, page = self.sign_in()
        assert page.problem[0] == "person_disabled", page.text[:500]
        assert visitor.get(f"{self.stage.gateway.url}/").url.startswith(f"{self.stage.gateway.url}/signin/")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Two worker processes; identity provider and AWS of the demo."""
    stage = Stage(tmp_path_factory.mktemp("disabled"), {"ROLEGATE_RATE_FACTOR": "1000"})
    stage.gateway.workers = 2
    idp = CorporateIdp(0, [f"{stage.gateway.url}/saml/corp/metadata"])
    try:
        idp.start()
        stage.start()
        provider = {
            "slug": "corp", "name": "Example Corp", "saml": {"metadata_url": idp.metadata_url},
            "claims": {"subject": "NameID", "email": "mail", "name": "displayName", "groups": "memberOf"},
        }  # fmt: skip
        directory = {"slug": "staff", "provider": "corp", "scim": {}, "subject": "externalId"}
        stage.gateway.apply({**mapping_document([provider]), "directories": [directory]})
        yield stage
    finally:
        stage.stop()
        idp.stop()


@pytest.fixture(scope="module")
def pusher(stage: Stage) -> Pusher:
    return Pusher(stage, stage.gateway.manage("tokens", "create", "okta", "--scope", "scim:staff").strip())


@pytest.fixture(scope="module")
def engineering(pusher: Pusher) -> str:
    return pusher.call("POST", "Groups", {"schemas": [GROUP], "displayName": "engineering"}, status=201)["id"]


def test_disabled_everything_ends_with_the_push_and_enabled_it_all_works_again(
    stage: Stage, pusher: Pusher, engineering: str
) -> None:
    person = pusher.person("alice")
    pusher.join(engineering, person)
    alice = Holder(stage, "alice")
    alice.take_everything()

    begun = time.monotonic()
    pusher.set_active(person, active=False)
    assert time.monotonic() - begun < PROMISED_SECONDS  # and with it everything has ended:
    alice.assert_has_nothing()
    alice.assert_cannot_come_back()

    pusher.set_active(person, active=True)
    alice.assert_has_nothing()  # what has ended stays ended: they sign in and pair anew
    again = Holder(stage, "alice")
    again.take_everything()


def test_deleted_everything_ends_with_the_push_and_made_anew_it_works_again(
    stage: Stage, pusher: Pusher, engineering: str
) -> None:
    person = pusher.person("dave")
    pusher.join(engineering, person)
    dave = Holder(stage, "dave")
    dave.take_everything()

    begun = time.monotonic()
    pusher.call("DELETE", f"Users/{person}", status=204)
    assert time.monotonic() - begun < PROMISED_SECONDS
    dave.assert_has_nothing()
    dave.assert_cannot_come_back()

    anew = pusher.person("dave")
    visitor, page = dave.sign_in()
    assert page.url == f"{stage.gateway.url}/"
    api = Api(stage.gateway, visitor.pair(stage.gateway))
    refused = api.post("/credentials", {"role_arn": READ_ONLY_SAML})
    assert (refused.status_code, refused.json()["code"]) == (403, "access_denied"), refused.text  # in no group yet
    pusher.join(engineering, anew)
    assert ":assumed-role/ReadOnly/" in caller_identity(stage.aws, api.credentials(READ_ONLY_SAML))


def test_under_load_not_one_credential_leaves_after_the_answer_to_the_push(
    stage: Stage, pusher: Pusher, engineering: str
) -> None:
    """Eight callers ask without a pause, on two processes: the last one that got something had asked before the answer."""
    person = pusher.person("frank")
    pusher.join(engineering, person)
    visitor, _ = Holder(stage, "frank").sign_in()
    api = Api(stage.gateway, visitor.pair(stage.gateway))
    asked_of_given: list[float] = []
    given: list[float] = []
    faults: list[str] = []
    stop = threading.Event()

    def ask(number: int) -> None:
        while not stop.is_set():
            asked = time.monotonic()
            answer = api.post("/credentials", {"role_arn": ROLES[number % 2]})
            if answer.status_code == 200:
                asked_of_given.append(asked)
                given.append(time.monotonic())
            elif answer.json()["code"] not in {"invalid_token", "person_disabled"}:
                faults.append(answer.text)

    callers = [threading.Thread(target=ask, args=[number]) for number in range(8)]
    for caller in callers:
        caller.start()
    while len(given) < 16 and not faults:
        time.sleep(0.02)
    pushed = time.monotonic()
    pusher.set_active(person, active=False)
    answered = time.monotonic()
    time.sleep(1)
    stop.set()
    for caller in callers:
        caller.join()
    assert not faults, faults[:3]
    assert max(asked_of_given) < answered
    assert max(given) - pushed < PROMISED_SECONDS


def test_the_audit_log_says_who_ended_it_and_why(stage: Stage, pusher: Pusher) -> None:
    bob = Holder(stage, "bob")
    person = pusher.person("bob")
    visitor, page = bob.sign_in()
    assert page.url == f"{stage.gateway.url}/"
    pusher.set_active(person, active=False)
    assert visitor.get(f"{stage.gateway.url}/").url.startswith(f"{stage.gateway.url}/signin/")
    told = stage.gateway.audit("directory.person")[-1]
    assert (told["actor"], told["data"]["change"], told["data"]["user"]) == ("service:okta", "disabled", person)
    revoked = stage.gateway.audit("revoked")[-1]
    assert (revoked["actor"], revoked["request_id"]) == ("service:okta", told["request_id"])
    assert (revoked["data"]["why"], revoked["data"]["sessions"]) == ("is inactive in the directory staff", 1)
