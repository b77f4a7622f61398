"""The SAML 2.0 service provider, and the only door to python3-saml.

Order at the assertion consumer service, each step before the next: size, hardened parsing, shape (`shape`), [for an
encrypted assertion: both verifiers on a signed Response, then decryption, then the shape again], python3-saml in
strict mode, a second verifier that must agree (`signatures`), our own strict checks on nothing but the element that
the second verifier returned (`assertion`). The caller then inserts the replay key, once.

python3-saml is run for its verdict alone: no value is ever read through it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lxml import etree
from onelogin.saml2.constants import OneLogin_Saml2_Constants
from onelogin.saml2.errors import OneLogin_Saml2_ValidationError
from onelogin.saml2.settings import OneLogin_Saml2_Settings
from onelogin.saml2.utils import OneLogin_Saml2_Utils
from onelogin.saml2.xml_utils import OneLogin_Saml2_XML

from federation.errors import ConfigurationError, SamlRefused
from federation.mapping.rules import IdentityProvider
from federation.signin import certificates, decryption, shape, signatures
from federation.signin.assertion import CLOCK_SKEW, MAX_VALIDITY, Witness, envelope_of, read
from federation.signin.grammar import DS, SAML, SAMLP, XENC11, Element
from federation.signin.messages import (
    authn_request,
    logout_request,
    logout_response,
    sp_metadata,
    verify_logout_request,
    verify_logout_response,
)
from federation.signin.metadata import IdpMetadata
from federation.signin.protocol import ServiceProvider, Verified
from federation.signin.reasons import Reason, refused

__all__ = [
    "authn_request",
    "logout_request",
    "logout_response",
    "sp_metadata",
    "verify_logout_request",
    "verify_logout_response",
    "verify_response",
]

RESPONSE = SAMLP + "Response"
ASSERTION = SAML + "Assertion"
SIGNATURE = DS + "Signature"


def verify_response(
    sp: ServiceProvider,
    idp: IdpMetadata,
    provider: IdentityProvider,
    saml_response: str,
    *,
    is_outstanding: Callable[[str], bool],
    now: datetime,
    max_validity: timedelta = MAX_VALIDITY,
    witness: Witness | None = None,
) -> Verified:
    """Verify what a browser posted to the assertion consumer service (bindings 3.5, profiles 4.1.4).

    `saml_response`: the form field, Base64. `is_outstanding(id)`: whether we sent this provider a request of that id
    which no response has used yet. `max_validity`: longest validity that an assertion may claim. `witness`: as in
    `assertion.read`. Raises SamlRefused with a reason from `reasons`; the caller must still insert `Verified.replay_key` once.
    """
    pems = trusted_certificates(idp, provider, now)
    root = shape.parse(shape.from_base64(saml_response))
    shape.check_shape(root, RESPONSE)
    shape.check_status(root)
    wants_encryption = provider.saml is not None and provider.saml.encrypted_assertions
    encrypted = root.find(SAML + "EncryptedAssertion")
    if encrypted is None:
        if wants_encryption:
            raise refused(Reason.ENCRYPTION_REQUIRED)
        trusted, envelope, bearer = _verify_plain(sp, idp, root, pems, now)
    else:
        trusted, envelope, bearer = _verify_encrypted(sp, idp, root, pems, now)
    verdict, signed = trusted
    verified = read(
        signed,
        envelope_of(envelope),
        sp=sp,
        entity_id=idp.entity_id,
        provider=provider,
        is_outstanding=is_outstanding,
        now=now,
        max_validity=max_validity,
        witness=witness if verdict is None else None,
    )
    if verdict is not None:
        # Our own checks have found nothing to name more precisely; python3-saml's word stands.
        raise verdict
    return replace(verified, signed_by=certificates.fingerprint(signatures.signer(bearer, pems)))


def trusted_certificates(idp: IdpMetadata, provider: IdentityProvider, now: datetime) -> tuple[str, ...]:
    """The certificates that may speak for `provider` at `now`.

    Raises SamlRefused: provider_disabled, metadata_expired, certificate_missing, certificate_expired, key_too_small, …
    """
    if not provider.enabled or provider.saml is None:
        raise refused(Reason.PROVIDER_DISABLED)
    if idp.valid_until is not None and now >= idp.valid_until:
        raise refused(Reason.METADATA_EXPIRED)
    return certificates.usable(idp.signing_certificates, now)


# (python3-saml's verdict, the covered assertion); the Response, as covered where it is signed; what holds the signature.
_Judged = tuple[tuple[SamlRefused | None, Element], Element, Element]


def _verify_plain(
    sp: ServiceProvider, idp: IdpMetadata, root: Element, pems: tuple[str, ...], now: datetime
) -> _Judged:
    """The assertion is the one that its own signature covers, or else the Response's."""
    assertion = root.find(ASSERTION)
    if assertion is None:  # pragma: no cover - the shape check has seen it
        raise refused(Reason.ASSERTION_COUNT)
    response_signed = root.find(SIGNATURE) is not None
    assertion_signed = assertion.find(SIGNATURE) is not None
    if not response_signed and not assertion_signed:
        raise refused(Reason.SIGNATURE_MISSING)
    verdict = _library_verdict(sp, idp, root, None, pems, now)
    # When python3-saml stopped before it came to the signatures, xmlsec has not spoken yet.
    verify = signatures.verify if verdict is not None else signatures.verify_second
    envelope, covered = root, None
    if response_signed:
        envelope = verify(root, pems, now)
        covered = envelope.find(ASSERTION)
    if assertion_signed:
        covered = verify(assertion, pems, now)
    if covered is None or covered.get("ID") != assertion.get("ID"):  # pragma: no cover - verify has compared the IDs
        raise refused(Reason.VERIFIERS_DISAGREE)
    return (verdict, covered), envelope, assertion if assertion_signed else root


def _verify_encrypted(
    sp: ServiceProvider, idp: IdpMetadata, root: Element, pems: tuple[str, ...], now: datetime
) -> _Judged:
    """The same for an encrypted assertion: a signed Response is verified before anything is decrypted."""
    response_signed = root.find(SIGNATURE) is not None
    envelope = signatures.verify(root, pems, now) if response_signed else root
    encrypted = envelope.find(SAML + "EncryptedAssertion")
    if encrypted is None:  # pragma: no cover - the shape check has seen it
        raise refused(Reason.ASSERTION_COUNT)
    keys = (sp.private_key_pem, *(key for key, _ in sp.older))
    plain = decryption.decrypt(encrypted, keys, allow_cbc=response_signed)
    try:
        assertion, inserted = shape.parse(plain), shape.parse(plain)
    except SamlRefused:
        # The same error as for bad padding: how broken the plaintext is must not be told.
        raise refused(Reason.DECRYPT_FAILED) from None
    decrypted = deepcopy(root)
    hole = decrypted.find(SAML + "EncryptedAssertion")
    if hole is None:  # pragma: no cover - the shape check has seen it
        raise refused(Reason.ASSERTION_COUNT)
    if inserted.tag != ASSERTION:
        raise refused(Reason.DECRYPT_FAILED)
    decrypted.replace(hole, inserted)
    shape.check_shape(decrypted, RESPONSE)
    assertion_signed = assertion.find(SIGNATURE) is not None
    if not response_signed and not assertion_signed:
        raise refused(Reason.SIGNATURE_MISSING)
    verdict = _library_verdict(sp, idp, root, decrypted, pems, now)
    # An unsigned assertion whose ciphertext lies in a verified Response is covered by that signature.
    covered = signatures.verify(assertion, pems, now) if assertion_signed else assertion
    return (verdict, covered), envelope, assertion if assertion_signed else root


# --- python3-saml -------------------------------------------------------------------------------------

_now: ContextVar[datetime | None] = ContextVar("saml_now", default=None)

# What python3-saml's error codes are called here; the others are library_refused.
_REASONS: dict[int, Reason] = {
    OneLogin_Saml2_ValidationError.UNSUPPORTED_SAML_VERSION: Reason.VERSION_WRONG,
    OneLogin_Saml2_ValidationError.STATUS_CODE_IS_NOT_SUCCESS: Reason.STATUS_NOT_SUCCESS,
    OneLogin_Saml2_ValidationError.INVALID_XML_FORMAT: Reason.SCHEMA_INVALID,
    OneLogin_Saml2_ValidationError.ASSERTION_TOO_EARLY: Reason.NOT_YET_VALID,
    OneLogin_Saml2_ValidationError.ASSERTION_EXPIRED: Reason.EXPIRED,
    OneLogin_Saml2_ValidationError.WRONG_DESTINATION: Reason.DESTINATION_WRONG,
    OneLogin_Saml2_ValidationError.EMPTY_DESTINATION: Reason.DESTINATION_MISSING,
    OneLogin_Saml2_ValidationError.WRONG_AUDIENCE: Reason.AUDIENCE_WRONG,
    OneLogin_Saml2_ValidationError.WRONG_ISSUER: Reason.ISSUER_WRONG,
    OneLogin_Saml2_ValidationError.SESSION_EXPIRED: Reason.SESSION_EXPIRED,
    OneLogin_Saml2_ValidationError.NO_SIGNATURE_FOUND: Reason.SIGNATURE_MISSING,
    OneLogin_Saml2_ValidationError.INVALID_SIGNATURE: Reason.SIGNATURE_INVALID,
    OneLogin_Saml2_ValidationError.WRONG_NUMBER_OF_SIGNATURES: Reason.SIGNATURE_INVALID,
}


@lru_cache(maxsize=8)
def _schema(name: str) -> etree.XMLSchema:
    """One of python3-saml's schema files, compiled once: the library compiles it anew on every call, 2 ms each."""
    spec = importlib.util.find_spec("onelogin.saml2")
    if spec is None or not spec.submodule_search_locations:  # pragma: no cover - imported above
        raise ConfigurationError("python3_saml_missing")
    return etree.XMLSchema(etree.parse(Path(spec.submodule_search_locations[0]) / "schemas" / name))


@lru_cache(maxsize=128)
def _xpath(expression: str) -> etree.XPath:
    """One of python3-saml's fixed expressions, compiled once; IDs go in as a variable, never into the text."""
    return etree.XPath(expression, namespaces=OneLogin_Saml2_Constants.NSMAP)


class _Xml(OneLogin_Saml2_XML):  # type: ignore[misc]
    """python3-saml's XML helper with two overrides that make it fast: compiled schemas and XPath expressions are kept."""

    @staticmethod
    def query(dom: Element, query: str, context: Element | None = None, tagid: str | None = None) -> Any:
        """What the library's own query finds."""
        return _xpath(query)(dom if context is None else context, tagid=tagid or "")

    @staticmethod
    def validate_xml(xml: Element, schema: str, *_: object) -> Element | str:
        """The document if valid, else the string "invalid_xml": the library's own contract."""
        return xml if _schema(schema).validate(_without_mgf(xml)) else "invalid_xml"


def _without_mgf(xml: Element) -> Element:
    """`xml`, less the xenc11:MGF of an encryption method: the library's schemas are older than XML Encryption 1.1.

    The grammar has held it to its place and to one attribute already.
    """
    if next(xml.iter(XENC11 + "MGF"), None) is None:
        return xml
    copy = deepcopy(xml)
    for mgf in list(copy.iter(XENC11 + "MGF")):
        parent = mgf.getparent()
        if parent is not None:
            parent.remove(mgf)
    return copy


class _Utils(OneLogin_Saml2_Utils):  # type: ignore[misc]
    """python3-saml's helper with two overrides: the clock is handed in, and transforms are switched off."""

    @staticmethod
    def now() -> int:
        """The moment of this verification, less our skew: the library allows none for SubjectConfirmationData."""
        moment = _now.get()
        if moment is None:  # pragma: no cover - set by _clock
            raise ConfigurationError("saml_clock_not_set")
        return int((moment - CLOCK_SKEW).timestamp())

    @staticmethod
    def validate_sign(xml: Element, *_: object, xpath: str, multicerts: list[str], **__: object) -> bool:
        """Whether the one signature at `xpath` is right by xmlsec, in a context that allows the usual transforms only."""
        found = OneLogin_Saml2_XML.query(xml, xpath)
        return len(found) == 1 and signatures.first_verifier(found[0], signatures.candidates(found[0], multicerts))


def _private_copy() -> Any:
    """python3-saml's response module, loaded a second time under no name, so that the overrides change nobody else's."""
    spec = importlib.util.find_spec("onelogin.saml2.response")
    if spec is None or spec.loader is None:  # pragma: no cover - python3-saml is a requirement
        raise ConfigurationError("python3_saml_missing")
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.OneLogin_Saml2_Utils = _Utils
    module.OneLogin_Saml2_XML = _Xml
    return module


_BaseResponse: Any = _private_copy().OneLogin_Saml2_Response


class _Response(_BaseResponse):  # type: ignore[misc]
    """python3-saml's Response over documents that are already parsed, checked and decrypted.

    Its own constructor would parse the bytes a second time and decrypt before any check.
    """

    def __init__(self, settings: OneLogin_Saml2_Settings, document: Element, decrypted: Element | None) -> None:
        self._settings = settings
        self._error = None
        self.response = b""
        self.document = document
        self.decrypted_document = decrypted
        self.encrypted = True if decrypted is not None else None
        self.valid_scd_not_on_or_after = None


@lru_cache(maxsize=64)
def _settings(entity_id: str, acs_url: str, idp_entity_id: str, sso_url: str, pems: tuple[str, ...]) -> Any:
    """python3-saml's settings; every security option is written out, also where it is the library's default."""
    return OneLogin_Saml2_Settings(
        {
            "strict": True,  # without it, a signature lifted from signed metadata validates a forged assertion
            "debug": False,
            "sp": {"entityId": entity_id, "assertionConsumerService": {"url": acs_url}},
            "idp": {
                "entityId": idp_entity_id,
                "singleSignOnService": {"url": sso_url},
                "x509certMulti": {"signing": list(pems)},
            },
            "security": {
                "allowSingleLabelDomains": True,  # http://localhost in the demo; real hosts are checked elsewhere
                "wantAssertionsSigned": False,  # a signed Response covers it; we demand one of the two
                "wantMessagesSigned": False,
                "wantAssertionsEncrypted": False,
                "wantNameId": False,
                "wantNameIdEncrypted": False,
                "wantAttributeStatement": False,
                "rejectDeprecatedAlgorithm": True,
                "allowRepeatAttributeName": True,
                "requestedAuthnContext": False,
                "failOnAuthnContextMismatch": False,
            },
        }
    )


@contextmanager
def _clock(now: datetime) -> Iterator[None]:
    token = _now.set(now.astimezone(UTC))
    try:
        yield
    finally:
        _now.reset(token)


def _library_verdict(  # noqa: PLR0917 - private; every part of the context is needed
    sp: ServiceProvider,
    idp: IdpMetadata,
    document: Element,
    decrypted: Element | None,
    pems: tuple[str, ...],
    now: datetime,
) -> SamlRefused | None:
    """What python3-saml, strict, has against the message: None, or an error to raise once nothing more precise is found.

    A bad signature is raised at once.
    """
    address = urlsplit(sp.acs_url)
    request = {
        "https": "on" if address.scheme == "https" else "off",
        "http_host": address.netloc,
        "script_name": address.path,
    }
    settings = _settings(sp.entity_id, sp.acs_url, idp.entity_id, idp.sso_redirect_url, pems)
    try:
        with _clock(now):
            _Response(settings, document, decrypted).is_valid(request, raise_exceptions=True)
    except SamlRefused:
        raise
    except OneLogin_Saml2_ValidationError as error:
        reason = _REASONS.get(error.code, Reason.LIBRARY_REFUSED)
        found = refused(reason, str(error))
        if reason in (Reason.SIGNATURE_MISSING, Reason.SIGNATURE_INVALID):
            raise found from None
        return found
    except Exception as error:  # noqa: BLE001 - whatever trips the library over is no valid message
        return refused(Reason.LIBRARY_REFUSED, f"{type(error).__name__}: {error}")
    return None
