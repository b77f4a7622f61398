"""The accounts: which providers they trust, which roles they have. ARNs as AWS writes them."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509

from demo import xml

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1"})
SAML_METADATA_CHARACTERS = (1_000, 10_000_000)
MAX_PROVIDER_KEYS = 10
SESSION_SECONDS = (3_600, 43_200)
_ACCOUNT = re.compile(r"^\d{12}$")


class BadRegistration(ValueError):
    """IAM would not take this provider or role."""


@dataclass(frozen=True)
class SamlProvider:
    """An IAM SAML provider: the issuer it stands for and the certificates that may sign for it; `document`: as it was uploaded."""

    arn: str
    entity_id: str
    certificates: tuple[x509.Certificate, ...]
    document: str = ""


@dataclass(frozen=True)
class OidcProvider:
    """An IAM OpenID Connect provider. `url` is the issuer, `audiences` its client ids."""

    arn: str
    url: str
    audiences: frozenset[str]


@dataclass(frozen=True)
class Role:
    """An IAM role: its trust policy and how long a session of it may last, in seconds."""

    arn: str
    account: str
    name: str
    trust_policy: dict[str, Any]
    max_session_duration: int


@dataclass
class Registry:
    """Every provider and role by ARN."""

    saml: dict[str, SamlProvider] = field(default_factory=dict)
    oidc: dict[str, OidcProvider] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)

    def oidc_provider(self, account: str, partition: str, issuer: str) -> OidcProvider | None:
        return self.oidc.get(f"arn:{partition}:iam::{account}:oidc-provider/{without_scheme(issuer)}")


def check_account(account: str) -> str:
    if not _ACCOUNT.match(account):
        raise BadRegistration(f"{account!r} is not an account id of 12 digits.")
    return account


def without_scheme(issuer: str) -> str:
    """How IAM names an issuer in ARNs and condition keys: no https://, no slash at the end."""
    return issuer.partition("://")[2].rstrip("/")


def saml_provider(account: str, name: str, metadata_xml: str | bytes, partition: str) -> SamlProvider:
    """Read metadata as CreateSAMLProvider does. Raises BadRegistration."""
    document = metadata_xml.encode() if isinstance(metadata_xml, str) else metadata_xml
    try:
        characters = len(document.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadRegistration("The metadata are not UTF-8.") from error
    if document.startswith(b"\xef\xbb\xbf"):
        raise BadRegistration("The metadata start with a byte order mark.")
    least, most = SAML_METADATA_CHARACTERS
    if not least <= characters <= most:
        raise BadRegistration(f"The metadata have {characters} characters; IAM wants {least} to {most}.")
    try:
        root = xml.parse(document, max_bytes=most * 4)
    except xml.BadXml as error:
        raise BadRegistration(str(error)) from error
    roles = root.xpath("self::md:EntityDescriptor[@entityID]/md:IDPSSODescriptor", namespaces=xml.NS)
    if len(roles) != 1:
        raise BadRegistration("The metadata do not describe one SAML identity provider.")
    keys = roles[0].xpath("md:KeyDescriptor[@use='signing' or not(@use)]//ds:X509Certificate", namespaces=xml.NS)
    if not 1 <= len(keys) <= MAX_PROVIDER_KEYS:
        raise BadRegistration(f"The metadata have {len(keys)} signing keys; IAM wants 1 to {MAX_PROVIDER_KEYS}.")
    certificates = tuple(
        x509.load_der_x509_certificate(base64.b64decode("".join(xml.text_of(key).split()))) for key in keys
    )
    arn = f"arn:{partition}:iam::{check_account(account)}:saml-provider/{name}"
    return SamlProvider(arn, root.get("entityID"), certificates, document.decode("utf-8"))


def oidc_provider(account: str, url: str, audiences: tuple[str, ...], partition: str) -> OidcProvider:
    """CreateOpenIDConnectProvider's rules, with one exception for the demo: http is taken on loopback, with a port. Raises BadRegistration."""
    parts = urlsplit(url)
    loopback = (
        parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS
    )  # DEMO ONLY: AWS itself wants https on the public internet
    if not loopback and (parts.scheme != "https" or parts.port is not None):
        raise BadRegistration(f"{url!r}: IAM wants an https URL without a port.")
    if parts.query or parts.fragment or len(url) > 255:
        raise BadRegistration(f"{url!r}: no query, no fragment, at most 255 characters.")
    if not audiences or len(audiences) > 100:
        raise BadRegistration("IAM wants 1 to 100 audiences.")
    arn = f"arn:{partition}:iam::{check_account(account)}:oidc-provider/{without_scheme(url)}"
    return OidcProvider(arn, url, frozenset(audiences))


def role(
    account: str, name: str, trust_policy: dict[str, Any] | str, max_session_duration: int, partition: str
) -> Role:
    """CreateRole's rules. Raises BadRegistration."""
    policy = json.loads(trust_policy) if isinstance(trust_policy, str) else trust_policy
    least, most = SESSION_SECONDS
    if not least <= max_session_duration <= most:
        raise BadRegistration(f"MaxSessionDuration is {max_session_duration}; IAM wants {least} to {most}.")
    if not isinstance(policy, dict) or not isinstance(policy.get("Statement"), list | dict):
        raise BadRegistration("The trust policy has no statement.")
    return Role(
        f"arn:{partition}:iam::{check_account(account)}:role/{name}",
        account,
        name.rpartition("/")[2],
        policy,
        max_session_duration,
    )
