"""Signing in with more groups than the token holds: Graph is asked, and where it does not say, nothing is decided."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
import yaml

from federation.errors import GroupsIncomplete
from federation.flows import access, overage, provider_documents, sign_in
from federation.models import AuditEvent, Person
from federation.signin.graph import Graph
from federation.signin.oidc import ProviderDocuments
from tests import oidc_kit as kit
from tests.signin.graph_double import ALICE, Double, group, name, serving

ROLE = "arn:aws:iam::111122223333:role/ReadOnly"
BINDING = "binding"


def document(issuer, graph, directory="") -> str:
    client = {
        "issuer": issuer, "client_id": kit.CLIENT_ID, "client_secret": "${TEST_OIDC_SECRET}", "scopes": ["openid", "groups"],
        **({"graph": {"endpoint": graph}} if graph else {}),
    }  # fmt: skip
    more = {"directories": [{"slug": "d", "provider": "corp", "scim": {}, "groups": directory}]} if directory else {}
    return yaml.safe_dump(
        {
            "version": 1,
            "identity_providers": [
                {"slug": "corp", "name": "Corp", "oidc": client,
                 "claims": {"subject": "sub", "email": "email", "name": "name", "groups": "groups"}},
            ],
            "accounts": [{"id": "111122223333", "name": "shop"}],
            "mapping": [{"name": "r", "when": {"groups": [name(7)]}, "allow": {"roles": ["ReadOnly"]}}],
            **more,
        }
    )  # fmt: skip


@pytest.fixture
def op(gateway_keys, monkeypatch, settings):
    settings.ROLEGATE_URL = "https://rolegate.example.com"
    monkeypatch.setenv("TEST_OIDC_SECRET", kit.CLIENT_SECRET)
    monkeypatch.setattr(provider_documents, "oidc_documents", ProviderDocuments())
    monkeypatch.setattr(overage, "graph", Graph())
    with kit.running() as provider:
        provider.claims |= {"oid": ALICE, "groups": None, "hasgroups": True}
        yield provider


@pytest.fixture
def double():
    with serving(Double([group(number) for number in range(230)])) as double:
        yield double


def sign(op, origin) -> Person:
    url = sign_in.begin("corp", next_path="/", binding=BINDING, origin=origin, now=op.now).url
    answer = requests.get(url, allow_redirects=False, timeout=5)
    params = dict(parse_qsl(urlsplit(answer.headers["Location"]).query))
    sign_in.complete_oidc("corp", params=params, binding=BINDING, origin=origin, now=op.now)
    return Person.objects.get()


def told() -> dict:
    return AuditEvent.objects.filter(kind="sign_in").last().data


def test_graph_heals_an_overage(op, double, publish, origin):
    publish(document(op.issuer, double.url))
    person = sign(op, origin)
    assert (person.groups_complete, len(person.groups)) == (True, 230)
    assert access.decide(person.pk, ROLE, now=op.now).grant.rule == "r"
    assert (told()["graph"], told()["groups"]) == ("ok", 230)


def test_where_graph_does_not_say_the_sign_in_goes_on_and_nothing_is_decided(op, double, publish, origin):
    publish(document(op.issuer, double.url))
    double.answers = [(403, {}, {})]
    person = sign(op, origin)
    assert (person.groups_complete, person.groups) == (False, [])
    with pytest.raises(GroupsIncomplete):
        access.decide(person.pk, ROLE, now=op.now)
    assert told()["graph"] == "forbidden"


def test_the_address_in_the_token_is_never_asked(op, double, publish, origin):
    publish(document(op.issuer, double.url))
    with serving(Double([group(7)])) as evil:
        op.claims |= {
            "hasgroups": None, "_claim_names": {"groups": "src1"},
            "_claim_sources": {"src1": {"endpoint": f"{evil.url}/v1.0/users/{ALICE}/getMemberObjects", "access_token": "x"}},
        }  # fmt: skip
        assert sign(op, origin).groups_complete
        assert evil.asked == []
    assert len(double.asked) == 3


def test_a_token_without_an_id_of_the_directory_heals_nothing(op, double, publish, origin):
    publish(document(op.issuer, double.url))
    op.claims["oid"] = None
    assert not sign(op, origin).groups_complete
    assert told()["graph"] == "object_id_malformed"
    assert double.asked == []


def test_what_the_token_says_stays(op, double, publish, origin):
    publish(document(op.issuer, double.url))
    op.claims |= {"groups": ["from-the-token"], "hasgroups": True}
    assert "from-the-token" in sign(op, origin).groups


def test_nothing_is_asked_without_an_overage_or_without_graph(op, double, publish, origin):
    publish(document(op.issuer, ""))
    assert not sign(op, origin).groups_complete
    op.claims |= {"hasgroups": None, "groups": ["a"]}
    publish(document(op.issuer, double.url))
    assert sign(op, origin).groups_complete
    assert told()["graph"] == ""
    assert double.asked == []


def test_nothing_is_asked_where_a_directory_counts_instead(op, double, publish, origin):
    publish(document(op.issuer, double.url, directory="replace"))
    sign(op, origin)
    assert double.asked == []
    publish(document(op.issuer, double.url, directory="add"))
    sign(op, origin)
    assert len(double.asked) == 3
