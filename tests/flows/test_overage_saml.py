"""A SAML assertion that leaves the groups out: Graph is asked once the person's own browser has come, and never before."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest
import yaml
from django.db import connection

from federation.errors import GroupsIncomplete, RateLimited, SignInExpired
from federation.flows import access, overage, provider_documents, sign_in
from federation.models import AuditEvent, Person, SignInState
from federation.signin.assertion import OBJECT_ID, OVERAGE
from federation.signin.graph import Graph
from federation.signin.oidc import ProviderDocuments
from tests import oidc_kit, saml_kit
from tests.flows.test_sign_in_saml import NOW, begin, complete, draft, receive
from tests.signin.graph_double import ALICE, Double, group, name, serving

ROLE = "arn:aws:iam::111122223333:role/ReadOnly"
NUMBERS = count()
LINK = "https://graph.example.org/users/x/getMemberObjects"


@pytest.fixture
def tenant():
    with oidc_kit.running() as provider:
        yield provider


@pytest.fixture
def double():
    with serving(Double([group(number) for number in range(180)])) as double:
        yield double


@pytest.fixture
def entra(tenant, double, publish, gateway_keys, monkeypatch, settings):
    """Publishes a provider of SAML, with the application that asks Graph unless told otherwise."""
    settings.ROLEGATE_URL = "https://rolegate.example.com"
    monkeypatch.setenv("TEST_OIDC_SECRET", oidc_kit.CLIENT_SECRET)
    monkeypatch.setattr(provider_documents, "oidc_documents", ProviderDocuments())
    monkeypatch.setattr(overage, "graph", Graph())

    def do(*, graph=True, directory=""):
        application = {
            "issuer": tenant.issuer, "client_id": oidc_kit.CLIENT_ID, "client_secret": "${TEST_OIDC_SECRET}", "endpoint": double.url,
        }  # fmt: skip
        provider = {
            "slug": "corp", "name": "Corp", "claims": {"subject": "NameID", "groups": "memberOf"},
            "saml": {"metadata_xml": saml_kit.metadata_xml(), "allow_unsolicited": True, **({"graph": application} if graph else {})},
        }  # fmt: skip
        more = (
            {"directories": [{"slug": "d", "provider": "corp", "scim": {}, "groups": directory}]} if directory else {}
        )
        publish(
            yaml.safe_dump(
                {
                    "version": 1, "identity_providers": [provider], "accounts": [{"id": "111122223333", "name": "shop"}], **more,
                    "mapping": [{"name": "r", "when": {"groups": [name(7)]}, "allow": {"roles": ["ReadOnly"]}}],
                }
            )
        )  # fmt: skip

    do()
    return do


def assertion(request_id, groups=(), **changed):
    told = {key: value for key, value in saml_kit.ALICE.items() if key != "memberOf"}
    attributes = {
        **told,
        OVERAGE: [LINK],
        OBJECT_ID: [ALICE],
        **({"memberOf": list(groups)} if groups else {}),
        **changed,
    }
    kept = {key: values for key, values in attributes.items() if values}
    return saml_kit.signed(replace(draft(request_id, assertion_id=f"_{next(NUMBERS)}"), attributes=kept))


def sign(origin, **changed) -> Person:
    request_id, _ = begin(origin)
    return complete(origin, receive(origin, assertion(request_id, **changed)).code).person


def told() -> dict:
    return AuditEvent.objects.filter(kind="sign_in", outcome="ok").last().data


def test_graph_heals_an_overage(entra, double, origin):
    person = sign(origin)
    assert (person.groups_complete, len(person.groups)) == (True, 180)
    assert access.decide(person.pk, ROLE, now=NOW).grant.rule == "r"
    assert (told()["graph"], told()["groups"], told()["protocol"]) == ("ok", 180, "saml")


def test_what_the_assertion_says_stays(entra, origin):
    assert "from-the-assertion" in sign(origin, groups=["from-the-assertion"]).groups


def test_it_is_asked_for_the_browser_that_began_and_for_no_other(entra, double, origin):
    """Whoever posts an assertion of somebody to the ACS, a hundred times, makes the gateway ask nobody anything."""
    request_id, _ = begin(origin)
    received = receive(origin, assertion(request_id))
    assert double.asked == []
    with pytest.raises(SignInExpired):
        complete(origin, received.code, binding="another browser")
    assert double.asked == []
    unsolicited = receive(origin, assertion(None))
    complete(origin, unsolicited.code)
    assert double.asked == []  # not confirmed
    complete(origin, unsolicited.code, confirmed=True)
    assert len(double.asked) == 2


def test_a_person_who_signs_in_too_often_costs_graph_nothing(entra, double, origin):
    with pytest.raises(RateLimited):
        for _ in range(30):
            sign(origin)
    assert len(double.asked) == 2 * 20


def test_it_is_never_asked_inside_a_transaction(entra, origin, monkeypatch):
    depths, real = [], overage.graph.groups_of

    def groups_of(application, object_id):
        depths.append(len(connection.savepoint_ids))
        return real(application, object_id)

    monkeypatch.setattr(overage.graph, "groups_of", groups_of)
    assert sign(origin).groups_complete
    assert depths == [len(connection.savepoint_ids)]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({OBJECT_ID: None}, "object_id_malformed"),
        ({OBJECT_ID: [ALICE, ALICE.replace("6", "7")]}, "object_id_malformed"),
        ({OBJECT_ID: ["../../me"]}, "object_id_malformed"),
        ({OBJECT_ID: [ALICE.replace("6", "7")]}, "person_unknown"),
    ],
)
def test_where_graph_does_not_say_the_sign_in_goes_on_and_nothing_is_decided(entra, origin, changed, reason):
    person = sign(origin, **changed)
    assert (person.groups_complete, person.groups) == (False, [])
    with pytest.raises(GroupsIncomplete):
        access.decide(person.pk, ROLE, now=NOW)
    assert told()["graph"] == reason


def test_where_graph_is_too_busy_nobody_waits_for_it(entra, double, origin):
    double.answers = [(503, {"Retry-After": "60"}, {})]
    assert not sign(origin).groups_complete
    assert told()["graph"] == "throttled"


def test_nothing_is_asked_without_an_overage_or_without_graph(entra, double, origin):
    assert sign(origin, groups=["a"], **{OVERAGE: None}).groups == ["a"]
    assert told()["graph"] == ""
    entra(graph=False)
    assert not sign(origin).groups_complete
    assert double.asked == []


def test_nothing_is_asked_where_a_directory_counts_instead(entra, double, origin):
    entra(directory="replace")
    sign(origin)
    assert double.asked == []
    entra(directory="add")
    sign(origin)
    assert len(double.asked) == 2


def test_a_sign_in_that_the_version_before_received_is_completed(entra, double, origin):
    """A rolling upgrade: it kept no object id."""
    request_id, _ = begin(origin)
    received = receive(origin, assertion(request_id))
    row = SignInState.objects.get(code=sign_in.digest("code", received.code))
    del row.identity["object_id"]
    row.save()
    assert not complete(origin, received.code).person.groups_complete
    assert told()["graph"] == "object_id_malformed"


def test_the_tenants_documents_are_fetched_ahead(entra):
    assert provider_documents.refresh_all(now=NOW) == {"corp graph": "fetched"}
