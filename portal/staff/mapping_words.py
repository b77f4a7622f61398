"""What the codes of the mapping's pages are called, in the reader's language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Words = dict[str, str | Promise]

KINDS: Final[Words] = {
    "gained": _("gets the role"),
    "may_ask": _("may ask for the role"),
    "lost": _("loses the role"),
    "may_not_ask": _("may no longer ask for the role"),
    "approval_needed": _("needs an approval from now on"),
    "approval_lifted": _("needs no approval any more"),
    "session": _("another session"),
}
OPTIONS: Final[Words] = {
    "longer": _("longer session"),
    "shorter": _("shorter session"),
    "console_longer": _("longer console session"),
    "console_shorter": _("shorter console session"),
    "policy_lifted": _("session policy lifted"),
    "policy_set": _("session policy set"),
    "policy_changed": _("another session policy"),
    "tags_changed": _("other session tags"),
}
SIGNS: Final[dict[str, str]] = {
    "gained": "+", "may_ask": "+", "approval_lifted": "+", "lost": "−", "may_not_ask": "−", "approval_needed": "−", "session": "~",  # noqa: RUF001  a minus sign, as beside any other number
}  # fmt: skip
SECTIONS: Final[Words] = {
    "identity_providers": _("identity providers"),
    "directories": _("directories"),
    "accounts": _("accounts"),
    "staff": _("rights of staff"),
    "mapping": _("rules"),
    "delegations": _("delegations"),
}
SECOND_PERSON: Final[Words] = {
    "self": _("The author gains by it."),
    "production": _("It changes what is given in production."),
    "unmarked": _("Accounts are no longer marked as production."),
    "people": _("It affects many people."),
    "staff": _("It changes who may do what in the gateway itself."),
    "sign_in": _("It changes how people sign in, or where their groups come from."),
    "delegations": _("It changes what the owners of accounts may give by themselves."),
}
FINDINGS: Final[Words] = {
    "matches_nobody": _("Matches nobody of today's people."),
    "not_yet": _("Does not count yet: its time begins later."),
    "over": _("Does not count any more: its time is over. It can be taken out."),
    "shadowed": _(
        "Everything that it gives is given, or taken, by other rules: without it nothing would change today."
    ),
    "takes_nothing": _("Takes nothing from anybody today."),
    "no_account": _("Chooses no account."),
    "no_role": _("None of the accounts that it chooses has this role:"),
    "role_unknown": _("The account has no such role:"),
    "account_unknown": _("No account that the gateway knows has this role:"),
}
STATES: Final[Words] = {
    "draft": _("Draft"),
    "waiting": _("Waits for a second person"),
    "published": _("Published"),
    "withdrawn": _("Withdrawn"),
}
# {what}: the value, which some languages have before the words and some behind them.
WHO: Final[Words] = {
    "groups": "{what}",
    "all_of": _("and in {what}"),
    "none_of": _("but not in {what}"),
    "provider": _("signed in at {what}"),
    "attributes": _("with {what}"),
    "mfa": _("with a second factor"),
    "no_mfa": _("without a second factor"),
    "from": _("from {what}"),
    "until": _("until {what}"),
}
WHERE: Final[Words] = {
    "every": _("every account"),
    "account": "{what}",
    "tag": _("tagged {what}"),
    "unit": _("in the unit {what}"),
}
EFFECTS: Final[Words] = {"allow": _("gives"), "deny": _("denies"), "approval": _("gives with an approval")}
EVERY: Final[Mapping[str, Mapping[str, str | Promise]]] = {
    "kinds": KINDS, "options": OPTIONS, "signs": SIGNS, "sections": SECTIONS, "second_person": SECOND_PERSON,
    "findings": FINDINGS, "states": STATES, "who": WHO, "where": WHERE, "effects": EFFECTS,
}  # fmt: skip
