"""What could be a secret, told by its form alone. Pure.

The last fence, never the first: no code passes a secret to a log, an audit event or an error's detail. But people paste a
token where a name belongs, and AWS and libraries quote what they were given.
"""

from __future__ import annotations

import re

REDACTED = "[redacted]"

# Access key ids of temporary credentials, the gateway's own tokens, JWTs, private keys, long Base64.
_FORMS = re.compile(
    r"ASIA[A-Z0-9]{12,}|rlg_[a-z]{2}_[A-Za-z0-9_-]{8,}"
    r"|eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{10,40000}\.[A-Za-z0-9_-]*"
    r"|-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[^-]*(?:-----END [A-Z ]{0,20}PRIVATE KEY-----)?|[A-Za-z0-9+/]{200,}={0,2}"
)
# An ARN is kept: it says what a message is about. Anything else that is as long as a key or a code and mixes its letters
# as only chance does goes: AWS's secret keys have 40 characters, our codes and cookies 32 and 43.
_RUNS = re.compile(r"(arn:aws[a-z-]*:[a-z0-9-]*:[a-z0-9-]*:[0-9]*:[A-Za-z0-9_+=,.@/-]{1,200})|[A-Za-z0-9+/_=-]{24,}")

_CODE = 32  # characters of our shortest code


def without_secrets(text: str) -> str:
    """`text` without what has the form of a secret that the gateway deals in."""
    return _FORMS.sub(REDACTED, text)


def without_random(text: str) -> str:
    """`text`, written by somebody else about what they were given, without any long run of mixed letters and digits.

    Takes more away than is secret: for messages of exceptions and of AWS, not for data.
    """
    return _RUNS.sub(_unless_plain, without_secrets(text))


def _unless_plain(found: re.Match[str]) -> str:
    digits, lower, upper = (any(is_kind(c) for c in found[0]) for is_kind in (str.isdigit, str.islower, str.isupper))
    # One random code of 32 letters and digits in 300 has no digit: from that length on, both cases are enough.
    random = found[1] is None and lower and upper and (digits or len(found[0]) >= _CODE)
    return REDACTED if random else found[0]
