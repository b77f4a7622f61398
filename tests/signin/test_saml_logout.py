"""Single logout, both ways: ours are signed, theirs must be."""

from __future__ import annotations

import base64

import pytest
from lxml import etree

from federation.errors import SamlRefused
from federation.signin import saml
from federation.signin.metadata import POST
from federation.signin.protocol import NameId
from tests import saml_kit as kit
from tests.saml_kit import NOW, SAML, SAMLP, Signing, logout_request_xml, logout_response_xml, pair, query, sign, tree
from tests.signin.test_saml_requests import opened, schema

ALICE = NameId("alice", kit.PERSISTENT)


def receive(query_string="", *, form=None, idp=None, by=None, now=NOW, verify=saml.verify_logout_request):
    return verify(
        kit.service_provider(),
        idp or kit.idp_metadata(),
        by or kit.provider(),
        query_string=query_string,
        form=form,
        now=now,
    )


def posted(xml: str, field: str = "SAMLRequest", **how: object) -> dict[str, str]:
    return {field: base64.b64encode(etree.tostring(sign(tree(xml), Signing(**how)))).decode()}


def test_our_request():
    sent = saml.logout_request(
        kit.service_provider(),
        kit.idp_metadata(),
        NameId("alice", kit.PERSISTENT, "corp", kit.SP),
        "session-1",
        relay_state="r",
        now=NOW,
    )
    root, fields = opened(sent.url)
    assert sent.url.startswith("https://idp.example.com/slo?SAMLRequest=")
    assert (root.get("ID"), root.get("NotOnOrAfter"), fields["RelayState"]) == (sent.id, "2026-03-02T12:05:00Z", "r")
    name = root.find(SAML + "NameID")
    assert (name.text, name.get("Format"), name.get("NameQualifier")) == ("alice", kit.PERSISTENT, "corp")
    assert root.findtext(SAMLP + "SessionIndex") == "session-1"
    schema("saml-schema-protocol-2.0.xsd").assertValid(root)


def test_our_request_about_an_unspecified_name_and_every_session():
    unspecified = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"
    sent = saml.logout_request(
        kit.service_provider(), kit.idp_metadata(), NameId("alice", unspecified), "", relay_state="", now=NOW
    )
    root, _ = opened(sent.url)
    assert root.find(SAML + "NameID").get("Format") is None
    assert root.find(SAMLP + "SessionIndex") is None


def test_our_answer():
    idp = kit.idp_metadata(slo_response_url="https://idp.example.com/done")
    url = saml.logout_response(kit.service_provider(), idp, in_response_to="_logout-1", relay_state="r", now=NOW)
    root, fields = opened(url, "SAMLResponse")
    assert url.startswith("https://idp.example.com/done?SAMLResponse=")
    assert (root.get("InResponseTo"), fields["RelayState"]) == ("_logout-1", "r")
    schema("saml-schema-protocol-2.0.xsd").assertValid(root)


@pytest.mark.parametrize("changes", [{"slo_url": ""}, {"slo_binding": POST}])
def test_a_provider_without_single_logout_by_redirect(changes):
    idp = kit.idp_metadata(**changes)
    with pytest.raises(SamlRefused, match="slo_not_offered"):
        saml.logout_request(kit.service_provider(), idp, ALICE, "", relay_state="", now=NOW)


def test_their_request_by_redirect_and_by_post():
    for found in (
        receive(query(logout_request_xml(), relay_state="a b/+")),
        receive(form=posted(logout_request_xml())),
    ):
        assert found.name_id == ALICE
        assert found.session_indexes == ("session-1",)
        assert found.request_id == "_logout-1"


def test_several_sessions_or_all():
    assert receive(query(logout_request_xml(sessions=("a", "b")))).session_indexes == ("a", "b")
    assert receive(query(logout_request_xml(sessions=()))).session_indexes == ()


def test_an_elliptic_key():
    key = pair("curve", curve=True)
    text = query(logout_request_xml(), by=key, algorithm="http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256")
    assert receive(text, idp=kit.idp_metadata(pair().certificate, key.certificate)).name_id == ALICE


def test_the_second_of_two_certificates():
    idp = kit.idp_metadata(pair("next").certificate, pair().certificate)
    assert receive(query(logout_request_xml()), idp=idp).name_id == ALICE


def test_their_answer():
    text = query(logout_response_xml(), field="SAMLResponse")
    assert receive(text, verify=saml.verify_logout_response) == "_our-logout"
    form = posted(logout_response_xml(), "SAMLResponse")
    assert receive(form=form, verify=saml.verify_logout_response) == "_our-logout"
