"""The identity providers' own documents: SAML metadata with its last good copy, OpenID discovery and JWKS."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog
from django.db import transaction

from federation import net
from federation.audit.events import Kind, Origin
from federation.audit.record import record
from federation.errors import ProviderUnavailable, RolegateError
from federation.mapping.rules import IdentityProvider, SamlProvider
from federation.models import current
from federation.models.providers import OpenIdDocument, ProviderMetadata
from federation.signin import certificates
from federation.signin.metadata import IdpMetadata, certificates_of, parse_idp_metadata
from federation.signin.oidc import ProviderDocuments

log = structlog.get_logger(__name__)
REFRESH_AFTER = timedelta(hours=1)
RETRY_AFTER = timedelta(minutes=1)
LAST_GOOD_COPY = timedelta(days=7)

_ORIGIN = Origin(request_id="provider_documents", address="", user_agent="provider_documents")

OPENID_REFRESH_AFTER = timedelta(minutes=10)


class DatabaseShelf:
    """Discovery documents and key sets, kept for every process: a worker that starts needs no provider to answer first."""

    def copy(self, url: str) -> tuple[bytes, datetime] | None:
        """The last good copy, and when it was fetched. One indexed read."""
        row = OpenIdDocument.objects.filter(pk=_key(url)).first()
        return None if row is None else (row.body.encode(), row.fetched_at)

    def keep(self, url: str, body: bytes, *, now: datetime) -> None:
        """Keep a good copy. Where it says something else than the one before, whom we believe has changed: an audit event."""
        try:
            text = body.decode()
        except UnicodeDecodeError:
            return  # JSON may come as UTF-16 too; it is read, and asked for again
        with transaction.atomic():
            before = OpenIdDocument.objects.select_for_update().filter(pk=_key(url)).first()
            OpenIdDocument.objects.update_or_create(
                key=_key(url), defaults={"url": url, "body": text, "fetched_at": now}
            )
            said, says = _said_by_openid(before.body if before else "{}"), _said_by_openid(text)
            if said != says:
                record(
                    Kind.PROVIDER_DOCUMENTS, actor=f"{urlsplit(url).hostname}:provider", outcome="ok", origin=_ORIGIN, now=now,
                    source=url, keys=says["keys"], keys_before=said["keys"], endpoints=says["endpoints"],
                )  # fmt: skip


def _key(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()


def _said_by_openid(body: str) -> dict[str, Any]:
    """Whom a document makes us believe, and where it sends people: keys by SHA-256, addresses by their names."""
    found = json.loads(body)
    listed = found.get("keys")
    keys = [
        hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        for key in (listed if isinstance(listed, list) else [])
    ]
    names = (
        "issuer",
        "authorization_endpoint",
        "token_endpoint",
        "userinfo_endpoint",
        "jwks_uri",
        "end_session_endpoint",
    )
    return {"keys": sorted(keys), "endpoints": {name: found[name] for name in names if name in found}}


oidc_documents = ProviderDocuments(shelf=DatabaseShelf())
_parsed: dict[str, tuple[str, IdpMetadata]] = {}
_lock = threading.Lock()


def source(saml: SamlProvider) -> str:
    """What a stored copy is a copy of: the URL and the certificate pinned there. Another one is never used in its place."""
    pin = hashlib.sha256(saml.metadata_certificate.encode()).hexdigest()[:16] if saml.metadata_certificate else ""
    return f"{saml.metadata_url}#{pin}"


def _parse(slug: str, document: str, saml: SamlProvider, now: datetime) -> IdpMetadata:
    """Parse once per document and process; validity is checked again at each use."""
    key = hashlib.sha256(f"{saml.metadata_certificate}\0{document}".encode()).hexdigest()
    held = _parsed.get(slug)
    if held is None or held[0] != key or (held[1].valid_until is not None and held[1].valid_until <= now):
        held = (key, parse_idp_metadata(document.encode(), now=now, pinned_certificate=saml.metadata_certificate))
        with _lock:
            _parsed[slug] = held
    return held[1]


def held_metadata(provider: IdentityProvider, *, now: datetime) -> IdpMetadata:
    """The provider's metadata as it is at hand, however old: nothing is fetched and nothing written.

    Raises ProviderUnavailable (not_a_saml_provider, metadata_file_unreadable, metadata_unread), MetadataInvalid.
    """
    saml = provider.saml
    if saml is None:
        raise ProviderUnavailable("not_a_saml_provider", detail=provider.slug)
    if not saml.metadata_url:
        return _parse(provider.slug, _given(saml), saml, now)
    row = ProviderMetadata.objects.filter(provider=provider.slug, source=source(saml)).first()
    if row is None:
        raise ProviderUnavailable("metadata_unread", detail=provider.slug)
    return _parse(provider.slug, row.document, saml, now)


def _given(saml: SamlProvider) -> str:
    """Metadata out of the document, or out of a file. Raises ProviderUnavailable(metadata_file_unreadable)."""
    if saml.metadata_xml:
        return saml.metadata_xml
    try:
        return Path(saml.metadata_file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProviderUnavailable(
            "metadata_file_unreadable", detail=f"{saml.metadata_file}: {error.__class__.__name__}"
        ) from error


def saml_metadata(provider: IdentityProvider, *, now: datetime) -> IdpMetadata:
    """The provider's metadata: from the document, a file, or a URL with the last good copy for 7 days.

    Raises ProviderUnavailable when none can be had, MetadataInvalid when there is no valid one. A replacement that
    is unsigned where a certificate is pinned, expired or broken never takes the place of the good copy.
    """
    saml = provider.saml
    if saml is None:
        raise ProviderUnavailable("not_a_saml_provider", detail=provider.slug)
    if not saml.metadata_url:
        return _parse(provider.slug, _given(saml), saml, now)
    row = ProviderMetadata.objects.filter(provider=provider.slug, source=source(saml)).first()
    ended = row is not None and row.valid_until is not None and row.valid_until <= now
    if row is not None and now - row.fetched_at < REFRESH_AFTER and not ended:
        return _parse(provider.slug, row.document, saml, now)
    good = row is not None and now - row.fetched_at < LAST_GOOD_COPY
    if row is not None and good and now - row.checked_at < RETRY_AFTER:
        return _parse(provider.slug, row.document, saml, now)
    if row is not None and good and not ended:
        # One asks, the others go on: an address that hangs would hold every sign-in of a morning, and all threads with them.
        due = ProviderMetadata.objects.filter(pk=row.pk, checked_at=row.checked_at)
        if due.update(checked_at=now) != 1:
            return _parse(provider.slug, row.document, saml, now)
    return _fetch(provider, saml, row, now)


def _download(saml: SamlProvider, now: datetime) -> tuple[str, IdpMetadata]:
    """(the document, what it says), asked of the provider now. Raises ProviderUnavailable, MetadataInvalid, UnicodeDecodeError."""
    answer = net.request("GET", saml.metadata_url, headers={"Accept": "application/samlmetadata+xml, application/xml"})
    if answer.status != 200:
        raise ProviderUnavailable("metadata_status", detail=f"{saml.metadata_url}: HTTP {answer.status}")
    metadata = parse_idp_metadata(answer.body, now=now, pinned_certificate=saml.metadata_certificate)
    return answer.body.decode("utf-8"), metadata


def unkept_metadata(provider: IdentityProvider, *, now: datetime) -> IdpMetadata:
    """The metadata as the source has it now, for a provider that is not in force: no copy of another one is touched.

    Raises ProviderUnavailable, MetadataInvalid.
    """
    saml = provider.saml
    if saml is None:
        raise ProviderUnavailable("not_a_saml_provider", detail=provider.slug)
    if saml.metadata_xml:
        return parse_idp_metadata(saml.metadata_xml.encode(), now=now, pinned_certificate=saml.metadata_certificate)
    if saml.metadata_file:
        return saml_metadata(provider, now=now)
    try:
        return _download(saml, now)[1]
    except UnicodeDecodeError as error:
        raise ProviderUnavailable("metadata_not_utf8", detail=provider.slug) from error


def _fetch(provider: IdentityProvider, saml: SamlProvider, row: ProviderMetadata | None, now: datetime) -> IdpMetadata:
    try:
        document, metadata = _download(saml, now)
    except (RolegateError, UnicodeDecodeError) as error:
        reason = error.reason if isinstance(error, RolegateError) else "not_utf8"
        # A replacement that is forged, or that nobody could sign in by, is for somebody to look at; a provider that is away
        # is not yet: the doctor says so where it lasts.
        alert = isinstance(error, RolegateError) and error.context.get("alert")
        (log.error if alert else log.warning)(
            "provider_metadata_not_refreshed", provider=provider.slug, reason=reason, detail=str(error)[:300]
        )
        if row is None or now - row.fetched_at >= LAST_GOOD_COPY:
            if isinstance(error, RolegateError):
                raise
            raise ProviderUnavailable("metadata_not_utf8", detail=provider.slug) from error
        ProviderMetadata.objects.filter(pk=row.pk).update(checked_at=now, last_error=reason)
        return _parse(provider.slug, row.document, saml, now)
    _store(provider.slug, saml, document, metadata, now)
    return metadata


def _store(slug: str, saml: SamlProvider, document: str, metadata: IdpMetadata, now: datetime) -> None:
    """Keep the good copy. Where it says something else than the one before, whom we believe has changed: an audit event."""
    with transaction.atomic():
        before = ProviderMetadata.objects.select_for_update().filter(provider=slug).first()
        ProviderMetadata.objects.update_or_create(
            provider=slug,
            defaults={
                "source": source(saml),
                "document": document,
                "fetched_at": now,
                "checked_at": now,
                "valid_until": metadata.valid_until,
                "last_error": "",
            },
        )
        said, says = _said(before, saml), _facts(metadata)
        if said != says:
            record(
                Kind.PROVIDER_DOCUMENTS,
                actor=f"{slug}:provider",
                outcome="ok",
                origin=_ORIGIN,
                now=now,
                provider=slug,
                source=saml.metadata_url,
                certificates_before=said.get("certificates", []),
                **says,
            )
    if said and not saml.metadata_certificate and _is_believed_anew(said, says):
        # Attack: whoever may write at that address adds a key of their own. What is pinned has said that it is the provider's.
        log.error("provider_documents_changed", provider=slug, source=saml.metadata_url, before=said, now=says)


def _is_believed_anew(said: dict[str, Any], says: dict[str, Any]) -> bool:
    """Whether metadata name somebody who was not believed before, or send people elsewhere; that a key has gone is neither."""
    new_keys = set(says["certificates"]) - set(said["certificates"])
    return bool(new_keys) or any(said[name] != says[name] for name in ("entity_id", "sso_url", "slo_url"))


def _said(before: ProviderMetadata | None, saml: SamlProvider) -> dict[str, Any]:
    """What the copy before said, read as on the day it was fetched; {} where there is none, or from another source."""
    if before is None or before.source != source(saml):
        return {}
    try:
        read = parse_idp_metadata(
            before.document.encode(), now=before.fetched_at, pinned_certificate=saml.metadata_certificate
        )
    except RolegateError:
        return {}
    return _facts(read)


def _facts(metadata: IdpMetadata) -> dict[str, Any]:
    """Whom the metadata makes us believe, and where it sends people. A new signature or validUntil each time is no news."""
    return {
        "entity_id": metadata.entity_id,
        "sso_url": metadata.sso_redirect_url,
        "slo_url": metadata.slo_url,
        "certificates": [certificates.fingerprint(pem) for pem in metadata.signing_certificates],
    }


def refresh(provider: IdentityProvider, *, now: datetime) -> str:
    """Ask one provider of the mapping in force for its documents now. Returns "fetched", or the reason why not.

    Raises nothing for what the provider did: the last good copy goes on.
    """
    saml = provider.saml
    try:
        if saml is None:
            return _look_at_openid(provider, now=now)
        if not saml.metadata_url:
            saml_metadata(provider, now=now)
            return "fetched"
        row = ProviderMetadata.objects.filter(provider=provider.slug, source=source(saml)).first()
        _fetch(provider, saml, row, now)
    except RolegateError as error:
        return error.reason
    return ProviderMetadata.objects.values_list("last_error", flat=True).get(provider=provider.slug) or "fetched"


def _look_at_tenant(issuer: str, *, now: datetime) -> str:
    """Ask for the discovery of the tenant whose application asks Graph, so that no sign-in has to wait for it."""
    try:
        oidc_documents.refresh(issuer, now=now, older_than=OPENID_REFRESH_AFTER)
    except RolegateError as error:
        return error.reason
    return "fetched"


def _look_at_openid(provider: IdentityProvider, *, now: datetime) -> str:
    """Ask for discovery and keys, ahead of the sign-in that would have to, and note what they say for people to see."""
    issuer = provider.oidc.issuer if provider.oidc else ""
    before = ProviderMetadata.objects.filter(provider=provider.slug, source=issuer).first()
    try:
        oidc_documents.refresh(issuer, now=now, older_than=OPENID_REFRESH_AFTER)
        discovery = oidc_documents.discovery(issuer, now=now)
        keys = oidc_documents.keys(issuer, now=now, again=True)
    except RolegateError as error:
        if before is not None:
            ProviderMetadata.objects.filter(pk=before.pk).update(checked_at=now, last_error=error.reason)
        return error.reason
    said = {
        "authorization_endpoint": discovery.authorization_endpoint,
        "userinfo_endpoint": discovery.userinfo_endpoint,
        "end_session_endpoint": discovery.end_session_endpoint,
        "keys": [{"kid": key.kid, "type": key.type, "algorithm": key.algorithm} for key in keys],
    }
    ProviderMetadata.objects.update_or_create(
        provider=provider.slug,
        defaults={
            "source": issuer, "document": json.dumps(said), "fetched_at": now, "checked_at": now, "valid_until": None,
            "last_error": "",
        },
    )  # fmt: skip
    return "fetched"


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a provider's documents, for people to look at; nothing is asked of the provider for it.

    `certificates`: PEM, every one that the document has for signing, also one that may not be used. `problem`: why the copy
    cannot be used, "" where it can. `keys`: of a JWKS, as kid, type and algorithm.
    """

    fetched_at: datetime | None = None
    checked_at: datetime | None = None
    valid_until: datetime | None = None
    last_error: str = ""
    problem: str = ""
    entity_id: str = ""
    sso_url: str = ""
    slo_url: str = ""
    certificates: tuple[str, ...] = ()
    keys: tuple[tuple[str, str, str], ...] = ()


def kept(provider: IdentityProvider, row: ProviderMetadata | None, *, now: datetime) -> Kept:
    """What is kept of this provider. `row`: its row, if there is one. Asks neither the database nor the network."""
    saml = provider.saml
    if saml is None:
        if row is None or provider.oidc is None or row.source != provider.oidc.issuer:
            return Kept()
        said = json.loads(row.document)
        keys = tuple((key["kid"], key["type"], key["algorithm"]) for key in said["keys"])
        return Kept(
            row.fetched_at, row.checked_at, last_error=row.last_error, entity_id=row.source,
            sso_url=said["authorization_endpoint"], slo_url=said["end_session_endpoint"], keys=keys,
        )  # fmt: skip
    document, found = saml.metadata_xml, Kept()
    if saml.metadata_file:
        try:
            document = Path(saml.metadata_file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return Kept(problem="metadata_file_unreadable")
    elif saml.metadata_url:
        if row is None or row.source != source(saml):
            return found
        document = row.document
        found = Kept(row.fetched_at, row.checked_at, row.valid_until, row.last_error)
    found = replace(found, certificates=certificates_of(document.encode()))
    try:
        metadata = _parse(provider.slug, document, saml, now)
    except RolegateError as error:
        return replace(found, problem=error.reason)
    return replace(
        found, valid_until=metadata.valid_until, entity_id=metadata.entity_id, sso_url=metadata.sso_redirect_url,
        slo_url=metadata.slo_url,
    )  # fmt: skip


def refresh_all(*, now: datetime) -> dict[str, str]:
    """Fetch every enabled provider's documents ahead of the moment at which a sign-in would have to: SAML metadata that is
    older than half its life, discovery documents and key sets that are older than ten minutes.

    Returns slug -> "fresh", "fetched", or the reason for which it could not be had (also where the last good copy goes on).
    """
    results: dict[str, str] = {}
    for provider in current.mapping().document.identity_providers:
        saml = provider.saml
        if provider.enabled and provider.oidc is not None:
            results[provider.slug] = _look_at_openid(provider, now=now)
        if provider.enabled and saml is not None and saml.graph is not None:
            results[f"{provider.slug} graph"] = _look_at_tenant(saml.graph.issuer, now=now)
        if not provider.enabled or saml is None or not saml.metadata_url:
            continue
        row = ProviderMetadata.objects.filter(provider=provider.slug, source=source(saml)).first()
        if row is not None and now - row.fetched_at < REFRESH_AFTER / 2:
            results[provider.slug] = "fresh"
            continue
        try:
            _fetch(provider, saml, row, now)
            failed = ProviderMetadata.objects.values_list("last_error", flat=True).get(provider=provider.slug)
            results[provider.slug] = failed or "fetched"
        except RolegateError as error:
            results[provider.slug] = error.reason
    return results
