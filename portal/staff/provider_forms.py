"""Between the form of an identity provider and its entry in the mapping document. Decides nothing: the document's own reader does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from federation.mapping.rules import OIDC_CLAIMS, SAML_CLAIMS, ClaimMap

CHECKS: Final = ("sign_requests", "allow_unsolicited", "encrypted_assertions")
_USUAL: Final = {"sign_requests": True, "allow_unsolicited": False, "encrypted_assertions": False}
_CLAIMS: Final = ("subject", "email", "name", "groups")
# Path in the entry -> id of the field, where they differ.
_FIELDS: Final = {
    "saml.metadata_url": "metadata_url", "saml.metadata_xml": "metadata_xml", "saml.metadata_certificate": "metadata_certificate",
    "saml.max_validity": "max_validity", "saml": "metadata_url", "oidc.issuer": "issuer", "oidc.client_id": "client_id",
    "oidc.client_secret": "client_secret", "oidc.scopes": "scopes", "claims.attributes": "attributes", "claims.mfa": "mfa",
}  # fmt: skip


def usual_claims(protocol: str) -> ClaimMap:
    """The claim map where a document has none."""
    return SAML_CLAIMS if protocol == "saml" else OIDC_CLAIMS


def protocol_of(entry: Mapping[str, Any]) -> str:
    """`saml` or `oidc`."""
    return "saml" if "saml" in entry else "oidc"


def values_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The form's fields for an entry. A sealed secret is not shown again: its field is empty, and `has_secret` says so."""
    protocol = protocol_of(entry)
    own = entry.get(protocol) or {}
    usual, claims = usual_claims(protocol), entry.get("claims") or {}
    secret = str(own.get("client_secret", ""))
    return {
        "slug": entry.get("slug", ""),
        "name": entry.get("name", ""),
        "email_domains": ", ".join(entry.get("email_domains") or ()),
        "metadata_url": own.get("metadata_url", ""),
        "metadata_file": own.get("metadata_file", ""),
        "metadata_xml": own.get("metadata_xml", ""),
        "metadata_certificate": own.get("metadata_certificate", ""),
        "max_validity": own.get("max_validity", ""),
        **{name: own.get(name, _USUAL[name]) for name in CHECKS},
        "issuer": own.get("issuer", ""),
        "client_id": own.get("client_id", ""),
        "client_secret": "" if secret.startswith("sealed:") else secret,
        "has_secret": secret.startswith("sealed:"),
        "scopes": " ".join(own.get("scopes") or ("openid", "profile", "email", "groups")),
        **{f"claims_{name}": claims.get(name, getattr(usual, name)) for name in _CLAIMS},
        "attributes": "\n".join(f"{ours} = {theirs}" for ours, theirs in (claims.get("attributes") or {}).items()),
        "mfa": "\n".join(claims.get("mfa", ())),
    }


def entry_from(fields: Mapping[str, str], held: Mapping[str, Any]) -> dict[str, Any]:
    """The entry that the form describes, on top of `held`: what the form does not know stays."""
    protocol = protocol_of(held)
    entry = {**held, "slug": fields.get("slug", held.get("slug", "")).strip(), protocol: dict(held.get(protocol) or {})}
    _set(entry, "name", fields.get("name", "").strip())
    _set(
        entry, "email_domains", [part for part in re.split(r"[\s,;]+", fields.get("email_domains", "").strip()) if part]
    )
    if protocol == "saml":
        _saml(entry["saml"], fields)
    else:
        _oidc(entry["oidc"], fields)
    entry["claims"] = _claims(fields, held.get("claims") or {})
    return entry


def _set(mapping: dict[str, Any], key: str, value: Any) -> None:
    if value:
        mapping[key] = value
    else:
        mapping.pop(key, None)


def _saml(own: dict[str, Any], fields: Mapping[str, str]) -> None:
    if "metadata_file" not in own:
        _set(own, "metadata_url", fields.get("metadata_url", "").strip())
        # Both filled in: the document itself was pasted last.
        _set(own, "metadata_xml", fields.get("metadata_xml", "").replace("\r\n", "\n").strip())
        if own.get("metadata_xml"):
            own.pop("metadata_url", None)
    _set(own, "metadata_certificate", fields.get("metadata_certificate", "").replace("\r\n", "\n").strip())
    for name in CHECKS:
        checked = fields.get(name) == "on"
        if checked == _USUAL[name]:
            own.pop(name, None)
        else:
            own[name] = checked


def _oidc(own: dict[str, Any], fields: Mapping[str, str]) -> None:
    own["issuer"] = fields.get("issuer", "").strip()
    own["client_id"] = fields.get("client_id", "").strip()
    secret = fields.get("client_secret", "").strip()
    if secret or not str(own.get("client_secret", "")).startswith("sealed:"):
        _set(own, "client_secret", secret)
    scopes = fields.get("scopes", "").split()
    _set(own, "scopes", scopes)


def _claims(fields: Mapping[str, str], held: Mapping[str, Any]) -> dict[str, Any]:
    claims = {**held, **{name: fields.get(f"claims_{name}", "").strip() for name in _CLAIMS}}
    attributes = {}
    for line in fields.get("attributes", "").splitlines():
        ours, _, theirs = line.partition("=")
        if line.strip():
            attributes[ours.strip()] = theirs.strip()
    _set(claims, "attributes", attributes)
    _set(claims, "mfa", [line.strip() for line in fields.get("mfa", "").splitlines() if line.strip()])
    return claims


def fields_of_faults(faults: tuple[tuple[str, str], ...]) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """(field id -> message, the list for the summary)."""
    by_field: dict[str, str] = {}
    listed = []
    for path, message in faults:
        plain = re.sub(r"\[\d+\]", "", path)
        field = _FIELDS.get(plain, plain.replace("claims.", "claims_"))
        if field.startswith("claims_attributes"):
            field = "attributes"
        by_field.setdefault(field, message)
        listed.append((field, message))
    return by_field, listed
