"""A key rolls in metadata that stand in the document: the next certificate beside the old one, and later the old one dropped."""

from datetime import timedelta

import pytest
import yaml
from django.db import OperationalError

from federation.errors import NotFound, SamlRefused
from federation.flows import provider_certificates, provider_changes, provider_keys, provider_trials
from federation.flows.provider_certificates import CertificateRefused
from federation.flows.provider_changes import ShutsOut
from federation.models import Person, ProviderKeyUse
from federation.signin import certificates
from federation.signin.metadata import certificates_of
from tests import saml_kit as kit
from tests.flows import test_sign_in_saml as saml
from tests.flows.test_provider_trials import again, answer, receive

NOW = kit.NOW
OLD, NEXT = kit.pair(), kit.pair("next")


def document(**saml_options):
    return saml.document(**saml_options) + "staff:\n  - {role: owner, groups: [cloud-platform]}\n"


@pytest.fixture
def carol(gateway_keys, publish, settings, monkeypatch):
    settings.ROLEGATE_URL = "https://rolegate.example.com"
    publish(document())
    monkeypatch.setattr(provider_keys, "_noted", {})
    return Person.objects.create(
        provider="corp", subject="carol", session_name="carol", name="Carol", groups=["cloud-platform"], claims_at=NOW, authenticated_at=NOW
    )  # fmt: skip


@pytest.fixture
def trial(carol):
    """The provider in force, taken into a trial."""
    return provider_trials.begin(carol, yaml.safe_load(document())["identity_providers"][0], now=NOW)


def accepted(trial):
    trial.refresh_from_db()
    return certificates_of(provider_trials.provider_of(trial).saml.metadata_xml.encode())


def refused(act, *arguments):
    with pytest.raises(CertificateRefused) as caught:
        act(*arguments, now=NOW)
    return caught.value.reason


@pytest.mark.parametrize("text", [NEXT.certificate, NEXT.bare, f"\r\n{NEXT.certificate}\r\n", kit.metadata_xml(keys=(("signing", NEXT.bare),))])  # fmt: skip
def test_the_next_one_stands_beside_the_old_however_it_was_pasted(carol, trial, text):
    provider_certificates.add(carol, trial.pk, text, now=NOW)
    assert accepted(trial) == (OLD.certificate, NEXT.certificate)


def test_from_the_old_key_over_both_to_the_new_one(carol, trial, origin, publish):
    """Nothing is in force before it is published; then either key signs people in, and in the end the new one alone."""
    provider_certificates.add(carol, trial.pk, NEXT.certificate, now=NOW)
    request_id, _ = saml.begin(origin)
    by_next = kit.signed(
        saml.draft(request_id, assertion_id="_first", response_id="_first-r"), how=kit.Signing(by=NEXT)
    )
    with pytest.raises(SamlRefused, match="certificate_foreign"):
        saml.receive(origin, by_next)
    # Still signed with the old key, a test proves the entry with both.
    test_id, relay_state = again(carol, trial, origin)
    receive(origin, relay_state, answer(test_id, slug="corp"), slug="corp")
    trial.refresh_from_db()
    assert provider_trials.is_proven(trial)
    assert provider_changes.warnings(carol, provider_trials.provider_of(trial), now=NOW) == ()
    draft = provider_changes.propose(carol, trial.pk, enabled=True, confirmed=False, origin=origin, now=NOW)
    publish(draft.text)
    saml.receive(origin, by_next)
    request_id, _ = saml.begin(origin)
    saml.receive(origin, kit.signed(saml.draft(request_id, assertion_id="_second", response_id="_second-r")))
    later = provider_trials.begin(carol, provider_trials.entry_of(trial), now=NOW)
    provider_certificates.drop(carol, later.pk, certificates.fingerprint(OLD.certificate), now=NOW)
    assert accepted(later) == (NEXT.certificate,)


def test_dropping_what_is_in_force_is_a_warning_to_be_confirmed(carol, trial, origin):
    provider_certificates.add(carol, trial.pk, NEXT.certificate, now=NOW)
    provider_certificates.drop(carol, trial.pk, certificates.fingerprint(OLD.certificate), now=NOW)
    test_id, relay_state = again(carol, trial, origin)
    receive(origin, relay_state, answer(test_id, slug="corp", signing=kit.Signing(by=NEXT)), slug="corp")
    provider = provider_trials.provider_of(provider_trials.find(carol, trial.pk))
    assert provider_changes.warnings(carol, provider, now=NOW, trial_id=trial.pk) == ("certificate_dropped",)
    with pytest.raises(ShutsOut) as caught:
        provider_changes.propose(carol, trial.pk, enabled=True, confirmed=False, origin=origin, now=NOW)
    assert caught.value.reason == "certificate_dropped"


def pasted(trial, xml):
    entry = provider_trials.entry_of(trial)
    entry["saml"] = {"metadata_xml": xml}
    return entry


def test_new_metadata_pasted_over_the_old_stand_beside_them(carol, trial):
    """They name the next certificate alone: whoever still comes by the one in force is not shut out."""
    changed = provider_certificates.change(carol, trial.pk, pasted(trial, kit.metadata_xml(keys=(("signing", NEXT.bare),))), now=NOW)  # fmt: skip
    assert (changed.kept, set(accepted(trial))) == (1, {OLD.certificate, NEXT.certificate})
    assert provider_changes.warnings(carol, provider_trials.provider_of(changed.trial), now=NOW) == ()
    # What is dropped by its button stays dropped, whatever else of the entry is changed after.
    provider_certificates.drop(carol, trial.pk, certificates.fingerprint(OLD.certificate), now=NOW)
    trial.refresh_from_db()
    entry = provider_trials.entry_of(trial) | {"name": "Another name"}
    assert provider_certificates.change(carol, trial.pk, entry, now=NOW).kept == 0
    entry = pasted(trial, kit.metadata_xml(keys=(("signing", NEXT.bare),), slo=""))
    assert provider_certificates.change(carol, trial.pk, entry, now=NOW).kept == 0
    assert accepted(trial) == (NEXT.certificate,)
    provider_certificates.keep(carol, trial.pk, certificates.fingerprint(OLD.certificate), now=NOW)
    assert set(accepted(trial)) == {OLD.certificate, NEXT.certificate}
    assert refused(provider_certificates.keep, carol, trial.pk, "0" * 64) == "certificate_unknown"


def test_metadata_of_somebody_else_get_no_certificate_of_ours(carol, trial):
    """Attack: a key of one identity provider vouching for the people of another."""
    xml = kit.metadata_xml(entity_id="https://other.example.com", keys=(("signing", NEXT.bare),))
    assert provider_certificates.change(carol, trial.pk, pasted(trial, xml), now=NOW).kept == 0
    assert accepted(trial) == (NEXT.certificate,)
    assert provider_changes.warnings(carol, provider_trials.provider_of(provider_trials.find(carol, trial.pk)), now=NOW) == ("certificate_dropped",)  # fmt: skip


def test_a_certificate_that_has_ended_is_not_kept(carol, publish):
    soon = kit.pair("soon", end=NOW + timedelta(days=1))
    publish(document(metadata_xml=kit.metadata_xml(keys=(("signing", OLD.bare), ("signing", soon.bare)))))
    later = NOW + timedelta(days=2)
    made = provider_trials.begin(carol, yaml.safe_load(document(metadata_xml=kit.metadata_xml(keys=(("signing", OLD.bare), ("signing", soon.bare)))))["identity_providers"][0], now=NOW)  # fmt: skip
    changed = provider_certificates.change(carol, made.pk, pasted(made, kit.metadata_xml(keys=(("signing", NEXT.bare),))), now=later)  # fmt: skip
    assert (changed.kept, set(accepted(made))) == (1, {OLD.certificate, NEXT.certificate})


def test_metadata_that_must_come_signed_are_left_as_they_are(carol, trial):
    entry = pasted(trial, kit.metadata_xml(keys=(("signing", NEXT.bare),)))
    entry["saml"]["metadata_certificate"] = OLD.certificate
    assert provider_certificates.change(carol, trial.pk, entry, now=NOW).kept == 0
    assert accepted(trial) == (NEXT.certificate,)


def test_what_is_no_certificate_or_may_not_be_used_is_refused_by_its_reason(carol, trial):
    ended = kit.pair("ended", start=NOW - timedelta(days=9), end=NOW - timedelta(days=1))
    for text, reason in (
        ("", "not_a_certificate"), ("hello", "not_a_certificate"), ("<a/>", "not_a_certificate"), ("<!DOCTYPE a><a/>", "not_a_certificate"),
        (OLD.key, "not_a_certificate"), (kit.pair("small", bits=1024).certificate, "key_too_small"), (ended.certificate, "certificate_expired"),
    ):  # fmt: skip
        assert refused(provider_certificates.add, carol, trial.pk, text) == reason
    assert accepted(trial) == (OLD.certificate,)
    # One that begins next week is added in time; it is accepted from then on.
    coming = kit.pair("coming", start=NOW + timedelta(days=7), end=NOW + timedelta(days=700))
    provider_certificates.add(carol, trial.pk, coming.certificate, now=NOW)
    assert accepted(trial) == (OLD.certificate, coming.certificate)


def test_the_last_one_stays_and_five_are_enough(carol, trial):
    assert refused(provider_certificates.drop, carol, trial.pk, certificates.fingerprint(OLD.certificate)) == "last_certificate"  # fmt: skip
    assert refused(provider_certificates.drop, carol, trial.pk, "0" * 64) == "certificate_unknown"
    for number in range(4):
        provider_certificates.add(carol, trial.pk, kit.pair(f"more {number}").certificate, now=NOW)
    assert refused(provider_certificates.add, carol, trial.pk, NEXT.certificate) == "too_many_certificates"


@pytest.mark.parametrize("source", [{"metadata_url": "https://idp.example.com/metadata"}, {"metadata_xml": kit.metadata_xml(), "metadata_certificate": OLD.certificate}])  # fmt: skip
def test_where_the_provider_speaks_for_itself_nothing_is_changed_here(carol, source):
    """Attack: a certificate slipped past a pin, or into what the provider's own document says."""
    corp = yaml.safe_load(document())["identity_providers"][0]
    made = provider_trials.begin(carol, {**corp, "saml": source}, now=NOW)
    assert refused(provider_certificates.add, carol, made.pk, NEXT.certificate) == "certificates_are_the_providers"


def test_the_trial_of_another_is_not_found(carol, trial):
    other = Person.objects.create(provider="corp", subject="x", session_name="x")
    with pytest.raises(NotFound):
        provider_certificates.add(other, trial.pk, NEXT.certificate, now=NOW)


# --- Which one signs -----------------------------------------------------------------------------------


def test_which_certificate_signs_is_known_and_is_not_a_write_for_everybody(carol, origin, django_assert_num_queries):
    request_id, _ = saml.begin(origin)
    saml.receive(origin, kit.signed(saml.draft(request_id)))
    row = ProviderKeyUse.objects.get()
    assert (row.provider, row.fingerprint, row.last_at) == ("corp", certificates.fingerprint(OLD.certificate), NOW)
    with django_assert_num_queries(0):
        provider_keys.note_use("corp", row.fingerprint, now=NOW + timedelta(minutes=4))
    provider_keys.note_use("corp", row.fingerprint, now=NOW + timedelta(minutes=5, seconds=1))
    row.refresh_from_db()
    assert row.last_at == NOW + timedelta(minutes=5, seconds=1)
    provider_keys._noted.clear()  # another process
    provider_keys.note_use("corp", row.fingerprint, now=NOW + timedelta(minutes=6))
    assert ProviderKeyUse.objects.count() == 1


def test_a_sign_in_is_not_undone_where_that_cannot_be_written(carol, origin, monkeypatch):
    def away(**_):
        raise OperationalError("away")

    monkeypatch.setattr(ProviderKeyUse.objects, "create", away)
    request_id, _ = saml.begin(origin)
    received = saml.receive(origin, kit.signed(saml.draft(request_id)))
    assert saml.complete(origin, received.code).person.subject == "alice"
    assert not ProviderKeyUse.objects.exists()


@pytest.mark.parametrize("named", [True, False])
def test_the_right_one_of_two_is_noted(carol, origin, publish, named):
    """Also where the signature does not name its certificate."""
    publish(document(metadata_xml=kit.metadata_xml(keys=(("signing", OLD.bare), ("signing", NEXT.bare)))))
    request_id, _ = saml.begin(origin)
    how = kit.Signing(by=NEXT) if named else kit.Signing(by=NEXT, shown=None)
    saml.receive(origin, kit.signed(saml.draft(request_id), how=how))
    assert ProviderKeyUse.objects.get().fingerprint == certificates.fingerprint(NEXT.certificate)
