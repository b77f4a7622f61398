"""The catalogue's pages: what they show, how they are searched, sorted and paged, and who sees which accounts."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from federation.flows.refresh_findings import refresh_findings
from federation.models import Entitlement, GivenRole, OrganizationAccount, Role, Source, TrustFinding
from federation.models.accounts import search_text
from portal.staff.page import page
from tests import cast
from tests.portal.conftest import soup, text_of

OPEN = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
)


def good(account):
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Federated": f"arn:aws:iam::{account}:saml-provider/rolegate"},
                    "Action": ["sts:AssumeRoleWithSAML", "sts:TagSession", "sts:SetSourceIdentity"],
                    "Condition": {"StringEquals": {"SAML:aud": "https://signin.aws.amazon.com/saml"}},
                }
            ],
        }
    )


@pytest.fixture
def role_row(clock):
    def make(account, name, *, path="", used=None, policy="", tags=None, **more):
        qualified = f"{path}/{name}" if path else name
        return Role.objects.create(
            arn=f"arn:aws:iam::{account}:role/{qualified}", account_id=account, name=name, path=path, tags=tags or {},
            trust_policy=policy, search=search_text(path, name, tags or {}), seen_at=clock.now, max_session_duration=3600,
            last_used_at=None if used is None else clock.now - timedelta(days=used), **more,
        )  # fmt: skip

    return make


@pytest.fixture
def estate(console, role_row, clock):
    role_row(cast.PROD, "ReadOnly", used=3, policy=good(cast.PROD))
    role_row(cast.PROD, "Developer", used=120, policy=OPEN)
    role_row(cast.STAGING, "Developer", tags={"team": "shop"}, policy=OPEN)
    role_row(cast.STAGING, "Batch", path="svc", used=1)
    role_row(cast.DEV, "Developer", used=40)
    for account, state in ((cast.PROD, "ok"), (cast.STAGING, "failed")):
        Source.objects.create(
            key=f"account:{account}", state=state, version=1, succeeded_at=clock.now - timedelta(hours=1),
            error_code="sts_access_denied" if state == "failed" else "", counts={"roles": 2},
            error_detail="AccessDenied explicit deny in a service control policy" if state == "failed" else "",
        )  # fmt: skip
    return console


def names(answer):
    return [th.get_text(" ", strip=True).split(" arn:")[0] for th in soup(answer).select("#list tbody th")]


# --- Accounts ------------------------------------------------------------------------------------------


def test_an_account_says_in_awss_words_why_it_was_not_read_and_which_roles_it_leaves_out(estate):
    told = text_of(estate("owner").get(f"/staff/accounts/{cast.STAGING}/"))
    assert "Cause AccessDenied explicit deny in a service control policy" in told
    odd = f"arn:aws:iam::{cast.PROD}:role/we<b>ird/ok"
    Source.objects.filter(pk=f"account:{cast.PROD}").update(counts={"roles": 2, "unusable": 1, "examples": [odd]})
    told = text_of(estate("owner").get(f"/staff/accounts/{cast.PROD}/"))
    assert "Cause" not in told
    assert f"1 more is left out: no gateway can use a role with a comma or markup in its ARN. {odd}" in told


def test_the_accounts_are_listed_with_their_state(estate):
    answer = estate("owner").get("/staff/accounts/")
    assert [n.split()[0] for n in names(answer)] == ["shop-dev", "shop-prod", "shop-staging"]
    shown = text_of(answer)
    assert "3 accounts" in shown
    assert "failed sts_access_denied" in shown
    assert "never read" in shown
    assert "staging-owners" in shown


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=prod", ["shop-prod"]),
        (f"q={cast.DEV}", ["shop-dev"]),
        ("q=team%3Dshop+staging-owners", ["shop-staging"]),
        ("environment=production", ["shop-prod"]),
        ("state=failed", ["shop-staging"]),
        ("state=nonsense", ["shop-dev", "shop-prod", "shop-staging"]),
        ("q=nothing", []),
    ],
)
def test_the_accounts_are_searched_and_filtered(estate, query, found):
    assert [n.split()[0] for n in names(estate("owner").get(f"/staff/accounts/?{query}"))] == found


@pytest.mark.parametrize(
    ("sort", "first"),
    [
        ("name", "shop-dev"),
        ("-name", "shop-staging"),
        ("-roles", "shop-staging"),
        ("-read", "shop-staging"),
        ("zz", "shop-dev"),
    ],
)
def test_the_accounts_are_sorted_by_the_address(estate, sort, first):
    answer = estate("owner").get(f"/staff/accounts/?sort={sort}")
    assert names(answer)[0].split()[0] == first
    heads = {th.get_text(strip=True): th.get("aria-sort") for th in soup(answer).select("thead th") if th.a}
    assert list(heads.values()).count("none") == len(heads) - 1


def test_a_head_sorts_the_other_way_round_at_the_second_click_and_keeps_the_filters(estate):
    answer = estate("owner").get("/staff/accounts/?q=shop&sort=name&after=50")
    link = next(th.a["href"] for th in soup(answer).select("thead th") if th.get_text(strip=True) == "Account")
    assert link == "?q=shop&sort=-name#list"


def test_an_account_owner_sees_the_own_accounts_and_no_other(estate):
    browser = estate("account-owner")
    assert [n.split()[0] for n in names(browser.get("/staff/accounts/"))] == ["shop-staging"]
    assert {n.split()[0] for n in names(browser.get("/staff/roles/"))} == {"Batch", "Developer"}
    assert str(cast.PROD) not in browser.get("/staff/roles/").content.decode()
    assert names(browser.get(f"/staff/roles/?account={cast.PROD}")) == []
    assert browser.get(f"/staff/accounts/{cast.PROD}/").status_code == 403
    assert browser.get(f"/staff/accounts/{cast.PROD}/roles/ReadOnly/").status_code == 403
    assert browser.get(f"/staff/accounts/{cast.STAGING}/roles/svc/Batch/").status_code == 200


def test_an_accounts_page_tells_what_is_known(estate, clock):
    OrganizationAccount.objects.create(
        id=cast.PROD, name="shop-prod", state="ACTIVE", email="shop@example.com", organizational_unit="/Shop", first_seen_at=clock.now
    )  # fmt: skip
    shown = text_of(estate("owner").get(f"/staff/accounts/{cast.PROD}/"))
    for words in (
        "shop-prod",
        cast.PROD,
        "SAML, provider rolegate",
        "ACTIVE",
        "shop@example.com",
        "/Shop",
        "ReadOnly",
        "Developer",
    ):
        assert words in shown


def test_an_account_that_nobody_knows_is_not_found(estate):
    assert estate("owner").get("/staff/accounts/999999999999/").status_code == 404
    assert estate("owner").get(f"/staff/accounts/{cast.PROD}/roles/Nothing/").status_code == 404


# --- Roles ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["Batch", "Developer", "Developer", "Developer", "ReadOnly"]),
        ("q=readonly", ["ReadOnly"]),
        ("q=shop-staging+dev", ["Developer"]),
        ("q=svc/batch", ["Batch"]),
        (f"q=arn:aws:iam::{cast.PROD}:role/Developer", ["Developer"]),
        ("q=team%3Dshop+developer", ["Developer", "Developer", "Developer"]),
        ("used=never", ["Developer"]),
        ("used=unused", ["Developer", "Developer"]),
        ("used=lately", ["Batch", "Developer", "ReadOnly"]),
        ("environment=production", ["Developer", "ReadOnly"]),
        ("sort=-name", ["ReadOnly", "Developer", "Developer", "Developer", "Batch"]),
        ("sort=-used&q=developer", ["Developer", "Developer", "Developer"]),
        ("gone=1", []),
        ("q=%25", []),
        ("q=_", []),
    ],
)
def test_the_roles_are_searched_filtered_and_sorted(estate, query, found):
    assert [n.split()[0] for n in names(estate("owner").get(f"/staff/roles/?{query}"))] == found


def test_by_last_use_the_longest_unused_comes_first_and_never_before_all(estate):
    shown = [
        r.select("td")[2].get_text(" ", strip=True)
        for r in soup(estate("owner").get("/staff/roles/?sort=used")).select("#list tbody tr")
    ]
    assert shown[0] == "never"
    assert shown[1:] == sorted(shown[1:])


def test_paging_goes_there_and_back_over_roles_of_one_name(console, role_row, monkeypatch):
    monkeypatch.setattr("federation.queries.keyset.PAGE_SIZE", 4)
    monkeypatch.setattr(
        "federation.queries.catalogue.roles.__kwdefaults__",
        {**__import__("federation.queries.catalogue", fromlist=["roles"]).roles.__kwdefaults__, "size": 4},
    )
    for number in range(10):
        role_row(f"{number:012}", "Same" if number < 6 else f"Other{number}", used=number % 3)
    browser = console("owner")
    for sort in ("name", "-name", "used", "-used"):
        pages, address = [], f"/staff/roles/?sort={sort}"
        while address:
            answer = browser.get(address)
            pages.append([a["href"] for a in soup(answer).select("#list tbody th a")])
            following = soup(answer).find("a", rel="next")
            address = f"/staff/roles/{following['href']}" if following else ""
        assert [len(page) for page in pages] == [4, 4, 2]
        assert len({href for page in pages for href in page}) == 10
        back = [pages[-1]]
        while previous := soup(answer).find("a", rel="prev"):
            answer = browser.get(f"/staff/roles/{previous['href']}")
            back.insert(0, [a["href"] for a in soup(answer).select("#list tbody th a")])
        assert back == pages


@pytest.mark.parametrize(
    "cursor", ["x", "AAAA", "W10", "WyJhIl0", "W3RydWUsIlxcdTAwMDAiLDFd", "%00", "W2ZhbHNlLHt9LDFd", "a" * 5000]
)
def test_half_an_address_is_the_first_page(estate, cursor):
    assert len(names(estate("owner").get(f"/staff/roles/?after={cursor}"))) == 5


def test_who_gets_a_role_is_said_in_the_list_and_on_its_page(estate, clock):
    browser = estate("owner")
    given = GivenRole.objects.create(
        digest="a" * 32, role_arn=cast.role(cast.PROD, "ReadOnly"), role_name="ReadOnly", account_id=cast.PROD,
        rule="engineers-read-production", rules=["engineers-read-production"],
    )  # fmt: skip
    Entitlement.objects.create(person=browser.person, given=given, revision=1, since=clock.now)
    row = next(r for r in soup(browser.get("/staff/roles/")).select("#list tbody tr") if "ReadOnly" in r.th.get_text())
    assert "1 person engineers-read-production" in " ".join(row.get_text(" ").split())
    shown = text_of(browser.get(f"/staff/accounts/{cast.PROD}/roles/ReadOnly/"))
    assert "Who gets this (1)" in shown
    assert "Carol" in shown
    # What the role may do is said on the page too, and must not stand in the way of what its reader may.
    whole = soup(browser.get(f"/staff/accounts/{cast.PROD}/roles/ReadOnly/"))
    assert whole.find("a", href=f"/staff/people/{browser.person.pk}/") is not None
    assert whole.find("a", href="/staff/unused/rule?name=engineers-read-production") is not None
    assert whole.find("a", string="Its use in the audit log") is not None


def test_no_view_takes_a_name_that_the_frame_of_the_page_needs(rf):
    with pytest.raises(ValueError, match="can"):
        page(rf.get("/staff/"), "staff/role.html", {"can": "what a role may do"})


def test_the_roles_are_filtered_by_environment_on_the_page(estate):
    chips = soup(estate("owner").get("/staff/roles/")).select("a.chip")
    assert "production" in [chip.get_text(strip=True) for chip in chips]


def test_a_role_that_was_removed_says_so(estate, role_row, clock):
    role_row(cast.PROD, "Old", present=False, removed_at=clock.now)
    assert "removed" in text_of(estate("owner").get("/staff/roles/?gone=1"))
    assert "removed from AWS" in text_of(estate("owner").get(f"/staff/accounts/{cast.PROD}/roles/Old/"))


# --- Trust ---------------------------------------------------------------------------------------------


def test_a_roles_page_says_what_is_wrong_and_gives_the_corrected_policy_to_copy(estate):
    answer = estate("owner").get(f"/staff/accounts/{cast.PROD}/roles/Developer/")
    shown = text_of(answer)
    assert "Principal * in an Allow statement" in shown
    corrected = json.loads(soup(answer).find(id="corrected").get_text())
    assert any("saml-provider/rolegate" in json.dumps(s) for s in corrected["Statement"])
    assert soup(answer).find("button", attrs={"data-copy": "corrected"})


def test_a_role_in_order_says_that(estate):
    shown = text_of(estate("owner").get(f"/staff/accounts/{cast.PROD}/roles/ReadOnly/"))
    assert "engineers-read-production" in shown
    assert "Principal *" not in shown


def test_a_policy_that_is_not_json_is_shown_as_it_is(estate, role_row):
    role_row(cast.PROD, "Broken", policy="{<script>alert(1)</script>")
    answer = estate("owner").get(f"/staff/accounts/{cast.PROD}/roles/Broken/")
    assert b"<script>alert" not in answer.content
    assert "{<script>alert(1)</script>" in soup(answer).get_text()
    assert "the trust policy is not json" in text_of(answer).lower()


def test_findings_are_kept_for_the_list_and_lead_to_their_role(estate, clock):
    browser = estate("owner")
    assert "No account has been examined yet" in text_of(browser.get("/staff/findings/"))
    assert refresh_findings(now=clock.now)["accounts"] == 3
    answer = browser.get("/staff/findings/")
    figures = {
        t.select_one(".what").get_text(strip=True): int(t.select_one(".figure").get_text())
        for t in soup(answer).select(".tile")
    }
    assert figures["Open too far"] == 2
    assert figures["Keeps people out"] == TrustFinding.objects.filter(severity=0).count() > 0
    ranks = [row.td.select_one(".state").get_text(strip=True) for row in soup(answer).select("#list tbody tr")]
    assert ranks == sorted(ranks, key=["Keeps people out", "Open too far", "May be open too far"].index)
    link = soup(browser.get("/staff/findings/?code=principal_star")).select_one("#list tbody th a")["href"]
    assert browser.get(link).status_code == 200


@pytest.mark.parametrize(
    ("query", "roles"),
    [
        ("severity=danger", 2),
        (f"account={cast.STAGING}&severity=danger", 1),
        ("code=role_missing", 1),
        ("code=zz&severity=zz", None),
    ],
)
def test_findings_are_filtered(estate, clock, query, roles):
    browser = estate("owner")
    refresh_findings(now=clock.now)
    shown = names(browser.get(f"/staff/findings/?{query}"))
    assert len(shown) == (TrustFinding.objects.count() if roles is None else roles)


def test_an_account_owner_sees_the_own_findings_alone(estate, clock):
    browser = estate("account-owner")
    refresh_findings(now=clock.now)
    content = browser.get("/staff/findings/").content.decode()
    assert cast.STAGING in content
    assert cast.PROD not in content


def test_a_second_look_writes_nothing_and_a_mended_role_loses_its_findings(estate, clock):
    refresh_findings(now=clock.now)
    before = list(TrustFinding.objects.order_by("pk").values_list())
    assert refresh_findings(now=clock.now) == {"accounts": 0, "written": 0, "forgotten": 0}
    Role.objects.filter(account_id=cast.PROD, name="Developer").update(trust_policy=good(cast.PROD))
    Source.objects.filter(key=f"account:{cast.PROD}").update(version=2)
    again = refresh_findings(now=clock.now + timedelta(hours=1))
    assert again["accounts"] == 1
    assert not TrustFinding.objects.filter(role_arn=cast.role(cast.PROD, "Developer"), code="principal_star").exists()
    kept = [row for row in before if row[0] in set(TrustFinding.objects.values_list("pk", flat=True))]
    assert kept == [row for row in TrustFinding.objects.order_by("pk").values_list() if row[0] in {k[0] for k in kept}]


def test_an_account_that_has_left_takes_its_findings_along(estate, publish, clock):
    from tests.portal.staff.conftest import DOCUMENT

    refresh_findings(now=clock.now)
    line = next(line for line in DOCUMENT.splitlines() if cast.DEV in line)
    publish(DOCUMENT.replace(line + "\n", ""))
    assert refresh_findings(now=clock.now)["forgotten"] > 0
    assert not TrustFinding.objects.filter(account_id=cast.DEV).exists()


def test_a_finding_that_changes_keeps_its_day(estate, clock):
    refresh_findings(now=clock.now)
    row = TrustFinding.objects.filter(account_id=cast.PROD).first()
    TrustFinding.objects.filter(pk=row.pk).update(sentence="an older sentence")
    Source.objects.filter(key=f"account:{cast.PROD}").update(version=9)
    refresh_findings(now=clock.now + timedelta(days=1))
    now = TrustFinding.objects.get(role_arn=row.role_arn, code=row.code, statement=row.statement)
    assert now.sentence == row.sentence
    assert now.found_at == row.found_at


# --- Costs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("many", [0, 60])
def test_each_list_costs_the_same_queries_whatever_its_length(estate, role_row, clock, many, django_assert_num_queries):
    for number in range(many):
        role_row(cast.PROD, f"role{number}", used=number, policy=OPEN)
    refresh_findings(now=clock.now)
    browser = estate("owner")
    browser.get("/staff/accounts/")
    before = 3  # session, person, revision in force
    for path, queries in (
        ("/staff/accounts/", 3),  # revision, sources, findings
        ("/staff/roles/?q=o", 5),  # revision, keys, rows, findings, people
        ("/staff/findings/", 5),  # revision, findings, by severity, by code, since when
        (f"/staff/accounts/{cast.PROD}/roles/ReadOnly/", 11),
        (f"/staff/accounts/{cast.PROD}/", 9),
    ):
        with django_assert_num_queries(before + queries):
            browser.get(path)
