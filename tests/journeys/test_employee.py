"""What employees come for beside their first click: choosing a service, a duration, reading alone; why not; who was that; unpairing."""

from __future__ import annotations

import hashlib
import re

import pytest
import requests
from playwright.sync_api import Page, expect

from tests.journeys.conftest import DEVELOPMENT, PRODUCTION, STAGING, NewContext, Town, sign_in
from tests.journeys.looks import look
from tests.live import Api, Visitor

pytestmark = pytest.mark.journey
ADMINISTRATOR = f"arn:aws:iam::{PRODUCTION}:role/Administrator"
CATALOGUE = """
from django.utils import timezone
from federation.models import PolicyDocument, Role
text = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:Get*","lambda:*"],"Resource":"*"}]}'
PolicyDocument.objects.update_or_create(digest="e" * 64, defaults={"text": text, "seen_at": timezone.now()})
aws = "arn:aws:iam::aws:policy/"
for account, name, policies in (
    ("%(production)s", "Administrator", [{"name": "AdministratorAccess", "arn": aws + "AdministratorAccess", "document": "", "boundary": False}]),
    ("%(development)s", "Deployer", [{"name": "release", "arn": "", "document": "e" * 64, "boundary": False}]),
):
    Role.objects.update_or_create(arn=f"arn:aws:iam::{account}:role/{name}", defaults={
        "account_id": account, "name": name, "seen_at": timezone.now(), "search": name.lower(), "policies": policies})
"""


@pytest.fixture(scope="module")
def read(stage: Town) -> Town:
    """Two roles as the catalogue knows them once it has read their accounts."""
    stage.gateway.manage("shell", "-v", "0", "-c", CATALOGUE % {"production": PRODUCTION, "development": DEVELOPMENT})
    return stage


@pytest.fixture
def alice(stage: Town, new_context: NewContext) -> Page:
    page = new_context().new_page()
    sign_in(page, stage, "oidc", "alice")
    return page


@pytest.mark.parametrize("scripts", [True, False], ids=["with-script", "without-script"])
def test_a_service_is_picked_the_last_one_offered_again_and_the_session_is_listed(
    stage: Town, new_context: NewContext, scripts: bool
) -> None:
    page = new_context(java_script_enabled=scripts).new_page()
    sign_in(page, stage, "oidc", "alice")
    page.get_by_role("link", name="Developer", exact=True).first.click()
    where = page.url
    page.get_by_label("Service").select_option("DynamoDB")
    page.get_by_label("Read only").first.check()
    page.get_by_role("button", name="Open the console").click()
    page.wait_for_url(f"{stage.aws.url}/console**")
    expect(page.locator("main, body").first).to_contain_text("dynamodb")
    page.goto(where)
    expect(page.get_by_role("button", name="Where you were last: dynamodbv2")).to_be_visible()
    sessions = page.get_by_role("region", name="Open sessions")
    expect(sessions).to_contain_text("UTC")


def test_a_page_of_the_console_is_pasted_and_one_of_elsewhere_is_refused(alice: Page, stage: Town) -> None:
    alice.goto(f"{stage.url}/roles/{STAGING}/Developer/")
    alice.get_by_label("Or a page of the console, pasted").fill("https://console.aws.amazon.com.evil.example/s3")
    alice.get_by_role("button", name="Open the console").click()
    expect(alice.get_by_role("heading", level=1)).not_to_contain_text("Console Home")
    assert alice.url.startswith(stage.url)
    alice.goto(f"{stage.url}/roles/{STAGING}/Developer/")
    alice.get_by_label("Or a page of the console, pasted").fill(
        "https://eu-west-1.console.aws.amazon.com/lambda/home?region=eu-west-1"
    )
    alice.get_by_role("button", name="Open the console").click()
    alice.wait_for_url(f"{stage.aws.url}/console**")
    expect(alice.locator("body")).to_contain_text("lambda")


def test_credentials_for_less_time_and_for_reading_alone(alice: Page, stage: Town) -> None:
    alice.goto(f"{stage.url}/roles/{STAGING}/Developer/")
    form = alice.get_by_role("region", name="Credentials")
    form.get_by_label("How long").select_option("15 min")
    form.get_by_label("Read only").check()
    form.get_by_role("button", name="Get credentials").click()
    expect(alice.get_by_role("tablist")).to_be_visible()
    event = next(event for event in reversed(stage.gateway.audit()) if event["kind"] == "credentials")
    assert event["data"]["duration"] == 900
    expect(alice.locator("main")).to_contain_text(re.compile("1[45] min left"))


def test_what_a_role_may_do_opens_in_place_before_it_is_asked_for(
    alice: Page, read: Town, new_context: NewContext
) -> None:
    alice.goto(f"{read.url}/roles/{DEVELOPMENT}/Deployer/")
    can = alice.get_by_role("region", name="What the role may do")
    expect(can).to_contain_text("Changes")
    expect(can.get_by_role("listitem").filter(has_text="lambda")).to_be_visible()
    can.get_by_text("Its policy").click()
    expect(can.locator("pre")).to_contain_text('"lambda:*"')
    look(alice, "role, its policies opened")
    # Without JavaScript it is a link to a page of its own.
    plain = new_context(java_script_enabled=False).new_page()
    sign_in(plain, read, "oidc", "alice")
    plain.goto(f"{read.url}/requests/new?role={ADMINISTRATOR}")
    expect(plain.locator("main")).to_contain_text("Everything in the account: an administrator")
    plain.get_by_text("Its policy").click()
    plain.get_by_role("link", name="Read them").click()
    expect(plain.get_by_role("heading", name="What Administrator may do")).to_be_visible()
    expect(plain.get_by_role("link", name="Its text, at AWS")).to_have_attribute(
        "href", re.compile("AdministratorAccess.html$")
    )


def test_why_one_cannot_see_a_role_and_whom_to_ask(read: Town, new_context: NewContext) -> None:
    page = new_context().new_page()
    sign_in(page, read, "oidc", "bob")
    page.goto(f"{read.url}/")
    page.get_by_role("link", name="Find out why, and whom to ask").click()
    page.get_by_label("Account or role").fill("shop-prod admin")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="Why? Administrator, shop-prod").click()
    expect(page.get_by_role("heading", name="Why Administrator?")).to_be_visible()
    expect(page.locator("main")).to_contain_text("You do not have it.")
    expect(page.locator(".steps")).to_contain_text("no-contractors-in-production")
    whom = page.get_by_role("region", name="Whom to ask")
    expect(whom).to_contain_text("shop-owners")
    expect(whom).to_contain_text("cloud-platform")
    # What others have is not told: the page of the role itself stays shut.
    assert page.goto(f"{read.url}/roles/{PRODUCTION}/Administrator/policies").status in {403, 404}  # type: ignore[union-attr]


def test_several_accounts_in_one_request_and_it_is_withdrawn(alice: Page, stage: Town) -> None:
    alice.goto(f"{stage.url}/requests/new")
    boxes = alice.locator("input[name=role]:not([disabled])")
    assert boxes.count() >= 2
    for number in range(2):
        boxes.nth(number).check()
    alice.get_by_role("button", name="Continue").click()
    expect(
        alice.get_by_role("region", name="What you ask for").get_by_role("listitem").filter(has_text="Administrator")
    ).to_have_count(2)
    expect(alice.get_by_role("region", name="Who can approve it")).to_contain_text("sre-leads")
    alice.get_by_label("Reason").fill("Both payments and the shop wait for it")
    alice.get_by_role("button", name="Send the request").click()
    alice.wait_for_url("**/requests/*-*/")
    expect(alice.locator("main h2").filter(has_text="Administrator")).to_have_count(2)
    alice.get_by_role("button", name="Withdraw the request").click()
    expect(alice.locator("main")).to_contain_text("Withdrawn")


def test_ones_activity_names_both_browsers_and_the_other_one_is_ended(
    alice: Page, stage: Town, new_context: NewContext
) -> None:
    other = new_context().new_page()
    sign_in(other, stage, "oidc", "alice")
    alice.goto(f"{stage.url}/")
    alice.get_by_role("link", name="Activity", exact=True).click()
    expect(alice.get_by_role("region", name="Signed in")).to_contain_text("this one")
    expect(alice.get_by_role("group", name="What you did")).to_contain_text("127.0.0.1")
    alice.get_by_role("button", name="End all others").click()
    expect(alice.get_by_text("Your other sessions have ended.")).to_be_visible()
    other.reload()
    expect(other).to_have_url(re.compile("/signin/"))
    alice.reload()
    expect(alice.get_by_role("heading", name="My activity")).to_be_visible()


def test_the_command_line_page_has_the_line_and_the_checksum_of_what_it_installs(alice: Page, stage: Town) -> None:
    alice.goto(f"{stage.url}/cli/")
    line = alice.locator("pre").first.inner_text()
    checksum = re.search(r"[0-9a-f]{64}", line)
    assert checksum is not None
    with alice.expect_download() as downloaded:
        alice.get_by_role("link", name="rolegate.pyz").click()
    assert hashlib.sha256(downloaded.value.path().read_bytes()).hexdigest() == checksum[0]


def test_a_program_is_unpaired_and_its_next_refresh_is_refused(alice: Page, stage: Town) -> None:
    visitor = Visitor()
    visitor.sign_in(stage.gateway, "corp-oidc")
    tokens = visitor.pair_for_tokens(stage.gateway)
    api = Api(stage.gateway, tokens["access_token"])
    assert api.get("/me").status_code == 200
    alice.goto(f"{stage.url}/")
    alice.get_by_role("link", name="Command line", exact=True).click()
    rows = alice.get_by_role("group", name="Table of paired programs").locator("tbody tr")
    before = rows.count()
    expect(rows.first).to_contain_text("127.0.0.1")
    rows.first.get_by_role("button", name=re.compile("^Unpair")).click()
    expect(alice.get_by_text("The pairing has ended.")).to_be_visible()
    expect(rows).to_have_count(before - 1)

    refreshed = requests.post(
        f"{stage.url}/oauth/token",
        data={"grant_type": "refresh_token", "client_id": "rolegate-cli", "refresh_token": tokens["refresh_token"]},
        timeout=20,
    )
    assert (refreshed.status_code, refreshed.json()["error"]) == (400, "invalid_grant")
    assert api.get("/me").status_code == 401
    ended = stage.gateway.audit("client.revoked")[-1]
    assert stage.gateway.actors()[ended["actor"]] == "Alice Liddell"
    assert "grant_revoked" in {event["reason"] for event in stage.gateway.audit("token.refused")}
