"""What templates need beyond Django's own: names from outside made harmless, icons, badges.

Every string that came from a provider, a directory or a mapping goes through `outside`: it is escaped, isolated
(<bdi>), and characters that would let it pose as another are made visible.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache, reduce
from typing import Any

from django import template
from django.utils.formats import number_format
from django.utils.html import conditional_escape, format_html, json_script
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from heroicons.templatetags.heroicons import heroicon_micro

from federation.mapping.rolearn import parse_role_arn
from federation.said import translated, unpacked
from portal import own_reasons

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
    text = str(value)
    if text.isprintable():  # no character of these categories is in it: nearly always
        return format_html("<bdi>{}</bdi>", text)
    parts = [
        format_html('<span class="ctrl">U+{}</span>', f"{ord(character):04X}")
        if _is_hidden(character)
        else conditional_escape(character)
        for character in text
    ]
    return format_html("<bdi>{}</bdi>", mark_safe("".join(parts)))  # noqa: S308  each part was escaped above


# After a colon or a slash, but for that of a closing tag.
_BETWEEN_PARTS = re.compile(r"(?:(?<=:)|(?<=[^<]/))(?=[^:/<])")


@register.filter
def arn(value: object) -> SafeString:
    """An ARN from outside as `outside` has it; where it must break, it does so between its parts, and not within a name."""
    return mark_safe(_BETWEEN_PARTS.sub("<wbr>", outside(value)))  # noqa: S308  `outside` has escaped it


@register.filter
def alternatives(names: Iterable[object]) -> SafeString:
    """Names from outside with "or" between them, as HTML for display; at least one."""
    return reduce(
        lambda one, other: format_html(gettext("{one} or {other}"), one=one, other=other), map(outside, names)
    )


@register.filter
def enumerated(names: Iterable[object]) -> SafeString:
    """Names from outside with commas between them, as HTML for display; at least one."""
    return reduce(
        lambda one, other: format_html(gettext("{first}, {next}"), first=one, next=other), map(outside, names)
    )


@register.filter
def phrase(template: str, value: object) -> SafeString:
    """A piece of a sentence about one value, as HTML: `template`, with {what} where the value belongs, muted around the value.

    Where `key=value` must break, it does so behind the sign, and not within a word.
    """
    before, _hole, after = str(template).partition("{what}")
    muted = [
        format_html('<span class="muted">{}</span>', part.strip()) if part.strip() else mark_safe("")
        for part in (before, after)
    ]
    parts = str(value or "").split("=")
    shown = "=<wbr>".join(outside(part) for part in parts) if value else ""
    told = [piece for piece in (muted[0], shown, muted[1]) if piece]
    return mark_safe(" ".join(told))  # noqa: S308  each piece is escaped above


@register.filter
def said(sentence: str) -> str:
    """A sentence of `federation` in the reader's language, where the catalogues have it: what is written there knows no Django."""
    return translated(sentence, gettext, figure)


@register.filter
def kept(sentence: Any) -> str:
    """A sentence as it was kept in the database (`federation.said.packed`), for `said`."""
    return unpacked(sentence)


# What a run of background work has counted.
_COUNTED = {
    "accounts": _("accounts"), "people": _("people"), "added": _("added"), "gone": _("gone"), "written": _("changed"),
    "forgotten": _("forgotten"), "everybody": _("everybody anew"), "organization": _("organization"), "done": _("steps"), "sent": _("sent"),
    "ok": _("read"), "failed": _("failed"), "held": _("held"), "skipped": _("skipped"), "rows": _("events"), "events": _("events"), "findings": _("findings"),
    "sign_in_states": _("sign-ins begun"), "used_credentials": _("used answers"), "sessions": _("sessions"), "rate_windows": _("counts of attempts"),
    "codes": _("codes"), "device_grants": _("pairings begun"), "wrong_user_codes": _("wrong codes"), "access_tokens": _("access tokens"),
    "refresh_tokens": _("refresh tokens"), "letters": _("letters"), "provider_trials": _("tests of providers"), "families": _("pairings"),
}  # fmt: skip


@register.filter
def run_detail(detail: dict[str, Any]) -> list[tuple[str, str]]:
    """(word, value) of what a run has noted: numbers as people write them, sentences in the reader's language; no zeros."""
    told = []
    for key, value in detail.items():
        word = str(_COUNTED.get(key, key))
        if isinstance(value, list):
            if sentences := [said(unpacked(one)) for one in value if unpacked(one)]:
                told.append((word, " ".join(sentences)))
        elif value and not isinstance(value, dict):
            told.append(
                (
                    word,
                    ""
                    if value is True
                    else figure(value)
                    if isinstance(value, int)
                    else str(_COUNTED.get(value, value)),
                )
            )
    return told


@register.filter
def span_of_time(seconds: int | None) -> str:
    """Whole seconds as people say it: 3600 -> "1 h", 5400 -> "1 h 30 min", 172800 -> "2 d"; None -> ""."""
    if seconds is None:
        return ""
    if 0 < seconds < 60:
        return gettext("%(seconds)s s") % {"seconds": int(seconds)}
    hours, minutes = divmod(int(seconds) // 60, 60)
    if hours >= 48 and not hours % 24 and not minutes:
        return gettext("%(days)s d") % {"days": hours // 24}
    said = [gettext("%(hours)s h") % {"hours": hours}] if hours else []
    if minutes or not hours:
        said.append(gettext("%(minutes)s min") % {"minutes": minutes})
    return " ".join(said)


@register.filter
def figure(number: int | None) -> str:
    """A whole number with its thousands apart, as the reader's language writes it."""
    return "" if number is None else number_format(number, use_l10n=True, force_grouping=True)


@register.filter
def unlocalised(number: float) -> str:
    """A number as SVG wants it, whatever the reader's language: a comma would be two numbers."""
    return f"{number:g}"


@register.filter
def moment(at: datetime | None) -> SafeString:
    """An aware datetime as <time>, to the second, in UTC: for logs. `staff.js` turns it into local time where that is wanted."""
    if at is None:
        return mark_safe("")
    return format_html('<time datetime="{}">{}</time>', f"{at:%Y-%m-%dT%H:%M:%SZ}", f"{at:%Y-%m-%d %H:%M:%S} UTC")


@register.filter
def role_name(arn: str) -> str:
    """The name of a role without its path: what IAM's own commands take."""
    return arn.rsplit("/", 1)[-1]


@register.filter
def account_name(arn: str, names: Mapping[str, str]) -> str:
    """What people call the account of an ARN; its number where it has no name (any more), "" for what is no ARN."""
    role = parse_role_arn(arn)
    return names.get(role.account_id, role.account_id) if role is not None else ""


@register.filter
def lasted(seconds: float | None) -> str:
    """How long something took: 0.42 -> "0.4 s", 75 -> "1 min 15 s", 5400 -> "1 h 30 min"; None -> ""."""
    if seconds is None:
        return ""
    if seconds < 10:
        return gettext("%(seconds)s s") % {"seconds": number_format(seconds, 1, use_l10n=True)}
    minutes, rest = divmod(int(seconds), 60)
    if minutes >= 60:
        return span_of_time(int(seconds))
    said = [gettext("%(minutes)s min") % {"minutes": minutes}] if minutes else []
    return " ".join([*said, gettext("%(seconds)s s") % {"seconds": rest}])


@register.filter
def utc(moment: datetime | None) -> SafeString:
    """An aware datetime as <time>, to the minute, in UTC."""
    if moment is None:
        return mark_safe("")
    return format_html('<time datetime="{}">{}</time>', f"{moment:%Y-%m-%dT%H:%M:%SZ}", f"{moment:%Y-%m-%d %H:%M} UTC")


# What our pages call a thing, and which of the drawings in `heroicons` shows it. Any other name is heroicons' own.
_CALLED = {
    "production": "exclamation-triangle",
    "staging": "viewfinder-circle",
    "development": "code-bracket",
    "sandbox": "beaker",
    "shared": "share",
    "other": "stop",
    "lock": "lock-closed",
    "console": "window",
    "copy": "square-2-stack",
    "search": "magnifying-glass",
}
# Drawn for this project on the same 16 x 16 grid.
_BRAND = (
    '<svg width="16" height="16" viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.5" '
    'stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">'
    '<path d="M8 1.5 13.5 4v4c0 3.3-2.3 5.6-5.5 6.5C4.8 13.6 2.5 11.3 2.5 8V4z"/>'
    '<circle cx="8" cy="6.6" r="1.6"/><path d="M8 8.200v3"/></svg>'
)


class _Compact(json.JSONEncoder):
    """JSON without the spaces: of 2,000 roles they are a fifth."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "separators": (",", ":"), "ensure_ascii": False})


@register.filter
def data_script(value: Any, element_id: str) -> SafeString:
    """`value` as a block of JSON that no browser runs, for a script to read; as Django's json_script, but compact."""
    return json_script(value, element_id, encoder=_Compact)


@register.simple_tag
@cache
def icon(name: str) -> SafeString:
    """An inline SVG of 16 px in the text's own colour, hidden from screen readers: the word beside it carries the meaning.

    `name`: one of ours (`production`, `copy` …) or one of heroicons' "micro" style. Raises heroicons.IconDoesNotExist.
    """
    if name == "brand":
        return mark_safe(_BRAND)  # noqa: S308  a constant of this file
    return mark_safe(heroicon_micro(_CALLED.get(name, name), aria_hidden="true", focusable="false"))  # noqa: S308  out of the package


@register.simple_tag
@cache
def icon_symbols(*names: str) -> SafeString:
    """The icons that a long list uses again and again, drawn once: `icon_use` refers to them by an eighth of the bytes."""
    symbols = [icon(name).replace("<svg ", f'<symbol id="i-{name}" ').replace("</svg>", "</symbol>") for name in names]
    return mark_safe(f'<svg hidden aria-hidden="true">{"".join(symbols)}</svg>')  # noqa: S308  out of the package


@register.simple_tag
@cache
def icon_use(name: str) -> SafeString:
    """An icon that `icon_symbols` has drawn on this page."""
    return format_html('<svg width="16" height="16" aria-hidden="true"><use href="#i-{}"/></svg>', name)


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


_DEEDS = {
    "sign_in": _("Signed in"),
    "sign_out": _("Signed out"),
    "sign_out.by_provider": _("Signed out by the identity provider"),
    "credentials": _("Credentials"),
    "console": _("Console"),
    "revoked": _("Access ended, or allowed again, by an administrator"),
    "client.paired": _("A command line was paired"),
    "client.pairing_allowed": _("A device was allowed"),
    "client.pairing_denied": _("A pairing was denied"),
    "client.revoked": _("A pairing has ended"),
    "token.reused": _("A token came twice, and its pairing was ended"),
    "access.requested": _("Asked for access"),
    "access.decided": _("Decided on a request"),
    "access.withdrawn": _("Withdrew a request"),
    "access.ended": _("Ended an approval"),
    "access.break_glass": _("Break-glass"),
    "access.reviewed": _("Reviewed a break-glass"),
    "sessions.ended": _("Ended other sessions"),
}


@register.simple_tag
def deed_in_words(kind: str) -> str:
    """What an event's kind is called on the page of somebody's own activity."""
    return str(_DEEDS.get(kind, kind))


@register.filter
def own_reason(reason: str) -> str:
    """Why a deed of the reader's own did not work, as a sentence: on the page of their activity."""
    return own_reasons.own_reason(reason)


# The first that fits: Edge calls itself Chrome as well, Chrome calls itself Safari, and Android calls itself Linux.
_BROWSERS = (("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("FxiOS", "Firefox"), ("Chrome/", "Chrome"), ("CriOS", "Chrome"), ("Safari/", "Safari"))  # fmt: skip
_SYSTEMS = (("iPhone", "iOS"), ("iPad", "iOS"), ("Android", "Android"), ("Windows", "Windows"), ("Mac OS", "macOS"), ("CrOS", "ChromeOS"), ("Linux", "Linux"))  # fmt: skip


@register.filter
def browser_name(agent: str) -> str:
    """What a browser calls itself, in two words: "Firefox, macOS"; the beginning of it where it is none that is known."""
    named = next((name for mark, name in _BROWSERS if mark in agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in agent), "")
    return ", ".join(filter(None, (named, system))) if named else agent[:60]


_SEVERITIES = {
    "error": _("keeping people out"),
    "danger": _("open too far"),
    "warning": _("may be open too far"),
    "info": _("to know"),
}


@register.simple_tag
def severity_word(severity: str) -> str:
    """What trust findings of a severity are, one as well as many."""
    return str(_SEVERITIES.get(severity, severity))


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
