"""Walks over every address of the console with every right: nothing opens without a declared capability, and each right
opens exactly what the table says.
"""

import re

import pytest
from django.test import Client
from django.urls import URLPattern, reverse

from federation.mapping.capabilities import RIGHTS, Capability
from federation.models import AuditEvent
from portal.staff import navigation
from portal.urls import urlpatterns as every
from tests import cast
from tests.portal.conftest import soup
from tests.portal.staff.conftest import RIGHT_NAMES

urlpatterns = next(entry.url_patterns for entry in every if "portal.staff.urls" in repr(entry))
SAMPLES = {
    "number": "0",
    "task": "purge_expired",
    "role_name": "Developer",
    "draft_id": "00000000-0000-4000-8000-000000000001",
    "seq": "1",
    "person_id": "00000000-0000-4000-8000-000000000000",
    "slug": "corp",
    "trial_id": "00000000-0000-4000-8000-000000000000",
}


def addresses(account_id=cast.STAGING):
    return list(_addresses(account_id))


def _addresses(account_id):
    for entry in urlpatterns:
        assert isinstance(entry, URLPattern), "the console's addresses are flat, so that nobody overlooks one"
        path = re.sub(
            r"<(?:\w+:)?(\w+)>", lambda m: {"account_id": account_id, **SAMPLES}[m[1]], "/" + str(entry.pattern)
        )
        yield pytest.param(path, entry.callback, "<account:account_id>" in str(entry.pattern), id=entry.name)


@pytest.mark.parametrize(("path", "view", "of_account"), addresses())
def test_every_address_lies_below_staff_and_declares_one_capability(path, view, of_account):
    assert path.startswith("/staff/")
    assert isinstance(getattr(view, "staff_capability", None), Capability)


def test_every_capability_is_somebodys_and_an_owner_has_them_all():
    assert RIGHTS["owner"] == set(Capability)
    assert all(rights <= RIGHTS["owner"] for rights in RIGHTS.values())
    assert all(Capability.OPEN_CONSOLE in rights for rights in RIGHTS.values())


def test_an_auditor_changes_nothing():
    changing = {c for c in Capability if not c.value.startswith("see_")}
    assert RIGHTS["auditor"] & changing == {
        Capability.OPEN_CONSOLE,
        Capability.EXPORT_AUDIT,
        Capability.VERIFY_AUDIT,
    }


@pytest.mark.parametrize("right", RIGHT_NAMES)
@pytest.mark.parametrize(("path", "view", "of_account"), addresses())
def test_each_right_opens_exactly_what_the_table_says(console, right, path, view, of_account):
    capability = view.staff_capability
    browser = console(right)
    answer = browser.get(path)
    refused = answer.status_code == 403
    assert refused == (capability not in RIGHTS[right]), (answer.status_code, capability)
    assert answer.status_code < 500
    if refused:
        assert b"staff_forbidden" in answer.content
        event = AuditEvent.objects.order_by("-seq").first()
        assert (event.kind, event.outcome, event.reason) == ("staff.refused", "refused", capability.value)
        assert event.actor == f"corp:{browser.person.session_name}"
        assert event.data["path"] == path


@pytest.mark.parametrize("right", RIGHT_NAMES)
@pytest.mark.parametrize(("path", "view", "of_account"), addresses())
def test_a_forged_post_is_refused_before_the_method_is_looked_at(console, right, path, view, of_account):
    if view.staff_capability in RIGHTS[right]:
        return
    browser = console(right)
    careless = Client(enforce_csrf_checks=False)
    careless.cookies = browser.cookies
    answer = careless.post(path)
    assert answer.status_code == 403
    assert b"staff_forbidden" in answer.content


@pytest.mark.parametrize(("path", "view", "of_account"), addresses())
def test_whoever_is_no_staff_sees_nothing(console, path, view, of_account):
    answer = console("").get(path)
    assert answer.status_code == 403
    assert b"staff_forbidden" in answer.content


@pytest.mark.parametrize(("path", "view", "of_account"), addresses(cast.PROD))
def test_an_account_owner_opens_no_other_account(console, path, view, of_account):
    if not of_account:
        return
    answer = console("account-owner").get(path)
    assert answer.status_code == 403
    assert b"staff_forbidden" in answer.content


@pytest.mark.parametrize(("path", "view", "of_account"), addresses())
def test_without_a_session_every_address_leads_to_the_sign_in(client, publish, path, view, of_account):
    assert client.get(path)["Location"].startswith("/signin/?next=%2Fstaff")


def test_the_navigation_promises_only_what_opens():
    views = {entry.name: entry.callback for entry in urlpatterns}
    for _, places in navigation.SECTIONS:
        for place in places:
            assert views[place.name].staff_capability is place.capability, place.name


@pytest.mark.parametrize("right", RIGHT_NAMES)
def test_each_right_finds_its_pages_in_the_navigation_and_no_other(console, right):
    browser = console(right)
    landed = browser.get("/staff/", follow=True)
    assert landed.status_code == 200
    wanted = {
        reverse(place.name)
        for _, places in navigation.SECTIONS
        for place in places
        if place.capability in RIGHTS[right]
    }
    shown = {a["href"] for a in soup(landed).select(".console-nav a")}
    assert shown == wanted
