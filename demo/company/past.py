"""The ninety days as one JSON document: what the gateway's `manage.py seed_history` reads. It knows nothing of the gateway's tables.

Every length of time is in days before now. `revisions`: the mapping documents, the first 90 days old, the last being demo/mapping.yaml
less what `make demo` itself applies. `last_used` of the roles comes back from there, so that the local AWS tells the same story.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from demo import estate
from demo.company.accounts import accounts
from demo.company.people import lives
from demo.idp.messages import PERSISTENT

DAYS: Final = 90
# (days ago, author, comment, rules and `sections:` that it added, text replaced in what came before). Told backwards from demo/mapping.yaml.
_CHANGES: Final[tuple[tuple[int, str, str, tuple[str, ...], tuple[tuple[str, str], ...]], ...]] = (
    (90, "carol", "First mapping: taken over from the old sign-in scripts", (), ()),
    (83, "carol", "Data people get the lake and the warehouse", ("data-people-work-on-data", "analysts-query-the-warehouse"), ()),
    (
        71, "heidi", "Search and mobile move off their shared account",
        ("search-team-works-on-its-accounts", "mobile-team-works-on-its-accounts"), (),
    ),
    (63, "carol", "The directory says who has left, without waiting for their next sign-in", ("directories:",), ()),
    (58, "carol", "Contractors never in production (audit finding 2)", ("no-contractors-in-production",), ()),
    (
        44, "heidi", "On call operates production, with a second factor",
        ("on-call-operates-production",), (("console_duration: 12h", "console_duration: 8h"),),
    ),
    (
        37, "heidi", "Logistics, CRM and billing are onboarded",
        ("logistics-team-works-on-its-accounts", "crm-team-works-on-its-accounts", "billing-team-works-on-its-accounts"), (),
    ),
    (22, "carol", "Support second tier looks at production, read only", ("support-looks-at-production",), ()),
    (16, "heidi", "Finance reads the bills itself", ("finance-reads-the-bills",), ()),
    (6, "heidi", "Interns: sandboxes only", ("interns-in-their-sandbox",), ()),
    (2, "carol", "Identity team is onboarded", ("identity-team-works-on-its-accounts",), ()),
)  # fmt: skip


def without(text: str, names: Iterable[str]) -> str:
    """The mapping document without these rules, or sections (`name:`), and without the comment right above each.

    Raises ValueError for one that is not there.
    """
    for name in names:
        rule = rf"(?:^  #.*\n)*^  - name: {re.escape(name)}\n(?:^    .*\n)+\n?"
        section = rf"(?:^#.*\n)*^{re.escape(name)}\n(?:^ .*\n)+\n?"
        text, found = re.subn(section if name.endswith(":") else rule, "", text, flags=re.MULTILINE)
        if found != 1:
            raise ValueError(f"demo/mapping.yaml has {name} {found} times.")
    return text


def revisions() -> list[dict[str, Any]]:
    """Each document that was published, oldest first: days ago, the author's login, comment, text."""
    text, found = estate.MAPPING.read_text(), []
    for days, author, comment, added, replaced in reversed(_CHANGES):
        found.append({"days": days, "author": author, "comment": comment, "text": text})
        text = without(text, added)
        for before, after in replaced:
            text = text.replace(after, before)
    return found[::-1]


def history() -> dict[str, Any]:
    """All of it, as JSON can carry it."""
    return {
        "days": DAYS,
        "provider": "corp",
        "subject_format": PERSISTENT,
        "people": [
            {
                "login": life.actor.login,
                "subject": life.actor.subject,
                "name": life.actor.name,
                "email": life.actor.email,
                "groups": [] if life.actor.overage else list(life.actor.groups),
                "groups_complete": not life.actor.overage,
                "department": life.actor.department,
                "mfa": life.actor.mfa,
                "busy": life.busy,
                "uses": life.uses,
                "office": life.office,
                "command_line": life.command_line,
                "joined": life.joined,
                "left": life.left,
                "before": [
                    {"days": days, "groups": list(groups), "department": department}
                    for days, groups, department in life.before
                ],
            }
            for life in lives()
        ],
        "organization": [
            {
                "id": account.id, "name": account.name, "email": account.email, "state": account.state,
                "unit": f"/{account.unit}", "tags": account.tags,
            }
            for account in accounts()
        ],
        "revisions": revisions(),
    }  # fmt: skip
