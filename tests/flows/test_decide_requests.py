"""Deciding: who may, on what they saw, and what the mapping says at the moment of use. Each attack by its reason code."""

import threading
from datetime import timedelta

import pytest
from django.db import connection

from federation.errors import AccessDenied, ApprovalRequired, MayNotDecide, NotFound, RequestRefused, RequestStale
from federation.flows import decide_requests
from federation.models import AccessRequest, Person, RequestedRole
from federation.models.requests import Letter
from federation.queries import requests as cases
from tests import cast
from tests.flows.requests_kit import ADMIN, BREAKER, DOCUMENT, OPERATOR, alice, carol, dana, desk, erin

__all__ = ["desk"]


def reason(call, kind):
    with pytest.raises(kind) as refused:
        call()
    return refused.value.reason


# --- Who may ---------------------------------------------------------------------------------------------


def test_nobody_approves_their_own(desk, events):
    lead = desk.person(cast.identity("sam", groups=("engineering", "sre-leads"), mfa=True))
    request = desk.ask(lead)
    assert reason(lambda: desk.decide(lead, request), MayNotDecide) == "own_request"
    assert reason(lambda: desk.decide(lead, request, False), MayNotDecide) == "own_request"
    assert events()[-1] == ("access.decided", "refused", "own_request")
    assert RequestedRole.objects.get().state == "pending"


def test_nor_by_a_second_identity_with_the_same_address(desk):
    asker = desk.person(alice())
    other_self = desk.person(
        cast.identity("a-lead", groups=("sre-leads",), provider="entra", email="ALICE@example.com")
    )
    assert reason(lambda: desk.decide(other_self, desk.ask(asker)), MayNotDecide) == "own_request_by_email"


def test_only_whom_the_rule_names(desk, events):
    request = desk.ask(desk.person(alice()))
    for stranger in (carol(), erin(), cast.bob()):
        assert reason(lambda who=stranger: desk.decide(desk.person(who), request), MayNotDecide) == "not_an_approver"
    assert events()[-1] == ("access.decided", "refused", "not_an_approver")


BOUND = DOCUMENT.replace("by: [sre-leads], at_most: 4h, reason", "by: [sre-leads], provider: corp, at_most: 4h, reason")
PARTNER = cast.identity("mallory", groups=("sre-leads",), provider="entra", email="mallory@partner.example")


def test_a_lead_of_another_providers_making_says_no_yes(desk):
    """Whoever runs another provider can call any group of theirs sre-leads."""
    desk.publish(BOUND)
    request = desk.ask(desk.person(alice()))
    partner = desk.person(PARTNER)
    assert reason(lambda: desk.decide(partner, request), MayNotDecide) == "not_an_approver"
    assert cases.waiting(partner.pk, now=desk.now) == []
    assert reason(lambda: cases.one(partner.pk, request.pk, now=desk.now), NotFound) == "request_of_another"
    desk.decide(desk.person(dana()), request)
    assert desk.access(request.person).approved is not None


def test_a_yes_that_such_a_lead_has_given_counts_no_more_once_the_rule_says_whose(desk):
    request = desk.ask(desk.person(alice()))
    desk.decide(desk.person(PARTNER), request)
    assert desk.access(request.person).approved is not None
    desk.publish(BOUND)
    assert reason(lambda: desk.access(request.person), ApprovalRequired) == "approval_required"


def test_nor_do_such_people_take_it_at_once(desk):
    bound = DOCUMENT.replace(
        "by: [sre-leads], at_most: 4h, break", "by: [sre-leads], provider: corp, at_most: 4h, break"
    )
    partner = cast.identity("mallory", groups=("engineering", "sre-on-duty"), provider="entra")
    taken = desk.take(desk.person(partner))
    assert desk.access(taken.person, BREAKER).approved.break_glass
    desk.publish(bound)
    assert reason(lambda: desk.access(taken.person, BREAKER), ApprovalRequired) == "approval_required"
    assert reason(lambda: desk.take(taken.person), RequestRefused) == "break_glass_not_allowed"
    assert desk.take(desk.person(erin())).kind == "break_glass"


def test_nor_are_they_written_to(desk, settings):
    settings.ROLEGATE_EMAIL_FROM = "rolegate@example.com"
    desk.publish(BOUND)
    desk.person(PARTNER), desk.person(dana(email="dana@example.com"))
    desk.ask(desk.person(alice()))
    assert list(Letter.objects.values_list("to", flat=True)) == ["dana@example.com"]


def test_a_lead_with_old_claims_signs_in_first(desk):
    from federation.errors import ClaimsTooOld

    lead = desk.person(dana())
    desk.forward(hours=13)
    request = desk.ask(desk.person(alice()))
    assert reason(lambda: desk.decide(lead, request), ClaimsTooOld) == "claims_too_old"


def test_a_lead_who_has_left_decides_nothing(desk):
    request = desk.ask(desk.person(alice()))
    left = desk.person(cast.identity("dana", groups=("marketing",)))
    assert reason(lambda: desk.decide(left, request), MayNotDecide) == "not_an_approver"


def test_one_who_may_decide_on_a_part_cannot_decide_on_all(desk):
    request = desk.ask(desk.person(alice()), ADMIN, OPERATOR)
    on_call = desk.person(cast.identity("uma", groups=("on-call-berlin",)))
    assert reason(lambda: desk.decide(on_call, request, True, True), MayNotDecide) == "not_an_approver"
    assert not RequestedRole.objects.exclude(state="pending").exists()  # all or nothing
    desk.decide(on_call, request, None, True)
    assert dict(RequestedRole.objects.values_list("role_arn", "state")) == {ADMIN: "pending", OPERATOR: "approved"}


def test_a_lead_whose_directory_is_silent_decides_nothing(desk, monkeypatch):
    from dataclasses import replace

    request, lead = desk.ask(desk.person(alice())), desk.person(dana())
    fresh = decide_requests.fresh_identity
    monkeypatch.setattr(
        decide_requests, "fresh_identity", lambda *a, **k: replace(fresh(*a, **k), directory_stale=True)
    )
    assert reason(lambda: desk.decide(lead, request), MayNotDecide) == "approver_stale"


# --- On what -----------------------------------------------------------------------------------------------


def test_a_request_that_has_expired(desk):
    request = desk.ask(desk.person(alice()))
    desk.forward(days=3)
    assert reason(lambda: desk.decide(desk.person(dana()), request), RequestStale) == "already_expired"


def test_a_second_decision(desk):
    request, lead = desk.ask(desk.person(alice())), desk.person(dana())
    desk.decide(lead, request, False)
    assert reason(lambda: desk.decide(lead, request), RequestStale) == "already_refused"


def test_terms_that_changed_between_the_page_and_the_click(desk):
    request, lead = desk.ask(desk.person(alice())), desk.person(dana())
    items, terms = desk.terms(request)
    desk.publish(DOCUMENT.replace("at_most: 4h, reason: required", "at_most: 2h, reason: required"))
    from federation.models import current

    current.forget()
    assert reason(lambda: desk.decide(lead, request, seen=terms[items[0].pk].seen), RequestStale) == "terms_changed"
    desk.decide(lead, request)


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        ("name: admins-by-request", "name: admins-otherwise", "rule_changed"),
        ("approval: {by: [sre-leads], at_most: 4h, reason: required}", "session: {duration: 1h}", "allowed"),
        ("groups: [contractors]", "groups: [engineering]", "denied_by_rule"),
        ("groups: [engineering], mfa: true", "groups: [others], mfa: true", "no_matching_rule"),
    ],
)
def test_a_rule_that_is_no_longer_what_was_asked_under(desk, before, after, code):
    request, lead = desk.ask(desk.person(alice())), desk.person(dana())
    desk.publish(DOCUMENT.replace(before, after))
    from federation.models import current

    current.forget()
    assert reason(lambda: desk.decide(lead, request), RequestStale) == f"gives_nothing:{code}"


def test_an_asker_who_has_been_disabled(desk):
    asker = desk.person(alice())
    request = desk.ask(asker)
    Person.objects.filter(pk=asker.pk).update(active=False)
    assert reason(lambda: desk.decide(desk.person(dana()), request), RequestStale) == "gives_nothing:person_disabled"


def test_items_of_another_request_and_nothing_at_all(desk):
    asker, lead = desk.person(alice()), desk.person(dana())
    first, second = desk.ask(asker), desk.ask(asker, OPERATOR)
    foreign = decide_requests.Choice(second.items.get().pk, approve=True, seen="")
    decide = lambda choices, request=first, comment="": decide_requests.decide(
        lead.pk, request.pk, choices, comment=comment, channel="api", origin=desk.origin, now=desk.now
    )
    assert reason(lambda: decide([foreign]), NotFound) == "item_unknown"
    assert reason(lambda: decide([]), RequestRefused) == "nothing_chosen"
    assert reason(lambda: decide([foreign], comment="x" * 1001), RequestRefused) == "comment_too_long"
    first.delete()
    assert reason(lambda: decide([foreign]), NotFound) == "request_unknown"


# --- At the moment of use -------------------------------------------------------------------------------------


@pytest.fixture
def approved(desk):
    asker = desk.person(alice())
    desk.decide(desk.person(dana()), desk.ask(asker, duration=4 * 3600))
    assert desk.access(asker).approved
    return asker


@pytest.mark.parametrize(
    ("before", "after", "kind", "code"),
    [
        ("name: admins-by-request", "name: admins-otherwise", ApprovalRequired, "approval_required"),
        (
            "by: [sre-leads], at_most: 4h, reason",
            "by: [board], at_most: 4h, reason",
            ApprovalRequired,
            "approval_required",
        ),
        ("groups: [contractors]", "groups: [engineering]", AccessDenied, "denied_by_rule"),
        ("groups: [engineering], mfa: true", "groups: [others], mfa: true", AccessDenied, "no_matching_rule"),
    ],
)
def test_an_approval_never_outlives_the_rule(desk, approved, before, after, kind, code):
    desk.publish(DOCUMENT.replace(before, after))
    assert reason(lambda: desk.access(approved), kind) == code


def test_an_approval_by_a_group_that_is_still_named_counts_on(desk, approved):
    desk.publish(DOCUMENT.replace("by: [sre-leads], at_most: 4h", "by: [board, sre-leads], at_most: 4h"))
    assert desk.access(approved).approved


def test_a_glob_of_the_same_letters_is_another_word(desk, approved):
    RequestedRole.objects.update(approved_as=["glob:sre-leads"])
    assert reason(lambda: desk.access(approved), ApprovalRequired) == "approval_required"


def test_a_rule_that_allows_less_shortens_what_was_approved(desk, approved):
    desk.publish(DOCUMENT.replace("at_most: 4h, reason: required", "at_most: 1h, reason: required"))
    assert desk.access(approved).approved.ends_at == desk.now + timedelta(hours=1)


def test_a_person_without_the_second_factor_has_no_use_of_it(desk, approved):
    assert reason(lambda: desk.access(desk.person(cast.alice())), AccessDenied) == "no_matching_rule"


def test_an_approval_is_for_one_person_and_one_role(desk, approved):
    other = desk.person(cast.identity("olga", mfa=True))
    assert reason(lambda: desk.access(other), ApprovalRequired) == "approval_required"
    assert reason(lambda: desk.access(approved, OPERATOR), ApprovalRequired) == "approval_required"


def test_an_approver_takes_back_what_was_given(desk, approved, events):
    lead = desk.person(dana())
    item = RequestedRole.objects.get()
    call = lambda who: decide_requests.take_back(who.pk, item.request_id, item.pk, origin=desk.origin, now=desk.now)
    assert reason(lambda: call(desk.person(erin())), MayNotDecide) == "not_an_approver"
    assert events()[-1] == ("access.ended", "refused", "not_an_approver")
    call(lead)
    assert events()[-1] == ("access.ended", "ok", "")
    assert reason(lambda: desk.access(approved), ApprovalRequired) == "approval_required"
    missing = lambda: decide_requests.take_back(lead.pk, item.request_id, 0, origin=desk.origin, now=desk.now)
    assert reason(missing, NotFound) == "item_unknown"


@pytest.mark.django_db(transaction=True)
def test_of_many_decisions_at_once_one_counts(desk):
    request = desk.ask(desk.person(alice()))
    leads = [desk.person(cast.identity(f"lead-{n}", groups=("sre-leads",))) for n in range(4)]
    items, terms = desk.terms(request)
    outcomes = []

    def go(lead, yes):
        try:
            choice = decide_requests.Choice(items[0].pk, yes, terms[items[0].pk].seen)
            decide_requests.decide(
                lead.pk, request.pk, [choice], comment="", channel="portal", origin=desk.origin, now=desk.now
            )
            outcomes.append("done")
        except RequestStale as error:
            outcomes.append(error.reason)
        finally:
            connection.close()

    threads = [threading.Thread(target=go, args=(lead, number % 2 == 0)) for number, lead in enumerate(leads)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert outcomes.count("done") == 1
    assert {word for word in outcomes if word != "done"} <= {"already_approved", "already_refused", "already_active"}


# --- Reviewing a break-glass --------------------------------------------------------------------------------


def review(desk, person, request, **changes):
    return decide_requests.review(
        person.pk, request.pk, **{"justified": True, "comment": "Was right", "origin": desk.origin, "now": desk.now} | changes
    )  # fmt: skip


def test_a_break_glass_is_reviewed_once_by_somebody_else(desk, events):
    on_duty = desk.person(erin())
    request = desk.take(on_duty)
    assert reason(lambda: review(desk, on_duty, request), MayNotDecide) == "not_a_reviewer"
    assert reason(lambda: review(desk, desk.person(cast.bob()), request), MayNotDecide) == "not_a_reviewer"
    assert reason(lambda: review(desk, desk.person(dana()), request, comment=""), RequestRefused) == "comment_missing"
    reviewed = review(desk, desk.person(carol()), request, justified=False)  # an owner of the gateway
    assert reviewed.finding == "not_justified"
    assert events()[-1] == ("access.reviewed", "ok", "")
    assert reason(lambda: review(desk, desk.person(dana()), request), RequestStale) == "already_reviewed"


def test_an_ordinary_request_has_no_review(desk):
    request = desk.ask(desk.person(alice()))
    assert reason(lambda: review(desk, desk.person(dana()), request), NotFound) == "no_break_glass"


# --- What each of them sees -----------------------------------------------------------------------------------


def test_the_queue_has_what_one_may_decide_on_and_nothing_else(desk, django_assert_num_queries):
    asker, lead = desk.person(alice()), desk.person(dana())
    for arn in (ADMIN, OPERATOR, BREAKER):
        desk.ask(asker, arn)
    taken = desk.take(desk.person(erin()))
    lead_asks = desk.ask(desk.person(cast.identity("sam", groups=("engineering", "sre-leads"), mfa=True)))
    cases.waiting(lead.pk, now=desk.now)
    with django_assert_num_queries(5):
        shown = cases.waiting(lead.pk, now=desk.now)
    assert len(shown) == 5
    assert [case.may_review for case in shown if case.request.pk == taken.pk] == [True]
    assert [case.request.pk for case in shown if case.request.pk == lead_asks.pk] == [lead_asks.pk]
    on_call = desk.person(cast.identity("uma", groups=("on-call-berlin",)))
    assert [[i.role_arn for i in case.items if i.decidable] for case in cases.waiting(on_call.pk, now=desk.now)] == [
        [OPERATOR]
    ]
    assert cases.waiting(asker.pk, now=desk.now) == []


def flood(desk, person, arn, rule, *, kind="approval", state="pending", many=250):
    """As many requests of one person as nobody decides on in a morning, all older than what is asked next."""
    made = AccessRequest.objects.bulk_create(
        AccessRequest(
            person=person, kind=kind, reason="again", duration=1800, created_at=desk.now, expires_at=desk.now + timedelta(days=3)
        )
        for _ in range(many)
    )  # fmt: skip
    RequestedRole.objects.bulk_create(
        RequestedRole(request=one, person=person, role_arn=arn, rule=rule, state=state) for one in made
    )
    desk.forward(seconds=1)


def test_a_flood_of_what_others_decide_on_hides_nothing_from_the_queue(desk):
    """Attack: five colleagues ask for fifty roles each, and nobody else's requests are seen by anybody."""
    flood(desk, desk.person(alice()), ADMIN, "admins-by-request")
    wanted = desk.ask(desk.person(cast.identity("sam", groups=("engineering",))), OPERATOR)
    on_call = desk.person(cast.identity("uma", groups=("on-call-berlin",)))
    assert [case.request.pk for case in cases.waiting(on_call.pk, now=desk.now)] == [wanted.pk]


def test_nor_does_a_pile_of_break_glasses_that_nobody_has_reviewed(desk):
    flood(desk, desk.person(erin()), BREAKER, "in-an-emergency", kind="break_glass", state="approved")
    wanted = desk.ask(desk.person(alice()))
    shown = cases.waiting(desk.person(dana()).pk, now=desk.now)
    assert wanted.pk in [case.request.pk for case in shown if case.decidable]
    assert any(case.may_review for case in shown)
    staff = cases.waiting(desk.person(carol()).pk, now=desk.now)  # may review, and decides on nothing
    assert staff and all(case.may_review for case in staff)


def test_ones_own_requests_take_no_place_in_ones_queue(desk):
    lead = desk.person(cast.identity("lee", groups=("engineering", "sre-leads"), mfa=True))
    flood(desk, lead, ADMIN, "admins-by-request")
    wanted = desk.ask(desk.person(alice()))
    assert [case.request.pk for case in cases.waiting(lead.pk, now=desk.now)] == [wanted.pk]


def test_a_request_is_seen_by_those_concerned_and_by_nobody_else(desk):
    asker, lead = desk.person(alice()), desk.person(dana())
    request = desk.ask(asker)
    assert cases.one(asker.pk, request.pk, now=desk.now).is_own
    case = cases.one(lead.pk, request.pk, now=desk.now)
    assert case.decidable
    assert case.items[0].terms.grant.approval.at_most == 4 * 3600
    assert cases.one(desk.person(carol()).pk, request.pk, now=desk.now).decidable is False  # an owner watches
    for stranger in (cast.bob(), erin()):
        call = lambda who=stranger: cases.one(desk.person(who).pk, request.pk, now=desk.now)
        assert reason(call, NotFound) == "request_of_another"
    call = lambda: cases.one(lead.pk, "00000000-0000-4000-8000-000000000000", now=desk.now)
    assert reason(call, NotFound) == "request_unknown"


def test_whoever_decided_still_finds_it(desk):
    asker, lead = desk.person(alice()), desk.person(dana())
    request = desk.ask(asker)
    desk.decide(lead, request)
    desk.publish(DOCUMENT.replace("name: admins-by-request", "name: admins-otherwise"))
    assert cases.one(lead.pk, request.pk, now=desk.now).standing == "active"
    assert [case.request.pk for case in cases.decided(lead.pk, now=desk.now)] == [request.pk]
    context = cases.context_of(cases.one(lead.pk, request.pk, now=desk.now), now=desk.now)
    assert context.groups == ("engineering",)
    assert context.earlier == ()


def test_ones_own_requests_come_in_pages(desk):
    asker, lead = desk.person(alice()), desk.person(dana())
    for _ in range(27):
        desk.forward(seconds=61)
        desk.decide(lead, desk.ask(asker), False)
    first, further = cases.mine(asker.pk, now=desk.now)
    second, end = cases.mine(asker.pk, now=desk.now, before=further)
    assert (len(first), len(second), end) == (25, 2, None)
    assert first[0].standing == "refused"
