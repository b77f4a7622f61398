"""The small values of a mapping document: each function reads one, or adds a fault that says what would be right."""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import UTC, date, datetime, time
from typing import Any
from urllib.parse import urlsplit

from federation.mapping.durations import parse_duration
from federation.mapping.patterns import MAX_PATTERN, PatternError, expression_of, is_glob, program_size
from federation.mapping.reading import Value, quoted
from federation.mapping.regions import KNOWN, PARTITIONS, is_region, partition_of
from federation.mapping.rolearn import ACCOUNT_ID, ROLE_SEGMENT, is_reserved_name
from federation.mapping.rules import GroupMatch
from federation.said import say

SHORTEST_SESSION, LONGEST_SESSION = 900, 43_200  # STS DurationSeconds (AWS.md, "The two calls")
MAX_POLICY = 2_048
MAX_TAGS, MAX_TAG_KEY = 50, 128

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,48}[a-z0-9])?")
_DOMAIN = re.compile(r"(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])")
_SAML_PROVIDER = re.compile(r"[A-Za-z0-9._-]{1,128}")
_ROLE_GLOB = re.compile(r"[A-Za-z0-9_+=.@*?/-]{1,512}")
_POLICY_ARN = re.compile(r"arn:([a-z-]{1,20}):iam::(aws|[0-9]{12}):policy/[A-Za-z0-9_+=.@/-]{1,640}")
_ATTRIBUTE = re.compile(r"[A-Za-z0-9_.:/-]{1,128}")
_REFERENCE = re.compile(r"\$\{[A-Z][A-Z0-9_]*\}")
_PEM = re.compile(r"\s*-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*")

# What is read most often is worded once.
_ACCOUNT = say('an account id of 12 digits in quotes, such as "111122223333"')
_ROLE = say('text: a role name, "path/name" or a glob')
_GROUP = say("text (a group name or glob, or {{regex: …}})")
_MOMENT = say('a moment such as "2026-01-31T09:00:00Z"')


def matching(pattern: re.Pattern[str], wanted: str, *, longest: int = 512) -> Any:
    """A reader of text that fits `pattern`; `wanted` goes into the fault."""

    def read(value: Value) -> str | None:
        text = value.text(longest=longest, wanted=wanted)
        if text is not None and pattern.fullmatch(text) is None:
            value.fault(_not(wanted, text))
            return None
        return text

    return read


def _not(wanted: str, text: str) -> str:
    return say("{wanted} is wanted here, not {found}", wanted=wanted, found=quoted(text))


def exactly_one_of(first: str, second: str, third: str) -> str:
    """The fault of three keys that exclude one another."""
    return say("exactly one of {first}, {second} and {third} is wanted here", first=first, second=second, third=third)


slug = matching(_SLUG, say('a slug of lower-case letters, digits and hyphens, at most 50, such as "corp"'))
domain = matching(_DOMAIN, say('a domain in lower case, such as "example.com"'))
saml_provider = matching(
    _SAML_PROVIDER, say('the name of the IAM SAML provider (letters, digits, ".", "_", "-"; at most 128)')
)
ldap_attribute = matching(
    re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}(?:;[A-Za-z0-9-]{1,32})?"),
    say('the name of an LDAP attribute, such as "mail"'),
)
ldap_dn = matching(
    re.compile(r"(?:[A-Za-z][A-Za-z0-9-]*|[0-9.]+)=.+"),
    say('a distinguished name, such as "dc=example,dc=com"'),
    longest=1_024,
)
scope = matching(re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+"), say("a scope without spaces"))  # RFC 6749 section 3.3


def client_secret(value: Value) -> str | None:
    """A reference into the environment, or the secret itself.

    What only looks like a reference would be taken for the secret: sealed, stored, and refused by the provider for ever.
    """
    text = value.text(longest=1_024)
    if text is not None and "${" in text and _REFERENCE.fullmatch(text) is None:
        value.fault(
            say(
                'a reference is "${{NAME}}" and nothing besides, NAME with capitals, digits and "_", such as "${{ENTRA_SECRET}}"'
            )
        )
        return None
    return text


def account_id(value: Value) -> str | None:
    """Twelve digits, quoted: YAML would read 012345678901 as another number."""
    if value.node.kind == "integer":
        value.fault(say('an account id is text: write "{number}" in quotes', number=value.node.text[:20]))
        return None
    text = value.text(wanted=_ACCOUNT)
    if text is not None and ACCOUNT_ID.fullmatch(text) is None:
        value.fault(say('an account id has 12 digits, such as "111122223333"; this is {text}', text=quoted(text)))
        return None
    return text


def choice(*known: str) -> Any:
    """A reader of one of the known words."""
    wanted = say("one of {words}", words=", ".join(known))

    def read(value: Value) -> str | None:
        text = value.text(wanted=wanted)
        if text is not None and text not in known:
            value.fault(_not(wanted, text))
            return None
        return text

    return read


partition = choice(*PARTITIONS)


def region(value: Value, partition: str) -> str | None:
    """A region of `partition`: a misspelt one would be found out at the account's first mint, and by its people."""
    example = KNOWN[partition][0]
    if value.node.kind != "text":
        value.wrong(say('text (a region such as "{example}")', example=example))
        return None
    text = value.text(longest=64)
    if text is None or is_region(text, partition):
        return text
    told = quoted(text)
    if other := partition_of(text):
        value.fault(
            say(
                "{text} is no region of the partition {partition}; it is one of {other}",
                text=told,
                partition=partition,
                other=other,
            )
        )
    elif near := value.near(text, KNOWN[partition]):
        value.fault(say("{text} is no region of the partition {partition}", text=told, partition=partition), near)
    else:
        value.fault(
            say(
                '{text} is no region of the partition {partition}; its regions are called like "{example}"',
                text=told,
                partition=partition,
                example=example,
            )
        )
    return None


def url(value: Value) -> str | None:
    """An https URL, or plain http on loopback (demo, tests); no user info, no fragment."""
    text = value.text(wanted=say("an https URL"))
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    if (
        not host
        or parts.username
        or parts.password
        or parts.fragment
        or (parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)))
    ):
        value.fault(_not(say("an https URL without user name and fragment"), text))
        return None
    return text


def origin(value: Value) -> str | None:
    """As `url`, with nothing behind the host and port; without the slash at its end."""
    text = url(value)
    if text is None:
        return None
    parts = urlsplit(text)
    if parts.path not in ("", "/") or parts.query:
        value.fault(
            say(
                'an URL without a path is wanted here, such as "https://graph.microsoft.com", not {found}',
                found=quoted(text),
            )
        )
        return None
    return text.removesuffix("/")


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or re.fullmatch(r"127(\.[0-9]{1,3}){3}", host) is not None


def ldap_url(value: Value) -> str | None:
    """`ldaps://host[:port]`, or plain ldap on loopback (tests); nothing behind it."""
    return _ldap_url(value, in_clear=False)


def ldap_url_in_clear(value: Value) -> str | None:
    """`ldap://host[:port]`, where TLS is started before anything is said."""
    return _ldap_url(value, in_clear=True)


def _ldap_url(value: Value, *, in_clear: bool) -> str | None:
    text = value.text(wanted=say("an ldap URL") if in_clear else say("an ldaps URL"))
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    good = (
        parts.scheme == "ldap"
        if in_clear
        else parts.scheme == "ldaps" or (parts.scheme == "ldap" and _is_loopback(host))
    )
    if not host or not good or parts.username or parts.path not in ("", "/") or parts.query or parts.fragment:
        value.fault(
            say(
                'an URL such as "ldap://dc1.example.com" is wanted here with start_tls (with "ldaps://", leave start_tls out), not {found}',
                found=quoted(text),
            )
            if in_clear
            else say(
                'an URL such as "ldaps://ldap.example.com" or "ldaps://dc1.example.com:636" is wanted here (or "ldap://" with start_tls: true), not {found}',
                found=quoted(text),
            )
        )
        return None
    return text


def ldap_filter(value: Value) -> str | None:
    """A filter of RFC 4515 in outer parentheses, as far as its parentheses tell: the server reads the rest."""
    text = value.text(longest=4_096, wanted=say("text (an LDAP filter)"))
    if text is None:
        return None
    depth, ends = 0, []
    for position, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth <= 0:
            ends.append(position)
    if not text.startswith("(") or ends != [len(text) - 1] or depth:
        value.fault(
            say(
                'one filter in parentheses that match is wanted here, such as "(objectClass=person)", not {found}',
                found=quoted(text),
            )
        )
        return None
    return text


def secret_reference(value: Value) -> str | None:
    """A reference into the environment, and never the secret itself."""
    text = value.text(longest=1_024)
    if text is not None and _REFERENCE.fullmatch(text) is None:
        # The text is not repeated: it may be the secret.
        value.fault(
            say('a reference such as "${{LDAP_PASSWORD}}" is wanted here, and the secret in that environment variable')
        )
        return None
    return text


def certificate(value: Value) -> str | None:
    """One certificate, PEM."""
    text = value.text(longest=20_000, multiline=True)
    if text is not None and not is_certificate(text):
        value.fault(say("one certificate in PEM form is wanted here: -----BEGIN CERTIFICATE----- …"))
        return None
    return text


def duration(shortest: int, longest: int, otherwise: str) -> Any:
    """A reader of "1h30m" or whole seconds, between the two bounds (seconds); `otherwise` is the fault that words them."""

    def read(value: Value) -> int | None:
        node = value.node
        seconds = parse_duration(node.text) if node.kind == "text" else None
        if node.kind == "integer" and node.text.isdecimal() and len(node.text) < 10:
            seconds = int(node.text)
        if seconds is None:
            value.fault(
                say(
                    'a duration such as "1h", "90m" or "1h30m", or whole seconds, is wanted here, not {found}',
                    found=quoted(node.text),
                )
            )
        elif not shortest <= seconds <= longest:
            value.fault(otherwise)
            return None
        return seconds

    return read


def _between(shortest: str, longest: str) -> str:
    return say("must be between {shortest} and {longest}", shortest=shortest, longest=longest)


session_duration = duration(
    SHORTEST_SESSION,
    LONGEST_SESSION,
    say(
        "must be between 15m and 12h ({least} and {most} seconds): AWS accepts nothing else",
        least=SHORTEST_SESSION,
        most=LONGEST_SESSION,
    ),
)
approval_duration = duration(1_800, 30 * 86_400, _between("30m", "30d"))
assertion_validity = duration(60, 7_200, _between("1m", "2h"))
directory_interval = duration(60, 86_400, _between("1m", "24h"))
directory_stale_after = duration(3_600, 30 * 86_400, _between("1h", "30d"))


def moment(value: Value) -> datetime | None:
    """An ISO 8601 moment with its zone, or a date, which is its first moment in UTC; given back in UTC."""
    text = value.text(wanted=_MOMENT)
    if text is None:
        return None
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return datetime.combine(date.fromisoformat(text), time(), UTC)
        read = datetime.fromisoformat(text)
        if read.tzinfo is None:
            value.fault(
                say('{text} does not say its zone; add "Z" for UTC, or an offset such as "+02:00"', text=quoted(text))
            )
            return None
        return read.astimezone(UTC)
    except (ValueError, OverflowError):
        value.fault(
            say('a moment such as "2026-01-31T09:00:00Z", or a date, is wanted here, not {found}', found=quoted(text))
        )
        return None


def group_match(value: Value, *, fold: bool = False) -> GroupMatch | None:
    """`engineering`, a glob `aws-*`, or `{exact: …}`, `{glob: …}`, `{regex: …}` to say which it is. `fold`: as GroupMatch's."""
    if value.node.kind != "mapping":
        text = value.text(longest=MAX_PATTERN, wanted=_GROUP)
        return None if text is None else _checked(value, GroupMatch("glob" if is_glob(text) else "exact", text, fold))
    fields = value.fields(("exact", "glob", "regex"))
    if len(value.node.entries) != 1:
        value.fault(exactly_one_of("exact", "glob", "regex"))
        return None
    for kind in ("exact", "glob", "regex"):
        entry = fields.get(kind)
        text = entry.text(longest=MAX_PATTERN) if entry else None
        if entry is not None and text is not None:
            return _checked(entry, GroupMatch(kind, text, fold))
    return None


def _checked(value: Value, match: GroupMatch) -> GroupMatch | None:
    if match.kind == "exact":
        return match
    if value.report.is_full:
        return None  # it was said once, and refused is the whole
    expression = expression_of(match)
    try:
        size = program_size(expression)
    except PatternError as error:
        value.fault(_not_usable(match, error))
        return None
    if value.report.weigh(expression, size):
        value.fault(
            say(
                "the expressions and globs up to here are too large together; use smaller counts in {{…}}, or fewer of them"
            )
        )
        return None
    return match


def _not_usable(match: GroupMatch, error: PatternError) -> str:
    if match.kind == "regex":
        if error.cause:
            return say(
                "the expression does not compile: {cause}; the syntax is RE2's, without look-around and back-references",
                cause=error.cause,
            )
        return say("the expression is too large once compiled; use smaller counts in {{…}}")
    if error.cause:  # a glob becomes an expression that is one
        return say("the glob does not compile: {cause}", cause=error.cause)
    return say("the glob is too large once compiled; use fewer stars, or a shorter one")


def glob(value: Value) -> str | None:
    """A glob over names, as text."""
    text = value.text(longest=256)
    return None if text is None or _checked(value, GroupMatch("glob", text)) is None else text


def role(value: Value) -> str | None:
    """A role name, `path/name`, or a glob of either."""
    text = value.text(longest=512, wanted=_ROLE)
    if text is None:
        return None
    if "{" in text:
        value.fault(
            say('captures are not filled in here; write arns: ["arn:aws:iam::{{account}}:role/{{role}}"] instead')
        )
    elif text.startswith(("arn:", "/")):
        value.fault(say("write the role's name or path/name here, without a slash before it; whole ARNs go under arns"))
    elif is_glob(text):
        if _ROLE_GLOB.fullmatch(text):
            return text if _checked(value, GroupMatch("glob", text)) else None
        value.fault(say("{text} has characters that role names cannot have", text=quoted(text)))
    elif not all(ROLE_SEGMENT.fullmatch(part) for part in text.split("/")):
        value.fault(say("a role name has 1 to 64 of A-Z a-z 0-9 _ + = . @ -; {text} is none", text=quoted(text)))
    elif is_reserved_name(text.rpartition("/")[2]):
        value.fault(
            say("AWSReservedSSO_ roles belong to IAM Identity Center and cannot be assumed this way; name another role")
        )
    else:
        return text
    return None


def policy_arn(value: Value) -> str | None:
    """The ARN of a managed policy."""
    text = value.text(longest=700)
    found = _POLICY_ARN.fullmatch(text) if text is not None else None
    if text is not None and (found is None or found[1] not in PARTITIONS):
        value.fault(_not(say('a managed policy ARN such as "arn:aws:iam::aws:policy/ReadOnlyAccess"'), text))
        return None
    return text


def inline_policy(value: Value) -> str | None:
    """An inline session policy, as JSON text or as a mapping; given back as compact JSON of at most 2,048 characters."""
    if value.node.kind == "mapping":
        policy: Any = _plain(value)
    else:
        text = value.text(longest=100_000, multiline=True)
        if text is None:
            return None
        try:
            policy = json.loads(text, object_pairs_hook=_no_doubles)
        except (ValueError, RecursionError):
            value.fault(say("read-only, the ARN of a managed policy, or an inline policy as JSON is wanted here"))
            return None
    if not isinstance(policy, dict) or "Statement" not in policy:
        value.fault(say('an inline policy is a JSON object with "Version" and "Statement"'))
        return None
    compact = json.dumps(policy, separators=(",", ":"))
    if len(compact) > MAX_POLICY:
        value.fault(
            say(
                "AWS accepts {most} characters of session policy, and these are {number}; use a managed policy's ARN",
                most=MAX_POLICY,
                number=len(compact),
            )
        )
        return None
    return compact


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) != len(pairs):
        raise ValueError("duplicate key")
    return read


def _plain(value: Value) -> Any:
    node = value.node
    match node.kind:
        case "mapping":
            return {key: _plain(entry) for key, entry in value.entries()}
        case "list":
            return [_plain(item) for item in value.items(at_least_one=False)]
        case "boolean":
            return node.text.casefold() == "true"
        case "integer" if node.text.lstrip("+-").isdecimal() and len(node.text) < 19:
            return int(node.text)
        case "nothing":
            return None
    return node.text


def is_certificate(text: str) -> bool:
    """True if the text is one PEM certificate block."""
    return _PEM.fullmatch(text) is not None


def is_attribute_name(text: str) -> bool:
    """True if the text may name an attribute, and so stand in `{attributes.…}`."""
    return _ATTRIBUTE.fullmatch(text) is not None


def is_tag_text(text: str) -> bool:
    r"""True if every character may stand in a tag: `[\p{L}\p{Z}\p{N}_.:/=+\-@]` (STS API, Tag)."""
    return all(c in "_.:/=+-@" or unicodedata.category(c)[0] in "LZN" for c in text)
