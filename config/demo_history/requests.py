"""What people asked for and others decided: requests, break-glass, drafts of the mapping. Told by the flows themselves."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from config.demo_history.company import Company
from config.demo_history.days import Known
from federation.audit.events import Origin
from federation.flows import decide_requests, mapping_drafts, request_access
from federation.mapping.document import parse
from federation.models import current
from federation.models.people import Person
from federation.models.requests import AccessRequest, RequestedRole

_ORIGIN: Final = Origin(request_id="history", address="192.0.2.40", user_agent="seed_history")
_ROLE: Final = "Administrator"
_REASONS: Final = (
    "INC-{n}: checkout answers 502 since the deploy", "CHG-{n}: rotate the database password", "INC-{n}: queue is stuck, need to purge",
    "CHG-{n}: new certificate for the load balancer", "INC-{n}: disk of the search cluster is full", "CHG-{n}: turn off the old load balancer",
    "Restore last night's snapshot for support case {n}", "INC-{n}: customers see each other's baskets",
)  # fmt: skip
_NOES: Final = ("Use Operator for this.", "Please name the change.", "The window is tomorrow; ask again then.")
Milestone = tuple[datetime, Callable[[datetime], Any]]


def milestones(company: Company, people: Mapping[str, Known]) -> list[Milestone]:
    """When something was asked for or decided. Some of it waits still: for Frank to approve, for him to review."""
    chance = random.Random("requests of Example Corp")  # noqa: S311  the same company each time, no secret
    engineers = [
        one for one in people.values()
        if one.employee.mfa and one.employee.left is None and one.employee.joined == company.begin
        and "engineering" in one.employee.claims[-1].groups and "contractors" not in one.employee.claims[-1].groups
        and "sre-leads" not in one.employee.claims[-1].groups
    ]  # fmt: skip
    leads = [
        one for one in people.values() if "sre-leads" in one.employee.claims[-1].groups and one.employee.left is None
    ]
    frank = people["frank"]
    accounts = [account["id"] for account in company.organization if account["tags"].get("environment") == "production"]
    found: list[Milestone] = []
    for number in range(34):
        asker = chance.choice(engineers)
        story = _Story(
            asker,
            chance.choice([lead for lead in leads if lead is not asker]),
            tuple(chance.sample(accounts, chance.choice((1, 1, 1, 2)))),
            chance.choice(_REASONS).format(n=4200 + 7 * number),
            chance.choices(("yes", "no", "part", "silence"), (70, 12, 10, 8))[0],
            chance.randint(2, 40),
            chance.choice(_NOES),
        )
        at = company.now - timedelta(days=80 - 2.3 * number, hours=chance.uniform(-3, 3))
        found += story.asked(at)
    alice = _Story(people["alice"], frank, tuple(accounts[:2]), "CHG-4471: new certificate for the shop", "waits")
    dave = _Story(people["dave"], frank, (accounts[2],), "INC-4480: nightly load failed", "waits")
    found += alice.asked(company.now - timedelta(minutes=95)) + dave.asked(company.now - timedelta(minutes=21))
    on_call = [one for one in engineers if any(group.endswith("-oncall") for group in one.employee.claims[-1].groups)]
    down = _Story(
        on_call[0], frank, (accounts[0],), "INC-4011: nobody of the leads answers, the shop is down", "yes",
        minutes=14 * 60, comment="The lead on call was not paged: the rota is mended.",
    )  # fmt: skip
    still = _Story(
        on_call[1], frank, (accounts[1],), "INC-4466: payments stand still, on-call lead on a plane", "waits"
    )
    found += down.taken(company.now - timedelta(days=37)) + still.taken(company.now - timedelta(hours=9))
    found.append((company.now - timedelta(hours=20), partial(_draft, people["heidi"])))
    return found


def _fresh(one: Known, at: datetime) -> None:
    """As if they had just signed in: nobody decides on old claims."""
    claims = one.employee.claims_at(at)
    Person.objects.filter(pk=one.id).update(
        claims_at=at, authenticated_at=at, groups=sorted(claims.groups), attributes={"department": [claims.department]}
    )


@dataclass(slots=True)
class _Story:
    """Who wanted what, and what became of it: `answer` is yes, no, part, silence or waits, `minutes` later."""

    asker: Known
    decider: Known
    accounts: tuple[str, ...]
    reason: str
    answer: str
    minutes: int = 0
    comment: str = ""
    request: AccessRequest | None = None

    def asked(self, at: datetime) -> list[Milestone]:
        """The asking, and the answer if there is one."""
        answered = (at + timedelta(minutes=self.minutes), partial(_decide, self))
        return [(at, partial(_ask, self)), *([answered] if self.answer in {"yes", "no", "part"} else [])]

    def taken(self, at: datetime) -> list[Milestone]:
        """Taking at once, and the review if there was one."""
        reviewed = (at + timedelta(minutes=self.minutes), partial(_review, self))
        return [(at, partial(_take, self)), *([reviewed] if self.answer == "yes" else [])]


def _ask(told: _Story, at: datetime) -> None:
    _fresh(told.asker, at)
    arns = [f"arn:aws:iam::{account}:role/{_ROLE}" for account in told.accounts]
    told.request = request_access.ask(
        told.asker.id, arns, reason=told.reason, duration=2 * 3600, channel="portal", origin=_ORIGIN, now=at
    )


def _decide(told: _Story, at: datetime) -> None:
    _fresh(told.decider, at)
    items = list(RequestedRole.objects.filter(request=told.request).select_related("request__person").order_by("id"))
    terms = decide_requests.weigh(items, current.mapping(), now=at)
    choices = [
        decide_requests.Choice(
            item.pk, told.answer == "yes" or (told.answer == "part" and number == 0), terms[item.pk].seen
        )
        for number, item in enumerate(items)
    ]
    said = "" if told.answer == "yes" else told.comment
    request = items[0].request_id
    decide_requests.decide(told.decider.id, request, choices, comment=said, channel="portal", origin=_ORIGIN, now=at)


def _take(told: _Story, at: datetime) -> None:
    _fresh(told.asker, at)
    account = told.accounts[0]
    name = current.mapping().compiled.accounts[account].name
    told.request = request_access.break_glass(
        told.asker.id, [f"arn:aws:iam::{account}:role/{_ROLE}"], reason=told.reason, duration=3600, confirmation=name,
        channel="portal", origin=_ORIGIN, now=at,
    )  # fmt: skip


def _review(told: _Story, at: datetime) -> None:
    if told.request is not None:
        _fresh(told.decider, at)
        decide_requests.review(
            told.decider.id, told.request.pk, justified=True, comment=told.comment, origin=_ORIGIN, now=at
        )


def _draft(author: Known, at: datetime) -> None:
    """A draft that its author has not finished: analysts get the bills too."""
    _fresh(author, at)
    person = Person.objects.get(pk=author.id)
    draft = mapping_drafts.begin(person, origin=_ORIGIN, now=at, comment="Analysts read the bills as well")
    text = draft.text.replace("when: {groups: [finops]}", "when: {groups: [finops, analytics]}")
    parse(text)
    mapping_drafts.save(person, draft.pk, text, version=draft.version, origin=_ORIGIN, now=at)
