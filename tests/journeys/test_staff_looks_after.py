"""What owners, mappers and auditors come to the console for, each as they would: numbers that lead on, people, history, the log, a key that rolls."""

from __future__ import annotations

import csv
import re

import pytest
import requests
import yaml
from cryptography.hazmat.primitives.serialization import Encoding
from playwright.sync_api import expect

from demo import keypair
from tests.journeys.conftest import PRODUCTION, NewContext, Town, at_console, sign_in
from tests.journeys.looks import look
from tests.journeys.test_providers import try_signing_in

pytestmark = pytest.mark.journey
ADMINISTRATOR = f"arn:aws:iam::{PRODUCTION}:role/Administrator"
ROLE = """
from django.utils import timezone
from federation.models import PolicyDocument, Role
text = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ec2:*","iam:AttachUserPolicy"],"Resource":"*"}]}'
PolicyDocument.objects.update_or_create(digest="f" * 64, defaults={"text": text, "seen_at": timezone.now()})
Role.objects.update_or_create(arn="arn:aws:iam::%(account)s:role/IncidentResponder", defaults={
    "account_id": "%(account)s", "name": "IncidentResponder", "seen_at": timezone.now(), "search": "incidentresponder",
    "policies": [{"name": "isolate", "arn": "", "document": "f" * 64, "boundary": False}]})
"""
READ_ONLY = f"arn:aws:iam::{PRODUCTION}:role/ReadOnly"


def test_each_number_of_the_overview_leads_to_its_list(new_context: NewContext, town: Town) -> None:
    page = at_console(new_context, town, "carol", "Overview")
    tiles = page.locator("a.tile")
    assert tiles.count() >= 3
    for number in range(tiles.count()):
        words = tiles.nth(number).inner_text()
        answer = page.goto(town.url + str(tiles.nth(number).get_attribute("href")))
        assert answer is not None
        assert answer.status == 200, words
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        page.go_back()
    page.get_by_text("As a table").first.click()
    expect(page.locator("figure table").first).to_be_visible()
    for width in (1280, 320):
        page.set_viewport_size({"width": width, "height": 800})
        crowded = page.evaluate(_CROWDED)
        assert not crowded, f"{width} px: {crowded}"


# Words of a chart's axes that cannot be read: smaller than any other word of the page, or one upon the other.
_CROWDED = """() => [...document.querySelectorAll('.chart .plot')].flatMap((plot) => ['.xs', '.ys'].flatMap((axis) => {
  const words = [...plot.querySelectorAll(`${axis} li`)].filter((word) => word.textContent && getComputedStyle(word).visibility === 'visible');
  const boxes = words.map((word) => { const range = document.createRange(); range.selectNodeContents(word); return range.getBoundingClientRect(); });
  const apart = (one, next) => one.right + 4 <= next.left || one.bottom <= next.top + 1;
  return [
    ...(words.length < 2 ? [`${axis} has ${words.length} words`] : []),
    ...words.filter((word) => parseFloat(getComputedStyle(word).fontSize) < 12).map((word) => `small: ${word.textContent}`),
    ...boxes.slice(1).flatMap((box, place) => apart(boxes[place], box) ? [] : [`${words[place].textContent} upon ${words[place + 1].textContent}`]),
  ];
}))"""


def test_a_persons_access_is_explained_as_of_a_day_and_compared(new_context: NewContext, town: Town) -> None:
    for who in ("alice", "bob"):
        sign_in(new_context().new_page(), town, "saml", who)
    page = at_console(new_context, town, "grace", "People")
    page.get_by_label("Search").fill("alice")
    page.get_by_role("link", name="Alice Liddell").first.click()
    expect(page.get_by_role("heading", name="Alice Liddell")).to_be_visible()
    expect(page.locator("main")).to_contain_text("engineers-read-production")
    page.get_by_text(re.compile("^Not matched")).click()
    expect(page.locator("main")).to_contain_text("no-contractors-in-production")
    page.get_by_role("link", name="Explain a role").click()
    page.get_by_label("Role: its ARN, or account/role").fill(READ_ONLY)
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_role("heading", name="Yes")).to_be_visible()
    page.get_by_label("Role: its ARN, or account/role").fill(READ_ONLY)
    page.locator("#at").fill("2020-01-01")
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_role("alert")).to_contain_text("No mapping was in force at that moment.")
    page.locator("header a", has_text="Alice Liddell").click()
    page.get_by_role("link", name="Compare with a colleague").click()
    page.get_by_label(re.compile("^Colleague")).fill("corp:u-1002-bob")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("region", name=re.compile("^Only Alice"))).to_contain_text("shop-team")
    expect(page.get_by_role("region", name=re.compile("^Only Bob"))).to_contain_text("contractors")
    # An auditor looks: nothing here is offered that would change anything.
    expect(page.get_by_role("link", name="Revoke everything")).to_have_count(0)


def test_the_history_shows_who_changed_what_and_goes_back(new_context: NewContext, town: Town) -> None:
    document = yaml.safe_load(town.gateway.manage("export"))
    document["mapping"] = [rule for rule in document["mapping"] if rule["name"] != "everybody-plays-in-the-sandbox"]
    town.gateway.apply(document)
    page = at_console(new_context, town, "carol", "Mapping")
    page.get_by_role("link", name="History").click()
    newest = page.get_by_role("group", name="Revisions").locator("tbody tr")
    newest.first.get_by_role("link").click()
    expect(page.locator(".diff del").filter(has_text="everybody-plays-in-the-sandbox")).to_be_visible()
    page.go_back()
    newest.nth(1).get_by_role("link").click()
    page.get_by_role("button", name="Go back to this one").click()
    page.wait_for_url("**/staff/mapping/drafts/*/**")
    if "preview" not in page.url:
        page.get_by_role("button", name="Preview what changes").first.click()
    expect(page.get_by_role("heading", name="What this draft changes")).to_be_visible()
    expect(page.locator(".diff ins").filter(has_text="everybody-plays-in-the-sandbox")).to_be_visible()
    # Nothing is in force yet; and a draft that says nothing new says so.
    assert "everybody-plays-in-the-sandbox" not in town.gateway.manage("export")


def test_a_draft_without_a_change_says_that_there_is_nothing_to_publish(new_context: NewContext, town: Town) -> None:
    page = at_console(new_context, town, "heidi", "Mapping")
    page.get_by_role("button", name="Change the mapping").click()
    page.get_by_role("button", name="Preview what changes").first.click()
    expect(page.get_by_text("there is nothing to publish yet")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("^Publish"))).to_have_count(0)
    page.get_by_role("link", name="Change something").click()
    page.get_by_role("button", name="Withdraw this draft").click()


def test_an_auditor_watches_exports_and_verifies_the_log(new_context: NewContext, town: Town) -> None:
    page = at_console(new_context, town, "grace", "Audit log", accept_downloads=True)
    page.get_by_label("Search").fill("kind:sign_in -outcome:ok person:grace")
    page.get_by_role("button", name="Search", exact=True).click()
    assert "q=kind" in page.url
    page.get_by_label("Search").fill("kind:sign_in person:grace")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.locator("#events tr").first).to_contain_text("signed in")
    with page.expect_download() as downloaded:
        page.get_by_role("button", name="CSV").or_(page.get_by_role("link", name="CSV")).click()
    rows = list(csv.reader(downloaded.value.path().read_text(encoding="utf-8").splitlines()))
    assert len(rows) > 1
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)
    page.get_by_role("link", name="Verify").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.get_by_role("button", name=re.compile("^Verify")).click()
    expect(page.locator("main")).not_to_contain_text("There is a problem")


def test_a_certificate_of_pasted_metadata_rolls_without_anybody_being_shut_out(
    new_context: NewContext, town: Town
) -> None:
    """Pasted metadata: the next one beside the old one, seen with its end, drafted and previewed; in force, the old key still signs people in."""
    document = yaml.safe_load(town.gateway.manage("export"))
    corp = next(one for one in document["identity_providers"] if one["slug"] == "corp")
    corp["saml"] = {"metadata_xml": requests.get(town.idp.metadata_url, timeout=10).text}
    town.gateway.apply(document)
    following = keypair.generate("the next key of the provider")
    page = at_console(new_context, town, "carol", "Identity providers")
    page.get_by_role("link", name="Example Corp (SAML)").click()
    expect(page.get_by_role("group", name="Certificates")).to_contain_text(
        "UTC"
    )  # when it last signed a sign-in: just now
    page.get_by_role("button", name="Add or drop a certificate").click()
    rolled = page.get_by_role("region", name="Its certificates, while a key rolls")
    expect(rolled.locator("tbody tr")).to_have_count(1)
    page.get_by_label("The next certificate").fill("not a certificate")
    page.get_by_role("button", name="Accept it as well").click()
    expect(page.locator("[data-focus]")).to_be_focused()
    page.get_by_label("The next certificate").fill(following.certificate.public_bytes(Encoding.PEM).decode())
    page.get_by_role("button", name="Accept it as well").click()
    expect(page.get_by_text("It counts once the entry is in a draft")).to_be_visible()
    expect(rolled.locator("tbody tr")).to_have_count(2)
    expect(rolled).to_contain_text("left")
    look(page, "provider, a certificate beside another")
    # Still signed with the old key: the test proves the entry with both.
    try_signing_in(page, town, "alice")
    expect(page.locator("#result")).to_contain_text("The test succeeded")
    page.get_by_role("button", name="Put it into a draft").click()
    text = page.locator("#text").input_value()
    page.get_by_role("button", name="Preview what changes").first.click()
    expect(page.get_by_role("heading", name="What this draft changes")).to_be_visible()
    town.gateway.apply(yaml.safe_load(text))
    alice = new_context().new_page()
    sign_in(alice, town, "saml", "alice")


def test_the_page_of_a_role_is_for_everybody(new_context: NewContext, town: Town) -> None:
    """Its trust is right, and what it may do is much: both are said in sentences, which a narrow screen must hold."""
    town.gateway.manage("shell", "-v", "0", "-c", ROLE % {"account": PRODUCTION})
    page = at_console(new_context, town, "carol", "Roles")
    page.get_by_role("link", name="IncidentResponder").click()
    expect(page.get_by_role("region", name="What the role may do")).to_contain_text("It can change who may do what")
    look(page, "staff, a role")


def test_a_narrower_rule_is_drafted_from_what_is_used(new_context: NewContext, town: Town) -> None:
    alice = new_context().new_page()
    sign_in(alice, town, "saml", "alice")
    town.gateway.manage("refresh", "entitlements")
    page = at_console(new_context, town, "heidi", "Unused access")
    page.get_by_role("link", name="engineers-read-production").click()
    expect(page.get_by_role("heading", name="A narrower rule")).to_be_visible()
    expect(page.get_by_role("region", name=re.compile("^Roles"))).to_contain_text("ReadOnly")
