"""Nobody who reads German, Japanese or whatever comes next meets a sentence in English that no catalogue can have."""

from __future__ import annotations

import ast
import re
import uuid
from datetime import datetime

import pytest
from django.conf import settings
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils.translation import trans_real

from config.demo_history import company as made_up
from config.demo_history.write import seed
from demo.company import past
from federation.audit import chain
from federation.flows import rotate_keys, verify_account, verify_audit
from federation.flows.refresh_findings import refresh_findings
from federation.models import (
    AuditEvent,
    HeldAnswer,
    MappingDraft,
    Person,
    ProviderTrial,
    RequestedRole,
    Role,
    Source,
    TaskRun,
)
from federation.models.accounts import search_text
from federation.said import packed
from tests.portal import every_page
from tests.portal.conftest import Browser, soup
from tests.portal.staff.test_catalogue_pages import OPEN

NOW = datetime.fromisoformat("2026-11-28T14:00:00+00:00")
PROD, STAGING = "111122223333", "222233334444"
ADMIN = f"arn:aws:iam::{PROD}:role/Administrator"
# Not pages: programs read these, or another site.
PROGRAMS = (
    "api/", "scim/", "metrics", "health", "\\.well-known", "oauth/token", "cli/rolegate", "cli/<str:wheel>", "saml/", "oidc/", "public/",
)  # fmt: skip


@pytest.fixture
def town(settings, gateway_keys, monkeypatch, clock, db, origin):
    """A third of the demo's company with its ninety days, and on top what makes pages say more: things that are wrong, mostly."""
    settings.ROLEGATE_DEMO = True
    settings.ROLEGATE_SUPPORT = "mailto:help@example.com"
    monkeypatch.setenv("DEMO_OIDC_SECRET", "public")
    monkeypatch.setattr("federation.flows.background._SECONDS_TO_ANSWER", 0.02)
    monkeypatch.setattr("federation.flows.background._SECONDS_TO_CONNECT", 0.2)
    clock.now = NOW
    whole = past.history()
    # More people than a page of the list has, of whom those behind the first twenty hardly ever do anything.
    people = [one if number < 20 else {**one, "busy": 0.02} for number, one in enumerate(whole["people"][:60])]
    # A demo that runs beside the tests would answer as its identity provider.
    revisions = [{**one, "text": one["text"].replace("127.0.0.1:8001", "127.0.0.1:9")} for one in whole["revisions"]]
    seed(made_up.read({**whole, "people": people, "revisions": revisions}, NOW))
    Person.objects.filter(active=True).update(claims_at=NOW)
    for account, name, policy in ((PROD, "ReadOnly", OPEN), (PROD, "Administrator", "{"), (STAGING, "Developer", OPEN)):
        Role.objects.create(
            arn=f"arn:aws:iam::{account}:role/{name}", account_id=account, name=name, path="", tags={}, trust_policy=policy,
            search=search_text("", name, {}), seen_at=NOW, max_session_duration=3600,
        )  # fmt: skip
    held = Source.objects.update_or_create(key=f"account:{STAGING}", defaults={"state": "held"})[0]
    HeldAnswer.objects.create(
        source=held, digest="d" * 64, held_at=NOW,
        summary={"why": "too_many_removed", "before": 40, "after": 2, "added": 0, "changed": 1, "removed": 38, "examples": [ADMIN]},
    )  # fmt: skip
    refresh_findings(now=NOW)
    TaskRun.objects.create(
        task="rotate_keys", started_at=NOW, finished_at=NOW, outcome="ok", detail={"done": [packed(one) for one in rotate_keys.rotate("token", "RS256", actor="x", origin=origin, now=NOW)]}
    )  # fmt: skip
    tampered = AuditEvent.objects.latest("seq")
    TaskRun.objects.create(
        task=verify_audit.TASK, started_at=NOW, finished_at=NOW, outcome="ok",
        detail={"rows": 9, "findings": 2, "first": [packed(one.problem) for one in chain.verify([], head=(tampered.seq, "x", "y"), keys=[b"k"])]},
    )  # fmt: skip
    purge_expired = {
        "sign_in_states": 1,
        "used_credentials": 2,
        "sessions": 3,
        "rate_windows": 4,
        "codes": 5,
        "device_grants": 6,
        "wrong_user_codes": 7,
        "access_tokens": 8,
        "refresh_tokens": 9,
        "letters": 10,
        "provider_trials": 11,
        "families": 12,
    }
    TaskRun.objects.create(task="purge_expired", started_at=NOW, finished_at=NOW, outcome="ok", detail=purge_expired)
    problem = verify_account.State.PROBLEM
    steps = [
        verify_account.Step(name, problem, "x", verify_account._FAILED[name], verify_account._UPLOAD)
        for name in verify_account.STEPS
    ]
    TaskRun.objects.create(
        task=verify_account.task_of(PROD), started_at=NOW, finished_at=NOW, outcome="ok", detail={"steps": [one.kept() for one in steps]}
    )  # fmt: skip
    return clock


@pytest.fixture(params=["de", "ja"])
def language(request, monkeypatch):
    """A language with each letter of its catalogue wide."""
    code = request.param
    monkeypatch.setitem(trans_real._translations, code, every_page.widened(trans_real.translation(code)))
    return code


@pytest.fixture
def browser_of(language):
    def make(email=""):
        made = Browser(headers={"accept-language": language})
        if email:
            made.force_login(Person.objects.get(email=email), backend="portal.auth.FederatedBackend")
        return made

    return make


def addresses(entries, before=""):
    for entry in entries:
        path = before + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from addresses(entry.url_patterns, path)
        elif isinstance(entry, URLPattern) and not path.lstrip("^").startswith(PROGRAMS):
            yield path


def test_on_every_page_every_word_is_of_the_catalogue_or_somebodys(town, browser_of):
    carol, alice = browser_of("carol@example.com"), browser_of("alice@example.com")
    pages = {}

    def seen(name, answer):
        if answer.get("Content-Type", "").startswith("text/html"):
            pages[name] = answer.content
        return answer

    def get(browser, path):
        return seen(path, browser.get(path))

    # What somebody does, and what comes back where it is wrong.
    get(alice, f"/requests/new?role={ADMIN}")  # which she has asked for, and waits
    waiting = RequestedRole.objects.filter(
        role_arn=ADMIN, state=RequestedRole.State.PENDING, person__email="alice@example.com"
    )
    numbers = list(waiting.values_list("pk", flat=True))
    waiting.update(state=RequestedRole.State.WITHDRAWN)
    asked = alice.submit(
        alice.get(f"/requests/new?role={ADMIN}"), "/requests/new", role=ADMIN, duration="3600", reason="INC-1"
    )
    seen("a request that is not complete", asked)
    RequestedRole.objects.filter(pk__in=numbers).update(state=RequestedRole.State.PENDING)
    seen("a form without its token", alice.post("/requests/new", {}))
    begun = carol.submit(carol.get("/staff/mapping/"), "/staff/mapping/begin")
    draft = begun["Location"].removesuffix("add")
    answer = get(carol, draft)
    draft_id = draft.rstrip("/").rsplit("/", 1)[-1]
    text = MappingDraft.objects.get(pk=draft_id).text
    seen(
        "a draft with faults",
        carol.submit(
            answer, f"{draft}do", text=text.replace("roles:", "rolls:", 3) + "\nmore: [", step="save", follow=True
        ),
    )
    seen("its preview", carol.get(f"{draft}preview"))
    seen(
        "a draft with other faults",
        carol.submit(
            carol.get(draft),
            f"{draft}do",
            text=text.replace("roles:", "rolls:", 3).replace("groups: [", "groups: [{regex: '('}, ", 1),
            step="save",
            follow=True,
        ),
    )
    seen("its preview", carol.get(f"{draft}preview"))
    carol.submit(carol.get(draft), f"{draft}do", text=text.replace("role: owner", "role: mapper"), step="save")
    seen("a preview", carol.get(f"{draft}preview"))
    seen("a rule", carol.submit(carol.get(f"{draft}rules/0/"), f"{draft}rules/0/", rule=": {", step="save"))
    seen(
        "a form for a rule",
        carol.submit(carol.get(f"{draft}add"), f"{draft}add", group="", account=PROD, role="*[", duration="9h"),
    )
    seen(
        "a token",
        carol.submit(carol.get("/staff/tokens/"), "/staff/tokens/make", name="grafana", scope="metrics", days="9999"),
    )
    seen("a search", carol.get("/staff/audit/?q=since:2026-99"))
    seen("onboarding", carol.get(f"/staff/onboard/?account={PROD}&roles=ReadOnly:arn:aws:iam::{STAGING}:policy/x"))
    seen("onboarding a stranger", carol.get("/staff/onboard/?account=999988887777"))
    place = "/staff/providers/add/?protocol=oidc&slug=okta"
    token = soup(get(carol, place)).find("input", attrs={"name": "csrfmiddlewaretoken"})["value"]
    fields = {"csrfmiddlewaretoken": token, "name": "Okta", "issuer": "ftp://x", "client_id": "", "claims_subject": ""}
    seen("a provider with faults", carol.post(place, fields))
    kept = carol.post(
        place,
        {
            **fields,
            "issuer": "http://127.0.0.1:9",
            "client_id": "a",
            "scopes": "openid",
            "claims_subject": "sub",
            "claims_groups": "groups",
            "claims_email": "email",
            "claims_name": "name",
        },
    )["Location"]
    get(carol, kept)
    seen("a test that cannot begin", carol.post(f"{kept}test", {"csrfmiddlewaretoken": token}))
    person = Person.objects.get(email="alice@example.com")
    samples = {
        "account:account_id": PROD, "path:role_name": "ReadOnly", "slug:provider": "corp", "slug:slug": "corp", "int:number": "1", "path:rest": "nothing",
        "uuid:person_id": str(person.pk), "uuid:draft_id": draft_id, "slug:task": "refresh_catalogue",
        "int:seq": str(AuditEvent.objects.latest("seq").seq), "uuid:trial_id": str(ProviderTrial.objects.get().pk), "uuid:grant_id": str(uuid.uuid4()),
        "uuid:request_id": str(RequestedRole.objects.latest("pk").request_id), "int:item_id": str(RequestedRole.objects.latest("pk").pk),
    }  # fmt: skip
    for pattern in addresses(get_resolver().url_patterns):
        path = "/" + re.sub(r"<([^>]+)>", lambda hole: samples[hole[1]], pattern)
        for who, browser in (("carol", carol), ("alice", alice), ("a stranger", browser_of())):
            seen(f"{path} for {who}", browser.get(path))
    for task in ("rotate_keys", "purge_expired", "refresh_catalogue", "refresh_entitlements"):
        get(carol, f"/staff/tasks/{task}/")
    for path in (
        f"/staff/people/{person.pk}/explain?role={ADMIN}", f"/staff/people/{person.pk}/explain?role={ADMIN}&at=2026-10-01",
        f"/staff/people/{person.pk}/compare?with=carol@example.com", f"/staff/people/{person.pk}/revoke", f"/why/?role={ADMIN}", "/why/?q=read",
        "/staff/unused/rule?name=engineers-read-production&propose=1", "/staff/audit/?q=outcome:refused", "/staff/mapping/history/10/",
    ):  # fmt: skip
        get(carol, path)
    known = every_page.data()
    found = {name: every_page.left(html, known) for name, html in pages.items()}
    assert len(pages) > 150
    assert {name: pieces for name, pieces in found.items() if pieces} == {}


@pytest.mark.parametrize(
    ("html", "said"),
    [
        ("<p>Nothing has been read yet.</p>", ["<p>: Nothing has been read yet."]),
        ("<button>Save</button>", ["<button>: Save"]),
        ("<a title='Go back'>ｗｏｒｄ</a>", ["a title: Go back"]),
        ("<p>ｏｆ <bdi>Carol Admin</bdi>, and others</p>", ["<p>: , and others"]),
        ("<p>ｏｆ <bdi>Carol Admin</bdi> 2026-11-28 14:00 UTC <code>by hand</code></p>", []),
        ("<p>12 people of Carol Admin</p>", ["<p>: 12 people of Carol Admin"]),
    ],
)
def test_a_sentence_that_is_in_no_catalogue_is_found(html, said):
    assert every_page.left(html.encode(), frozenset({"carol admin"})) == said


def test_every_entry_is_made_wide_but_for_what_is_filled_in():
    assert every_page.wide("{n} of %(all)s in <b>x</b> &amp; {{y}}") == "{n} ｏｆ %(all)s ｉｎ <b>ｘ</b> &amp; {{ｙ}}"


# Machines and terminals read these in English.
_FOR_PROGRAMS = (
    "portal/api",
    "portal/scim",
    "federation/directory",
    "federation/flows/push_",
    "federation/flows/refresh_directory",
    "federation/flows/rotate_keys",
)


def test_no_sentence_of_an_error_is_put_together_where_no_catalogue_can_have_it():
    """Pages show them: say() remembers the pieces, an f-string does not."""
    lost = []
    for package in ("federation", "portal"):
        for path in sorted((settings.BASE_DIR / package).rglob("*.py")):
            place = path.relative_to(settings.BASE_DIR).as_posix()
            if place.startswith(_FOR_PROGRAMS):
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                told = node.value if isinstance(node, ast.keyword) and node.arg == "sentence" else None
                if (
                    isinstance(node, ast.Call)
                    and getattr(node.func, "attr", getattr(node.func, "id", "")) in _SAYS
                    and node.args
                ):
                    told = node.args[0]
                if told is not None and any(isinstance(one, ast.JoinedStr | ast.BinOp) for one in _outermost(told)):
                    lost.append(f"{place}:{node.value.lineno if isinstance(node, ast.keyword) else node.lineno}")
    assert lost == []


_SAYS = {"fault", "Unreadable", "PolicyUnreadable", "_Fault", "_invalid"}


def _outermost(told):
    """The expression, or the alternatives of one that chooses."""
    return [*_outermost(told.body), *_outermost(told.orelse)] if isinstance(told, ast.IfExp) else [told]
