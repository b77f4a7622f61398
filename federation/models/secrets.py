"""Secrets of identity providers: references into the environment, or sealed where the document had them in clear.

`"${ENTRA_SECRET}"` is read from the environment when it is used. A document that brings the secret itself is taken, but
what is stored, compared and exported holds `sealed:v1.…`, which only this gateway can open: no secret is in a revision.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace

from django.conf import settings

from federation.errors import BadRequest, ConfigurationError
from federation.issuer.signing import KeySealBroken, seal, unseal
from federation.mapping.document import parse
from federation.mapping.rules import Document, IdentityProvider

_REFERENCE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")
_SEALED = re.compile(r"sealed:(v1\.[A-Za-z0-9_-]+)")
_KIND = "client_secret"
_OURS = ("ROLEGATE_", "DATABASE_", "REDIS_", "AWS_", "DJANGO_", "PG")


class SecretNotSealable(BadRequest):
    """A client secret stands in the document in a way in which it cannot be replaced safely."""

    code = "mapping_secret_in_clear"
    sentence = 'A client_secret cannot be stored as it is written. Write it as "${NAME}" and set the environment variable NAME.'


def master_keys() -> list[bytes]:
    """What private keys and secrets are sealed under: the current secret first, then retired ones."""
    return [str(secret_key).encode() for secret_key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]


def unseal_with_any(sealed: str, kid: str) -> bytes:
    """Open `sealed` with whichever secret fits. Raises KeySealBroken when none does."""
    for master in master_keys():
        try:
            return unseal(sealed, master_key=master, kid=kid)
        except KeySealBroken:
            continue
    raise KeySealBroken("key_seal_broken", detail=kid)


def reveal(stored: str) -> str:
    """The secret behind what the document holds. Raises ConfigurationError(secret_not_set), KeySealBroken."""
    if match := _SEALED.fullmatch(stored):
        return unseal_with_any(match[1], _KIND).decode()

    def from_environment(reference: re.Match[str]) -> str:
        # Whoever may edit the mapping also names the token endpoint that this is sent to: never the gateway's own secrets.
        if reference[1].startswith(_OURS):
            raise ConfigurationError("secret_not_for_providers", detail=f"{reference[1]} is the gateway's own setting")
        value = os.environ.get(reference[1])
        if not value:
            raise ConfigurationError("secret_not_set", detail=f"the environment variable {reference[1]} is not set")
        return value

    return _REFERENCE.sub(from_environment, stored)


def in_clear(text: str) -> str:
    """A stored document with its sealed secrets opened: only for comparing it with one that brings them in clear."""
    return _SEALED.sub(lambda match: unseal_with_any(match[1], _KIND).decode(), text)


def sealed_text(text: str, document: Document) -> str:
    """`text` with every literal client secret sealed; the same text where there is none.

    Raises SecretNotSealable when replacing the secret's characters would change anything but the secret.
    """
    literals = {
        provider.client.client_secret
        for provider in document.identity_providers
        if provider.client and provider.client.client_secret and not _reference_only(provider.client.client_secret)
    }
    if not literals:
        return text
    tokens = {
        literal: "sealed:" + seal(literal.encode(), master_key=master_keys()[0], kid=_KIND) for literal in literals
    }
    for literal, token in tokens.items():
        text = text.replace(literal, token)
    providers = tuple(_with_tokens(provider, tokens) for provider in document.identity_providers)
    expected = replace(document, identity_providers=providers)
    try:
        same = parse(text, published=True) == expected  # whether it may be is asked elsewhere
    except BadRequest:
        same = False
    if not same:
        raise SecretNotSealable("secret_not_sealable")
    return text


def _with_tokens(provider: IdentityProvider, tokens: Mapping[str, str]) -> IdentityProvider:
    """The provider with the token of its client's secret in the secret's place."""
    client = provider.client
    if client is None:
        return provider
    client = replace(client, client_secret=tokens.get(client.client_secret, client.client_secret))
    if provider.saml is not None:
        return replace(provider, saml=replace(provider.saml, graph=client))
    return replace(provider, oidc=client)


def _reference_only(value: str) -> bool:
    return bool(_REFERENCE.fullmatch(value) or _SEALED.fullmatch(value))
