"""What each staff right lets its holder do in the gateway itself. Pure: the one table, and the powers worked out of it.

Owns the names of the capabilities and who has which. Must never ask whether a person's groups are true: that is
`flows.staff_rights`. A view of the console declares one capability and nothing else decides whether it opens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from federation.mapping.rules import StaffRole


class Capability(StrEnum):
    """One thing that staff may do. `see_` reads; everything else changes something, or takes something out."""

    OPEN_CONSOLE = "open_console"
    SEE_ACCOUNTS = "see_accounts"
    ONBOARD_ACCOUNTS = "onboard_accounts"
    SEE_PROVIDERS = "see_providers"
    MANAGE_PROVIDERS = "manage_providers"
    SEE_MAPPING = "see_mapping"
    EDIT_MAPPING = "edit_mapping"
    PUBLISH_MAPPING = "publish_mapping"
    SEE_PEOPLE = "see_people"
    REVOKE_PEOPLE = "revoke_people"
    SEE_UNUSED = "see_unused"
    SEE_REQUESTS = "see_requests"
    REVIEW_REQUESTS = "review_requests"
    SEE_AUDIT = "see_audit"
    EXPORT_AUDIT = "export_audit"
    VERIFY_AUDIT = "verify_audit"
    SEE_RIGHTS = "see_rights"
    SEE_TASKS = "see_tasks"
    RUN_TASKS = "run_tasks"
    SEE_HELD = "see_held"
    DECIDE_HELD = "decide_held"
    SEE_TOKENS = "see_tokens"
    MANAGE_TOKENS = "manage_tokens"


_C = Capability
_READING: Final = frozenset(
    {_C.SEE_ACCOUNTS, _C.SEE_PROVIDERS, _C.SEE_MAPPING, _C.SEE_PEOPLE, _C.SEE_UNUSED, _C.SEE_REQUESTS, _C.SEE_AUDIT,
     _C.SEE_RIGHTS, _C.SEE_TASKS, _C.SEE_HELD, _C.SEE_TOKENS}
)  # fmt: skip
RIGHTS: Final[Mapping[StaffRole, frozenset[Capability]]] = MappingProxyType(
    {
        "owner": frozenset(Capability),
        # Decides who gets which role; neither who gets into the gateway nor what is taken away by hand.
        "mapper": frozenset(
            {_C.OPEN_CONSOLE, _C.SEE_ACCOUNTS, _C.SEE_PROVIDERS, _C.SEE_MAPPING, _C.EDIT_MAPPING, _C.PUBLISH_MAPPING,
             _C.SEE_PEOPLE, _C.SEE_UNUSED, _C.SEE_RIGHTS, _C.SEE_TASKS, _C.SEE_HELD}
        ),
        # Each of these for the accounts that the entry names, and for no other.
        "account-owner": frozenset({_C.OPEN_CONSOLE, _C.SEE_ACCOUNTS, _C.ONBOARD_ACCOUNTS}),
        "approver": frozenset({_C.OPEN_CONSOLE, _C.SEE_ACCOUNTS, _C.SEE_PEOPLE, _C.SEE_REQUESTS, _C.REVIEW_REQUESTS}),
        # Sees everything, changes nothing.
        "auditor": _READING | {_C.OPEN_CONSOLE, _C.EXPORT_AUDIT, _C.VERIFY_AUDIT},
    }
)  # fmt: skip
"""Right -> capabilities. The documentation and the tests read it off here."""

# What stays open on groups that are too old to be believed: reading, what only takes access away, and reading the sources
# again, which is how the gateway gets out of that state.
WHILE_STALE: Final = _READING | {_C.OPEN_CONSOLE, _C.VERIFY_AUDIT, _C.RUN_TASKS, _C.REVOKE_PEOPLE}


@dataclass(frozen=True, slots=True)
class Powers:
    """What one person may do, and where. `scopes`: capability -> None for the whole gateway, else the account ids.

    `rights`: the names of the rights that give it, in the document's order, each once.
    """

    rights: tuple[StaffRole, ...]
    scopes: Mapping[Capability, frozenset[str] | None]

    @property
    def is_staff(self) -> bool:
        """Whether there is anything to open at all."""
        return bool(self.scopes)

    def may(self, capability: Capability, account_id: str | None = None) -> bool:
        """Whether the capability is there; with an account, whether it is there for that account."""
        if capability not in self.scopes:
            return False
        scope = self.scopes[capability]
        return account_id is None or scope is None or account_id in scope

    def scope(self, capability: Capability) -> frozenset[str] | None:
        """The accounts for which the capability counts: None for all, the empty set where it is not there."""
        return self.scopes.get(capability, frozenset())


NONE: Final = Powers((), MappingProxyType({}))


def powers(held: Iterable[tuple[StaffRole, Iterable[str] | None]], *, stale: bool = False) -> Powers:
    """The powers out of rights held, each with its account ids (None: not bound to accounts). `stale`: only WHILE_STALE.

    Of two rights with one capability the wider scope counts, and scopes of accounts add up.
    """
    rights: dict[StaffRole, None] = {}
    scopes: dict[Capability, frozenset[str] | None] = {}
    for right, accounts in held:
        rights[right] = None
        scope = None if accounts is None else frozenset(accounts)
        for capability in RIGHTS[right]:
            if stale and capability not in WHILE_STALE:
                continue
            known = scopes.get(capability, frozenset())
            scopes[capability] = None if known is None or scope is None else known | scope
    return Powers(tuple(rights), MappingProxyType(scopes))
