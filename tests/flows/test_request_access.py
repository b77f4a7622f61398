"""Asking for a role, an approver's yes, its use and its end; each refusal by its reason code."""

from datetime import timedelta

import pytest

from federation import queries
from federation.errors import ApprovalRequired, NotFound, RequestRefused, RequestStale
from federation.flows import request_access, revoke
from federation.models import AccessRequest, AuditEvent, Letter, RequestedRole
from tests import cast
from tests.flows.requests_kit import ADMIN, BREAKER, DOCUMENT, HOUR, OPERATOR, alice, carol, dana, desk, erin

__all__ = ["desk"]


def reason(call, kind=RequestRefused):
    with pytest.raises(kind) as refused:
        call()
    return refused.value.reason


def test_asked_approved_used_and_ended_by_itself(desk, events):
    asker, lead = desk.person(alice()), desk.person(dana())
    assert reason(lambda: desk.access(asker), ApprovalRequired) == "approval_required"
    request = desk.ask(asker)
    assert reason(lambda: desk.access(asker), ApprovalRequired) == "approval_required"  # asking gives nothing
    desk.forward(minutes=10)
    desk.decide(lead, request)
    access = desk.access(asker)
    assert access.grant.rule == "admins-by-request"
    assert access.approved.ends_at == desk.now + timedelta(hours=1)
    assert access.bounded(12 * HOUR, desk.now) == HOUR - 5
    desk.forward(minutes=44)
    assert desk.access(asker).bounded(HOUR, desk.now) == 16 * 60 - 5
    desk.forward(minutes=2)
    assert reason(lambda: desk.access(asker), ApprovalRequired) == "approval_ending"
    desk.forward(minutes=14)
    assert reason(lambda: desk.access(asker), ApprovalRequired) == "approval_required"
    assert [event for event in events() if event[0].startswith("access.")] == [
        ("access.requested", "ok", ""),
        ("access.decided", "ok", ""),
    ]


def test_one_request_for_several_accounts_of_which_a_part_is_refused(desk):
    asker, lead = desk.person(alice()), desk.person(dana())
    request = desk.ask(asker, ADMIN, OPERATOR)
    desk.decide(lead, request, True, False, comment="Staging is frozen")
    assert [(i.role_arn, i.state) for i in request.items.order_by("role_arn")] == [
        (ADMIN, "approved"),
        (OPERATOR, "refused"),
    ]
    assert desk.access(asker).approved
    assert reason(lambda: desk.access(asker, OPERATOR), ApprovalRequired) == "approval_required"


def test_the_list_of_roles_knows_what_was_asked_and_what_counts(desk):
    asker, lead = desk.person(alice()), desk.person(dana())

    def line():
        mine = queries.my_roles(asker.pk, now=desk.now)
        return next(role for account in mine.accounts for role in account.roles if role.arn == ADMIN), mine.etag

    before, tag = line()
    assert (before.needs_approval, before.asked, before.approved_until) == (True, None, None)
    request = desk.ask(asker)
    assert line()[0].asked == request.pk
    desk.decide(lead, request)
    after, newer = line()
    assert (after.needs_approval, after.approved_until) == (False, desk.now + timedelta(hours=1))
    assert after.max_duration == HOUR - 5
    assert newer != tag


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"arns": [ADMIN], "reason": "  "}, "reason_missing"),
        ({"arns": [ADMIN], "reason": "x" * 1001}, "reason_too_long"),
        ({"arns": [ADMIN], "duration": 5 * HOUR}, "duration_out_of_range"),
        ({"arns": [ADMIN], "duration": 900}, "duration_out_of_range"),
        ({"arns": [ADMIN, OPERATOR], "duration": 5 * HOUR}, "duration_out_of_range"),
        ({"arns": [cast.role(cast.PROD, "ReadOnly")]}, "role_allowed"),
        ({"arns": [cast.role(cast.PROD, "Nobody")]}, "not_requestable:no_matching_rule"),
        ({"arns": [cast.role("999988887777", "Any")]}, "not_requestable:account_unknown"),
        ({"arns": [cast.role(cast.PROD, f"R{n}") for n in range(21)]}, "too_many_roles"),
    ],
)
def test_what_cannot_be_asked_for(desk, events, changes, expected):
    asker = desk.person(alice())
    wanted = {"reason": "why", "duration": HOUR, **changes}
    arns = wanted.pop("arns")
    assert reason(lambda: desk.ask(asker, *arns, **wanted)) == expected
    assert events()[-1] == ("access.requested", "refused", expected)
    assert not AccessRequest.objects.exists()


def test_no_role_at_all(desk):
    asker = desk.person(alice())
    assert reason(lambda: request_access.plan(asker.pk, [], now=desk.now)) == "no_role"


def test_a_contractor_who_is_denied_cannot_even_ask(desk):
    bob = desk.person(cast.bob(mfa=True))
    assert reason(lambda: desk.ask(bob)) == "not_requestable:denied_by_rule"


def test_a_reason_that_is_optional(desk):
    assert desk.ask(desk.person(alice()), OPERATOR, reason="").reason == ""


def test_the_same_role_is_not_asked_for_twice(desk):
    asker = desk.person(alice())
    desk.ask(asker)
    assert reason(lambda: desk.ask(asker, OPERATOR, ADMIN)) == "already_asked"
    desk.forward(days=3)
    again = desk.person(alice())
    assert desk.ask(again).items.count() == 1  # the first has expired


def test_presets_end_with_the_most_that_the_rule_allows(desk):
    assert request_access.presets(4 * HOUR) == (1800, HOUR, 2 * HOUR, 4 * HOUR)
    assert request_access.presets(1800) == (1800,)
    planned = request_access.plan(desk.person(alice()).pk, [ADMIN, OPERATOR], now=desk.now)
    assert planned.durations[-1] == 4 * HOUR
    assert planned.reason_required
    assert [str(match) for match in planned.approvers] == ["sre-leads", "on-call-*"]


def test_withdrawing(desk, events):
    asker, lead = desk.person(alice()), desk.person(dana())
    request = desk.ask(asker)
    request_access.withdraw(asker.pk, request.pk, origin=desk.origin, now=desk.now)
    assert events()[-1] == ("access.withdrawn", "ok", "")
    assert reason(lambda: desk.decide(lead, request), RequestStale) == "already_withdrawn"
    assert (
        reason(lambda: request_access.withdraw(asker.pk, request.pk, origin=desk.origin, now=desk.now), RequestStale)
        == "nothing_to_withdraw"
    )
    assert reason(lambda: desk.access(asker), ApprovalRequired) == "approval_required"


def test_nobody_withdraws_or_gives_back_for_another(desk):
    asker, lead = desk.person(alice()), desk.person(dana())
    request = desk.ask(asker)
    desk.decide(lead, request)
    item = request.items.get()
    for call in (
        lambda: request_access.withdraw(lead.pk, request.pk, origin=desk.origin, now=desk.now),
        lambda: request_access.give_back(lead.pk, request.pk, item.pk, origin=desk.origin, now=desk.now),
    ):
        assert reason(call, NotFound) == "request_of_another"


def test_giving_back_before_the_end(desk, events):
    asker, lead = desk.person(alice()), desk.person(dana())
    request = desk.ask(asker)
    desk.decide(lead, request)
    item = request.items.get()
    request_access.give_back(asker.pk, request.pk, item.pk, origin=desk.origin, now=desk.now)
    assert events()[-1] == ("access.ended", "ok", "")
    assert reason(lambda: desk.access(asker), ApprovalRequired) == "approval_required"
    again = lambda: request_access.give_back(asker.pk, request.pk, item.pk, origin=desk.origin, now=desk.now)
    assert reason(again, RequestStale) == "not_active"
    nothing = lambda: request_access.give_back(asker.pk, request.pk, 0, origin=desk.origin, now=desk.now)
    assert reason(nothing, NotFound) == "item_unknown"


def test_revoking_a_person_ends_their_approvals_and_requests(desk):
    asker, lead = desk.person(alice()), desk.person(dana())
    approved, pending = desk.ask(asker), desk.ask(asker, OPERATOR)
    desk.decide(lead, approved)
    revoke.revoke(asker, disable=False, actor="carol", why="stolen laptop", origin=desk.origin, now=desk.now)
    assert AuditEvent.objects.latest("seq").data["approvals"] == 1
    again = desk.person(alice())
    assert reason(lambda: desk.access(again), ApprovalRequired) == "approval_required"
    assert RequestedRole.objects.get(request=pending).state == "withdrawn"


# --- Break-glass -----------------------------------------------------------------------------------------


def test_break_glass_gives_the_role_at_once_is_told_and_recorded(desk, events, settings):
    settings.ROLEGATE_EMAIL_FROM = "gateway@example.com"
    desk.person(dana())
    on_duty = desk.person(erin())
    request = desk.take(on_duty)
    access = desk.access(on_duty, BREAKER)
    assert access.approved.break_glass
    assert access.approved.ends_at == desk.now + timedelta(minutes=30)
    assert events()[-1] == ("access.break_glass", "ok", "")
    data = AuditEvent.objects.latest("seq").data
    assert (data["why"], data["told"], data["roles"]) == ("Shop is down, INC-1", 1, [BREAKER])
    letter = Letter.objects.get()
    assert letter.to == "dana@example.com"
    assert letter.subject == "BREAK-GLASS: Erin took BreakGlass in shop-prod"
    assert f"/requests/{request.pk}/" in letter.body


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"reason": ""}, "reason_missing"),
        ({"confirmation": "shop"}, "not_confirmed"),
        ({"duration": 2 * HOUR}, "duration_out_of_range"),
    ],
)
def test_break_glass_wants_a_reason_and_a_second_look(desk, events, changes, expected):
    on_duty = desk.person(erin())
    assert reason(lambda: desk.take(on_duty, **changes)) == expected
    assert events()[-1] == ("access.break_glass", "refused", expected)
    assert reason(lambda: desk.access(on_duty, BREAKER), ApprovalRequired) == "approval_required"


def test_break_glass_is_for_those_whom_the_rule_names(desk):
    assert reason(lambda: desk.take(desk.person(alice()))) == "break_glass_not_allowed"
    both = desk.person(erin(mfa=True))
    assert reason(lambda: desk.take(both, BREAKER, ADMIN)) == "break_glass_not_allowed"


def test_break_glass_takes_one_account_at_a_time(desk):
    desk.publish(
        DOCUMENT.replace("accounts: [shop-prod]}\n    approval", "accounts: [shop-prod, shop-dev]}\n    approval")
    )
    both = [BREAKER, cast.role(cast.DEV, "BreakGlass")]
    assert reason(lambda: desk.take(desk.person(erin()), *both)) == "break_glass_one_account"


def test_whoever_leaves_the_duty_loses_what_they_took(desk):
    desk.take(desk.person(erin()))
    off_duty = desk.person(cast.identity("erin"))
    assert reason(lambda: desk.access(off_duty, BREAKER), ApprovalRequired) == "approval_required"


def test_a_rule_that_no_longer_allows_break_glass_ends_it(desk):
    on_duty = desk.person(erin())
    desk.take(on_duty)
    desk.publish(DOCUMENT.replace(", break_glass: {by: [sre-on-duty], at_most: 1h}", ""))
    assert reason(lambda: desk.access(on_duty, BREAKER), ApprovalRequired) == "approval_required"


def test_an_approver_gets_no_letter_about_themself(desk, settings):
    settings.ROLEGATE_EMAIL_FROM = "gateway@example.com"
    desk.person(dana())
    lead_who_asks = desk.person(cast.identity("sam", groups=("engineering", "sre-leads"), mfa=True))
    desk.ask(lead_who_asks)
    assert list(Letter.objects.values_list("to", flat=True)) == ["dana@example.com"]
    assert carol().email not in set(Letter.objects.values_list("to", flat=True))


def test_asking_and_withdrawing_in_a_loop_buries_nobody_in_letters(desk, settings):
    """Attack: thirty requests a minute, each a letter to every lead; the one about a break-glass stands behind them all."""
    settings.ROLEGATE_EMAIL_FROM = "rolegate@example.com"
    asker = desk.person(alice())
    desk.person(dana(email="dana@example.com"))
    for _ in range(30):
        request = desk.ask(asker)
        request_access.withdraw(asker.pk, request.pk, origin=desk.origin, now=desk.now)
        desk.forward(seconds=61)
    assert Letter.objects.count() == request_access.WRITTEN_ABOUT_AN_HOUR == 10
    assert AuditEvent.objects.filter(kind="access.requested").order_by("seq").last().data["told"] == 0
    desk.ask(desk.person(cast.identity("sam", groups=("engineering",), mfa=True)))  # somebody else's are written about
    assert Letter.objects.count() == 11
    desk.take(desk.person(erin()))
    assert Letter.objects.count() == 12
    desk.forward(hours=1)
    desk.ask(asker)
    assert Letter.objects.count() == 13


def test_a_break_glass_is_told_of_always(desk, settings):
    settings.ROLEGATE_EMAIL_FROM = "rolegate@example.com"
    on_duty = desk.person(erin())
    desk.person(dana(email="dana@example.com"))
    for _ in range(request_access.WRITTEN_ABOUT_AN_HOUR + 2):
        desk.take(on_duty)
        desk.forward(seconds=61)
    assert Letter.objects.count() == request_access.WRITTEN_ABOUT_AN_HOUR + 2
