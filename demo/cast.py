"""The people of Example Corp. DEMO ONLY: these passwords are printed on the sign-in page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

OVERAGE_GROUPS = 230


@dataclass(frozen=True, slots=True)
class Actor:
    """One person of the cast. `subject`: the stable, opaque id that both protocols send. `shows`: what signing in as them shows."""

    login: str
    password: str
    name: str
    subject: str
    groups: tuple[str, ...]
    department: str
    mfa: bool
    shows: str

    @property
    def email(self) -> str:
        return f"{self.login}@example.com"

    @property
    def overage(self) -> bool:
        """In more groups than the provider writes into a token or an assertion."""
        return len(self.groups) >= 200


CAST: dict[str, Actor] = {
    actor.login: actor
    for actor in (
        Actor(
            "alice",
            "wonderland",
            "Alice Liddell",
            "u-1001-alice",
            ("engineering", "shop-team"),
            "Engineering",
            True,
            "an engineer: reads production, works in staging and development, may request Administrator",
        ),
        Actor(
            "bob",
            "builder",
            "Bob Contractor",
            "u-1002-bob",
            ("contractors", "engineering"),
            "Engineering",
            False,
            "a contractor: production is denied whatever else he is in",
        ),
        Actor(
            "carol",
            "cloudy",
            "Carol Admin",
            "u-1003-carol",
            ("cloud-platform",),
            "Platform",
            True,
            "the administrator: every account, and owner of the gateway itself",
        ),
        Actor(
            "dave",
            "datum",
            "Dave Data",
            "u-1004-dave",
            ("engineering", "data-science", "aws-777788889999-DataScientist"),
            "Data",
            True,
            "one group gives one role, by a regular expression",
        ),
        Actor(
            "erin",
            "ledger",
            "Erin Ledger",
            "u-1005-erin",
            ("finance",),
            "Finance",
            False,
            "finance: signs in, has no role, and is told why",
        ),
        Actor(
            "frank",
            "pager",
            "Frank Oncall",
            "u-1006-frank",
            ("engineering", "sre-leads"),
            "Reliability",
            True,
            "approves requests for Administrator",
        ),
        Actor(
            "grace",
            "auditor",
            "Grace Auditor",
            "u-1007-grace",
            ("audit",),
            "Risk",
            True,
            "an auditor: looks everywhere, changes nothing",
        ),
        Actor(
            "heidi",
            "mapmaker",
            "Heidi Mapper",
            "u-1009-heidi",
            ("access-mappers",),
            "Platform",
            True,
            "drafts and publishes the mapping, and owns nothing else",
        ),
        Actor(
            "ivan",
            "shopkeeper",
            "Ivan Shopkeeper",
            "u-1010-ivan",
            ("engineering", "shop-owners", "shop-team"),
            "Engineering",
            True,
            "owner of the shop's accounts: sees and verifies those alone",
        ),
        Actor(
            "judy",
            "seconded",
            "Judy Deputy",
            "u-1011-judy",
            ("cloud-platform",),
            "Platform",
            True,
            "the other administrator: publishes what Carol may not publish alone",
        ),
        Actor(
            "olivia",
            "overflow",
            "Olivia Overage",
            "u-1008-olivia",
            tuple(f"project-{number:03}" for number in range(OVERAGE_GROUPS)),
            "Programme Office",
            True,
            "230 groups, more than a token holds: the gateway must say so",
        ),
    )
}


def check_password(login: str, password: str, people: Mapping[str, Actor] | None = None) -> Actor | None:
    """The person, if the password is theirs. `people`: login -> who there is, the cast if not said."""
    actor = (CAST if people is None else people).get(login.strip().lower())
    return actor if actor is not None and actor.password == password else None
