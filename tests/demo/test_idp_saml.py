"""The demo's SAML identity provider: what it takes, what it sends (read by python3-saml), and single logout both ways."""

from __future__ import annotations

import base64
import re
import zlib
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
import requests
import xmlsec
from bs4 import BeautifulSoup
from lxml import etree
from onelogin.saml2.idp_metadata_parser import OneLogin_Saml2_IdPMetadataParser
from onelogin.saml2.response import OneLogin_Saml2_Response
from onelogin.saml2.settings import OneLogin_Saml2_Settings

from demo import xml
from demo.cast import CAST
from demo.idp.server import CorporateIdp
from tests.demo import kit

SP = "http://sp.example:8000"
ENTITY, ACS, SLO = f"{SP}/saml/corp/metadata", f"{SP}/saml/corp/acs", f"{SP}/saml/corp/slo"
POST, REDIRECT = (f"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-{name}" for name in ("POST", "Redirect"))
RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"


def sp_metadata() -> bytes:
    certificate = (
        f'<ds:KeyInfo xmlns:ds="{xml.DS}"><ds:X509Data><ds:X509Certificate>{kit.test_key("sp").certificate_base64}'
        "</ds:X509Certificate></ds:X509Data></ds:KeyInfo>"
    )
    return (
        f'<md:EntityDescriptor xmlns:md="{xml.MD}" entityID="{ENTITY}"><md:SPSSODescriptor AuthnRequestsSigned="true" '
        f'protocolSupportEnumeration="{xml.SAMLP}"><md:KeyDescriptor>{certificate}</md:KeyDescriptor>'
        f'<md:SingleLogoutService Binding="{REDIRECT}" Location="{SLO}"/>'
        f'<md:AssertionConsumerService Binding="{POST}" Location="{ACS}" index="0"/></md:SPSSODescriptor></md:EntityDescriptor>'
    ).encode()


@pytest.fixture(scope="module")
def idp():
    idp = CorporateIdp()
    idp.service_providers.register(sp_metadata())
    idp.start()
    yield idp
    idp.stop()


@pytest.fixture
def browser(idp):
    idp.encrypt_assertions = False
    idp.refusals.clear()
    return requests.Session()


def query(parameter: str, document: str, relay_state: str = "", key: str = "sp") -> str:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = base64.b64encode(packer.compress(document.encode()) + packer.flush()).decode()
    signed = "&".join(
        f"{name}={quote(value, safe='')}"
        for name, value in ((parameter, packed), ("RelayState", relay_state), ("SigAlg", RSA_SHA256))
        if value
    )
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_memory(kit.test_key(key).key_pem, xmlsec.KeyFormat.PEM)
    signature = context.sign_binary(signed.encode(), xmlsec.Transform.RSA_SHA256)
    return f"{signed}&Signature={quote(base64.b64encode(signature).decode(), safe='')}"


def authn_request(idp, *, acs=ACS, destination=None, issued=None, issuer=ENTITY, extra="") -> str:
    issued = issued or datetime.now(UTC)
    return (
        f'<samlp:AuthnRequest xmlns:samlp="{xml.SAMLP}" xmlns:saml="{xml.SAML}" ID="_req1" Version="2.0" IssueInstant="{xml.stamp(issued)}" '
        f'Destination="{destination or idp.url + "/saml/sso"}" AssertionConsumerServiceURL="{acs}" {extra}>'
        f"<saml:Issuer>{issuer}</saml:Issuer></samlp:AuthnRequest>"
    )


def ask(browser, idp, relay_state="", key="sp", **changes):
    return browser.get(
        f"{idp.url}/saml/sso?{query('SAMLRequest', authn_request(idp, **changes), relay_state, key)}", timeout=5
    )


def sign_in(browser, idp, login="alice", password="wonderland", relay_state="here"):
    page = ask(browser, idp, relay_state)
    form = BeautifulSoup(page.text, "html.parser").find("form")
    if form.find(attrs={"name": "SAMLResponse"}):
        return page
    key = form.find(attrs={"name": "request"})["value"]
    return browser.post(f"{idp.url}/signin", data={"request": key, "login": login, "password": password}, timeout=5)


def posted(page) -> tuple[str, str, str]:
    form = BeautifulSoup(page.text, "html.parser").find("form")
    assert form.find("button") is not None  # works without scripts
    fields = {field["name"]: field["value"] for field in form.find_all("input")}
    return form["action"], fields["SAMLResponse"], fields.get("RelayState", "")


def read(idp, page, request_id="_req1") -> OneLogin_Saml2_Response:
    """The response as python3-saml reads it, strictly, with the provider's own metadata."""
    action, document, _ = posted(page)
    settings = OneLogin_Saml2_IdPMetadataParser.parse(requests.get(idp.metadata_url, timeout=5).text)
    settings |= {
        "strict": True,
        "sp": {
            "entityId": ENTITY, "assertionConsumerService": {"url": ACS, "binding": POST},
            "x509cert": kit.test_key("sp").certificate_pem, "privateKey": kit.test_key("sp").key_pem.decode(),
        },
        "security": {"wantAssertionsSigned": True, "wantMessagesSigned": True, "wantNameId": True, "rejectDeprecatedAlgorithm": True},
    }  # fmt: skip
    response = OneLogin_Saml2_Response(OneLogin_Saml2_Settings(settings), document)
    parts = urlsplit(action)
    asked = {"https": "off", "http_host": parts.netloc, "script_name": parts.path, "get_data": {}, "post_data": {}}
    assert response.is_valid(asked, request_id, raise_exceptions=True)
    return response


def test_alice_signs_in_and_python3_saml_agrees(idp, browser):
    page = sign_in(browser, idp)
    assert posted(page)[::2] == (ACS, "here")
    response = read(idp, page)
    assert response.get_nameid() == "u-1001-alice"
    assert response.get_attributes() == {
        "mail": ["alice@example.com"], "displayName": ["Alice Liddell"], "department": ["Engineering"], "uid": ["alice"],
        "memberOf": ["engineering", "shop-team"],
        "http://schemas.microsoft.com/claims/authnmethodsreferences": ["http://schemas.microsoft.com/claims/multipleauthn"],
    }  # fmt: skip
    assert response.get_authn_contexts() == ["https://refeds.org/profile/mfa"]


def test_the_session_here_saves_the_second_password(idp, browser):
    first = read(idp, sign_in(browser, idp))
    page = ask(browser, idp)
    again = read(idp, page)
    assert again.get_session_index() == first.get_session_index()
    assert again.get_assertion_id() != first.get_assertion_id()
    forced = ask(browser, idp, extra="ForceAuthn='true'")
    assert "password" in forced.text


def test_an_encrypted_assertion_opens_with_the_sps_key(idp, browser):
    idp.encrypt_assertions = True
    page = sign_in(browser, idp, "bob", "builder")
    assert b"EncryptedAssertion" in base64.b64decode(posted(page)[1])
    assert b"u-1002-bob" not in base64.b64decode(posted(page)[1])
    assert read(idp, page).get_nameid() == "u-1002-bob"


def test_groups_beyond_the_limit_become_a_link(idp, browser):
    attributes = read(idp, sign_in(browser, idp, "olivia", "overflow")).get_attributes()
    assert "memberOf" not in attributes
    assert attributes["http://schemas.microsoft.com/claims/groups.link"] == [f"{idp.url}/graph/u-1008-olivia/groups"]


def test_a_wrong_password_is_refused(idp, browser):
    answer = sign_in(browser, idp, "alice", "looking-glass")
    assert answer.status_code == 401
    assert not browser.cookies


@pytest.mark.parametrize(
    ("changes", "key", "sentence"),
    [
        ({}, "stranger", "signed"),
        ({"acs": "https://evil.example/acs"}, "sp", "AssertionConsumerServiceURL"),
        ({"destination": "https://else.example/"}, "sp", "Destination"),
        ({"issuer": "https://else.example/"}, "sp", "not registered"),
        ({"issued": datetime.now(UTC) - timedelta(minutes=6)}, "sp", "too old"),
    ],
)
def test_requests_that_are_not_the_sps_are_refused(idp, browser, changes, key, sentence):
    answer = ask(browser, idp, key=key, **changes)
    assert answer.status_code == 400
    assert sentence in idp.refusals[-1]


def test_an_unsigned_request_and_a_bomb_are_refused(idp, browser):
    unsigned = query("SAMLRequest", authn_request(idp)).partition("&SigAlg")[0]
    assert browser.get(f"{idp.url}/saml/sso?{unsigned}", timeout=5).status_code == 400
    assert "SigAlg" in idp.refusals[-1]
    bomb = query("SAMLRequest", authn_request(idp) + " " * 1_000_000)
    assert browser.get(f"{idp.url}/saml/sso?{bomb}", timeout=5).status_code == 400
    assert "too large" in idp.refusals[-1]


def test_a_passive_request_without_a_session_says_no_passive(idp, browser):
    page = ask(browser, idp, extra="IsPassive='true'")
    assert b"status:NoPassive" in base64.b64decode(posted(page)[1])


def test_an_unsolicited_response_answers_nothing(idp, browser):
    sign_in(browser, idp)
    page = browser.get(f"{idp.url}/saml/unsolicited", params={"sp": ENTITY}, timeout=5)
    root = etree.fromstring(base64.b64decode(posted(page)[1]))
    assert root.xpath("//@InResponseTo") == []
    assert read(idp, page, request_id=None).get_nameid() == "u-1001-alice"


def logout_request(idp, subject, index) -> str:
    return (
        f'<samlp:LogoutRequest xmlns:samlp="{xml.SAMLP}" xmlns:saml="{xml.SAML}" ID="_out1" Version="2.0" '
        f'IssueInstant="{xml.stamp(datetime.now(UTC))}" Destination="{idp.url}/saml/slo"><saml:Issuer>{ENTITY}</saml:Issuer>'
        f"<saml:NameID>{subject}</saml:NameID><samlp:SessionIndex>{index}</samlp:SessionIndex></samlp:LogoutRequest>"
    )


def message(location: str, parameter: str):
    return etree.fromstring(zlib.decompress(base64.b64decode(parse_qs(urlsplit(location).query)[parameter][0]), -15))


def test_the_sp_signs_out_here(idp, browser):
    index = read(idp, sign_in(browser, idp)).get_session_index()
    asked = query("SAMLRequest", logout_request(idp, "u-1001-alice", index), "back")
    answer = browser.get(f"{idp.url}/saml/slo?{asked}", timeout=5, allow_redirects=False)
    assert answer.headers["Location"].startswith(SLO)
    root = message(answer.headers["Location"], "SAMLResponse")
    assert (root.tag, root.get("InResponseTo")) == (f"{{{xml.SAMLP}}}LogoutResponse", "_out1")
    assert parse_qs(urlsplit(answer.headers["Location"]).query)["RelayState"] == ["back"]
    assert "Nobody is signed in" in browser.get(idp.url, timeout=5).text


def test_signing_out_here_visits_the_sp(idp, browser):
    index = read(idp, sign_in(browser, idp)).get_session_index()
    answer = browser.post(f"{idp.url}/signout", timeout=5, allow_redirects=False)
    root = message(answer.headers["Location"], "SAMLRequest")
    assert root.findtext(f"{{{xml.SAML}}}NameID") == "u-1001-alice"
    assert root.findtext(f"{{{xml.SAMLP}}}SessionIndex") == index
    key = parse_qs(urlsplit(answer.headers["Location"]).query)["RelayState"][0]
    reply = (
        f'<samlp:LogoutResponse xmlns:samlp="{xml.SAMLP}" xmlns:saml="{xml.SAML}" ID="_back1" Version="2.0" InResponseTo="{root.get("ID")}" '
        f'IssueInstant="{xml.stamp(datetime.now(UTC))}" Destination="{idp.url}/saml/slo"><saml:Issuer>{ENTITY}</saml:Issuer>'
        '<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status></samlp:LogoutResponse>'
    )
    end = browser.get(f"{idp.url}/saml/slo?{query('SAMLResponse', reply, key)}", timeout=5)
    assert "You are signed out" in end.text
    assert "Nobody is signed in" in browser.get(idp.url, timeout=5).text


def test_metadata_is_signed_and_says_so(idp):
    document = requests.get(idp.metadata_url, timeout=5).content
    root = etree.fromstring(document)
    xmlsec.tree.add_ids(root, ["ID"])
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_memory(idp.pair.certificate_pem, xmlsec.KeyFormat.CERT_PEM)
    context.verify(root.find(f"{{{xml.DS}}}Signature"))
    assert re.search(rb'WantAuthnRequestsSigned="true"', document)
    root.set("entityID", "https://else.example/")
    with pytest.raises(xmlsec.Error):
        context = xmlsec.SignatureContext()
        context.key = xmlsec.Key.from_memory(idp.pair.certificate_pem, xmlsec.KeyFormat.CERT_PEM)
        context.verify(root.find(f"{{{xml.DS}}}Signature"))


def test_the_page_says_demo_and_lists_the_cast(idp, browser):
    page = browser.get(f"{idp.url}/signin?{urlencode({'as': 'carol'})}", timeout=5)
    assert "<strong>DEMO</strong>" in page.text
    assert 'value="carol"' in page.text
    assert page.text.count("data-login=") == len(CAST)
