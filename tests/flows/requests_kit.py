"""Who asks, who decides, and under which document: shared by the tests about requests for access."""

from __future__ import annotations

from datetime import timedelta

import pytest

from federation.flows import decide_requests, request_access
from federation.models import current
from tests import cast

ADMIN = cast.role(cast.PROD, "Administrator")
BREAKER = cast.role(cast.PROD, "BreakGlass")
OPERATOR = cast.role(cast.STAGING, "Operator")
DOCUMENT = (
    cast.DOCUMENT
    + """\
  - name: staging-by-request
    when: {groups: [engineering]}
    allow: {roles: [Operator], accounts: [shop-staging]}
    approval: {by: [sre-leads, "on-call-*"], at_most: 8h, reason: optional}
  - name: in-an-emergency
    when: {groups: [engineering]}
    allow: {roles: [BreakGlass], accounts: [shop-prod]}
    approval: {by: [sre-leads], at_most: 4h, break_glass: {by: [sre-on-duty], at_most: 1h}}
"""
)
HOUR = 3600


def alice(**more):
    return cast.alice(mfa=True, **more)


def erin(**more):
    """An engineer on duty."""
    return cast.identity("erin", groups=("engineering", "sre-on-duty"), **more)


def dana(**more):
    """A lead of the site reliability engineers."""
    return cast.identity("dana", groups=("sre-leads",), **more)


def carol(**more):
    """An owner of the gateway; no lead."""
    return cast.carol(**more)


class Desk:
    """Asks, decides and uses, at a moment that can be moved."""

    def __init__(self, publish, sign_in_as, origin, now):
        self.publish, self._sign_in, self.origin, self.now = publish, sign_in_as, origin, now

    def forward(self, **amount):
        self.now += timedelta(**amount)

    def person(self, identity):
        return self._sign_in(identity, at=self.now)

    def ask(self, person, *arns, reason="Deploy 4711 fails", duration=HOUR):
        return request_access.ask(
            person.pk, list(arns) or [ADMIN], reason=reason, duration=duration, channel="portal", origin=self.origin, now=self.now
        )  # fmt: skip

    def take(self, person, *arns, reason="Shop is down, INC-1", duration=1800, confirmation="shop-prod"):
        return request_access.break_glass(
            person.pk, list(arns) or [BREAKER], reason=reason, duration=duration, confirmation=confirmation,
            channel="portal", origin=self.origin, now=self.now,
        )  # fmt: skip

    def terms(self, request):
        items = list(request.items.select_related("request__person").order_by("role_arn"))
        return items, decide_requests.weigh(items, current.mapping(), now=self.now)

    def decide(self, person, request, *approve, seen=None, comment="Go ahead"):
        items, terms = self.terms(request)
        wanted = approve or (True,) * len(items)
        choices = [
            decide_requests.Choice(item.pk, yes, terms[item.pk].seen if seen is None else seen)
            for item, yes in zip(items, wanted, strict=True)
            if yes is not None
        ]
        return decide_requests.decide(
            person.pk, request.pk, choices, comment=comment, channel="portal", origin=self.origin, now=self.now
        )

    def access(self, person, arn=ADMIN):
        from federation.flows.access import decide

        current.forget()
        return decide(person.pk, arn, now=self.now)


@pytest.fixture
def desk(db, publish, sign_in_as, origin, now):
    publish(DOCUMENT)
    return Desk(publish, sign_in_as, origin, now)
