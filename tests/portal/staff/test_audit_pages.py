"""The audit log's pages: finding, watching, taking along and verifying."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.db import transaction

from federation.audit.events import Kind, Origin
from federation.audit.record import record
from federation.flows import background, verify_audit
from federation.models import AuditEvent, TaskRun
from federation.queries import audit_export, audit_log
from portal.staff.sentences import sentence
from tests import cast
from tests.portal.conftest import soup, text_of

KEY = "ASIATESTONLY00000001"


@pytest.fixture
def told(clock):
    """Write an event."""

    def write(kind=Kind.CREDENTIALS, *, actor="corp:alice", outcome="ok", ago=1, request="req-1", reason="", **data):
        with transaction.atomic():
            return record(
                kind, actor=actor, outcome=outcome, origin=Origin(request, "192.0.2.7"), now=clock.now - timedelta(minutes=ago), reason=reason, **data
            )  # fmt: skip

    return write


@pytest.fixture
def log(console, told):
    browser = console("auditor")
    told(ago=30, role_arn=cast.role(cast.PROD, "ReadOnly"), access_key_id=KEY, request="req-key")
    told(
        ago=20,
        outcome="refused",
        reason="no_matching_rule",
        role_arn=cast.role(cast.PROD, "Administrator"),
        actor="corp:bob",
    )
    told(Kind.SIGN_IN, ago=10, actor="corp:<b>mallory\u202e</b>", outcome="refused", reason="issuer_wrong")
    return browser


def sentences(answer):
    return [span.get_text(strip=True) for span in soup(answer).select("#events .prose")]


def test_nothing_found_so_far_says_how_far_back_and_leads_on(log, monkeypatch):
    """A page that has looked at a piece of the log must not say that there is nothing."""
    monkeypatch.setattr(audit_log, "WINDOW", 2)
    empty = soup(log.get("/staff/audit/?q=nowhere")).select_one(".empty")
    assert "No event matches since" in empty.get_text()
    assert empty.find("a", string="Search further back")["href"].startswith("?q=nowhere&after=")
    monkeypatch.setattr(audit_log, "WINDOW", 10_000)
    assert "since" not in soup(log.get("/staff/audit/?q=nowhere")).select_one(".empty").get_text()


def test_an_event_is_a_sentence_first(log):
    shown = sentences(log.get("/staff/audit/?q=kind:credentials"))
    assert shown == [
        f"corp:bob was refused credentials of Administrator in shop-prod ({cast.PROD}): no_matching_rule.",
        f"corp:alice got credentials of ReadOnly in shop-prod ({cast.PROD}): {KEY}.",
    ]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        (f"key={KEY}", 1), (f"q=key:{KEY}", 1), ("request=req-key", 1), ("q=no_matching_rule", 1), ("kind=credentials", 2),
        ("kind=credentials&outcome=refused", 1), ("q=kind:credentials+-outcome:ok", 1), ("role=Administrator", 0),
        (f"role={cast.role(cast.PROD, 'Administrator')}", 1), ("since=2999-01-01", 0), ("until=1999-01-01", 0),
        ("q=%22no+such+words%22", 0),
    ],
)  # fmt: skip
def test_the_log_is_searched_by_what_people_know(log, query, count):
    answer = log.get(f"/staff/audit/?{query}")
    assert answer.status_code == 200
    assert len(sentences(answer)) == count


@pytest.mark.parametrize("query", ["q=kind:nonsense", "q=since:yesterday", "q=%22open", "since=yesterday", "kind=zz"])
def test_a_search_that_cannot_be_read_says_what_is_wrong(log, query):
    answer = log.get(f"/staff/audit/?{query}")
    assert answer.status_code == 422
    assert soup(answer).select_one(".note.bad")
    assert soup(answer).title.get_text().startswith("Error:")


def test_what_comes_from_outside_cannot_become_markup(log):
    answer = log.get("/staff/audit/?kind=sign_in")
    assert b"<b>mallory" not in answer.content
    assert "\u202e" not in answer.content.decode()
    event = AuditEvent.objects.filter(kind="sign_in").latest("seq")
    for path in (f"/staff/audit/{event.seq}/", "/staff/audit/follow?since_seq=0"):
        assert b"<b>mallory" not in log.get(path).content


def test_people_are_called_by_name_and_their_id_stands_below(log, told, sign_in_as):
    """A refusal names its person by their id; a name is text, whatever it looks like."""
    eve = sign_in_as(cast.identity("eve", name="<b>Eve</b>"))
    told(request="by-actor", actor=eve.actor, role_arn="x")
    told(request="by-id", actor=str(eve.pk), role_arn="x")
    told(request="nobody", actor="corp:nobody-here", role_arn="x")
    rows = {
        row.select("a.id")[-1].get_text(): row
        for row in soup(log.get("/staff/audit/?kind=credentials")).select("#events tr")
    }
    for request, actor in (("by-actor", eve.actor), ("by-id", str(eve.pk))):
        assert rows[request].select_one(".prose").get_text().startswith("<b>Eve</b> got credentials")
        assert actor in rows[request].select_one(".sub").get_text()
    assert rows["nobody"].select_one(".prose").get_text().startswith("corp:nobody-here got")


def test_an_event_as_json_on_demand(log):
    event = AuditEvent.objects.get(request_id="req-key")
    whole = json.loads(soup(log.get(f"/staff/audit/{event.seq}/")).select_one("pre.json").get_text())
    assert (whole["seq"], whole["mac"], whole["data"]["access_key_id"]) == (event.seq, event.mac, KEY)
    piece = log.get(f"/staff/audit/{event.seq}/", headers={"hx-request": "true"})
    assert not soup(piece).find("html")
    assert log.get("/staff/audit/99999/").status_code == 404


def test_older_events_come_page_by_page(console, told):
    browser = console("auditor")
    for number in range(120):
        told(ago=number, request=f"page-{number:03}", role_arn="x")
    seen, address = [], "/staff/audit/?kind=credentials"
    while address:
        answer = browser.get(address)
        seen += [a.get_text() for a in soup(answer).select("#events a.id")]
        following = soup(answer).find("a", rel="next")
        address = f"/staff/audit/{following['href']}" if following else ""
    assert seen == [f"page-{number:03}" for number in range(120)]


def test_watching_live_brings_what_is_new_and_asks_on(log, told):
    last = AuditEvent.objects.latest("seq").seq
    quiet = soup(log.get(f"/staff/audit/follow?q=kind:credentials&since_seq={last}"))
    assert not quiet.select("#events")
    assert since(quiet.div) == str(last)
    told(request="brand-new", role_arn="x")
    told(Kind.SIGN_OUT, request="other-kind")
    fresh = soup(log.get(f"/staff/audit/follow?q=kind:credentials&since_seq={last}"))
    assert [str(a.find(string=True)) for a in fresh.find(id="events").find_all("a", class_="id")] == ["brand-new"]
    assert fresh.find(id="events")["hx-swap-oob"] == "afterbegin"
    assert since(fresh.div) == str(last + 2)  # what was not wanted has been looked at, too


def since(poller):
    """From where it asks on, as a browser sends it: nothing behind a "#" is."""
    return dict(parse_qsl(urlsplit(poller["hx-get"]).query)).get("since_seq")


@pytest.mark.parametrize("query", ["", "?q=kind:credentials", "?outcome=ok"])
def test_the_page_begins_to_watch_where_it_ends(log, told, query):
    told(request="known")
    last = AuditEvent.objects.latest("seq").seq
    assert since(soup(log.get(f"/staff/audit/{query}")).select_one("details.follow > div")) == str(last)


@pytest.mark.parametrize("search", ["", "?q=kind:credentials", "?kind=credentials&outcome=ok"])
def test_the_page_asks_for_what_is_new_from_its_newest_event_on(log, told, search):
    """Behind a # nothing reaches the server: it would answer with nothing new, forever."""
    asks = soup(log.get(f"/staff/audit/{search}")).select_one("details.follow [hx-get]")["hx-get"]
    told(request="brand-new", role_arn="x")
    brought = []
    for _ in range(2):  # as the page asks, and as the answer asks on
        address = urlsplit(asks)
        assert (address.path, address.fragment) == ("/staff/audit/follow", "")
        answer = soup(log.get(asks))
        brought.append("brand-new" in str(answer))
        asks = answer.div["hx-get"]
    assert brought == [True, False]


def test_an_empty_list_has_a_place_for_the_first_event(log):
    page = soup(log.get("/staff/audit/?q=person:nobody-yet"))
    assert page.select_one(".live + .empty")
    assert not page.select("#events tr")


@pytest.mark.parametrize("value", ["", "x", "-1", "9" * 30])
def test_a_poller_with_nonsense_begins_at_the_end(log, value):
    assert not soup(log.get(f"/staff/audit/follow?since_seq={value}")).select("#events")


# --- Taking it along -----------------------------------------------------------------------------------


def export(browser, output, **fields):
    page = browser.get("/staff/audit/", fields)
    form = next(f for f in soup(page).select("form") if f.get("action") == "/staff/audit/export")
    hidden = {i["name"]: i["value"] for i in form.select("input[type=hidden]")}
    answer = browser.post("/staff/audit/export", {**hidden, "format": output})
    return answer, b"".join(answer.streaming_content).decode()


def test_the_export_takes_the_pages_filter_and_is_itself_an_event(log):
    answer, text = export(log, "jsonl", q="kind:credentials -outcome:ok")
    assert answer["Content-Disposition"].endswith('.jsonl"')
    assert "no-store" in answer["Cache-Control"]
    (line,) = [json.loads(line) for line in text.splitlines()]
    assert line["reason"] == "no_matching_rule"
    event = AuditEvent.objects.latest("seq")
    assert (event.kind, event.data) == (
        "audit.exported",
        {"format": "jsonl", "search": {"q": "kind:credentials -outcome:ok"}},
    )


def test_no_cell_of_the_csv_is_a_formula(log, told):
    for start in "=+-@\t":
        told(Kind.SIGN_OUT, actor=f"{start}cmd|' /C calc'!A0", request=f"{start}evil")
    _, text = export(log, "csv", kind="sign_out")
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0] == list(audit_export._COLUMNS)
    assert len(rows) == 6
    for row in rows[1:]:
        assert all(cell[:1] not in {"=", "+", "-", "@", "\t", "\r"} for cell in row), row


@pytest.mark.parametrize("output", ["csv", "jsonl"])
def test_an_export_that_is_cut_says_so(log, told, monkeypatch, output):
    monkeypatch.setattr(audit_export, "MOST", 2)
    for _ in range(3):
        told(Kind.SIGN_OUT)
    monkeypatch.setattr(audit_export, "_AT_ONCE", 2)
    _, text = export(log, output, kind="sign_out")
    assert "Cut after 2 events" in text.splitlines()[-1]
    assert len(text.splitlines()) == (4 if output == "csv" else 3)


def test_an_export_pages_through_everything(log, told, monkeypatch):
    monkeypatch.setattr(audit_export, "_AT_ONCE", 2)
    for _ in range(5):
        told(Kind.SIGN_OUT)
    _, text = export(log, "jsonl", kind="sign_out")
    assert len(text.splitlines()) == 5


def test_whoever_may_not_export_has_no_form(console, told):
    browser = console("owner")
    assert soup(browser.get("/staff/audit/")).select('form[action="/staff/audit/export"]')


# --- Verifying -----------------------------------------------------------------------------------------


def test_the_log_is_verified_in_the_background_with_progress(log, clock):
    queue = background._celery().connection_for_read().SimpleQueue("celery")
    queue.clear()
    answer = log.submit(log.get("/staff/audit/verify/"), "/staff/audit/verify/start")
    assert queue.get(timeout=30).headers["task"] == "federation.tasks.verify_audit"
    assert "Asked for." in text_of(log.get(answer["Location"]))
    verified = verify_audit.run()
    assert (verified.found, verified.rows) == (0, AuditEvent.objects.count())
    shown = log.get("/staff/audit/verify/")
    assert "intact" in text_of(shown)
    run = TaskRun.objects.get(task="verify_audit")
    assert run.done == run.total == AuditEvent.objects.count()


def test_an_edited_event_is_named(log, monkeypatch):
    """Edited where it is read: PostgreSQL itself refuses the edit (tests/audit has that)."""
    event = AuditEvent.objects.get(request_id="req-key")
    real = verify_audit.links

    def edited():
        for link in real():
            content = {**link.content, "actor": "corp:somebody-else"} if link.seq == event.seq else link.content
            yield replace(link, content=content)

    monkeypatch.setattr(verify_audit, "links", edited)
    assert verify_audit.run().findings[0][0] == event.seq
    assert f"{event.seq}: row {event.seq} was edited" in text_of(log.get("/staff/audit/verify/"))


def test_events_that_come_meanwhile_are_no_finding(log, told, monkeypatch):
    from federation.flows import runs

    monkeypatch.setattr(verify_audit, "_STEP", 1)
    written = []
    real = runs.Run.progress

    def progress(self, done):
        if not written:
            written.append(told(Kind.SIGN_OUT))
        real(self, done)

    monkeypatch.setattr(runs.Run, "progress", progress)
    assert verify_audit.run().found == 0
    assert written


def test_two_verifications_at_once_are_one(log):
    from federation.flows import leases, runs

    with leases.leased("task:verify_audit", runs.LEASE):
        assert verify_audit.run() is None


# --- Sentences -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("outcome", ["ok", "refused", "failed"])
def test_every_kind_makes_a_sentence_whatever_is_missing(kind, outcome):
    event = AuditEvent(seq=1, kind=kind.value, outcome=outcome, actor="", data={})
    said = sentence(event)
    assert said.endswith(".")
    assert "{" not in said


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        ("revoked", {"sessions": 1, "why": "left"}, "carol ended 1 session of a person: left."),
        ("revoked", {"sessions": 2, "why": "left"}, "carol ended 2 sessions of a person: left."),
        ("revoked", {"disabled": False, "why": "back"}, "carol let a person in again: back."),
        ("sign_out.by_provider", {"sessions": 1}, "carol ended 1 session."),
        ("sign_out.by_provider", {"sessions": 0}, "carol ended 0 sessions."),
    ],
)
def test_what_is_counted_is_said_of_so_many(kind, data, said):
    assert sentence(AuditEvent(seq=1, kind=kind, outcome="ok", actor="carol", data=data)) == said


def test_an_account_is_named_by_name_and_number_where_it_is_known():
    accounts = {cast.PROD: "shop-prod"}
    elsewhere = cast.role("999999999999", "Reader")
    both = [cast.role(cast.PROD, "ReadOnly"), elsewhere]
    told = (
        ("console", "role_arn", both[0], f"carol opened the console as ReadOnly in shop-prod ({cast.PROD})."),
        ("console", "role_arn", elsewhere, "carol opened the console as Reader in 999999999999."),
        ("access.withdrawn", "roles", both[0:2], f"carol withdrew a request for ReadOnly in shop-prod ({cast.PROD}), Reader in 999999999999."),
        ("account.verification_asked", "account", cast.PROD, f"carol had the account shop-prod ({cast.PROD}) verified."),
        ("answer.decided", "source", f"account:{cast.PROD}", f"carol decided about the held answer of account:shop-prod ({cast.PROD}): ?."),
        ("answer.decided", "source", "directory:corp", "carol decided about the held answer of directory:corp: ?."),
    )  # fmt: skip
    for kind, name, value, said in told:
        event = AuditEvent(seq=1, kind=kind, outcome="ok", actor="carol", data={name: value})
        assert sentence(event, {}, accounts) == said


def test_nothing_in_an_event_can_reach_into_the_template():
    event = AuditEvent(seq=1, kind="sign_in", outcome="ok", actor="{reason.__class__}", data={"sessions": "{actor}"})
    assert sentence(event) == "{reason.__class__} signed in."


@pytest.mark.parametrize("many", [0, 60])
def test_the_list_costs_the_same_queries_whatever_its_length(log, told, many, django_assert_num_queries):
    for number in range(many):
        told(request=f"r{number}", role_arn="x")
    log.get("/staff/audit/")
    with django_assert_num_queries(
        7
    ):  # session, person, revision; events, the newest number, what people and accounts are called
        log.get("/staff/audit/")
