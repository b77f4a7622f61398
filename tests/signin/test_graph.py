"""Microsoft Graph says which groups somebody is in, whole; what it says by half is an error."""

from __future__ import annotations

import json

import pytest

from federation.mapping.rules import GraphOptions
from federation.signin import graph as module
from federation.signin.graph import Application, Graph, GraphUnavailable
from tests import oidc_kit as kit
from tests.signin.graph_double import ALICE, Double, group, name, serving


class Time:
    """A clock that only pauses move."""

    def __init__(self):
        self.now, self.pauses = 0.0, []

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def op():
    with kit.running() as provider:
        yield provider


@pytest.fixture
def double():
    with serving(Double([group(number) for number in range(250)])) as double:
        yield double


class Asker:
    def __init__(self, op, double, **options):
        self.time = Time()
        self.graph = Graph(clock=lambda: self.time.now, sleep=self.time.sleep)
        client = kit.configured(op.issuer, client_secret="x", graph=GraphOptions(double.url, **options)).oidc
        self.application = Application(client, kit.CLIENT_SECRET, f"{op.issuer}/token")

    def ask(self, person=ALICE):
        return self.graph.groups_of(self.application, person)

    def refusal(self, person=ALICE):
        with pytest.raises(GraphUnavailable) as caught:
            self.ask(person)
        assert kit.CLIENT_SECRET not in str(caught.value)
        return caught.value.reason


@pytest.fixture
def asker(op, double):
    return Asker(op, double)


def test_every_page_is_asked_for(asker, op, double):
    assert asker.ask() == {name(number) for number in range(250)}
    assert len(double.asked) == 3
    assert op.scopes_asked == [f"{double.url}/.default"]
    assert set(double.tokens) == {"Bearer application-1"}
    assert "?$select=id,securityEnabled&$top=999" in double.asked[0]


def test_the_access_token_is_kept_until_shortly_before_its_end(asker, op, double):
    asker.ask()
    asker.ask()
    assert len(op.scopes_asked) == 1
    asker.time.now += 3_600
    asker.ask()
    assert len(op.scopes_asked) == 2


def test_a_token_that_was_withdrawn_is_replaced_once(asker, op, double):
    asker.ask()
    double.answers = [(401, {}, {})]
    assert len(asker.ask()) == 250
    assert len(op.scopes_asked) == 2
    double.answers = [(401, {}, {}), (401, {}, {})]
    assert asker.refusal() == "token_refused"


def test_groups_that_anybody_may_make_do_not_count(op, double):
    double.groups = [group(1), group(2, securityEnabled=False, groupTypes=["Unified"])]
    assert Asker(op, double).ask() == {name(1)}


def test_by_the_name_they_have_on_the_premises(op, double):
    double.groups = [group(1), group(2, onPremisesSamAccountName=None)]
    assert Asker(op, double, group_name="onPremisesSamAccountName").ask() == {"group-1"}


def test_the_clients_secret_may_go_in_the_body(op, double):
    op.auth_method = "client_secret_post"
    asker = Asker(op, double)
    client = kit.configured(
        op.issuer, token_endpoint_auth_method="client_secret_post", graph=asker.application.client.graph
    ).oidc
    asker.application = Application(client, kit.CLIENT_SECRET, f"{op.issuer}/token")
    assert len(asker.ask()) == 250


@pytest.mark.parametrize("status", [429, 503, 504])
def test_throttled_it_waits_as_long_as_it_is_told(asker, double, status):
    double.answers = [(status, {"Retry-After": "3"}, {}), (status, {}, {})]
    assert len(asker.ask()) == 250
    assert asker.time.pauses == [3.0, 1.0]


@pytest.mark.parametrize("wait", ["9", "600", "99999"])
def test_nobody_waits_longer_than_a_sign_in_may_take(asker, double, wait):
    double.answers = [(429, {"Retry-After": wait}, {})]
    assert asker.refusal() == "throttled"
    assert asker.time.pauses == []


def test_throttled_for_ever_ends(asker, double):
    double.answers = [(429, {"Retry-After": "1"}, {})] * 50
    assert asker.refusal() == "throttled"
    assert sum(asker.time.pauses) < module.SECONDS


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((403, {}, {}), "forbidden"),
        ((404, {}, {}), "person_unknown"),
        ((500, {}, {}), "failed"),
        ((302, {"Location": "https://elsewhere.example.com/"}, b""), "unreachable"),
        ((200, {}, b"<html>"), "answer_malformed"),
        ((200, {}, []), "answer_malformed"),
        ((200, {}, {}), "answer_malformed"),
        ((200, {}, {"value": "x"}), "answer_malformed"),
        ((200, {}, {"value": [{"id": name(1)}]}), "answer_malformed"),
        ((200, {}, {"value": ["x"]}), "answer_malformed"),
        ((200, {}, {"value": [{"id": 7, "securityEnabled": True}]}), "answer_malformed"),
        ((200, {}, {"value": [{"id": "", "securityEnabled": True}]}), "answer_malformed"),
        ((200, {}, {"value": [{"securityEnabled": True}]}), "answer_malformed"),
        ((200, {}, b'{"value": [], "value": []}'), "answer_malformed"),
    ],
)
def test_what_is_no_answer_is_none(asker, double, answer, reason):
    double.answers = [answer]
    assert asker.refusal() == reason


@pytest.mark.parametrize("at", [1, 2])
def test_half_of_the_pages_is_nothing(asker, double, at):
    double.answers = []
    honest = double.answer
    seen = []

    def half(path):
        seen.append(path)
        return (500, {}, {}) if len(seen) > at else honest(path)

    double.answer = half
    assert asker.refusal() == "failed"


def test_cut_in_the_middle_of_a_page(asker, double):
    double.hang_up = True
    assert asker.refusal() in {"unreachable", "too_slow"}


@pytest.mark.parametrize(
    "link", ["https://elsewhere.example.com/v1.0/users", "//x", "{url}.evil.example.com/v1.0/", "{url}/beta/users", 7]
)
def test_the_next_page_is_never_elsewhere(asker, double, link):
    """The bearer token would go along."""
    double.next_link = link.format(url=double.url) if isinstance(link, str) else link
    assert asker.refusal() == "next_page_elsewhere"
    assert len(double.asked) == 1


def test_pages_without_end_end(asker, double, monkeypatch):
    monkeypatch.setattr(module, "MOST_PAGES", 2)
    assert asker.refusal() == "too_many"


@pytest.mark.parametrize("person", ["", "me", "../groups", "x" * 36, "6ba7b810/../../../../../../../../abcdef"])
def test_only_an_id_becomes_part_of_an_address(asker, double, person):
    assert asker.refusal(person) == "object_id_malformed"
    assert double.asked == []


def test_a_person_whom_graph_does_not_know(asker):
    assert asker.refusal("00000000-0000-4000-8000-000000000000") == "person_unknown"


@pytest.mark.parametrize(
    ("status", "body"),
    [(401, b"{}"), (400, b'{"error":"invalid_client"}'), (200, b"{}"), (200, b'{"access_token": 7}'), (200, b'{"access_token":"a\\nb"}')],
)  # fmt: skip
def test_without_a_token_nothing_is_asked(asker, op, double, status, body):
    op.statuses, op.bodies = {"/token": status}, {"/token": body}
    assert asker.refusal() == "token_refused"
    assert double.asked == []


def test_where_nobody_listens(op, double):
    asker = Asker(op, double)
    asker.application = Application(asker.application.client, "x", "http://127.0.0.1:9/token")
    assert asker.refusal() == "unreachable"


def test_it_is_asked_only_where_the_document_says_so(op):
    client = kit.configured(op.issuer, client_secret="x").oidc
    with pytest.raises(GraphUnavailable) as caught:
        Graph().groups_of(Application(client, "x", f"{op.issuer}/token"), ALICE)
    assert caught.value.reason == "not_configured"


def test_no_secret_is_in_a_repr(asker):
    assert kit.CLIENT_SECRET not in repr(asker.application)
    assert json.dumps(repr(asker.application))
