"""An event of the audit log as one sentence, in the reader's language. What is not known here is said by its kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from django.utils.functional import Promise
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from federation.models.audit import AuditEvent

# (kind, outcome) or (kind, "") for every outcome. Names in braces: `actor`, `reason`, `role` (account and name of an ARN)
# and what is in the event's data.
_SENTENCES: Final[Mapping[tuple[str, str], str | Promise]] = {
    ("sign_in", "ok"): _("{actor} signed in."),
    ("sign_in", "refused"): _("A sign-in at {actor} was refused: {reason}."),
    ("sign_in", "failed"): _("A sign-in at {actor} failed: {reason}."),
    ("sign_out", ""): _("{actor} signed out."),
    ("sign_out.by_provider", "refused"): _("A sign-out by {actor} was refused: {reason}."),
    ("mint.assertion", ""): _("An assertion was minted for {actor} and {role}."),
    ("mint.token", ""): _("A token was minted for {actor} and {role}."),
    ("credentials", "ok"): _("{actor} got credentials of {role}: {access_key_id}."),
    ("credentials", "refused"): _("{actor} was refused credentials of {role}: {reason}."),
    ("credentials", "failed"): _("{actor} got no credentials of {role}: {reason}."),
    ("console", "ok"): _("{actor} opened the console as {role}."),
    ("console", "refused"): _("{actor} was refused the console as {role}: {reason}."),
    ("console", "failed"): _("{actor} could not open the console as {role}: {reason}."),
    ("mapping.published", "ok"): _("{actor} published revision {revision} of the mapping."),
    ("mapping.published", "refused"): _("{actor} was refused to publish the mapping: {reason}."),
    ("mapping.draft", ""): _("{actor} worked on a draft of the mapping: {change}."),
    ("key.made", ""): _("{actor} made the signing key {kid}."),
    ("key.rotated", ""): _("{actor} rotated the signing key {kid}: {step}."),
    ("key.published", ""): _("{actor} published the gateway's public documents."),
    ("revoked", ""): _("{actor} let a person in again: {why}."),  # without a number: nothing was ended
    ("client.paired", ""): _("{actor} paired the program {client}."),
    ("client.pairing_allowed", ""): _("{actor} allowed a device to be paired with {client}."),
    ("client.pairing_denied", ""): _("A pairing with {client} was denied."),
    ("client.revoked", ""): _("A pairing of {actor} with {client} was ended."),
    ("oauth.refused", ""): _("A request at the OAuth endpoint {endpoint} was refused: {reason}."),
    ("token.reused", ""): _("A refresh token of {actor} came a second time; its whole family is revoked."),
    ("token.refused", ""): _("A bearer token was refused: {reason}."),
    ("provider.documents", ""): _("{source} names certificates, keys or addresses that are new."),
    ("provider.certificate_ends", ""): _(
        "The owners were told that the last certificate of {provider} ends on {ends}."
    ),
    ("answer.decided", ""): _("{actor} decided about the held answer of {source}: {decision}."),
    ("directory.person", ""): _("The directory {directory} says of {user_name}: {change}."),
    ("directory.group", "ok"): _("The directory {directory} says of the group {group_name}: {change}."),
    ("directory.group", "refused"): _(
        "A change of the group {group_name} by the directory {directory} is held: {reason}."
    ),
    ("directory.read", ""): _("The directory {directory} was read, and something had changed."),
    ("directory.disables_many", ""): _("The directory {directory} disables many people one by one."),
    ("directory.empties_group", ""): _("The directory {directory} takes many people out of {group_name} one by one."),
    ("access.requested", "ok"): _("{actor} asked for {roles}: {why}."),
    ("access.requested", "refused"): _("A request for access by {actor} was refused: {reason}."),
    ("access.withdrawn", ""): _("{actor} withdrew a request for {roles}."),
    ("access.decided", "ok"): _("{actor} decided about {role} for somebody: {decision}."),
    ("access.decided", "refused"): _("{actor} was refused to decide a request: {reason}."),
    ("access.break_glass", ""): _("{actor} took {roles} in an emergency: {why}."),
    ("access.reviewed", ""): _("{actor} reviewed access that was taken in an emergency: {finding}."),
    ("access.ended", ""): _("{actor} ended approved access to {role}."),
    ("service_token.made", ""): _("{actor} made the token {name} for {scope}."),
    ("service_token.revoked", ""): _("{actor} revoked the token {name}."),
    ("staff.refused", ""): _("{actor} was refused {path}: {reason}."),
    ("task.asked", ""): _("{actor} started {task}."),
    ("account.verification_asked", ""): _("{actor} had the account {account} verified."),
    ("account.verified", "ok"): _("The account {account} was verified: all is well."),
    ("account.verified", "failed"): _("The account {account} was verified and failed at: {reason}."),
    ("audit.exported", ""): _("{actor} exported events of the audit log."),
}
# As above, of events that count something: what they count, and the sentence for so many.
_COUNTING: Final[Mapping[tuple[str, str], tuple[str, Callable[[int], str]]]] = {
    ("sign_out.by_provider", "ok"): (
        "sessions",
        lambda n: ngettext("{actor} ended {sessions} session.", "{actor} ended {sessions} sessions.", n),
    ),
    ("revoked", "ok"): (
        "sessions",
        lambda n: ngettext(
            "{actor} ended {sessions} session of a person: {why}.",
            "{actor} ended {sessions} sessions of a person: {why}.",
            n,
        ),
    ),
}


_NONE: Final[Mapping[str, str]] = MappingProxyType({})


def sentence(event: AuditEvent, names: Mapping[str, str] = _NONE, accounts: Mapping[str, str] = _NONE) -> str:
    """The event in words. Its parts come from outside: the template escapes them. `names`: actor -> what people call them;
    `accounts`: id -> name, of those that are known today.
    """
    template = _template(event)
    if template is None:
        known = {
            "actor": names.get(event.actor) or event.actor or gettext("somebody"),
            "kind": event.kind,
            "outcome": event.outcome,
        }
        if event.reason:
            return gettext("{actor}: {kind}, {outcome}: {reason}.").format(**known, reason=event.reason)
        return gettext("{actor}: {kind}, {outcome}.").format(**known)
    words: defaultdict[str, str] = defaultdict(lambda: "?", _words(event, accounts))
    words["actor"] = names.get(event.actor) or words["actor"]
    # No attribute or index of a value can be named: the templates are ours, and every value is text.
    return str(template).format_map(words)


def _template(event: AuditEvent) -> str | Promise | None:
    if (counting := _COUNTING.get((event.kind, event.outcome))) is not None:
        what, said = counting
        if isinstance(number := event.data.get(what), int):
            return said(number)
    return _SENTENCES.get((event.kind, event.outcome)) or _SENTENCES.get((event.kind, ""))


def _words(event: AuditEvent, accounts: Mapping[str, str]) -> dict[str, Any]:
    data = event.data
    words = {name: _text(value) for name, value in data.items()}
    if isinstance(arn := data.get("role_arn"), str):
        words["role"] = _role(arn, accounts)
    if isinstance(arns := data.get("roles"), list):
        words["roles"] = _text([_role(str(one), accounts) for one in arns])
    if isinstance(number := data.get("account"), str):
        words["account"] = _account(number, accounts)
    if isinstance(source := data.get("source"), str):
        kind, colon, key = source.partition(":")
        words["source"] = kind + colon + _account(key, accounts) if kind == "account" else _text(source)
    return {**words, "actor": event.actor or gettext("somebody"), "reason": event.reason or "?"}


def _text(value: Any) -> str:
    return ", ".join(map(str, value[:5])) if isinstance(value, list) else str(value)[:200]


def _account(number: str, accounts: Mapping[str, str]) -> str:
    """Name and number: people know the one, AWS and tickets the other."""
    name = accounts.get(number, "")
    return f"{name} ({number})" if name and name != number else number[:200]


def _role(arn: str, accounts: Mapping[str, str]) -> str:
    parts = arn.split(":", 5)
    if len(parts) != 6:
        return arn
    return gettext("{role} in {account}").format(
        role=parts[5].removeprefix("role/"), account=_account(parts[4], accounts)
    )
