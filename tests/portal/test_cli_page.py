"""The command line page: the pairings a person has, and ending them."""

import uuid
from datetime import timedelta

import pytest

from federation.models import TokenFamily
from tests import cast
from tests.portal.conftest import soup, text_of


@pytest.fixture
def paired(clock):
    def do(person, label="curl/8 on \u202elaptop <b>"):
        return TokenFamily.objects.create(
            person=person, client_id="rolegate-cli", label=label, scope="roles credentials", address="192.0.2.9",
            session_epoch=person.session_epoch, created=clock.now, last_used=clock.now, expires=clock.now + timedelta(days=7),
        )  # fmt: skip

    return do


def test_nothing_paired(publish, signed_in):
    publish()
    assert "No program is paired with you" in text_of(signed_in().get("/cli/"))


def test_a_pairing_is_listed_and_ended(publish, signed_in, paired):
    publish()
    browser = signed_in()
    family = paired(browser.person)
    page = browser.get("/cli/")
    row = soup(page).select_one("tbody tr").get_text(" ")
    assert "Rolegate command line" in row
    assert "192.0.2.9" in row
    assert "curl/8 on  U+202E laptop <b>" in row
    answer = browser.submit(page, f"/cli/{family.pk}/revoke", follow=True)
    assert "The pairing has ended" in text_of(answer)
    family.refresh_from_db()
    assert (family.revoked_reason, family.revoked_at is not None) == ("by_person", True)


def test_nobody_ends_another_persons_pairing(publish, signed_in, paired):
    publish()
    alice, bob = signed_in(), signed_in(cast.bob())
    family = paired(bob.person)
    token = soup(alice.get("/signout/")).find("input", attrs={"name": "csrfmiddlewaretoken"})["value"]
    for wanted in (family.pk, uuid.uuid4()):
        answer = alice.post(f"/cli/{wanted}/revoke", {"csrfmiddlewaretoken": token})
        assert answer.status_code == 404
    family.refresh_from_db()
    assert family.revoked_at is None


def test_ending_needs_the_forms_token(publish, signed_in, paired):
    publish()
    browser = signed_in()
    assert browser.post(f"/cli/{paired(browser.person).pk}/revoke", {}).status_code == 403
