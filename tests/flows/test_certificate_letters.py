"""Letters to the owners before a provider's last certificate ends: once at each moment, to those who can do something about it."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.core import mail

from federation import tasks
from federation.flows import approvers, certificate_letters, letters, provider_documents
from federation.models import AuditEvent, Letter
from tests import cast, saml_kit

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _mail(settings):
    settings.ROLEGATE_EMAIL_FROM = "gateway@example.com"
    settings.ROLEGATE_URL = "https://rolegate.example.com"


@pytest.fixture
def provider(publish, sign_in_as, now):
    """Publishes a provider whose certificates end so many days from now; Carol owns the gateway, Alice does not."""

    def do(*days, enabled=True):
        keys = tuple(("signing", saml_kit.pair(f"c{n}", end=now + n * DAY, start=now - 99 * DAY).bare) for n in days)
        entry = {
            "slug": "corp", "name": "Example Corp", "saml": {"metadata_xml": saml_kit.metadata_xml(keys=keys)}, "enabled": enabled,
            "claims": {"subject": "NameID", "email": "mail", "name": "displayName", "groups": "memberOf"},
        }  # fmt: skip
        other = {**entry, "slug": "partner", "saml": {"metadata_xml": saml_kit.metadata_xml()}}
        staff = [
            {"role": "owner", "groups": ["cloud-platform"], "provider": "corp"}, {"role": "auditor", "groups": ["engineering"]},
        ]  # fmt: skip
        publish(json.dumps({"version": 1, "identity_providers": [entry, other], "staff": staff}), at=now)

    do(365)
    sign_in_as(cast.identity("carol", groups=("cloud-platform",), now=now), at=now)
    sign_in_as(cast.identity("alice", groups=("engineering",), now=now), at=now)
    sign_in_as(cast.identity("mallory", groups=("cloud-platform",), now=now, provider="partner"), at=now)
    return do


def tell(at):
    return certificate_letters.tell_owners(now=at)


def told():
    return [event.data["days"] for event in AuditEvent.objects.filter(kind="provider.certificate_ends").order_by("seq")]


def test_owners_are_told_once_at_each_moment_and_no_oftener(provider, now):
    provider(40)
    for hour in range(0, 24 * 45, 5):  # at each hour of the day, in the end
        tell(now + timedelta(hours=hour))
    assert told() == [30, 14, 7, 2, 0]
    assert set(Letter.objects.values_list("to", flat=True)) == {"carol@example.com"}
    assert Letter.objects.count() == 5


def test_a_crowd_that_another_provider_calls_owners_takes_no_owners_place(provider, sign_in_as, now):
    for n in range(certificate_letters.approvers.MOST_NAMED + 1):
        sign_in_as(cast.identity(f"aaron-{n}", groups=("cloud-platform",), now=now, provider="partner"), at=now)
    provider(20)
    assert tell(now) == {"corp": 1}
    assert list(Letter.objects.values_list("to", flat=True)) == ["carol@example.com"]


def test_the_letter_says_which_until_when_and_what_to_do(provider, now):
    provider(20)
    assert tell(now) == {"corp": 1}
    letters.send_due(now=now)
    (sent,) = mail.outbox
    assert sent.subject == f"The certificate of Example Corp ends on {now + 20 * DAY:%Y-%m-%d}"
    event = AuditEvent.objects.get(kind="provider.certificate_ends")
    for words in (
        "no other lasts longer", event.data["certificate"], "Give the gateway the provider's next metadata",
        "https://rolegate.example.com/staff/providers/of/corp/",
    ):  # fmt: skip
        assert words in sent.body


def test_whoever_was_away_for_weeks_is_told_once_and_not_of_each_day(provider, now):
    provider(40)
    assert tell(now + 39 * DAY) == {"corp": 1}
    assert tell(now + 39 * DAY) == {}
    assert told() == [2]


def test_while_a_key_rolls_the_one_that_lasts_longest_counts(provider, now):
    provider(3, 300)
    assert tell(now) == {}
    provider(3)
    assert tell(now) == {"corp": 1}
    provider(5)  # another certificate is another matter
    assert tell(now) == {"corp": 1}


def test_a_certificate_that_has_ended_is_told_of_though_nothing_is_read_with_it_any_more(provider, now):
    provider(1)
    assert tell(now + 2 * DAY) == {"corp": 1}
    assert "has ended" in Letter.objects.get().subject
    assert tell(now + 30 * DAY) == {}


def test_a_provider_that_is_closed_and_a_gateway_without_mail_write_nothing(provider, now, settings):
    provider(3, enabled=False)
    assert tell(now) == {}
    provider(3)
    settings.ROLEGATE_EMAIL_FROM = ""
    assert tell(now) == {}
    settings.ROLEGATE_EMAIL_FROM = "gateway@example.com"
    assert tell(now) == {"corp": 1}  # not forgotten meanwhile


def test_nobody_to_write_to_is_no_letter_written(provider, now):
    provider(3)
    from federation.models import Person

    Person.objects.filter(subject="carol").update(email="")
    assert (tell(now), told()) == ({}, [])
    Person.objects.filter(subject="carol").update(email="carol@example.com")
    assert (tell(now), told()) == ({"corp": 1}, [7])


@pytest.mark.parametrize("limit", ["named", "looked at"])
def test_people_of_another_provider_crowd_nobody_out(provider, sign_in_as, now, monkeypatch, limit):
    """Attack: whoever runs a lesser provider has many in a group of that name, who come first by name and signed in last."""
    monkeypatch.setattr(approvers, "MOST_NAMED" if limit == "named" else "_LOOKED_AT", 3)
    monkeypatch.setattr(approvers, "_AT_ONCE", 2)
    for number in range(7):
        crowd = cast.identity(f"a{number}", groups=("cloud-platform",), now=now, provider="partner")
        sign_in_as(crowd, at=now + timedelta(hours=1))
    provider(3)
    assert tell(now) == {"corp": 1}
    assert set(Letter.objects.values_list("to", flat=True)) == {"carol@example.com"}


def test_where_any_provider_may_name_owners_all_of_them_are_told(provider, sign_in_as, now, publish):
    """An entry that names no provider counts for people of each."""
    provider(3)
    from federation.models import MappingRevision

    text = MappingRevision.objects.latest("number").text.replace(
        ', "provider": "corp"}, {"role": "auditor"', '}, {"role": "auditor"'
    )
    publish(text, at=now)
    assert tell(now) == {"corp": 2}
    assert set(Letter.objects.values_list("to", flat=True)) == {"carol@example.com", "mallory@example.com"}


def test_they_are_in_the_language_that_the_operator_has_chosen(provider, now, settings):
    settings.ROLEGATE_LETTER_LANGUAGE = "de"
    provider(3)
    tell(now)
    letter = Letter.objects.get()
    assert letter.subject.startswith("Das Zertifikat von Example Corp läuft am")
    assert "kein anderes gilt länger" in letter.body


def test_the_worker_looks_with_the_providers_documents(provider, monkeypatch):
    asked = []
    monkeypatch.setattr(provider_documents, "refresh_all", lambda **_: {})
    monkeypatch.setattr(certificate_letters, "tell_owners", lambda *, now: asked.append(now))
    tasks.refresh_provider_documents()
    assert len(asked) == 1
