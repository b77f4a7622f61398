"""The certificates of a provider whose metadata stand in the mapping document, while its key rolls: one more, and later one less.

Metadata at an address name old and new by themselves. Pasted ones are changed here, in an entry that is being tried: it is tested,
drafted, previewed and published like any other change of a provider.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from federation.errors import BadRequest, RolegateError, SamlRefused
from federation.flows import provider_documents, provider_trials
from federation.mapping.rules import IdentityProvider
from federation.models import current
from federation.models.people import Person
from federation.models.providers import ProviderTrial
from federation.signin import certificates
from federation.signin.metadata import (
    MetadataInvalid,
    certificates_of,
    parse_idp_metadata,
    with_certificate,
    without_certificate,
)


class CertificateRefused(BadRequest):
    """The entry's certificates cannot be changed so; `reason` says why: not_a_certificate, certificate_expired, key_too_small, key_type,
    too_many_certificates, last_certificate, certificate_unknown, certificates_are_the_providers, or why the metadata cannot be read.
    """

    code = "certificate_refused"
    status = 422
    sentence = "This certificate cannot be added or dropped: the page says why."


def can_roll(provider: IdentityProvider) -> bool:
    """Whether its certificates are changed here: metadata in the document, and not such as must come signed from the provider."""
    saml = provider.saml
    return saml is not None and bool(saml.metadata_xml) and not saml.metadata_certificate


class Changed(NamedTuple):
    """A trial with another entry, and how many certificates in force were kept beside those of the metadata that were pasted."""

    trial: ProviderTrial
    kept: int


def change(person: Person, trial_id: UUID, entry: Mapping[str, Any], *, now: datetime) -> Changed:
    """Keep another entry, as `provider_trials.change`. Other metadata of the same provider, pasted over those that were there, name
    the next certificate alone: the ones in force stay beside it, so that nobody is shut out while the key rolls. One that the entry
    had dropped before stays dropped. Raises as `provider_trials.change`.
    """
    before = provider_trials.provider_of(provider_trials.find(person, trial_id))
    trial = provider_trials.change(person, trial_id, entry, now=now)
    pasted = provider_trials.provider_of(trial)
    beside = _beside(before, pasted, now)
    if pasted.saml is None or not beside:
        return Changed(trial, 0)
    xml = pasted.saml.metadata_xml
    try:
        for pem in beside:
            xml = with_certificate(xml, pem)
    except MetadataInvalid:
        return Changed(
            trial, 0
        )  # a document of several roles is left as it was written: the page warns of what it drops
    return Changed(_keep(person, trial, xml, now), len(beside))


def _beside(before: IdentityProvider, pasted: IdentityProvider, now: datetime) -> tuple[str, ...]:
    """Of the certificates in force, those that `pasted` has to keep to take `before`'s place. PEM; none where it is no such change."""
    if not can_roll(pasted) or before.saml is None or pasted.saml is None:
        return ()
    had, xml = before.saml.metadata_xml, pasted.saml.metadata_xml
    if xml == had:
        return ()
    provider = _provider_in_force(pasted.slug)
    if provider is None:
        return ()
    try:
        held = provider_documents.held_metadata(provider, now=now)
        found = parse_idp_metadata(xml.encode(), now=now)
    except RolegateError:
        return ()  # the test of the entry says what is wrong with it
    if held.entity_id != found.entity_id:
        return ()  # somebody else's keys vouch for nobody here
    dropped = set(held.signing_certificates).difference(certificates_of(had.encode())) if had else set()
    kept = [
        pem
        for pem in held.signing_certificates
        if pem not in found.signing_certificates and pem not in dropped and certificates.fault(pem, now) is None
    ]
    room = certificates.MOST_CERTIFICATES - len(certificates_of(xml.encode()))
    return tuple(kept[: max(0, room)])


def add(person: Person, trial_id: UUID, text: str, *, now: datetime) -> ProviderTrial:
    """Accept one more certificate beside those of the entry. `text`: PEM, bare Base64, or the provider's new metadata.

    Raises NotFound, CertificateRefused.
    """
    trial, xml = _pasted(person, trial_id)
    for pem in _read(text, now):
        xml = _changed(with_certificate, xml, pem)
    if len(certificates_of(xml.encode())) > certificates.MOST_CERTIFICATES:
        raise CertificateRefused("too_many_certificates")
    return _keep(person, trial, xml, now)


def drop(person: Person, trial_id: UUID, fingerprint: str, *, now: datetime) -> ProviderTrial:
    """Accept a certificate of the entry no longer. Raises NotFound, CertificateRefused."""
    trial, xml = _pasted(person, trial_id)
    pem = _named(certificates_of(xml.encode()), fingerprint)
    return _keep(person, trial, _changed(without_certificate, xml, pem), now)


def keep(person: Person, trial_id: UUID, fingerprint: str, *, now: datetime) -> ProviderTrial:
    """Accept in the entry, too, a certificate that is in force and that its metadata name no longer. Raises as `drop`."""
    trial = provider_trials.find(person, trial_id)
    return add(person, trial_id, _named(in_force(trial.slug, now=now), fingerprint), now=now)


def in_force(slug: str, *, now: datetime) -> tuple[str, ...]:
    """PEM of the certificates by which people sign in now; empty where there is no such provider, or it has none that is good."""
    provider = _provider_in_force(slug)
    if provider is None or provider.saml is None:
        return ()
    try:
        return provider_documents.held_metadata(provider, now=now).signing_certificates
    except RolegateError:
        return ()


def _provider_in_force(slug: str) -> IdentityProvider | None:
    return next((one for one in current.mapping().document.identity_providers if one.slug == slug), None)


def left_behind(provider: IdentityProvider, *, now: datetime) -> tuple[str, ...]:
    """PEM of the certificates in force that `provider`, an entry with metadata of its own, would not accept any more."""
    if provider.saml is None or not provider.saml.metadata_xml:
        return ()
    named = certificates_of(provider.saml.metadata_xml.encode())
    return tuple(pem for pem in in_force(provider.slug, now=now) if pem not in named)


def _pasted(person: Person, trial_id: UUID) -> tuple[ProviderTrial, str]:
    trial = provider_trials.find(person, trial_id)
    provider = provider_trials.provider_of(trial)
    if not can_roll(provider) or provider.saml is None:
        raise CertificateRefused("certificates_are_the_providers")
    return trial, provider.saml.metadata_xml


def _read(text: str, now: datetime) -> tuple[str, ...]:
    """The certificates that somebody pasted, each of which may be used, now or once its time has come."""
    text = text.strip()
    try:
        found = certificates_of(text.encode()) if text.startswith("<") else (certificates.pem_of(text),)
    except SamlRefused:
        found = ()
    if not found:
        raise CertificateRefused("not_a_certificate")
    for pem in found:
        begins = certificates.load(pem).not_valid_before_utc
        fault = certificates.fault(pem, max(now, begins))
        if fault is not None:
            raise CertificateRefused(fault.value)
    return found


def _named(pems: Iterable[str], fingerprint: str) -> str:
    found = next((pem for pem in pems if certificates.fingerprint(pem) == fingerprint), None)
    if found is None:
        raise CertificateRefused("certificate_unknown")
    return found


def _changed(change: Callable[[str, str], str], xml: str, pem: str) -> str:
    try:
        return change(xml, pem)
    except MetadataInvalid as error:
        raise CertificateRefused(
            "last_certificate" if error.reason == "certificate_missing" else error.reason
        ) from error


def _keep(person: Person, trial: ProviderTrial, xml: str, now: datetime) -> ProviderTrial:
    entry = provider_trials.entry_of(trial)
    entry["saml"] = {**entry["saml"], "metadata_xml": xml}
    return provider_trials.change(person, trial.pk, entry, now=now)
