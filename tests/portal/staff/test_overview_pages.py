"""Overview, held answers, tokens and unused access."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest

from federation.audit.events import Kind
from federation.audit.record import record
from federation.flows import digest_audit
from federation.models import (
    AuditDigest,
    AuditEvent,
    Entitlement,
    EntitlementState,
    GivenByRule,
    GivenRole,
    HeldAnswer,
    MappingDraft,
    Person,
    RoleUse,
    RuleReach,
    ServiceToken,
    Source,
    TaskRun,
    current,
)
from portal.staff import charts
from tests import cast
from tests.portal.conftest import soup, text_of
from tests.portal.staff.conftest import DOCUMENT

# --- Charts (pure) -------------------------------------------------------------------------------------


def test_a_column_is_as_high_as_its_values_and_stands_on_the_ground():
    drawn = charts.columns([("a", (4, 0)), ("b", (2, 2))], ["well", "not"])
    ground = charts.HEIGHT - charts._EDGE
    heights = {(bar.title): bar.height for bar in drawn.bars}
    assert heights["a: 4 well"] == 2 * heights["b: 2 well"] == 2 * heights["b: 2 not"]
    first = {bar.series: bar for bar in drawn.bars if bar.title.startswith("b")}
    assert first[0].y + first[0].height == pytest.approx(ground, abs=0.2)
    assert first[1].y + first[1].height == pytest.approx(first[0].y, abs=0.2)
    assert drawn.total == 8
    assert drawn.table == (("a", (4, 0)), ("b", (2, 2)))


@pytest.mark.parametrize(
    ("highest", "step"), [(0, 1), (1, 1), (4, 1), (5, 2), (8, 2), (9, 5), (20, 5), (21, 10), (1_000_000, 500_000)]
)
def test_lines_across_stand_at_round_numbers(highest, step):
    assert charts.round_step(highest) == step
    drawn = charts.columns([("a", (highest,))], ["x"])
    assert len(drawn.ticks) <= 6
    assert all(bar.y >= 0 and bar.y + bar.height <= charts.HEIGHT for bar in drawn.bars)


def test_the_ticks_are_equally_far_apart_from_the_ground_to_the_top():
    """The page writes their numbers beside the drawing with equal spaces between."""
    drawn = charts.columns([("a", (165,))], ["x"])
    places = [tick.y for tick in drawn.ticks]
    gaps = [lower - upper for lower, upper in pairwise(places)]
    assert max(gaps) - min(gaps) <= 0.2
    assert (places[0], places[-1]) == (charts.HEIGHT - charts._EDGE, charts._EDGE)


def test_a_few_days_are_named_and_half_of_them_where_it_is_narrow():
    drawn = charts.columns([(f"{day:02}", (1,)) for day in range(30)], ["x"], written=lambda number: f"<{number}>")
    assert [(label.text, label.spare) for label in drawn.labels if label.text] == [("00", False), ("05", True), ("10", False), ("15", True), ("20", False), ("25", True)]  # fmt: skip
    assert len(drawn.labels) == 30  # one below each column
    assert drawn.bars[0].title == "00: <1> x"


def test_nothing_at_all_is_drawn_too():
    assert charts.columns([], ["x"]).bars == ()
    assert charts.columns([("a", (0,))], ["x"]).ticks[0].label == 0


@pytest.mark.parametrize("values", [(1, 2), (-1,)])
def test_values_that_make_no_chart_are_refused(values):
    with pytest.raises(ValueError, match="one value"):
        charts.columns([("a", values)], ["x"])


# --- Overview ------------------------------------------------------------------------------------------


@pytest.fixture
def told(clock, origin):
    from django.db import transaction

    def write(kind, *, outcome="ok", days=0, reason=""):
        with transaction.atomic():
            return record(
                kind,
                actor="corp:alice",
                outcome=outcome,
                origin=origin,
                now=clock.now - timedelta(days=days),
                reason=reason,
            )

    return write


def test_the_overview_says_first_what_needs_doing(console, clock):
    TaskRun.objects.create(
        task="refresh_catalogue",
        started_at=clock.now - timedelta(minutes=5),
        finished_at=clock.now,
        outcome="failed",
        error_code="boom",
    )
    answer = console("owner").get("/staff/")
    first = soup(answer).select("main section")[0]
    assert first.h2.get_text() == "What needs doing"
    assert first.select(".note")
    assert [note["class"] for note in first.select(".note")] == sorted(
        (note["class"] for note in first.select(".note")), key=lambda c: "bad" not in c
    )


def test_each_number_leads_to_its_list(console, clock):
    browser = console("owner")
    tiles = soup(browser.get("/staff/")).select("a.tile")
    assert len(tiles) >= 5
    for tile in tiles:
        assert browser.get(tile["href"]).status_code == 200


def test_the_charts_have_a_title_and_their_numbers_as_a_table(console, told, clock):
    browser = console("auditor")
    for days in (0, 0, 3):
        told(Kind.SIGN_IN, days=days)
    told(Kind.SIGN_IN, outcome="refused", reason="issuer_wrong")
    digest_audit.digest()
    answer = browser.get("/staff/")
    chart = soup(answer).select_one("figure.chart")
    assert chart.svg.title.get_text().startswith("Sign-ins a day")
    rows = {tr.th.get_text(): [td.get_text() for td in tr.select("td")] for tr in chart.select("tbody tr")}
    assert rows[f"{clock.now:%m-%d}"] == ["2", "1"]
    assert len(rows) == 30
    assert "issuer_wrong" in text_of(answer)
    assert not [tag for tag in soup(answer).find_all(True) if tag.has_attr("style")]


@pytest.mark.parametrize(
    ("right", "shown", "hidden"),
    [
        ("approver", "Open sessions", "What needs doing"),
        ("account-owner", "findings:", "Sign-ins"),
        ("mapper", "What needs doing", "Sign-ins a day"),
    ],
)
def test_the_overview_shows_what_the_right_opens(console, right, shown, hidden):
    text = text_of(console(right).get("/staff/"))
    assert shown in text
    assert hidden not in text


def test_what_ends_soon_is_marked(console, clock):
    ServiceToken.objects.create(
        name="okta",
        scope="scim:corp",
        hash="a" * 64,
        created_at=clock.now,
        created_by="x",
        expires_at=clock.now + timedelta(days=3),
    )
    rows = {
        tr.th.find(string=True): tr
        for tr in soup(console("owner").get("/staff/")).select("section[aria-labelledby=endings] tbody tr")
    }
    okta = next(
        tr
        for tr in soup(console("owner").get("/staff/")).select("section[aria-labelledby=endings] tbody tr")
        if "okta" in tr.get_text()
    )
    assert okta.select_one(".state.warn").get_text(strip=True) == "3"
    assert len(rows) >= 4


# --- Held answers --------------------------------------------------------------------------------------


@pytest.fixture
def held(clock):
    def make(account=cast.PROD, key="", **more):
        source, _ = Source.objects.get_or_create(key=key or f"account:{account}", defaults={"state": "held"})
        summary = {
            "why": "too_many_removed",
            "before": 40,
            "after": 2,
            "added": 0,
            "changed": 1,
            "removed": 38,
            "examples": [cast.role(account, "ReadOnly")],
            **more,
        }
        return HeldAnswer.objects.create(source=source, digest="d" * 64, summary=summary, held_at=clock.now)

    return make


def test_a_held_answer_is_shown_with_its_effect_and_decided(console, held):
    held(
        effect={
            "people": 12,
            "never_signed_in": 4,
            "roles_lost": 3,
            "roles_gained": 1,
            "lost": [{"role": "x", "people": 12, "who": ["Alice"]}],
            "gained": [{"role": cast.role(cast.PROD, "Administrator"), "people": 2, "who": ["Mallory"]}],
        }
    )
    browser = console("owner")
    page = browser.get("/staff/held/")
    shown = text_of(page)
    assert "38 of 40 would go" in shown
    assert cast.role(cast.PROD, "ReadOnly") in shown
    assert cast.role(cast.PROD, "Administrator") in shown
    assert "Mallory and 1 more" in shown
    assert "4 people whom it concerns have never signed in" in shown
    answer = browser.submit(page, "/staff/held/decide", decision="accept")
    assert "Accepted" in text_of(browser.get(answer["Location"]))
    row = HeldAnswer.objects.get()
    assert (row.decision, row.decided_by) == ("accepted", f"corp:{browser.person.session_name}")
    assert AuditEvent.objects.latest("seq").kind == "answer.decided"
    assert "accepted" in text_of(browser.get("/staff/held/"))


def test_what_is_accepted_of_a_directory_that_pushes_comes_when_it_sends_it_again(console, held):
    held(key="bulk:corp")
    browser = console("owner")
    answer = browser.submit(browser.get("/staff/held/"), "/staff/held/decide", decision="accept")
    said = text_of(browser.get(answer["Location"]))
    assert "it comes into force as soon as the directory sends it again" in said
    assert "which begins as soon as a worker is free" not in said


def test_a_held_answer_is_called_as_people_call_it(console, held, publish):
    """The account's name, and the name of whoever has decided: an id is nobody's name."""
    held()
    held(account="999988887777")  # of an account that is in the mapping no more
    browser = console("owner")
    page = browser.get("/staff/held/")
    heads = [head.get_text(strip=True) for head in soup(page).select("main section.card h2")]
    assert heads == ["shop-prod", "account:999988887777"]
    assert "Who would lose which role is not known" in text_of(page)
    browser.submit(page, "/staff/held/decide", decision="refuse", source=f"account:{cast.PROD}", since=HeldAnswer.objects.first().held_at.isoformat())  # fmt: skip
    row = soup(browser.get("/staff/held/")).select_one("section[aria-labelledby=before] tbody tr")
    cells = [cell.get_text(" ", strip=True) for cell in row.select("th, td")]
    assert cells[:3] == [f"shop-prod account:{cast.PROD}", "refused", browser.person.name]


def test_the_overview_leads_from_what_waits_to_where_it_is_decided(console, held):
    held()
    browser = console("owner")
    notes = soup(browser.get("/staff/")).select("main .note")
    (waits,) = [note for note in notes if "38 of 40 gone" in note.get_text()]
    assert waits.a["href"] == "/staff/held/"


def test_refusing_keeps_the_last_good_state(console, held):
    held()
    browser = console("owner")
    browser.submit(browser.get("/staff/held/"), "/staff/held/decide", decision="refuse")
    assert HeldAnswer.objects.get().decision == "refused"


def test_an_answer_that_has_changed_since_it_was_shown_is_not_decided(console, held, clock):
    row = held()
    browser = console("owner")
    page = browser.get("/staff/held/")
    HeldAnswer.objects.filter(pk=row.pk).update(held_at=clock.now + timedelta(minutes=1))
    answer = browser.submit(page, "/staff/held/decide", decision="accept")
    assert answer.status_code == 400
    assert "Another answer has come meanwhile" in text_of(answer)
    assert HeldAnswer.objects.get().decision == "waiting"


@pytest.mark.parametrize("decision", ["", "delete"])
def test_a_decision_that_is_none_is_refused(console, held, decision):
    held()
    browser = console("owner")
    assert browser.submit(browser.get("/staff/held/"), "/staff/held/decide", decision=decision).status_code == 400


def test_whoever_may_only_look_decides_nothing(console, held):
    held()
    assert not soup(console("mapper").get("/staff/held/")).select("main form")


# --- Tokens --------------------------------------------------------------------------------------------

SCIM = DOCUMENT.replace("accounts:\n", "directories:\n  - {slug: okta, provider: corp, scim: {}}\naccounts:\n", 1)


@pytest.fixture
def keeper(console, publish, clock, settings):
    settings.ROLEGATE_DIRECTORIES = True
    browser = console("owner")
    publish(SCIM.replace("provider: corp, scim", "provider: entra, scim"), at=clock.now)
    return browser


def test_a_new_token_is_shown_once_and_not_cached(keeper):
    answer = keeper.submit(
        keeper.get("/staff/tokens/"), "/staff/tokens/make", name="okta push", scope="scim:okta", days="90"
    )
    secret = soup(answer).find(id="token").get_text()
    assert secret.startswith("rlg_st_")
    assert "no-store" in answer["Cache-Control"]
    listed = keeper.get("/staff/tokens/")
    assert "okta push" in text_of(listed)
    assert secret not in listed.content.decode()
    assert secret not in "".join(str(event.data) for event in AuditEvent.objects.all())
    gone = keeper.submit(listed, "/staff/tokens/revoke", name="okta push")
    assert "The token is dead" in text_of(keeper.get(gone["Location"]))
    assert ServiceToken.objects.get().revoked_at is not None


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "", "scope": "scim:okta", "days": "90"},
        {"name": "x", "scope": "scim:nowhere", "days": "90"},
        {"name": "x", "scope": "scim:okta", "days": "99999999"},
        {"name": "x", "scope": "zz", "days": "90"},
    ],
)
def test_a_form_with_faults_comes_back_with_what_was_typed(keeper, fields):
    answer = keeper.submit(keeper.get("/staff/tokens/"), "/staff/tokens/make", **fields)
    assert answer.status_code == 422
    assert soup(answer).select_one(".note.bad")
    assert soup(answer).find(id="name")["value"] == fields["name"]
    assert not ServiceToken.objects.exists()


def test_a_token_that_is_not_there_is_not_revoked(keeper):
    page = keeper.submit(keeper.get("/staff/tokens/"), "/staff/tokens/make", name="a", scope="scim:okta", days="90")
    assert page.status_code == 200
    listed = keeper.get("/staff/tokens/")
    ServiceToken.objects.update(revoked_at=keeper.person.created_at)
    assert keeper.submit(listed, "/staff/tokens/revoke").status_code == 404


# --- Unused access -------------------------------------------------------------------------------------


@pytest.fixture
def given(sign_in_as, clock):
    alice = sign_in_as(cast.alice(), at=clock.now)
    row = GivenRole.objects.create(
        digest="b" * 32, role_arn=cast.role(cast.PROD, "ReadOnly"), role_name="ReadOnly", account_id=cast.PROD,
        rule="engineers-read-production", rules=["engineers-read-production"],
    )  # fmt: skip
    GivenByRule.objects.create(rule="engineers-read-production", given=row)
    Entitlement.objects.create(person=alice, given=row, revision=1, since=clock.now)
    EntitlementState.objects.update_or_create(pk=1, defaults={"judged_at": clock.now, "finished_at": clock.now})
    digest_audit.digest()
    AuditDigest.objects.update_or_create(pk=1, defaults={"at": clock.now, "seq": AuditEvent.objects.latest("seq").seq})
    return alice


def test_the_rules_are_listed_with_who_uses_them(console, given):
    browser = console("mapper")
    answer = browser.get("/staff/unused/")
    rows = {
        tr.th.a.get_text(): [td.get_text(strip=True) for td in tr.select("td")]
        for tr in soup(answer).select("#list tbody tr")
    }
    assert {
        "engineers-read-production",
        "engineers-develop",
        "admins-by-request",
        "no-contractors-in-production",
    } <= rows.keys()
    assert [a.get_text() for a in soup(browser.get("/staff/unused/?q=develop")).select("#list tbody th a")] == [
        "engineers-develop"
    ]
    # The span that is looked at is said, where the address does not name it too.
    chosen = lambda query: [chip.contents[0] for chip in soup(browser.get(f"/staff/unused/{query}")).select(".chip[aria-current=true]")]  # fmt: skip
    assert (chosen(""), chosen("?days=30")) == (["90 days"], ["30 days"])


def test_whoever_has_left_or_moved_does_not_use_a_rule_any_more(console, given, sign_in_as, clock):
    """Used by three of one: whoever reads that believes no other number either."""
    for number, active in ((1, True), (2, False)):
        gone = sign_in_as(cast.identity(f"gone-{number}"), at=clock.now)  # fmt: skip
        Person.objects.filter(pk=gone.pk).update(active=active)
        RoleUse.objects.create(person=gone, role_arn=cast.role(cast.PROD, "ReadOnly"), rule="engineers-read-production", first_used_at=clock.now, last_used_at=clock.now, uses=1)  # fmt: skip
    RuleReach.objects.update_or_create(rule="engineers-read-production", defaults={"people": 1})
    (row,) = soup(console("mapper").get("/staff/unused/?q=engineers-read")).select("#list tbody tr")
    assert [cell.get_text(strip=True) for cell in row.select("td.num")][1:] == ["1", "1", "0"]


def test_a_narrower_rule_becomes_a_draft_of_ones_own(console, given):
    browser = console("mapper")
    page = browser.get("/staff/unused/rule?name=engineers-read-production&propose=1")
    assert "Alice" in text_of(page)
    assert cast.role(cast.PROD, "ReadOnly") in text_of(page)
    answer = browser.submit(page, "/staff/unused/narrow")
    draft = MappingDraft.objects.get()
    assert answer["Location"] == f"/staff/mapping/drafts/{draft.pk}/"
    assert draft.author_id == browser.person.pk
    assert "engineers-read-production" not in draft.text
    assert "engineers-develop" in draft.text


def test_nothing_is_proposed_while_the_log_is_not_added_up(console, given):
    browser = console("mapper")
    page = browser.get("/staff/unused/rule?name=engineers-read-production&propose=1")
    assert browser.submit(page, "/staff/unused/narrow").status_code == 302
    AuditDigest.objects.all().delete()
    assert "everything looks unused" in text_of(
        browser.get("/staff/unused/rule?name=engineers-read-production&propose=1")
    )
    assert browser.submit(page, "/staff/unused/narrow").status_code == 400
    assert "more looks unused than is" in text_of(browser.get("/staff/unused/"))
    assert MappingDraft.objects.count() == 1


def test_an_auditor_sees_the_proposal_and_makes_no_draft(console, given):
    page = console("auditor").get("/staff/unused/rule?name=engineers-read-production&propose=1")
    assert "A narrower rule" in text_of(page)
    assert not soup(page).select("main form")


def test_right_after_a_publication_nobody_is_told_that_a_rule_gives_nothing(console, given):
    browser = console("mapper")
    page = "/staff/unused/rule?name=engineers-develop"
    EntitlementState.objects.update(revision=0)
    assert "look again in a few seconds" in text_of(browser.get(page))
    EntitlementState.objects.update(revision=current.mapping().number)
    assert "It gives nothing to anybody now." in text_of(browser.get(page))


def test_a_rule_that_is_not_there_is_not_found(console, given):
    assert console("mapper").get("/staff/unused/rule?name=nothing").status_code == 404
