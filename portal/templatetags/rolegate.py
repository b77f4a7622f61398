"""What templates need beyond Django's own: names from outside made harmless, icons, badges.

Every string that came from a provider, a directory or a mapping goes through `outside`: it is escaped, isolated
(<bdi>), and characters that would let it pose as another are made visible.
"""

from __future__ import annotations

import unicodedata
from datetime import datetime

from django import template
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe

register = template.Library()

# Bidi spoofing: a group named "\u202enimda" would read "admin". These characters never belong in a name, so they are
# shown by their number. ZWJ and ZWNJ stay: Persian and the Indian scripts write names with them.
_JOINERS = {"\u200c", "\u200d"}
_LINE_BREAKERS = {"Zl", "Zp"}


def _is_hidden(character: str) -> bool:
    category = unicodedata.category(character)
    return (category in {"Cc", "Cf", "Cs"} or category in _LINE_BREAKERS) and character not in _JOINERS


@register.filter
def outside(value: object) -> SafeString:
    """`value` as HTML for display: escaped, inside <bdi>, control and format characters shown as U+XXXX."""
    parts = [
        format_html('<span class="ctrl">U+{}</span>', f"{ord(character):04X}")
        if _is_hidden(character)
        else conditional_escape(character)
        for character in str(value)
    ]
    return format_html("<bdi>{}</bdi>", mark_safe("".join(parts)))  # noqa: S308  each part was escaped above


@register.filter
def span_of_time(seconds: int | None) -> str:
    """Whole seconds as people say it: 3600 -> "1 h", 5400 -> "1 h 30 min"; None -> ""."""
    if seconds is None:
        return ""
    hours, minutes = divmod(int(seconds) // 60, 60)
    return " ".join(
        part for part in (f"{hours} h" if hours else "", f"{minutes} min" if minutes or not hours else "") if part
    )


@register.filter
def utc(moment: datetime | None) -> SafeString:
    """An aware datetime as <time>, to the minute, in UTC."""
    if moment is None:
        return mark_safe("")
    return format_html('<time datetime="{}">{}</time>', f"{moment:%Y-%m-%dT%H:%M:%SZ}", f"{moment:%Y-%m-%d %H:%M} UTC")


# Drawn for this project on a 16 x 16 grid; strokes in the text's own colour, so that they follow the scheme.
_ICONS = {
    "brand": '<path d="M8 1.5 13.5 4v4c0 3.3-2.3 5.6-5.5 6.5C4.8 13.6 2.5 11.3 2.5 8V4z"/><circle cx="8" cy="6.6" r="1.6"/><path d="M8 8.200v3"/>',
    "production": '<path d="M8 2 14.5 13.500h-13z"/><path d="M8 6.500v3.200M8 11.600v.1"/>',
    "staging": '<circle cx="8" cy="8" r="6"/><path d="M8 2v12M8 4h4.500M8 8h6M8 12h4.5"/>',
    "development": '<path d="m5.5 4.5-3.5 3.5 3.5 3.500M10.5 4.500l3.5 3.5-3.5 3.5"/>',
    "sandbox": '<path d="M2 13.500h12M4 13.500V7h8v6.500M6 7V4.500h4V7"/>',
    "shared": '<circle cx="4" cy="8" r="2"/><circle cx="12" cy="4" r="2"/><circle cx="12" cy="12" r="2"/><path d="m5.8 7.1 4.4-2.200M5.8 8.900l4.4 2.2"/>',
    "other": '<rect x="2.5" y="2.5" width="11" height="11" rx="2"/>',
    "lock": '<rect x="3" y="7" width="10" height="7" rx="1.5"/><path d="M5 7V5a3 3 0 0 1 6 0v2"/>',
    "console": '<rect x="1.5" y="2.5" width="13" height="11" rx="1.5"/><path d="M1.5 5.500h13M9 8h3v3M12 8l-4 3.5"/>',
    "key": '<circle cx="5" cy="8" r="3"/><path d="M8 8h6.500v2.500M11.5 8v2"/>',
    "copy": '<rect x="5.5" y="5.5" width="8.5" height="8.5" rx="1.5"/><path d="M10.5 5.500V3a1 1 0 0 0-1-1H3a1 1 0 0 0-1 1v6.500a1 1 0 0 0 1 1h2.5"/>',
    "search": '<circle cx="7" cy="7" r="4.5"/><path d="m10.5 10.5 3.5 3.5"/>',
}


@register.simple_tag
def icon(name: str) -> SafeString:
    """An inline SVG, hidden from screen readers: the word beside it carries the meaning."""
    return format_html(
        '<svg width="16" height="16" viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.5" '
        'stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">{}</svg>',
        mark_safe(_ICONS[name]),  # noqa: S308  a constant of this file
    )


_KINDS = {
    "prod": "production",
    "prd": "production",
    "live": "production",
    "stage": "staging",
    "stg": "staging",
    "preprod": "staging",
    "test": "staging",
    "dev": "development",
    "sbx": "sandbox",
    "playground": "sandbox",
}


@register.inclusion_tag("portal/_badge.html")
def environment_badge(environment: str) -> dict[str, str]:
    """A badge with word and icon (never colour alone); an environment we have no colour for gets a neutral one."""
    folded = environment.strip().lower()
    kind = _KINDS.get(folded, folded)
    if kind not in {"production", "staging", "development", "sandbox", "shared"}:
        kind = "other"
    return {"kind": kind, "word": environment}


# What a new sign-in mends; for everything else the way back is the list of roles.
_SIGN_IN_CODES = {
    "sign_in_refused",
    "saml_refused",
    "oidc_refused",
    "sign_in_expired",
    "unknown_provider",
    "provider_unavailable",
    "not_signed_in",
    "claims_too_old",
    "groups_incomplete",
    "person_disabled",
}


@register.filter
def is_mended_by_signing_in(error_code: str) -> bool:
    """Whether the error page's first button leads to the sign-in page."""
    return error_code in _SIGN_IN_CODES
