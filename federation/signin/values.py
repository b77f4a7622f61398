"""What a value may be that an identity provider says of a person, whichever the protocol: bounded, and nothing unseen in it.

Such values stand in lists, letters, logs and session tags. Pure.
"""

from __future__ import annotations

import re
from typing import Final

MAX_VALUE: Final = 1_024  # characters
MAX_GROUPS: Final = 2_000

# C0 and C1 controls, line and paragraph separators, bidirectional overrides and isolates, byte order marks: nothing
# that a name needs, everything that forges a log line or makes one name look like another.
_UNSEEN: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\uffff]")


def has_unseen(text: str) -> bool:
    """Whether a character is in `text` that nobody sees and that changes what they do see."""
    return not text.isprintable() and _UNSEEN.search(text) is not None
