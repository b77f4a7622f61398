"""What the identity provider knows of its SAML service providers: read from their metadata (SAML metadata 2.4.4)."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import requests
from cryptography import x509

from demo import xml

HTTP_POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
HTTP_REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
CACHE_SECONDS = 60
RETRY_SECONDS = 2


@dataclass(frozen=True)
class ServiceProvider:
    """One SP. `acs`: its POST assertion consumer URLs, default first. `slo`: (request URL, response URL) or None."""

    entity_id: str
    acs: tuple[str, ...]
    slo: tuple[str, str] | None
    signing: tuple[x509.Certificate, ...]
    encryption: tuple[x509.Certificate, ...]


class BadMetadata(ValueError):
    """Metadata that does not describe a SAML 2.0 service provider."""


def read_metadata(document: bytes) -> ServiceProvider:
    """Raises BadMetadata."""
    try:
        root = xml.parse(document)
    except xml.BadXml as error:
        raise BadMetadata(str(error)) from error
    roles = root.xpath("self::md:EntityDescriptor/md:SPSSODescriptor", namespaces=xml.NS)
    if len(roles) != 1:
        raise BadMetadata("not one md:SPSSODescriptor")
    role = roles[0]
    consumers = role.xpath(f"md:AssertionConsumerService[@Binding='{HTTP_POST}']", namespaces=xml.NS)
    consumers.sort(key=lambda item: (item.get("isDefault") != "true", int(item.get("index", "0"))))
    if not consumers:
        raise BadMetadata("no AssertionConsumerService with the POST binding")
    logout = role.xpath(f"md:SingleLogoutService[@Binding='{HTTP_REDIRECT}']", namespaces=xml.NS)
    slo = None
    if logout:
        location = logout[0].get("Location")
        slo = (location, logout[0].get("ResponseLocation") or location)
    return ServiceProvider(
        entity_id=root.get("entityID"),
        acs=tuple(item.get("Location") for item in consumers),
        slo=slo,
        signing=_certificates(role, "signing"),
        encryption=_certificates(role, "encryption"),
    )


def _certificates(role: object, use: str) -> tuple[x509.Certificate, ...]:
    """Certificates for `use`; a KeyDescriptor without use serves for both (SAML metadata 2.4.1.1)."""
    found = role.xpath(  # type: ignore[attr-defined]
        f"md:KeyDescriptor[@use='{use}' or not(@use)]//ds:X509Certificate", namespaces=xml.NS
    )
    return tuple(x509.load_der_x509_certificate(base64.b64decode("".join(xml.text_of(item).split()))) for item in found)


class ServiceProviders:
    """Every SP by entity id: those handed in, and those whose metadata lies at a URL (fetched when wanted, kept a minute)."""

    def __init__(self, metadata_urls: tuple[str, ...] = (), timer: Callable[[], float] = time.monotonic) -> None:
        self._urls = metadata_urls
        self._fixed: dict[str, ServiceProvider] = {}
        self._fetched: dict[str, tuple[float, ServiceProvider | None]] = {}
        self._timer = timer
        self._lock = threading.Lock()

    def register(self, document: bytes) -> ServiceProvider:
        """Take an SP's metadata as it is. Raises BadMetadata."""
        provider = read_metadata(document)
        self._fixed[provider.entity_id] = provider
        return provider

    def _fetch(self, url: str) -> ServiceProvider | None:
        with self._lock:
            until, known = self._fetched.get(url, (0.0, None))
            if self._timer() < until:
                return known
            try:
                answer = requests.get(url, timeout=5, allow_redirects=False)
                answer.raise_for_status()
                known = read_metadata(answer.content)
                until = self._timer() + CACHE_SECONDS
            except (requests.RequestException, BadMetadata):
                until = self._timer() + RETRY_SECONDS  # the last good copy goes on serving
            self._fetched[url] = (until, known)
            return known

    def all(self) -> tuple[ServiceProvider, ...]:
        """Every SP that could be read."""
        fetched = (self._fetch(url) for url in self._urls)
        return (*self._fixed.values(), *(provider for provider in fetched if provider is not None))

    def get(self, entity_id: str) -> ServiceProvider | None:
        """The SP of that name."""
        return next((provider for provider in self.all() if provider.entity_id == entity_id), None)
