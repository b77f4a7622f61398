"""Sessions: planted, stolen, of a disabled person, of another provider's namesake; and what is stored of them."""

from django.conf import settings as django_settings
from django.contrib.auth import SESSION_KEY
from django.db import IntegrityError

from federation.audit.events import Origin
from federation.flows import revoke
from federation.models import Person, PortalSession
from federation.models.sessions import session_row_key
from tests import cast
from tests.oauth.pairing import paired
from tests.portal.conftest import Browser
from tests.portal.test_saml_sign_in import answer_to, begin, cross_site_post

ORIGIN = Origin("r", "192.0.2.7", "")


def sign_in(browser, number=1, **changes):
    asked = begin(browser)
    answer = answer_to(asked, assertion_id=f"_a{number}", response_id=f"_r{number}", **changes)
    return browser.get(cross_site_post(answer)["Location"])


def cookie(browser):
    return browser.cookies["rolegate_session"].value


def test_no_key_survives_a_sign_in(saml_provider, browser):
    """Fixation, with a key that is stored: the attacker's own session, planted in the victim's browser."""
    saml_provider()
    mallory = Browser()
    sign_in(mallory, 1, name_id="mallory")
    planted = cookie(mallory)
    browser.cookies["rolegate_session"] = planted
    sign_in(browser, 2)
    assert cookie(browser) != planted
    assert not PortalSession.objects.filter(session_key=session_row_key(planted)).exists()
    assert PortalSession.objects.get(person__subject="alice").session_key == session_row_key(cookie(browser))
    assert mallory.get("/").status_code == 302


def test_signing_in_again_gives_a_new_key_and_ends_the_old_one(saml_provider, browser):
    saml_provider()
    sign_in(browser, 1)
    first = cookie(browser)
    sign_in(browser, 2)
    assert cookie(browser) != first
    assert PortalSession.objects.filter(person__subject="alice").count() == 1
    thief = Browser()
    thief.cookies["rolegate_session"] = first
    assert thief.get("/")["Location"].startswith("/signin/")


def test_the_csrf_secret_changes_with_the_sign_in(saml_provider, browser):
    saml_provider()
    browser.get("/signin/")
    before = browser.cookies["rolegate_csrf"].value
    sign_in(browser)
    assert browser.cookies["rolegate_csrf"].value != before


def test_a_stolen_table_is_no_session(publish, signed_in):
    publish()
    browser = signed_in()
    for row in PortalSession.objects.values():
        assert cookie(browser) not in str(row)
        thief = Browser()
        thief.cookies["rolegate_session"] = row["session_key"]
        assert thief.get("/").status_code == 302


def test_sessions_are_json_not_pickle(publish, signed_in):
    assert django_settings.SESSION_SERIALIZER.endswith("JSONSerializer")
    assert django_settings.CELERY_ACCEPT_CONTENT == ["json"]
    assert (django_settings.CELERY_TASK_SERIALIZER, django_settings.CELERY_RESULT_SERIALIZER) == ("json", "json")


def test_a_session_edited_in_the_database_is_worth_nothing(publish, signed_in, sign_in_as, clock):
    """Who can write rows but has no secret key cannot make one person's session another's."""
    publish()
    browser = signed_in(cast.bob())
    row = PortalSession.objects.get(session_key=session_row_key(cookie(browser)))
    carol = sign_in_as(cast.carol(), at=clock.now)
    _packed, _, signature = row.session_data.rpartition(":")
    store = row.get_session_store_class()()
    other = dict(browser.session) | {SESSION_KEY: str(carol.pk)}
    forged = store.encode(other).rpartition(":")[0] + ":" + signature
    PortalSession.objects.filter(pk=row.pk).update(session_data=forged, person=carol)
    assert browser.get("/").status_code == 302
    # Nor may a right signature of somebody else's claim to be hers: the hash over her epoch is not in it.
    PortalSession.objects.filter(pk=row.pk).update(session_data=store.encode(other))
    assert browser.get("/").status_code == 302


def test_everything_of_a_person_ends_at_once(publish, gateway_keys, signed_in, fake_aws, clock):
    publish()
    browser, second = signed_in(), signed_in()
    path = f"/roles/{cast.PROD}/ReadOnly/credentials"
    page = browser.get(path)
    headers = {"authorization": f"Bearer {paired(browser.person, now=clock.now).access_token}"}
    revoke.revoke(browser.person, disable=False, actor="carol", why="laptop lost", origin=ORIGIN, now=clock.now)
    for one in (browser, second):
        assert one.get("/").status_code == 302
    assert browser.submit(page, path)["Location"].startswith("/signin/")
    assert Browser().get("/api/v1/me", headers=headers).status_code == 401
    assert not fake_aws


def test_the_epoch_alone_ends_them(publish, signed_in):
    publish()
    browser = signed_in()
    Person.objects.filter(pk=browser.person.pk).update(session_epoch=browser.person.session_epoch + 1)
    assert browser.get("/").status_code == 302


def test_a_disabled_person_gets_nothing_by_a_page_that_is_still_open(publish, gateway_keys, signed_in, fake_aws, clock):
    publish()
    browser = signed_in()
    path = f"/roles/{cast.PROD}/ReadOnly/console"
    page = browser.get(path)
    Person.objects.filter(pk=browser.person.pk).update(active=False)
    assert browser.submit(page, path)["Location"].startswith("/signin/")
    assert browser.get("/device/")["Location"].startswith("/signin/")
    assert not fake_aws


def test_a_namesake_at_another_provider_is_somebody_else(publish, gateway_keys, signed_in, sign_in_as, fake_aws):
    publish()
    alice = signed_in()
    namesake = signed_in(cast.identity("alice", provider="entra", groups=(), email="alice@example.com"))
    assert namesake.person.pk != alice.person.pk
    assert namesake.person.session_name != alice.person.session_name
    assert namesake.get(f"/roles/{cast.PROD}/ReadOnly/credentials").status_code == 403
    revoke.revoke(namesake.person, disable=True, actor="carol", why="left", origin=ORIGIN, now=cast.NOW)
    assert alice.get("/").status_code == 200


def test_a_session_that_the_database_refuses_is_tried_once(saml_provider, browser, monkeypatch):
    """Tried for ever, it would hold the worker for ever."""
    saml_provider()
    browser.raise_request_exception = False
    received = cross_site_post(answer_to(begin(browser)))
    tries = []

    def refuse(row):
        tries.append(row)
        raise IntegrityError("refused")

    monkeypatch.setattr("portal.sessions._insert", refuse)
    assert browser.get(received["Location"]).status_code == 500
    assert len(tries) == 1
