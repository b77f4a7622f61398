"""What the demo's tests have in common: documents for the local AWS, signed by xmlsec and joserfc (the verifier uses signxml and PyJWT)."""

from __future__ import annotations

import base64
import functools
import json
import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import xmlsec
from joserfc import jwt
from joserfc.jwk import RSAKey
from lxml import etree

from demo import keypair, xml
from demo.aws.errors import AwsError
from demo.aws.saml import PREFIX

ACCOUNT = "111122223333"
ISSUER = "https://rolegate.example/issuer"
PROVIDER = f"arn:aws:iam::{ACCOUNT}:saml-provider/rolegate"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/ReadOnly"
RECIPIENT = "https://eu-west-1.signin.aws.amazon.com/saml"
START = datetime(2026, 5, 3, 9, 0, tzinfo=UTC)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)


@functools.cache
def test_key(name: str) -> keypair.KeyPair:
    """A TEST KEY, generated once a run."""
    return keypair.generate(f"TEST KEY {name}")


def metadata(name: str = "gateway") -> str:
    """Metadata of an identity provider with that test key, padded to what IAM takes."""
    return (
        f'<md:EntityDescriptor xmlns:md="{xml.MD}" entityID="{ISSUER}"><md:IDPSSODescriptor protocolSupportEnumeration="{xml.SAMLP}">'
        f'<md:KeyDescriptor use="signing"><ds:KeyInfo xmlns:ds="{xml.DS}"><ds:X509Data><ds:X509Certificate>'
        f"{test_key(name).certificate_base64}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
        '<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="https://rolegate.example/"/>'
        f"</md:IDPSSODescriptor></md:EntityDescriptor><!--{' ' * 1000}-->"
    )


def trust(*actions: str, provider: str = PROVIDER, condition: dict[str, Any] | None = None) -> dict[str, Any]:
    wanted = actions or ("sts:AssumeRoleWithSAML", "sts:TagSession", "sts:SetSourceIdentity")
    condition = {"StringEquals": {"SAML:aud": [RECIPIENT]}} if condition is None else condition
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Federated": provider}, "Action": list(wanted), "Condition": condition}
        ],
    }


@dataclass(frozen=True)
class Draft:
    """A response for AWS; each field can be made wrong."""

    id: str = "_a1"
    issuer: str = ISSUER
    issued: datetime = START
    recipient: str = RECIPIENT
    destination: str = RECIPIENT
    audience: str = "urn:amazon:webservices"
    not_on_or_after: datetime = START + timedelta(minutes=5)
    attributes: dict[str, list[str]] = field(
        default_factory=lambda: {
            f"{PREFIX}Role": [f"{ROLE},{PROVIDER}"],
            f"{PREFIX}RoleSessionName": ["alice@example.com"],
        }
    )
    confirmations: int = 1
    key: str = "gateway"
    authn: str = '<saml:AuthnStatement AuthnInstant="2026-05-03T09:00:00Z"/>'

    def with_(self, **attributes: str | list[str] | None) -> Draft:
        """The draft with more AWS attributes (`PrincipalTag:X` by its full name), or without those given as None."""
        merged = dict(self.attributes)
        for name, value in attributes.items():
            if value is None:
                merged.pop(PREFIX + name)
            else:
                merged[PREFIX + name] = [value] if isinstance(value, str) else value
        return replace(self, attributes=merged)

    def tree(self) -> Any:
        after = xml.stamp(self.not_on_or_after)
        confirmation = (
            '<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer">'
            f'<saml:SubjectConfirmationData NotOnOrAfter="{after}" Recipient="{self.recipient}"/></saml:SubjectConfirmation>'
        )
        attributes = "".join(
            f'<saml:Attribute Name="{name}">'
            + "".join(f"<saml:AttributeValue>{v}</saml:AttributeValue>" for v in values)
            + "</saml:Attribute>"
            for name, values in self.attributes.items()
        )
        return etree.fromstring(
            f'<samlp:Response xmlns:samlp="{xml.SAMLP}" xmlns:saml="{xml.SAML}" ID="_r{self.id}" Version="2.0" '
            f'IssueInstant="{xml.stamp(self.issued)}" Destination="{self.destination}"><saml:Issuer>{self.issuer}</saml:Issuer>'
            '<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>'
            f'<saml:Assertion ID="{self.id}" Version="2.0" IssueInstant="{xml.stamp(self.issued)}"><saml:Issuer>{self.issuer}</saml:Issuer>'
            '<saml:Subject><saml:NameID Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent">alice</saml:NameID>'
            f"{confirmation * self.confirmations}</saml:Subject>"
            f'<saml:Conditions NotBefore="{xml.stamp(self.issued)}" NotOnOrAfter="{after}"><saml:AudienceRestriction><saml:Audience>{self.audience}'
            f"</saml:Audience></saml:AudienceRestriction></saml:Conditions>{self.authn}"
            f"<saml:AttributeStatement>{attributes}</saml:AttributeStatement></saml:Assertion></samlp:Response>"
        )

    def signed(self) -> Any:
        root = self.tree()
        sign_with_xmlsec(root.find(f"{{{xml.SAML}}}Assertion"), test_key(self.key))
        return root

    def post(self) -> str:
        return encode(self.signed())


def sign_with_xmlsec(element: Any, pair: keypair.KeyPair, method: Any = xmlsec.Transform.RSA_SHA256) -> None:
    """An enveloped signature right after the element's Issuer."""
    node = xmlsec.template.create(element, xmlsec.Transform.EXCL_C14N, method, ns="ds")
    element.insert(1, node)
    reference = xmlsec.template.add_reference(node, xmlsec.Transform.SHA256, uri=f"#{element.get('ID')}")
    xmlsec.template.add_transform(reference, xmlsec.Transform.ENVELOPED)
    xmlsec.template.add_transform(reference, xmlsec.Transform.EXCL_C14N)
    xmlsec.tree.add_ids(element, ["ID"])
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_memory(pair.key_pem, xmlsec.KeyFormat.PEM)
    context.sign(node)


def encode(root: Any) -> str:
    return base64.b64encode(etree.tostring(root)).decode()


def saml_call(document: str, role: str = ROLE, provider: str = PROVIDER, **more: str) -> dict[str, str]:
    return {
        "Action": "AssumeRoleWithSAML",
        "RoleArn": role,
        "PrincipalArn": provider,
        "SAMLAssertion": document,
        **more,
    }


def reason(aws: Any, params: dict[str, str]) -> tuple[str, int, str]:
    """(AWS code, HTTP status, our reason) of the refusal of a call."""
    try:
        aws.sts.call(params)
    except AwsError as error:
        assert aws.trail[-1]["reason"] == error.reason
        return error.code, error.status, error.reason
    raise AssertionError("it was granted")


class Issuer:
    """An OpenID Connect issuer on loopback with discovery and keys that a test can spoil."""

    def __init__(self) -> None:
        self.key = RSAKey.import_key(test_key("token").key_pem.decode(), {"kid": "k1", "use": "sig", "alg": "RS256"})
        self.discovery: dict[str, Any] = {}
        self.jwks: dict[str, Any] = {"keys": [self.key.as_dict(private=False)]}
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                document = outer.discovery if self.path.endswith("openid-configuration") else outer.jwks
                body = json.dumps(document).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/issuer"
        self.discovery = {
            "issuer": self.url, "jwks_uri": f"{self.url}/jwks.json", "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256"],
        }  # fmt: skip
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def token(self, header: dict[str, Any] | None = None, **claims: Any) -> str:
        second = int(START.timestamp())
        body = {
            "iss": self.url,
            "sub": "person:alice",
            "aud": "sts.amazonaws.com",
            "iat": second,
            "exp": second + 300,
            "jti": "j1",
            **claims,
        }
        return jwt.encode(
            {"alg": "RS256", "kid": "k1", **(header or {})}, {k: v for k, v in body.items() if v is not None}, self.key
        )
