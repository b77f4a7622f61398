"""Everything that can go wrong, as a sentence that says what to do next, and the exit status that goes with it."""

from __future__ import annotations

OK = 0
UNEXPECTED = 1
USAGE = 2
NOT_SIGNED_IN = 3
REFUSED = 4
UNREACHABLE = 5
NO_SUCH_ROLE = 6
AWS_FAILED = 7
LOCAL_FILES = 8
INTERRUPTED = 130


class Failure(Exception):
    """What ends a command: `sentence` for stderr, `status` for the shell. `code`: the gateway's own, where it gave one."""

    status = UNEXPECTED

    def __init__(self, sentence: str, *, code: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.code = code


class Usage(Failure):
    """The command line, or a setting, is not in the form that is expected."""

    status = USAGE


class NotSignedIn(Failure):
    """There is no pairing, or it has ended."""

    status = NOT_SIGNED_IN


class Refused(Failure):
    """The gateway says no."""

    status = REFUSED


class Unreachable(Failure):
    """The gateway does not answer, or cannot work now. Credentials that are still valid may be served all the same.

    `sent`: whether the request may have arrived; whoever spent something by it must not send it again.
    """

    status = UNREACHABLE

    def __init__(self, sentence: str, *, code: str = "", sent: bool = False, wait: float | None = None) -> None:
        super().__init__(sentence, code=code)
        self.sent = sent
        self.wait = wait


class NotAGateway(Failure):
    """What answers is no Rolegate gateway, or one that speaks otherwise than this helper can understand."""

    status = UNREACHABLE


class NoSuchRole(Failure):
    """No role, or several, by that name."""

    status = NO_SUCH_ROLE


class AwsFailed(Failure):
    """AWS refused what the gateway asked of it."""

    status = AWS_FAILED


class LocalFiles(Failure):
    """A file of ours cannot be used: readable by others, not writable, broken."""

    status = LOCAL_FILES


KINDS: dict[str, type[Failure]] = {
    kind.__name__: kind
    for kind in (Failure, Usage, NotSignedIn, Refused, Unreachable, NotAGateway, NoSuchRole, AwsFailed, LocalFiles)
}


def plain(text: object, longest: int = 300) -> str:
    """Text from elsewhere, safe for a terminal: no control or format characters (escape sequences, bidi tricks)."""
    cleaned = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(text))
    return cleaned if len(cleaned) <= longest else cleaned[: longest - 1] + "\N{HORIZONTAL ELLIPSIS}"
