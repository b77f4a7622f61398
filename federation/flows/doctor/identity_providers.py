"""Whom the gateway believes: the metadata that it holds, how long it is good for, and whether it can be read again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from federation import net
from federation.errors import RolegateError
from federation.flows import provider_documents
from federation.flows.doctor.findings import Finding, counted, ok, problem, span, warning
from federation.flows.doctor.issuer import SOON
from federation.mapping.rules import IdentityProvider, SamlProvider
from federation.models import current
from federation.models.providers import ProviderMetadata
from federation.said import say
from federation.signin import certificates, jwks
from federation.signin.metadata import IdpMetadata, parse_idp_metadata

_LATE = timedelta(hours=6)


def _enabled() -> list[IdentityProvider]:
    return [provider for provider in current.mapping().document.identity_providers if provider.enabled]


def stored(now: datetime) -> Iterator[Finding]:
    """Each SAML provider's metadata as the gateway has it: there, not old, with a certificate that lasts."""
    for provider in _enabled():
        if provider.saml is None:
            continue
        try:
            yield from _held(provider, provider.saml, now)
        except RolegateError as error:
            yield problem(
                "provider_metadata_unusable",
                say(
                    "{provider}: its metadata cannot be used ({reason}). Nobody signs in there.",
                    provider=provider.slug,
                    reason=error.reason,
                ),
                say("Give the gateway the provider's current metadata."),
                provider=provider.slug,
            )


def _held(provider: IdentityProvider, saml: SamlProvider, now: datetime) -> Iterator[Finding]:
    age = ""
    if saml.metadata_url:
        row = ProviderMetadata.objects.filter(provider=provider.slug, source=provider_documents.source(saml)).first()
        if row is None:
            yield warning(
                "provider_metadata_unread",
                say("{provider}: its metadata has not been fetched yet.", provider=provider.slug),
                say("It is when somebody signs in, or by the worker within ten minutes."),
                provider=provider.slug,
            )
            return
        old = now - row.fetched_at
        age = f", read {span(old)} ago"
        if old > _LATE:
            left = provider_documents.LAST_GOOD_COPY - old
            ago = say("{span} ago", span=span(old))
            if row.last_error:
                ago = say("{name} ({reason})", name=ago, reason=row.last_error)
            says = (
                say(
                    "{provider}: its metadata was last fetched {ago}; nobody signs in there.",
                    provider=provider.slug,
                    ago=ago,
                )
                if left <= timedelta(0)
                else say(
                    "{provider}: its metadata was last fetched {ago}; in {span} nobody signs in there any more.",
                    provider=provider.slug,
                    ago=ago,
                    span=span(left),
                )
            )
            yield (problem if left <= timedelta(0) else warning)(
                "provider_metadata_old",
                says,
                say(
                    "See why {url} cannot be had from here, or what is wrong with what it answers.",
                    url=saml.metadata_url,
                ),
                provider=provider.slug,
            )
    metadata = provider_documents.held_metadata(provider, now=now)
    yield from _lasting(provider, metadata, now, age)


def _lasting(provider: IdentityProvider, metadata: IdpMetadata, now: datetime, age: str) -> Iterator[Finding]:
    ends = max(certificates.load(pem).not_valid_after_utc for pem in metadata.signing_certificates)
    if ends - now < SOON:
        yield (problem if ends <= now else warning)(
            "provider_certificate_ends",
            say(
                "{provider}: its last signing certificate ends on {day}.",
                provider=provider.slug,
                day=f"{ends:%Y-%m-%d}",
            ),
            say("Ask the provider's people for the next one; old and new are taken side by side."),
            provider=provider.slug,
        )
    if metadata.valid_until is not None and metadata.valid_until - now < timedelta(days=1):
        yield warning(
            "provider_metadata_ends",
            say(
                "{provider}: its metadata says that it is valid until {moment} only.",
                provider=provider.slug,
                moment=f"{metadata.valid_until:%Y-%m-%d %H:%M} UTC",
            ),
            say("The gateway reads it again before that, if it has a URL; otherwise give it the next one."),
            provider=provider.slug,
        )
    if ends - now >= SOON:
        yield ok(f"{provider.slug}: metadata good{age}, certificate until {ends:%Y-%m-%d}", provider=provider.slug)


def fetched(now: datetime) -> Iterator[Finding]:
    """Each provider's documents can be read now, and would be taken: metadata, or discovery and JWKS."""
    for provider in _enabled():
        try:
            if provider.oidc is not None:
                discovery = jwks.fetch_discovery(provider.oidc.issuer, now=now)
                held = jwks.parse_keys(jwks.strict_json(net.request("GET", discovery.jwks_uri).body))
                if not held:
                    yield _not_to_be_had(provider, "its JWKS has no key that can be used", fatal=True)
                    continue
                yield ok(f"{provider.slug}: discovery and {counted(len(held), 'key')} read from {provider.oidc.issuer}")
            elif provider.saml is not None and provider.saml.metadata_url:
                answer = net.request("GET", provider.saml.metadata_url)
                if answer.status != 200:
                    yield _not_to_be_had(provider, f"HTTP {answer.status}", fatal=False)
                    continue
                parse_idp_metadata(answer.body, now=now, pinned_certificate=provider.saml.metadata_certificate)
                yield ok(f"{provider.slug}: metadata read from {provider.saml.metadata_url}")
        except (RolegateError, ValueError) as error:
            why = error.reason if isinstance(error, RolegateError) else "malformed"
            yield _not_to_be_had(provider, why, fatal=provider.oidc is not None)


def _not_to_be_had(provider: IdentityProvider, why: str, *, fatal: bool) -> Finding:
    """A SAML provider goes on with its last good copy. An OpenID provider's is kept too, but each sign-in asks its token endpoint."""
    meanwhile = (
        "nobody signs in there, unless its token endpoint can still be reached"
        if fatal
        else "the last good copy goes on, for seven days"
    )
    return (problem if fatal else warning)(
        "provider_documents_unreadable",
        f"{provider.slug}: its documents cannot be read or used from here ({why}); {meanwhile}.",
        "Check the address in the mapping document, and the way there (https, certificates, HTTPS_PROXY).",
        provider=provider.slug,
    )
