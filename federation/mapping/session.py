"""The names, tags and length of an AWS session, worked out from a verified identity and from nothing else."""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Mapping

from federation.identity import Identity
from federation.mapping.durations import spoken_duration
from federation.mapping.leaves import LONGEST_SESSION, SHORTEST_SESSION, is_tag_text
from federation.mapping.rules import SessionOptions
from federation.mapping.templates import TemplateError, parse_template
from federation.said import say

MAX_NAME, DIGEST_CHARACTERS, MAX_TAG_VALUE = 64, 13, 256
DEFAULT_MAX_SESSION = 3_600
"""What every role accepts: MaxSessionDuration is 3,600 at least (IAM CreateRole)."""


def session_name(identity: Identity) -> str:
    r"""RoleSessionName: 2 to 64 of `[\w+=,.@-]`, ASCII: the local part of the e-mail (or the subject), "-", 13 characters.

    The 13 are 65 bits of SHA-256 over (provider, format, value): two people whose names clean to the same text still
    get different session names (THREATS). Source: STS API, AssumeRoleWithSAML.
    """
    readable = identity.email.partition("@")[0] or identity.subject.value
    ascii_only = unicodedata.normalize("NFKD", readable).encode("ascii", "ignore").decode()
    # A comma is allowed by AWS and left out all the same: no text of a person is a separator anywhere.
    cleaned = (
        re.sub(r"[^A-Za-z0-9_+=.@-]+", "-", ascii_only).strip("-.")[: MAX_NAME - DIGEST_CHARACTERS - 1] or "person"
    )
    digest = base64.b32encode(bytes.fromhex(identity.subject.digest)).decode().lower()[:DIGEST_CHARACTERS]
    return f"{cleaned}-{digest}"


def source_identity(identity: Identity) -> str:
    """SourceIdentity: the session name again; it holds no colon, so it can never begin with "aws:" (STS API)."""
    return session_name(identity)


def render_tags(options: SessionOptions, identity: Identity, captures: Mapping[str, str]) -> dict[str, str]:
    """The session tags: each template filled in and cleaned, at most 256 characters.

    A tag of which any field is empty or missing is left out whole: ABAC must see no tag rather than half of one. Several
    values of an attribute are joined by ":", which equals neither, so a condition on one of them fails closed.
    """
    tags = {}
    for key, text in options.tags.items():
        try:
            rendered = parse_template(text).render(lambda name: _value(name, identity, captures))
        except TemplateError:
            continue
        cleaned = clean_tag_value(rendered or "")
        if cleaned:
            tags[key] = cleaned
    return tags


def _value(name: str, identity: Identity, captures: Mapping[str, str]) -> str | None:
    attribute = name.removeprefix("attributes.")
    if attribute != name:
        return clean_tag_value(":".join(value for value in identity.attributes.get(attribute, ()) if value))
    if name in captures:
        return clean_tag_value(captures[name])
    known = {
        "email": identity.email,
        "name": identity.name,
        "subject": identity.subject.value,
        "provider": identity.provider,
    }
    return clean_tag_value(known.get(name, ""))


def clean_tag_value(text: str) -> str:
    r"""`text` in the charset of AWS tags, `[\p{L}\p{Z}\p{N}_.:/=+\-@]*`, every other character a "_", at most 256."""
    composed = unicodedata.normalize("NFC", text)
    spaced = "".join(" " if unicodedata.category(c) in ("Zl", "Zp") else c if is_tag_text(c) else "_" for c in composed)
    return spaced.strip()[:MAX_TAG_VALUE].strip()


_BY_AWS, _BY_THE_MAPPING, _BY_THE_ROLE = say("AWS allows"), say("the mapping allows"), say("the role allows")
_BY_ANY_ROLE = say("a role of unknown length surely allows")


def _limit(options: SessionOptions, role_max: int | None) -> tuple[int, str]:
    """The most seconds that may be asked for, and who allows no more."""
    limits = [(LONGEST_SESSION, _BY_AWS)]
    if options.duration is not None:
        limits.append((options.duration, _BY_THE_MAPPING))
    if role_max is not None:
        limits.append((role_max, _BY_THE_ROLE))
    elif options.duration is None:
        limits.append((DEFAULT_MAX_SESSION, _BY_ANY_ROLE))
    return min(limits)


def longest_duration(options: SessionOptions, role_max: int | None) -> int:
    """The seconds of the longest session that these options and the role allow; `role_max` as in `clamp_duration`."""
    return max(_limit(options, role_max)[0], SHORTEST_SESSION)


def clamp_duration(
    asked: int | None, options: SessionOptions, role_max: int | None, default: int = DEFAULT_MAX_SESSION
) -> tuple[int, str]:
    """(seconds to ask STS for, a notice for the person if that is not what they asked for, else "").

    `asked`: what the person wants, None if they did not say. `role_max`: the role's MaxSessionDuration, None if not
    known. AWS clamps nothing: a second too many and the call fails. Where neither the rule nor the role says, one hour
    is the longest that every role accepts.
    """
    wanted = asked if asked is not None else options.duration or default
    most, who = _limit(options, role_max)
    seconds = max(min(wanted, most), SHORTEST_SESSION)
    if asked is None or seconds == asked:
        return seconds, ""
    if seconds < asked:
        asked_for, given = spoken_duration(asked), spoken_duration(seconds)
        return seconds, say("You asked for {asked}; {who} {given}.", asked=asked_for, who=who, given=given)
    asked_for, given = spoken_duration(max(asked, 0)), spoken_duration(seconds)
    return seconds, say("You asked for {asked}; AWS allows no less than {given}.", asked=asked_for, given=given)
