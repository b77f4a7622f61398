"""The portal's pages by Django's client: real flows, real database, a clock that stands still."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from bs4 import BeautifulSoup
from django.test import Client

from federation.aws.sts import Credentials
from federation.models import Person
from tests import cast, saml_kit

SECRET_KEY_OF_AWS = "TEST-ONLY/secret+access-key"
SESSION_TOKEN_OF_AWS = "TEST-ONLY/session+token=="


class Clock:
    """The pages' clock."""

    def __init__(self, now):
        self.now = now

    def forward(self, **amount):
        self.now += timedelta(**amount)


@pytest.fixture
def clock(monkeypatch):
    held = Clock(saml_kit.NOW)
    monkeypatch.setattr("django.utils.timezone.now", lambda: held.now)
    return held


class Browser(Client):
    """A browser that checks what a real one would meet: CSRF is on."""

    def __init__(self, **more):
        super().__init__(enforce_csrf_checks=True, **more)

    def page(self, path, **more):
        return soup(self.get(path, **more))

    def submit(self, answer, action, *, follow=False, **fields):
        """Send the page's form with this action, with its hidden fields."""
        form = next(
            f
            for f in soup(answer).find_all("form")
            if f.get("action") == action and (f.get("method") or "").lower() == "post"
        )
        hidden = {i["name"]: i.get("value", "") for i in form.find_all("input", type="hidden")}
        return self.post(action, {**hidden, **fields}, follow=follow)


def soup(answer):
    # lxml is three times quicker, and makes a whole page out of a piece of one.
    whole = answer.content.lstrip()[:9].lower() == b"<!doctype"
    page = BeautifulSoup(answer.content, "lxml" if whole else "html.parser")
    for place in page("wbr"):  # where a word may break, and no end of one
        place.unwrap()  # libxml2 takes what follows for its content
    page.smooth()
    return page


def text_of(answer):
    return re.sub(r"\s+", " ", soup(answer).get_text(" ")).strip()


@pytest.fixture
def browser(clock):
    return Browser()


@pytest.fixture
def signed_in(db, clock, sign_in_as):
    """A browser in which this identity has just signed in; `publish` first."""

    def do(identity=None) -> Browser:
        person = sign_in_as(identity or cast.alice(), at=clock.now)
        made = Browser()
        made.force_login(person, backend="portal.auth.FederatedBackend")
        made.person = Person.objects.get(pk=person.pk)
        return made

    return do


@pytest.fixture
def fake_aws(monkeypatch, clock, gateway_keys):
    """STS AND THE FEDERATION ENDPOINT ARE DOUBLES HERE; everything before them (decision, mint, audit) is real."""
    calls = []

    def assume_role(prepare, *, regions, **_):
        call = prepare(regions[0])
        calls.append(call)
        return Credentials(
            access_key_id="ASIATESTONLY00000001",
            secret_access_key=SECRET_KEY_OF_AWS,
            session_token=SESSION_TOKEN_OF_AWS,
            expiration=clock.now + timedelta(seconds=call.duration),
            assumed_role_arn=call.role_arn,
        )

    def signin_token(credentials, **_):
        from federation.aws.console import SigninToken

        return SigninToken("TEST-ONLY-signin-token")

    monkeypatch.setattr("federation.flows.issue_credentials.sts.assume_role", assume_role)
    monkeypatch.setattr("federation.flows.open_console.console.signin_token", signin_token)
    return calls
