"""The list of roles: what it shows, how it is searched, and what it says when it is empty."""

import pytest
from bs4 import BeautifulSoup

from federation.models import Person, Source
from federation.models.directory import SOURCE as DIRECTORY
from tests import cast
from tests.flows.test_latest_word import listed, with_directory
from tests.portal.conftest import soup, text_of


def role_names(answer):
    return [
        (section.h2.get_text(), [n.get_text() for n in section.select(".name")])
        for section in soup(answer).select("section.account")
    ]


def test_alice_sees_her_roles_by_account(publish, signed_in):
    publish()
    answer = signed_in(cast.alice(mfa=True)).get("/")
    assert role_names(answer) == [
        ("shop-dev", ["Developer"]),
        ("shop-prod", ["Developer", "ReadOnly", "Administrator"]),
        ("shop-staging", ["Developer"]),
    ]
    page = soup(answer)
    assert [b.get_text(strip=True) for b in page.select(".badge")] == [
        "Environment:development",
        "Environment:production",
        "Environment:staging",
    ]
    assert all(b.find("svg") for b in page.select(".badge"))
    assert "5 roles" in text_of(answer)


def test_each_role_leads_to_its_console_and_its_credentials(publish, signed_in):
    publish()
    page = soup(signed_in().get("/"))
    row = next(r for r in page.select("li.role") if "ReadOnly" in r.get_text())
    form = row.select_one(".do form")
    assert (form["method"], form["action"]) == ("post", f"/roles/{cast.PROD}/ReadOnly/console")
    assert form.find("input", attrs={"name": "csrfmiddlewaretoken"})
    assert row.select_one("a.name")["href"] == f"/roles/{cast.PROD}/ReadOnly/"
    assert row.select_one(".do a")["href"] == f"/roles/{cast.PROD}/ReadOnly/credentials"
    assert row.select_one(".star")["action"] == f"/roles/{cast.PROD}/ReadOnly/favourite"
    assert form.button.get_text(" ", strip=True) == "Console for ReadOnly in shop-prod"


def test_a_role_by_approval_stands_apart_and_names_the_approvers(publish, signed_in):
    publish()
    page = soup(signed_in(cast.alice(mfa=True)).get("/"))
    pending = page.select_one(".pending")
    assert [n.get_text() for n in pending.select(".name")] == ["Administrator"]
    assert "Needs an approval by sre-leads" in pending.get_text()
    assert not pending.find("form")


def test_bob_the_contractor_sees_nothing_of_production(publish, signed_in):
    publish()
    assert [name for name, _ in role_names(signed_in(cast.bob()).get("/"))] == ["shop-dev", "shop-staging"]


@pytest.mark.parametrize(
    ("query", "accounts"),
    [
        ("PROD", ["shop-prod"]),
        ("2222 staging", ["shop-staging"]),
        ("developer", ["shop-dev", "shop-prod", "shop-staging"]),
        ("production readonly", ["shop-prod"]),
    ],
)
def test_the_search_looks_at_account_id_role_and_environment(publish, signed_in, query, accounts):
    publish()
    answer = signed_in().get("/", {"q": query})
    assert [name for name, _ in role_names(answer)] == accounts
    assert soup(answer).find(id="q")["value"] == query


def test_no_match_offers_to_clear_and_repeats_the_query_as_text(publish, signed_in):
    publish()
    answer = signed_in().get("/", {"q": '"><script>alert(1)</script>\u202e'})
    empty = soup(answer).find(id="no-match")
    assert not empty.has_attr("hidden")
    assert '“"><script>alert(1)</script>U+202E”' in empty.get_text()
    assert empty.find("a", string="Clear the search")["href"] == "/"
    assert b"<script>alert" not in answer.content


def test_with_a_match_the_empty_state_is_hidden(publish, signed_in):
    publish()
    assert soup(signed_in().get("/")).find(id="no-match").has_attr("hidden")


def test_no_role_at_all_says_whom_to_ask_and_what_arrived(publish, signed_in):
    publish()
    browser = signed_in(cast.identity("dave", groups=("marketing", "<b>bold</b>", "\u202enimda")))
    answer = browser.get("/")
    assert "No role is mapped to you yet" in text_of(answer)
    chips = soup(answer).select(".chips bdi")
    assert {chip.get_text() for chip in chips} == {"marketing", "<b>bold</b>", "U+202Enimda"}
    assert not any(chip.find("b") for chip in chips)
    assert "\u202e" not in answer.content.decode()


def test_no_groups_at_all_is_said(publish, signed_in):
    publish()
    assert "sent no groups at all" in text_of(signed_in(cast.identity("dave", groups=())).get("/"))


def test_incomplete_groups_are_not_no_roles(publish, signed_in):
    publish()
    shown = text_of(signed_in(cast.alice(groups_complete=False)).get("/"))
    assert "Your roles cannot be decided" in shown
    assert "sent only a part of your groups" in shown
    assert "No role is mapped" not in shown


def test_claims_that_are_too_old_lead_to_a_new_sign_in_and_back(publish, signed_in, clock, settings):
    settings.SESSION_COOKIE_AGE = 10**6
    publish()
    browser = signed_in()
    clock.forward(hours=13)
    assert browser.get("/?q=prod")["Location"] == "/signin/corp/?next=%2F%3Fq%3Dprod"


def test_after_a_form_the_way_stops_at_our_own_sign_in_page(publish, signed_in, clock, settings):
    """A redirect from a form to the provider would be held to form-action."""
    settings.SESSION_COOKIE_AGE = 10**6
    publish()
    browser = signed_in()
    form = browser.get("/")
    clock.forward(hours=13)
    answer = browser.submit(form, f"/roles/{cast.PROD}/ReadOnly/console")
    assert answer["Location"] == f"/signin/?next=%2Froles%2F{cast.PROD}%2FReadOnly%2Fconsole"


def test_a_disabled_persons_session_is_dead(publish, signed_in):
    publish()
    browser = signed_in()
    browser.person.active = False
    browser.person.save()
    assert browser.get("/")["Location"] == "/signin/"


def many(count: int) -> str:
    accounts = "".join(
        f'\n  - {{id: "{900000000000 + i}", name: many-{i:04}, tags: {{team: many}}}}' for i in range(count)
    )
    return cast.DOCUMENT.replace("accounts:", "accounts:" + accounts, 1).replace(
        "{team: shop}}}", "{team: [shop, many]}}}"
    )


def test_a_long_list_comes_in_pages_and_the_search_looks_at_all_of_it(publish, signed_in):
    publish(many(250))
    browser = signed_in()
    first = browser.get("/")
    assert "1 to 50 of 254 roles" in text_of(first)
    assert len(soup(first).select("#roles li.role")) == 50
    following = browser.get(soup(first).find("a", rel="next")["href"])
    assert "51 to 100 of 254 roles" in text_of(following)
    assert [name for name, _ in role_names(browser.get("/", {"q": "many-0249"}))] == ["many-0249"]
    assert "251 to 254" in text_of(browser.get("/", {"page": "9999"}))
    assert "1 to 50" in text_of(browser.get("/", {"page": "-1"}))


@pytest.mark.parametrize("count", [0, 250])
def test_the_page_costs_the_same_queries_whatever_its_length(publish, signed_in, django_assert_num_queries, count):
    publish(many(count))
    browser = signed_in()
    browser.get("/")  # the mapping is parsed once a process
    with django_assert_num_queries(4):  # session with its person, revision in force, catalogue, marks
        browser.get("/")


def test_a_directory_and_approvals_are_one_query_each(publish, signed_in, clock, django_assert_num_queries):
    publish(with_directory())
    browser = signed_in(cast.alice(mfa=True))
    listed(clock.now, groups=["engineering"])
    assert "Administrator" in text_of(browser.get("/"))
    with django_assert_num_queries(6):
        browser.get("/")


def test_production_that_is_closed_is_said_and_not_simply_missing(publish, signed_in, clock):
    """A directory that is silent takes production away: without a word, people would look for their roles and find none."""
    publish(with_directory(stale_after="1h"))
    browser = signed_in()
    listed(clock.now, groups=["engineering"])
    shown = text_of(browser.get("/"))
    assert "Roles in production are closed for now" in shown
    assert "shop-prod" not in shown
    assert "shop-dev" in shown
    Source.objects.create(key=f"{DIRECTORY}staff", state=Source.State.OK, succeeded_at=clock.now)
    shown = text_of(browser.get("/"))
    assert "closed for now" not in shown
    assert "shop-prod" in shown


@pytest.mark.parametrize("what", ["disabled", "epoch"])
def test_the_person_of_the_sessions_row_is_looked_at_as_closely_as_any(publish, signed_in, what):
    publish()
    browser = signed_in()
    assert browser.get("/").status_code == 200
    changed = {"active": False} if what == "disabled" else {"session_epoch": 1}
    Person.objects.filter(pk=browser.person.pk).update(**changed)
    assert browser.get("/")["Location"] == "/signin/"


def test_role_and_account_names_cannot_become_markup(publish, signed_in, clock):
    from federation.models import Role

    arn = f"arn:aws:iam::{cast.DEV}:role/team/Developer"
    Role.objects.create(arn=arn, account_id=cast.DEV, name="Developer", path="/team/", seen_at=clock.now)
    publish(
        cast.DOCUMENT.replace("name: shop-dev", 'name: "<img src=x>shop"').replace(
            "roles: [Developer]", "roles: [Developer, team/Developer]"
        )
    )
    answer = signed_in().get("/")
    assert b"<img" not in answer.content
    page = BeautifulSoup(answer.content, "html.parser")
    card = next(s for s in page.select("section.account") if "shop" in s.h2.get_text() and "<img" in s.h2.get_text())
    # Two roles of one name under two paths have two addresses.
    actions = {f["action"] for f in card.find_all("form")}
    assert f"/roles/{cast.DEV}/team/Developer/console" in actions


# --- The index that the browser searches, favourites, what was used last, roles by approval ---------------------


def index_of(answer):
    import json

    return json.loads(soup(answer).find(id="roles-index").string)


def test_the_index_has_every_role_and_what_is_marked(publish, signed_in, fake_aws):
    publish(many(250))
    browser = signed_in(cast.alice(mfa=True))
    browser.submit(browser.get("/", {"q": "many-0003"}), "/roles/900000000003/Developer/favourite", favourite="1")
    browser.submit(browser.get("/", {"q": "shop-dev"}), f"/roles/{cast.DEV}/Developer/console")
    index = index_of(browser.get("/"))
    assert len(index["r"]) == 255
    assert len(index["n"]) == 3
    by_role = {(index["a"][a][0], index["n"][n]): bits for a, n, bits in index["r"]}
    assert by_role["900000000003", "Developer"] == 2
    assert by_role[cast.DEV, "Developer"] == 4
    assert by_role[cast.PROD, "Administrator"] == 1
    assert {index["e"][environment] for _, _, environment in index["a"]} == {"", "production", "staging", "development"}


def test_names_in_the_index_cannot_end_the_script(publish, signed_in):
    publish(cast.DOCUMENT.replace("name: shop-dev", 'name: "</script><b>shop"'))
    answer = signed_in().get("/")
    assert b"</script><b>" not in answer.content
    assert "</script><b>shop" in [name for _, name, _ in index_of(answer)["a"]]


def test_recent_and_favourites_stand_first(publish, signed_in, fake_aws):
    publish()
    browser = signed_in()
    assert not soup(browser.get("/")).select(".shortcuts")
    browser.submit(browser.get("/"), f"/roles/{cast.PROD}/ReadOnly/console", destination="s3")
    answer = browser.submit(browser.get("/"), f"/roles/{cast.STAGING}/Developer/favourite", favourite="1")
    assert answer["Location"] == "/"
    quick = soup(browser.get("/")).select_one(".shortcuts")
    assert quick.find("input", attrs={"name": "destination"})["value"] == "s3"
    assert quick.form["action"] == f"/roles/{cast.PROD}/ReadOnly/console"
    assert quick.select("a")[0]["href"] == f"/roles/{cast.STAGING}/Developer/"
    browser.submit(browser.get("/"), f"/roles/{cast.PROD}/ReadOnly/favourite", favourite="1")
    twice = soup(browser.get("/")).select(".shortcuts li")
    assert ["ReadOnly" in one.get_text() for one in twice] == [True, False]  # what is both stands there once
    browser.submit(browser.get("/"), f"/roles/{cast.STAGING}/Developer/favourite", favourite="0")
    assert not soup(browser.get("/")).select(".shortcuts a")


def test_htmx_gets_the_star_alone(publish, signed_in):
    publish()
    browser = signed_in()
    path = f"/roles/{cast.DEV}/Developer/favourite"
    token = soup(browser.get("/")).find("input", attrs={"name": "csrfmiddlewaretoken"})["value"]
    answer = browser.post(path, {"csrfmiddlewaretoken": token, "favourite": "1"}, headers={"hx-request": "true"})
    assert soup(answer).button["aria-pressed"] == "true"
    assert not soup(answer).find("html")


def test_nobody_marks_a_role_that_is_not_theirs(publish, signed_in):
    from federation.models import RoleMark

    publish()
    browser = signed_in()
    token = soup(browser.get("/")).find("input", attrs={"name": "csrfmiddlewaretoken"})["value"]
    answer = browser.post(f"/roles/{cast.PROD}/Root/favourite", {"csrfmiddlewaretoken": token, "favourite": "1"})
    assert answer.status_code == 403
    assert not RoleMark.objects.exists()


def test_a_role_by_approval_can_be_asked_for(publish, signed_in):
    publish()
    link = soup(signed_in(cast.alice(mfa=True)).get("/")).select_one(".pending .do a")
    assert (
        link["href"]
        == f"/requests/new?role={cast.role(cast.PROD, 'Administrator').replace(':', '%3A').replace('/', '%2F')}"
    )


def test_two_thousand_roles_are_a_hundred_kilobytes_at_most(publish, signed_in):
    publish(many(1996))
    browser = signed_in()
    answer = browser.get("/", headers={"accept-encoding": "gzip"})
    assert answer["Content-Encoding"] == "gzip"
    assert len(answer.content) < 60_000
    assert len(index_of(browser.get("/"))["r"]) == 2000
