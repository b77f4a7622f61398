"""From a provider that was tried to a draft: never enabled untested, never shutting its author out unseen."""

import pytest
import yaml

from federation.errors import NotFound
from federation.flows import provider_changes, provider_trials
from federation.flows.provider_changes import NotTested, ShutsOut, WrittenByHand
from federation.models import MappingDraft, MappingRevision
from tests import cast
from tests import saml_kit as kit
from tests.flows.test_provider_trials import ENTRY, NOW, answer, begin, receive


@pytest.fixture
def carol(gateway_keys, publish, settings, sign_in_as):
    settings.ROLEGATE_URL = "https://rolegate.example.com"
    publish()
    return sign_in_as(cast.carol(), at=NOW)


COMMENTED = cast.DOCUMENT.replace("  - slug: entra", "  # Ask Carol first.\n  - slug: entra")


def propose(person, origin, trial, *, enabled=True, confirmed=False):
    return provider_changes.propose(person, trial.pk, enabled=enabled, confirmed=confirmed, origin=origin, now=NOW)


def switch(person, origin, slug, *, enabled, confirmed=False):
    return provider_changes.switch(person, slug, enabled=enabled, confirmed=confirmed, origin=origin, now=NOW)


def entries(draft):
    return {one["slug"]: one for one in yaml.safe_load(draft.text)["identity_providers"]}


def test_a_tested_provider_becomes_a_draft_and_nothing_is_in_force(carol, origin, publish):
    publish(COMMENTED)
    trial, request_id, relay_state = begin(carol, origin)
    receive(origin, relay_state, answer(request_id))
    revisions = MappingRevision.objects.count()
    draft = propose(carol, origin, trial)
    assert entries(draft)["okta"].get("enabled", True) is True
    assert "# Ask Carol first." in draft.text
    assert (draft.comment, draft.status, draft.author) == ("Identity provider okta added", "draft", carol)
    assert MappingRevision.objects.count() == revisions


def test_untested_it_can_only_be_drafted_disabled(carol, origin):
    trial = provider_trials.begin(carol, ENTRY, now=NOW)
    with pytest.raises(NotTested):
        propose(carol, origin, trial)
    assert not MappingDraft.objects.exists()
    assert entries(propose(carol, origin, trial, enabled=False))["okta"]["enabled"] is False


def test_switching_one_off_and_on(carol, origin, publish):
    draft = switch(carol, origin, "entra", enabled=False)
    assert entries(draft)["entra"]["enabled"] is False
    assert draft.comment == "Identity provider entra disabled"
    assert len([line for line in draft.text.splitlines() if line not in cast.DOCUMENT.splitlines()]) == 1
    publish(draft.text)
    back = switch(carol, origin, "entra", enabled=True)
    assert len([line for line in back.text.splitlines() if line not in draft.text.splitlines()]) == 1
    assert back.comment == "Identity provider entra enabled"
    with pytest.raises(NotFound):
        switch(carol, origin, "nobody", enabled=True)


def test_switching_off_ones_own_way_in_wants_a_second_look(carol, origin, sign_in_as):
    with pytest.raises(ShutsOut) as caught:
        switch(carol, origin, "corp", enabled=False)
    assert caught.value.reason == "your_own_way_in"
    assert "every_owner" in caught.value.detail
    # Somebody else who owns the gateway comes by another provider: then it is their own way alone.
    sign_in_as(cast.identity("zoe", provider="entra", groups=("cloud-platform",)), at=NOW)
    with pytest.raises(ShutsOut) as caught:
        switch(carol, origin, "corp", enabled=False)
    assert caught.value.detail == "your_own_way_in"
    assert entries(switch(carol, origin, "corp", enabled=False, confirmed=True))["corp"]["enabled"] is False


def test_a_claim_map_that_makes_its_author_nobody_wants_a_second_look(carol, origin):
    """Carol tries her own provider with the groups read from the wrong claim."""
    entry = {**ENTRY, "slug": "corp", "enabled": True}
    trial, request_id, relay_state = begin(carol, origin, entry)
    mine = {"mail": ["carol@example.com"], "memberOf": ["cloud-platform"], "displayName": ["Carol"]}
    receive(origin, relay_state, answer(request_id, slug="corp", attributes=mine, name_id="carol"), slug="corp")
    assert provider_changes.warnings(carol, provider_trials.provider_of(trial), now=NOW, trial_id=trial.pk) == ()
    wrong = {**entry, "claims": {**entry["claims"], "groups": "displayName"}}
    trial = provider_trials.change(carol, trial.pk, wrong, now=NOW)
    with pytest.raises(ShutsOut) as caught:
        propose(carol, origin, trial)
    assert caught.value.reason == "your_own_right"
    assert propose(carol, origin, trial, confirmed=True)
    nobody = {**entry, "claims": {**entry["claims"], "subject": "employeeNumber"}}
    trial = provider_trials.change(carol, trial.pk, nobody, now=NOW)
    assert provider_changes.warnings(carol, provider_trials.provider_of(trial), now=NOW, trial_id=trial.pk) == (
        "your_own_right",
    )


def test_a_document_that_cannot_be_edited_is_left_to_hands(carol, origin, publish):
    publish('{"version": 1, "staff": [{"role": "owner", "groups": ["cloud-platform"]}], "identity_providers": [{"slug": "corp", "saml": {"metadata_xml": '
            + yaml.safe_dump(kit.metadata_xml(), default_style='"', width=10**9).strip() + "}}]}")  # fmt: skip
    assert entries(propose(carol, origin, provider_trials.begin(carol, ENTRY, now=NOW), enabled=False))["okta"]
    MappingRevision.objects.bulk_create(
        [MappingRevision(number=99, text='{"version": 1}', sha256="x", author="t", published_at=NOW)]
    )
    with pytest.raises(WrittenByHand):
        propose(carol, origin, provider_trials.begin(carol, ENTRY, now=NOW), enabled=False)
