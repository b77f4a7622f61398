"""The three published documents."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.utils.http import parse_etags
from django.views.decorators.http import require_safe

from federation import queries

# As long as AWS and others may keep a copy; a next key is published far longer than this before it signs.
_CACHE = "public, max-age=300"


@require_safe
def discovery(request: HttpRequest) -> HttpResponse:
    """OpenID Connect Discovery 1.0 section 4."""
    return _published(request, ".well-known/openid-configuration", "application/json")


@require_safe
def jwks(request: HttpRequest) -> HttpResponse:
    """RFC 7517 section 5: the active key first."""
    return _published(request, "jwks.json", "application/json")


@require_safe
def saml_metadata(request: HttpRequest) -> HttpResponse:
    """SAML metadata 2.0 section 2.4.3, to upload to IAM."""
    return _published(request, "saml/metadata.xml", "application/samlmetadata+xml")


def _published(request: HttpRequest, name: str, content_type: str) -> HttpResponse:
    content = queries.issuer_document(name, now=datetime.now(UTC))
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"Cache-Control": _CACHE, "ETag": etag}
    asked = {tag.removeprefix("W/") for tag in parse_etags(request.META.get("HTTP_IF_NONE_MATCH", ""))}
    if etag in asked or "*" in asked:
        return HttpResponseNotModified(headers=headers)
    return HttpResponse(content, content_type=content_type, headers=headers)
