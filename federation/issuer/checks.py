"""What the issuer refuses, and the checks that assertion and token share. Pure.

The issuer repeats checks that `mapping` and `aws` make: it holds the key that every account trusts, so it signs
nothing that it has not looked at itself.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime, timedelta

from federation.errors import ConfigurationError

MAX_LIFETIME = timedelta(minutes=5)
MIN_SESSION_SECONDS = 900
MAX_SESSION_SECONDS = 43_200
_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]{2,64}")


class MintRefused(ConfigurationError):
    """The issuer does not sign this; `reason` names the value at fault. Nothing was minted."""

    code = "mint_refused"
    sentence = "The gateway refused to make the document for AWS from this role's configuration. Tell your administrators, with the request id."


def check_now(now: datetime) -> datetime:
    """`now` without fractions of a second. Raises MintRefused("now_not_utc"): another zone's time would be written as if it were UTC."""
    if now.utcoffset() != timedelta(0):
        raise MintRefused("now_not_utc")
    return now.replace(microsecond=0)


def check_lifetime(lifetime: timedelta) -> timedelta:
    """A document's lifetime: above nothing, at most five minutes. Raises MintRefused("lifetime_out_of_range")."""
    if not timedelta(0) < lifetime <= MAX_LIFETIME:
        raise MintRefused("lifetime_out_of_range", detail=str(lifetime))
    return lifetime


def check_text(text: str, reason: str, *, longest: int, shortest: int = 1) -> str:
    """Printable text of a bounded length: no control, format, surrogate, private or unassigned character.

    Control characters are no XML and newlines forge log lines; format characters (bidi overrides) make one name look like another.
    Raises MintRefused(reason).
    """
    printable = text.isprintable() if text.isascii() else not any(unicodedata.category(c)[0] == "C" for c in text)
    if not shortest <= len(text) <= longest or not printable:
        raise MintRefused(reason, detail=ascii(text)[:200])
    return text


def check_session(session_name: str, source_identity: str) -> None:
    """RoleSessionName and SourceIdentity (STS: 2 to 64 of letters, digits and `_+=,.@-`, the latter not beginning aws:); "" is no SourceIdentity.

    Raises MintRefused: session_name_invalid, source_identity_invalid.
    """
    if not _NAME.fullmatch(session_name):
        raise MintRefused("session_name_invalid", detail=ascii(session_name)[:200])
    check_source_identity(source_identity)


def check_source_identity(source_identity: str) -> None:
    """See check_session. Raises MintRefused("source_identity_invalid")."""
    # "aws:" cannot pass the character set, which has no colon.
    if source_identity and not _NAME.fullmatch(source_identity):
        raise MintRefused("source_identity_invalid", detail=ascii(source_identity)[:200])


_ASCII_TAG = re.compile(r"[A-Za-z0-9 _.:/=+@-]*")


def _tag_text(text: str) -> bool:
    # U+2028 and U+2029 are of class Z too, and end lines in logs.
    return all(
        c in "_.:/=+-@" or (unicodedata.category(c) not in ("Zl", "Zp") and unicodedata.category(c)[0] in "LZN")
        for c in text
    )


def check_tags(tags: Mapping[str, str], transitive: tuple[str, ...]) -> None:
    """Session tags (STS API reference, Tag): ≤ 50, key 1 to 128, value ≤ 256, letters, separators and digits of any script and `_.:/=+-@`, not aws:.

    Raises MintRefused: too_many_tags, tag_invalid, tag_duplicate, transitive_tag_unknown.
    """
    if len(tags) > 50:
        raise MintRefused("too_many_tags", detail=str(len(tags)))
    # One match over everything at once: for tags in plain ASCII, nearly all there are, the characters need no second look.
    plain = _ASCII_TAG.fullmatch("".join(tags) + "".join(tags.values())) is not None
    for key, value in tags.items():
        if (
            not 1 <= len(key) <= 128
            or len(value) > 256
            or key[:4].lower() == "aws:"
            or not (plain or (_tag_text(key) and _tag_text(value)))
        ):
            raise MintRefused("tag_invalid", detail=ascii(key)[:200])
    if len({key.lower() for key in tags}) != len(tags):
        raise MintRefused("tag_duplicate")
    if unknown := [key for key in transitive if key not in tags]:
        raise MintRefused("transitive_tag_unknown", detail=ascii(unknown)[:200])
