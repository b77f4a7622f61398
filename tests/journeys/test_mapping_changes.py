"""The mapping over time: what nobody uses is taken out of a rule, and a change that was wrong is taken back, each previewed and published."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.journeys.conftest import NewContext, Town, at_console, run_now, sign_in
from tests.journeys.looks import look

pytestmark = pytest.mark.journey
LAKE = "777788889999"
AUDITS = {
    "name": "finance-and-data-audit-the-lake",
    "when": {"groups": ["finance", "data-science"]},
    "allow": {"roles": ["SecurityAudit"], "accounts": {"names": ["data-lake"]}},
}


@pytest.fixture(scope="module")
def changing(staffed: Town) -> Iterator[Town]:
    """The town with its worker; afterwards its mapping is what it was."""
    yield staffed
    staffed.gateway.manage("rollback", "1")


def test_what_nobody_uses_is_taken_out_previewed_and_published(new_context: NewContext, changing: Town) -> None:
    document = changing.mapping()
    document["mapping"].append(AUDITS)
    changing.gateway.apply(document)
    dave, erin = (new_context().new_page() for _ in range(2))
    sign_in(dave, changing, "oidc", "dave")
    sign_in(erin, changing, "oidc", "erin")
    expect(erin.get_by_role("heading", name="data-lake")).to_be_visible()
    dave.get_by_role("button", name="Console for SecurityAudit in data-lake").click()
    dave.wait_for_url(f"{changing.aws.url}/console")
    carol = at_console(new_context, changing, "carol", "Background work")
    run_now(carol, changing, "Entitlements")
    run_now(carol, changing, "Daily figures")

    heidi = at_console(new_context, changing, "heidi", "Unused access")
    heidi.get_by_role("link", name=AUDITS["name"]).click()
    heidi.get_by_role("link", name="Propose a narrower rule").click()
    proposal = heidi.get_by_role("region", name="A narrower rule")
    expect(proposal).to_contain_text("Leave out the group finance: none of its people uses what the rule gives.")
    expect(proposal).to_contain_text(re.compile(r"1 of \d people used it within 90 days; they keep what they use\."))
    look(heidi, "unused, a narrower rule is proposed")
    proposal.get_by_role("button", name="Make a draft of it").click()
    heidi.get_by_role("button", name="Preview what changes").first.click()
    cohort = heidi.locator("details.cohort")
    expect(cohort).to_have_count(1)  # and nobody besides
    expect(cohort).to_contain_text("Erin Ledger")
    expect(cohort).to_contain_text("loses the role")
    heidi.get_by_role("button", name="Publish,").click()
    expect(heidi.get_by_text("is in force from now on")).to_be_visible()

    erin.reload()
    expect(erin.get_by_role("heading", name="No role is mapped to you yet")).to_be_visible()
    dave.goto(f"{changing.url}/")
    expect(dave.get_by_role("button", name="Console for SecurityAudit in data-lake")).to_be_visible()
    rule = next(rule for rule in changing.mapping()["mapping"] if rule["name"] == AUDITS["name"])
    assert rule["when"] == {"groups": ["data-science"]}
    published = changing.gateway.audit("mapping.published")[-1]
    assert changing.gateway.actors()[published["actor"]] == "Heidi Mapper"
    assert published["data"]["comment"] == f"Narrow {AUDITS['name']}"
    assert published["data"]["impact"]["people_lose"] >= 1


def test_a_change_that_was_wrong_is_taken_back_by_two(new_context: NewContext, changing: Town) -> None:
    right = changing.gateway.rows("SELECT max(number) FROM federation_mappingrevision")[0][0]
    document = changing.mapping()
    document["mapping"] = [rule for rule in document["mapping"] if rule["name"] != "engineers-read-production"]
    changing.gateway.apply(document)
    alice = new_context().new_page()
    sign_in(alice, changing, "saml", "alice")
    reading = alice.get_by_role("button", name="Console for ReadOnly in shop-prod")
    expect(alice.get_by_role("heading", name="shop-dev")).to_be_visible()
    expect(reading).to_have_count(0)

    heidi = at_console(new_context, changing, "heidi", "Mapping")
    heidi.get_by_role("link", name="History").click()
    heidi.get_by_role("link", name=f"Revision {right + 1}").click()
    expect(heidi.locator(".diff del").filter(has_text="engineers-read-production")).to_be_visible()
    heidi.go_back()
    heidi.get_by_role("link", name=f"Revision {right}", exact=True).click()
    heidi.get_by_role("button", name="Go back to this one").click()
    heidi.wait_for_url("**/staff/mapping/drafts/*/**")
    if "preview" not in heidi.url:
        heidi.get_by_role("button", name="Preview what changes").first.click()
    expect(heidi.locator("details.cohort").filter(has_text="Alice Liddell").first).to_contain_text("gets the role")
    expect(heidi.get_by_role("heading", name="A second person must publish this")).to_be_visible()
    look(heidi, "going back, for a second person")
    heidi.get_by_role("button", name="Hand over to a second person").click()
    expect(heidi.get_by_text("It waits for a second person")).to_be_visible()
    expect(heidi.get_by_role("button", name=re.compile("^Publish"))).to_have_count(0)
    alice.reload()
    expect(reading).to_have_count(0)

    carol = at_console(new_context, changing, "carol", "Mapping")
    carol.get_by_role("link", name="Review").click()
    expect(carol.get_by_role("main")).to_contain_text(f"Back to revision {right}")
    expect(carol.locator(".diff ins").filter(has_text="engineers-read-production")).to_be_visible()
    carol.get_by_role("button", name="Publish,").click()
    expect(carol.get_by_role("button", name="Publish,")).to_be_visible()  # the word was not typed
    assert changing.gateway.rows("SELECT max(number) FROM federation_mappingrevision") == [(right + 1,)]
    carol.get_by_label("to confirm what changes in production").fill("production")
    carol.get_by_role("button", name="Publish,").click()
    expect(carol.get_by_text("is in force from now on")).to_be_visible()
    alice.reload()
    expect(reading.first).to_be_visible()

    texts = dict(changing.gateway.rows("SELECT number, text FROM federation_mappingrevision"))
    assert texts[right + 2] == texts[right]
    by_whom = changing.gateway.actors()
    published = changing.gateway.audit("mapping.published")[-1]
    assert by_whom[published["actor"]] == "Carol Admin"
    assert by_whom[published["data"]["author"]] == "Heidi Mapper"
    assert published["data"]["comment"] == f"Back to revision {right}"


def test_the_form_offers_the_groups_and_roles_that_there_are(new_context: NewContext, changing: Town) -> None:
    sign_in(new_context().new_page(), changing, "oidc", "erin")  # of finance, which is how the group is known
    run_now(at_console(new_context, changing, "carol", "Background work"), changing, "Accounts and roles")
    heidi = at_console(new_context, changing, "heidi", "Mapping")
    heidi.get_by_role("button", name="Add a rule").click()
    heidi.get_by_label("Group", exact=True).press_sequentially("fin")
    expect(heidi.locator("#groups option[value=finance]")).to_have_count(1)
    heidi.get_by_label("Group", exact=True).fill("")
    heidi.get_by_label("Account", exact=True).select_option(label="playground (555566667777) – sandbox")
    expect(heidi.locator("#roles option[value=PowerUser]")).to_have_count(1)  # with the rest of the form still empty
    heidi.get_by_role("link", name="The draft").click()
    heidi.get_by_role("button", name="Withdraw this draft").click()
