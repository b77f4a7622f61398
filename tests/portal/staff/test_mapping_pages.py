"""The mapping's pages: drafted by form, by lines and as text; previewed, published, handed over, given back, gone back."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from federation.models import AuditEvent, MappingDraft, MappingRevision, Role, current
from federation.queries import catalogue
from tests import cast
from tests.portal.conftest import soup
from tests.portal.staff.conftest import DOCUMENT

RULE = (
    "  - name: testers-develop\n    when: {groups: [testers]}\n    allow: {roles: [Developer], accounts: [shop-dev]}\n"
)
PRODUCTION = RULE.replace("shop-dev", "shop-prod")
HTMX = {"HX-Request": "true"}


@pytest.fixture
def mapper(console, clock):
    return console("mapper")


@pytest.fixture
def tom(sign_in_as, clock):
    return sign_in_as(cast.identity("tom", groups=("testers",)), at=clock.now)


def begun(browser, *, then=""):
    """A draft just begun; its address."""
    answer = browser.submit(browser.get("/staff/mapping/"), "/staff/mapping/begin", then=then)
    assert answer.status_code == 302, answer.content
    return answer["Location"]


def saved(browser, text, *, address=None):
    address = address or begun(browser)
    answer = browser.submit(browser.get(address), f"{address}do", text=text, step="save")
    assert answer.status_code == 302, soup(answer).get_text()
    return address


def write(page):
    """The text in the window."""
    return page.find("textarea", id="text").get_text()[1:]


def test_the_rules_in_force_are_shown_and_searched(mapper, django_assert_num_queries):
    page = mapper.page("/staff/mapping/")
    assert [th.find("bdi").get_text() for th in page.select("#in-force tbody th")] == [
        "engineers-read-production", "engineers-develop", "admins-by-request", "no-contractors-in-production",
    ]  # fmt: skip
    assert "Revision 1 is in force" in page.get_text()
    found = mapper.get("/staff/mapping/?q=admin+production", headers=HTMX)
    assert b"<html" not in found.content
    assert "1 of 4 rules" in soup(found).get_text()
    assert "No rule matches" in mapper.page("/staff/mapping/?q=nothing").get_text()
    with django_assert_num_queries(7):  # one of them the author's name
        mapper.get("/staff/mapping/")


def test_a_newcomer_maps_a_group_to_a_role_by_the_form(mapper, tom):
    address = begun(mapper, then="add")
    assert address.endswith("/add")
    answer = mapper.submit(mapper.get(address), address, group="testers", account=cast.DEV, role="Developer")
    assert answer.status_code == 302
    editor = mapper.page(answer["Location"])
    assert write(editor).startswith(DOCUMENT + "  - name: testers Developer shop-dev\n")
    row = editor.select("#sheet tbody tr")[-1]
    assert "matches 1 person" in row.get_text()
    assert "gives 1 role" in row.get_text()
    assert row["aria-selected"] == "true"
    place = address.removesuffix("add")
    preview = mapper.get(f"{place}preview")
    text = soup(preview).get_text(" ", strip=True)
    assert "gets the role" in text
    assert "Publish, 1 person affected" in text
    published = mapper.submit(preview, f"{place}decide", step="publish", comment="testers")
    assert published["Location"] == "/staff/mapping/history/2/?published"
    assert "Revision 2 is in force from now on" in mapper.page(published["Location"]).get_text()
    assert current.mapping().number == 2
    assert MappingRevision.objects.get(number=2).comment == "testers"


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"group": "", "account": cast.DEV, "role": "R"}, "Say which group"),
        ({"group": "g", "account": cast.DEV, "role": " "}, "Say which role"),
        ({"group": "g", "account": "", "role": "R"}, "Choose an account"),
        ({"group": "g", "account": cast.DEV, "role": "no such name!"}, "line"),
        ({"group": "g", "account": "999999999999x", "role": "R"}, "no account of this document"),
        ({"group": "g", "account": cast.DEV, "role": "Developer", "name": "engineers-develop"}, "is called"),
    ],
)
def test_a_bad_form_comes_back_with_its_faults(mapper, fields, fault):
    address = begun(mapper, then="add")
    answer = mapper.submit(mapper.get(address), address, **fields)
    assert answer.status_code == 422
    page = soup(answer)
    assert page.title.get_text().startswith("Error:")
    assert fault in page.select_one("[role=alert]").get_text()
    assert page.find(id="group")["value"] == fields["group"]
    assert MappingDraft.objects.get().text == DOCUMENT


def test_the_form_counts_while_one_types_and_suggests(mapper, tom):
    address = begun(mapper, then="add")
    hidden = {i["name"]: i["value"] for i in mapper.page(address).select("#new-rule input[type=hidden]")}
    live = mapper.post(address, {**hidden, "group": "testers", "account": cast.DEV, "role": "Developer"}, headers=HTMX)
    assert "Matches 1 person, gives 1 role." in soup(live).get_text()
    nobody = mapper.post(address, {**hidden, "group": "x", "account": cast.DEV, "role": "R"}, headers=HTMX)
    assert "Matches nobody" in soup(nobody).get_text()
    early = mapper.post(address, {**hidden, "group": "testers", "account": "", "role": ""}, headers=HTMX)
    assert "Matches 1 person. Fill in account and role" in " ".join(soup(early).get_text().split())
    blank = mapper.post(address, {**hidden, "group": "", "account": "", "role": ""}, headers=HTMX)
    assert "Fill in group" in soup(blank).get_text()
    assert MappingDraft.objects.get().version == 1
    assert "testers" in mapper.get(f"{address}?group=TEST", headers=HTMX).content.decode()
    assert soup(mapper.get(f"{address}?account={cast.DEV}", headers=HTMX)).find(id="roles") is not None
    # Of an environment: what any of its accounts has, each name once.
    for account, name in ((cast.PROD, "OfProduction"), (cast.STAGING, "Elsewhere")):
        Role.objects.create(arn=cast.role(account, name), account_id=account, name=name, path="", tags={}, trust_policy="{}", search=name.lower(), seen_at=datetime.now(UTC), max_session_duration=3600)  # fmt: skip
    offered = soup(mapper.get(f"{address}?account=environment:production", headers=HTMX)).select("#roles option")
    assert [option["value"] for option in offered] == ["OfProduction"]


def test_table_and_text_are_in_step_while_one_types(mapper, tom):
    address = begun(mapper)
    hidden = {i["name"]: i["value"] for i in mapper.page(address).select("#editor input[type=hidden]")}
    answer = mapper.post(f"{address}check", {**hidden, "text": DOCUMENT + RULE}, headers=HTMX)
    sheet = soup(answer)
    assert [row["data-first"] for row in sheet.select("tbody tr")][-1] == str(DOCUMENT.count("\n") + 1)
    assert "matches 1 person" in sheet.select("tbody tr")[-1].get_text()
    assert sheet.find(id="version")["value"] == "2"
    wrong = mapper.post(f"{address}check", {**hidden, "version": "2", "text": DOCUMENT + "maping: 1\n"}, headers=HTMX)
    assert f"Line {DOCUMENT.count(chr(10)) + 1}" in soup(wrong).get_text()
    assert MappingDraft.objects.get().text.endswith("maping: 1\n")  # kept, faults and all
    late = mapper.post(f"{address}check", {**hidden, "text": DOCUMENT}, headers=HTMX)
    assert late.status_code == 409
    assert b"draft_changed" in late.content
    assert [e.data["change"] for e in AuditEvent.objects.filter(kind="mapping.draft")] == ["begun"]


def test_a_faulty_rule_is_marked_in_the_table(mapper):
    address = saved(mapper, DOCUMENT.replace("duration: 2h", "duration: soon"))
    page = mapper.page(address)
    row = next(row for row in page.select("#sheet tbody tr") if "engineers-develop" in row.get_text())
    assert "1 fault" in row.get_text()
    assert "1 fault in the text" in page.get_text()
    assert "The draft has faults" in mapper.page(f"{address}preview").get_text()


def test_every_revision_can_be_taken_along_as_it_was_published(mapper, publish):
    publish(DOCUMENT + RULE)
    assert (
        mapper.page("/staff/mapping/").find("a", string="Download the text")["href"] == "/staff/mapping/history/2/text"
    )
    for number, text in ((1, DOCUMENT), (2, DOCUMENT + RULE)):
        link = mapper.page(f"/staff/mapping/history/{number}/").select_one("a[download]")
        assert link.get_text(strip=True) == "Download the text"
        answer = mapper.get(link["href"])
        assert answer.content.decode() == text
        assert answer["Content-Type"] == "application/yaml"
        assert answer["Content-Disposition"] == f'attachment; filename="rolegate-mapping-{number}.yaml"'
    assert mapper.get("/staff/mapping/history/3/text").status_code == 404


UNREADABLE = DOCUMENT + "mapping: [\n"


def test_rules_stay_in_sight_while_the_text_cannot_be_read(mapper):
    """One bracket too few must not take the whole table away: while one types it stays as it is, and a page has that of before."""
    address = begun(mapper)
    page = mapper.page(address)
    good = [row.get_text() for row in page.select("#sheet-rules tbody tr")]
    assert len(good) == 4
    assert page.select_one(".past") is None
    hidden = {i["name"]: i["value"] for i in page.select("#editor input[type=hidden]")}
    live = soup(mapper.post(f"{address}check", {**hidden, "text": UNREADABLE}, headers=HTMX))
    assert "1 fault in the text" in live.get_text()
    kept = live.select_one(".past #sheet-rules")
    assert kept["hx-preserve"] == "true"  # htmx leaves the table there that it has
    assert not kept.get_text(strip=True)
    assert "these are the rules as they were last read" in live.select_one(".past .note").get_text()
    loaded = mapper.page(address)
    assert [row.get_text() for row in loaded.select(".past #sheet-rules tbody tr")] == good
    assert not loaded.select_one("#sheet-rules").has_attr("hx-preserve")
    assert "those of revision 1, on which this draft began" in " ".join(loaded.get_text().split())
    mended = soup(mapper.post(f"{address}check", {**hidden, "version": "2", "text": DOCUMENT}, headers=HTMX))
    assert [row.get_text() for row in mended.select("#sheet-rules tbody tr")] == good
    assert not mended.select_one("#sheet-rules").has_attr("hx-preserve")


def test_only_roles_that_people_can_get_are_suggested(mapper):
    address = begun(mapper, then="add")
    for path, name, trust in (
        ("", "ForPeople", {"Principal": {"Federated": "arn:aws:iam::1:saml-provider/rolegate"}}),
        ("", "ForPeopleAndLambda", {"Principal": {"AWS": "arn:aws:iam::1:root", "Service": "lambda.amazonaws.com"}}),
        ("", "NotRead", {}),
        ("service", "ForLambda", {"Principal": {"Service": "lambda.amazonaws.com"}}),
        ("aws-service-role/support.amazonaws.com", "AWSServiceRoleForSupport", {"Principal": {"Service": "support.amazonaws.com"}}),
        ("aws-reserved/sso.amazonaws.com", "AWSReservedSSO_Admin_1", {"Principal": {"Federated": "arn:aws:iam::1:saml-provider/sso"}}),
        ("", "rolegate-reader", {"Principal": {"Federated": "arn:aws:iam::1:oidc-provider/gate"}}),
    ):  # fmt: skip
        arn = cast.role(cast.PROD, f"{path}/{name}" if path else name)
        policy = json.dumps({"Statement": [{"Effect": "Allow", **trust}]})
        searched = f"{path}/{name}".strip("/").lower()
        Role.objects.create(arn=arn, account_id=cast.PROD, name=name, path=path, tags={}, trust_policy=policy, search=searched, seen_at=datetime.now(UTC))  # fmt: skip
    offered = soup(mapper.get(f"{address}?account={cast.PROD}", headers=HTMX)).select("#roles option")
    people = ["ForPeople", "ForPeopleAndLambda", "NotRead"]
    assert [option["value"] for option in offered] == people
    assert [found.name for found in catalogue.find_roles("shop-prod")] == people
    assert [found.name for found in catalogue.find_roles("shop-prod", most=2)] == people[:2]


def test_a_long_document_has_a_table_of_bearable_length_with_the_faulty_rules_in_it(mapper, monkeypatch):
    monkeypatch.setattr("federation.queries.mapping.SHOWN_RULES", 3)
    address = saved(mapper, DOCUMENT + RULE)
    page = mapper.page(address)
    assert len(page.select("#sheet tbody tr")) == 3
    assert "2 more rules stand in the text" in page.get_text()
    saved(mapper, DOCUMENT + RULE.replace("allow:", "alow:"), address=address)
    rows = [row.get_text() for row in mapper.page(address).select("#sheet tbody tr")]
    assert len(rows) == 3
    assert "testers-develop" in rows[-1]


def test_one_rule_is_edited_by_its_lines_and_comments_stay(mapper, tom):
    commented = DOCUMENT.replace(
        "  - name: engineers-develop\n", "  # They build the shop.\n  - name: engineers-develop   # all of them\n"
    )
    address = saved(mapper, commented)
    edit = mapper.get(f"{address}rules/1/")
    there = soup(edit).find("textarea", id="rule").get_text()[1:]
    assert there.startswith("- name: engineers-develop   # all of them\n  when:")
    done = mapper.submit(edit, f"{address}rules/1/", rule=there.replace("2h", "4h"), step="save")
    assert done["Location"].endswith("?saved&rule=1")
    assert MappingDraft.objects.get().text == commented.replace("duration: 2h", "duration: 4h")
    live = mapper.post(
        f"{address}rules/1/", {**_token(edit), "rule": there.replace("[engineering]", "[testers]")}, headers=HTMX
    )
    assert "Matches 1 person" in soup(live).get_text()


def _token(answer):
    return {"csrfmiddlewaretoken": soup(answer).find("input", {"name": "csrfmiddlewaretoken"})["value"]}


@pytest.mark.parametrize(
    ("step", "names"),
    [
        ("up", ["engineers-develop", "engineers-read-production", "admins-by-request", "no-contractors-in-production"]),
        (
            "down",
            ["engineers-read-production", "admins-by-request", "engineers-develop", "no-contractors-in-production"],
        ),
        ("remove", ["engineers-read-production", "admins-by-request", "no-contractors-in-production"]),
    ],
)
def test_a_rule_is_moved_and_taken_out(mapper, step, names):
    address = begun(mapper)
    answer = mapper.submit(mapper.get(f"{address}rules/1/"), f"{address}rules/1/", step=step)
    page = mapper.page(answer["Location"])
    assert [a.get_text() for a in page.select("#sheet tbody th > a")] == names


@pytest.mark.parametrize(
    ("rule", "fault"),
    [("", "The rule is empty"), ("- {name: x", "not valid YAML"), ("- name: x\n- name: y\nstaff: []\n", "")],
)
def test_a_rule_that_cannot_stand_there_comes_back(mapper, rule, fault):
    address = begun(mapper)
    answer = mapper.submit(mapper.get(f"{address}rules/1/"), f"{address}rules/1/", rule=rule, step="save")
    assert answer.status_code == 422
    assert fault in soup(answer).select_one("[role=alert]").get_text()
    assert MappingDraft.objects.get().text == DOCUMENT


@pytest.mark.parametrize("path", ["rules/9/", "rules/0/"])
def test_a_rule_that_is_not_there(mapper, path):
    address = saved(mapper, "{version: 1}") if path == "rules/0/" else begun(mapper)
    assert mapper.get(f"{address}{path}").status_code == 404


def test_production_goes_to_a_second_person(mapper, console, tom):
    address = saved(mapper, DOCUMENT + PRODUCTION)
    preview = mapper.get(f"{address}preview")
    page = soup(preview)
    assert "A second person must publish this" in page.get_text()
    assert not page.find("form", action=f"{address}decide")
    handed = mapper.submit(preview, f"{address}do", step="hand-over", comment="load test")
    assert "Waits for a second person" in mapper.page(handed["Location"]).get_text()
    owner = console("owner")
    row = owner.page("/staff/mapping/").select_one("#drafts").parent
    assert "load test" in row.get_text()
    assert "Review" in row.get_text()
    review = owner.get(f"{address}preview")
    forgot = owner.submit(review, f"{address}decide", step="publish", confirmation="prod", comment="Typed with care")
    assert forgot.status_code == 422
    again = soup(forgot)
    assert again.title.get_text().startswith("Error:")
    assert again.find(role="alert").a["href"] == "#confirmation"
    assert again.find(id="comment")["value"] == "Typed with care"
    assert AuditEvent.objects.latest("seq").reason == "confirmation_missing"
    done = owner.submit(review, f"{address}decide", step="publish", confirmation="production")
    assert done.status_code == 302
    assert MappingRevision.objects.get(number=2).published_by.startswith("corp:carol-")
    assert "published by" in owner.page("/staff/mapping/history/").get_text()


def test_giving_back_without_a_word_comes_back(mapper, console, tom):
    address = saved(mapper, DOCUMENT + PRODUCTION)
    mapper.submit(mapper.get(f"{address}preview"), f"{address}do", step="hand-over", comment="load test")
    owner = console("owner")
    answer = owner.submit(owner.get(f"{address}preview"), f"{address}decide", step="give-back", note=" ")
    assert answer.status_code == 422
    assert soup(answer).find(role="alert").a["href"] == "#note"
    assert MappingDraft.objects.get().status == "waiting"


def test_given_back_with_a_note_that_the_author_reads(mapper, console, tom):
    address = saved(mapper, DOCUMENT + PRODUCTION)
    mapper.submit(mapper.get(f"{address}preview"), f"{address}do", step="hand-over", comment="x")
    owner = console("owner")
    forms = soup(owner.get(f"{address}preview")).find_all("form", action=f"{address}decide")
    assert len(forms) == 2
    owner.submit(owner.get(f"{address}preview"), f"{address}decide", step="give-back", note="not on Friday")
    assert "not on Friday" in mapper.page(address).get_text()
    assert MappingDraft.objects.get().status == "draft"


def test_a_stale_draft_says_so_and_is_brought_up_to_date(mapper, publish, clock):
    address = saved(mapper, DOCUMENT + RULE)
    publish(DOCUMENT.replace("name: Example Corp", "name: Example Corporation"), at=clock.now)
    page = mapper.page(address)
    assert "Revision 2 has been published since" in page.get_text()
    assert "Another revision has been published since" in mapper.page(f"{address}preview").get_text()
    mapper.submit(mapper.get(address), f"{address}do", step="update")
    assert MappingDraft.objects.get().base == 2
    publish(DOCUMENT + RULE.replace("Developer", "Other"), at=clock.now)
    answer = mapper.submit(mapper.get(address), f"{address}do", step="update")
    assert "Could not be brought up to date" in mapper.page(answer["Location"]).get_text()
    assert "Could not be brought up to date" not in mapper.page(address).get_text()


def test_withdrawn_is_gone_from_the_list(mapper):
    address = begun(mapper)
    mapper.submit(mapper.get(address), f"{address}do", step="withdraw")
    assert mapper.page("/staff/mapping/").find(id="drafts") is None
    assert mapper.get(f"{address}preview").status_code == 200
    assert (
        mapper.post(
            f"{address}check", {**_token(mapper.get("/staff/mapping/")), "text": "x", "version": "1"}
        ).status_code
        == 409
    )


def test_going_back_is_previewed_too(mapper, publish, tom, clock):
    publish(DOCUMENT + RULE, at=clock.now)
    answer = mapper.submit(mapper.get("/staff/mapping/history/1/"), "/staff/mapping/begin")
    assert answer["Location"].endswith("/preview")
    page = mapper.page(answer["Location"])
    assert "loses the role" in page.get_text()
    assert "Back to revision 1" in page.get_text()
    assert mapper.get("/staff/mapping/history/9/").status_code == 404
    in_force = mapper.page("/staff/mapping/history/2/")
    assert in_force.find("form", action="/staff/mapping/begin") is None


def test_would_tom_get_it_by_the_text_in_the_window(mapper, tom):
    address = begun(mapper)
    token = _token(mapper.get(address))
    asked = {**token, "person": "tom", "role": "shop-dev/Developer"}
    assert "No" in soup(mapper.post(f"{address}ask", {**asked, "text": DOCUMENT}, headers=HTMX)).get_text()
    yes = soup(mapper.post(f"{address}ask", {**asked, "text": DOCUMENT + RULE}, headers=HTMX))
    assert "Yes" in yes.select_one(".state").get_text()
    assert "has group testers" in yes.get_text()
    assert MappingDraft.objects.get().text == DOCUMENT
    whole = soup(mapper.post(f"{address}ask", asked))
    assert whole.find("h1").get_text() == "Would somebody get a role?"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"person": "", "role": "x"}, "Name a person and a role"),
        ({"person": "zorro", "role": "shop-dev/Developer"}, "Nobody who has signed in"),
        ({"person": "example.com", "role": "shop-dev/Developer"}, "Several people"),
        ({"person": "tom", "role": "somewhere"}, "Name the role by its ARN"),
        ({"person": "tom", "role": "arn:aws:iam::1:role/x"}, "ARN"),
        ({"person": "tom", "role": "shop-dev/Developer", "text": "{"}, "has faults"),
    ],
)
def test_what_cannot_be_asked(mapper, tom, fields, said):
    address = begun(mapper)
    answer = mapper.post(f"{address}ask", {**_token(mapper.get(address)), **fields}, headers=HTMX)
    assert said in soup(answer).get_text()


# --- Attacks --------------------------------------------------------------------------------------------


def test_a_mapper_does_not_give_himself_a_role(mapper):
    """THREATS: editing a mapping to give oneself a role."""
    address = saved(mapper, DOCUMENT + RULE.replace("testers]", "mappers]"))
    digest = soup(mapper.get(f"{address}preview")).find("input", {"name": "digest"})["value"]
    token = _token(mapper.get(address))
    answer = mapper.post(f"{address}decide", {**token, "digest": digest, "confirmation": "production"})
    assert (answer.status_code, b"second_person_needed" in answer.content) == (403, True)
    handed = mapper.post(f"{address}do", {**token, "step": "hand-over", "digest": digest})
    assert handed.status_code == 302
    again = mapper.post(f"{address}decide", {**token, "digest": digest, "confirmation": "production"})
    assert again.status_code == 403
    assert AuditEvent.objects.order_by("-seq").first().reason == "second_person_needed:self"
    assert current.mapping().number == 1


def test_a_mapper_does_not_touch_staff(mapper):
    address = saved(mapper, DOCUMENT.replace("groups: [cloud-platform]}", "groups: [cloud-platform, mappers]}"))
    page = mapper.page(f"{address}preview")
    assert "Only an owner of the gateway may change" in page.get_text()
    assert page.find("input", {"name": "digest"}) is None


def test_an_auditor_reads_and_does_nothing(mapper, console, tom):
    address = saved(mapper, DOCUMENT + RULE)
    auditor = console("auditor")
    answer = auditor.get(address, follow=True)
    assert answer.redirect_chain[0][0].endswith("/preview")
    page = soup(answer)
    assert "has not handed this draft over" in page.get_text()
    assert not [form for form in page.find_all("form") if form.get("action", "").startswith("/staff/mapping/")]
    page = auditor.page("/staff/mapping/")
    assert page.find("form", action="/staff/mapping/begin") is None


def test_anothers_draft_is_not_edited(mapper, console):
    address = begun(mapper)
    owner = console("owner")
    for path in ("add", "rules/0/"):
        answer = owner.get(f"{address}{path}")
        assert (answer.status_code, b"draft_not_yours" in answer.content) == (403, True)
    token = _token(owner.get("/staff/mapping/"))
    for path, fields in (
        ("check", {}),
        ("do", {"step": "save"}),
        ("do", {"step": "withdraw"}),
        ("rules/0/", {"rule": "- x"}),
    ):
        answer = owner.post(f"{address}{path}", {**token, "text": "x", "version": "1", **fields})
        assert (answer.status_code, b"draft_not_yours" in answer.content) == (403, True)
    trial = owner.post(f"{address}ask", {**token, "person": "carol", "role": "shop-dev/Developer", "text": "{"})
    assert "has faults" not in soup(trial).get_text()  # asked of the draft as it is kept


def test_a_form_from_elsewhere_changes_nothing(mapper):
    address = begun(mapper)
    for path in ("do", "decide", "check"):
        answer = mapper.post(f"{address}{path}", {"text": "x", "version": "1"})
        assert (answer.status_code, b"form_refused" in answer.content) == (403, True)
    assert MappingDraft.objects.get().text == DOCUMENT


def test_what_is_not_there_is_not_found(mapper):
    nowhere = f"/staff/mapping/drafts/{uuid4()}/"
    for path in ("", "preview", "add", "rules/0/"):
        assert mapper.get(nowhere + path).status_code == 404
    token = _token(mapper.get("/staff/mapping/"))
    for path in ("do", "decide", "check", "ask"):
        assert mapper.post(nowhere + path, {**token, "text": "x", "version": "1", "digest": "x"}).status_code == 404


def test_markup_in_a_rule_is_text_on_every_page(mapper, tom):
    hostile = RULE.replace("testers-develop", '"<script>alert(1)</script>"')
    address = saved(mapper, DOCUMENT + hostile)
    for path in ("", "preview", "rules/4/"):
        answer = mapper.get(address + path)
        assert b"<script>alert" not in answer.content
        assert b"&lt;script&gt;alert" in answer.content


def test_pages_of_a_draft_do_not_ask_more_for_more_people(mapper, sign_in_as, clock, django_assert_max_num_queries):
    for n in range(30):
        sign_in_as(cast.identity(f"t{n}", groups=("testers",)), at=clock.now)
    address = saved(mapper, DOCUMENT + RULE)
    for path in ("", "preview"):
        with django_assert_max_num_queries(20):
            mapper.get(address + path)


def test_an_empty_history(console, db, signed_in, gateway_keys, mapper):
    assert [a.get_text() for a in mapper.page("/staff/mapping/history/").select("tbody th a")] == ["Revision 1"]
    assert "What this revision did was not kept" in mapper.page("/staff/mapping/history/1/").get_text()
