"""Trying an identity provider: verified as any sign-in, and nothing comes of it but a page."""

import zlib
from base64 import b64decode
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
import requests
import yaml

from federation.audit import record
from federation.errors import NotFound, RateLimited, SamlRefused
from federation.flows import provider_documents, provider_trials, purge, rate_limits, sign_in
from federation.flows.provider_trials import SecretOfAnother, TrialFaulty
from federation.models import AuditEvent, Person, ProviderMetadata, ProviderTrial, UsedCredential
from federation.queries import providers as queries
from federation.signin.oidc import ProviderDocuments
from tests import cast, oidc_kit
from tests import saml_kit as kit

NOW = kit.NOW
ENTRY = {
    "slug": "okta",
    "name": "Okta",
    "saml": {"metadata_xml": kit.metadata_xml()},
    "claims": {"subject": "NameID", "email": "mail", "name": "displayName", "groups": "memberOf"},
    "enabled": False,
}


@pytest.fixture
def carol(gateway_keys, publish, settings, sign_in_as):
    settings.ROLEGATE_URL = "https://rolegate.example.com"
    publish()
    return sign_in_as(cast.carol(), at=NOW)


def begin(person, origin, entry=ENTRY, at=NOW):
    """(trial, the request's id, RelayState) of a test that is under way."""
    trial = provider_trials.begin(person, entry, now=at)
    return trial, *again(person, trial, origin, at)


def again(person, trial, origin, at=NOW):
    url = provider_trials.begin_test(person, trial.pk, origin=origin, now=at)
    query = parse_qs(urlsplit(url).query)
    request = kit.tree(zlib.decompress(b64decode(query["SAMLRequest"][0]), -15))
    return request.get("ID"), query["RelayState"][0]


def answer(request_id, slug="okta", signing=None, **more):
    """What the provider posts: addressed to this slug's ACS."""
    base = f"https://rolegate.example.com/saml/{slug}"
    return kit.signed(
        replace(
            kit.Draft(), in_response_to=request_id, response_in_response_to=request_id, destination=f"{base}/acs",
            recipient=f"{base}/acs", audiences=((f"{base}/metadata",),), **more,
        ),
        how=signing or kit.Signing(),
    )  # fmt: skip


def receive(origin, relay_state, response, slug="okta", at=NOW):
    return provider_trials.receive_saml(
        slug, saml_response=kit.post(response), relay_state=relay_state, origin=origin, now=at
    )


def test_a_test_makes_no_person_and_no_session_and_is_recorded(carol, origin, events):
    trial, request_id, relay_state = begin(carol, origin)
    people, before = Person.objects.count(), Person.objects.get(pk=carol.pk).claims_at
    assert receive(origin, relay_state, answer(request_id)) == trial.pk
    trial.refresh_from_db()
    assert (trial.outcome, trial.reason, trial.finished_at) == ("ok", "", NOW)
    assert provider_trials.is_proven(trial)
    assert Person.objects.count() == people
    assert Person.objects.get(pk=carol.pk).claims_at == before
    assert not ProviderMetadata.objects.exists()
    assert events()[-1] == ("provider.tested", "ok", "")
    event = AuditEvent.objects.latest("seq")
    assert (event.actor, event.data["provider"], event.data["protocol"]) == (
        f"corp:{carol.session_name}",
        "okta",
        "saml",
    )
    assert "alice" not in str(event.data)
    assert record.verify() == []


def test_it_shows_every_claim_and_what_the_mapping_makes_of_it(carol, origin):
    trial, request_id, relay_state = begin(carol, origin)
    receive(origin, relay_state, answer(request_id))
    trial.refresh_from_db()
    result = queries.test_result(trial, provider_trials.provider_of(trial), now=NOW)
    assert result.identity is not None
    assert result.identity.subject.provider == "okta"
    claims = {claim.name: claim for claim in result.claims}
    assert claims["NameID"].read_as == ("subject",)
    assert claims["memberOf"].read_as == ("groups",)
    assert set(claims["memberOf"].values) == result.identity.groups
    assert "engineers-read-production" in {rule.name for rule in result.rules}
    assert any(grant.role_name == "ReadOnly" for grant in result.grants)
    assert result.rights == ()


def test_another_claim_map_is_tried_on_what_was_received(carol, origin):
    """A live sample: no second sign-in for a typing error."""
    trial, request_id, relay_state = begin(carol, origin)
    receive(origin, relay_state, answer(request_id))
    wrong = {**ENTRY, "claims": {**ENTRY["claims"], "subject": "employeeNumber", "groups": "nothing"}}
    trial = provider_trials.change(carol, trial.pk, wrong, now=NOW)
    result = queries.test_result(trial, provider_trials.provider_of(trial), now=NOW)
    assert (result.identity, result.fault) == (None, "subject_missing")
    assert result.claims
    assert not provider_trials.is_proven(trial)
    trial = provider_trials.change(carol, trial.pk, ENTRY, now=NOW)
    assert provider_trials.is_proven(trial)
    elsewhere = {**ENTRY, "saml": {**ENTRY["saml"], "encrypted_assertions": True}}
    assert not provider_trials.is_proven(provider_trials.change(carol, trial.pk, elsewhere, now=NOW))
    with pytest.raises(TrialFaulty, match="keeps its slug"):
        provider_trials.change(carol, trial.pk, {**ENTRY, "slug": "other"}, now=NOW)


def test_claims_are_shown_even_where_the_claim_map_finds_nobody(carol, origin, events):
    entry = {**ENTRY, "claims": {**ENTRY["claims"], "subject": "employeeNumber"}}
    trial, request_id, relay_state = begin(carol, origin, entry)
    receive(origin, relay_state, answer(request_id))
    trial.refresh_from_db()
    assert (trial.outcome, trial.reason) == ("refused", "subject_missing")
    assert {claim.name for claim in provider_trials.claims_in(trial, provider_trials.provider_of(trial))} >= {
        "mail",
        "memberOf",
    }
    assert events()[-1] == ("provider.tested", "refused", "subject_missing")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"audiences": (("https://elsewhere.example.com",),)}, "audience_wrong"),
        ({"destination": "https://elsewhere.example.com"}, "destination_wrong"),
        ({"in_response_to": "_foreign", "response_in_response_to": "_foreign"}, "in_response_to_unknown"),
    ],
)
def test_the_precise_reason_is_for_the_tester(carol, origin, change, reason):
    trial, request_id, relay_state = begin(carol, origin)
    base = "https://rolegate.example.com/saml/okta"
    draft = {
        "in_response_to": request_id, "response_in_response_to": request_id, "destination": f"{base}/acs",
        "recipient": f"{base}/acs", "audiences": ((f"{base}/metadata",),), **change,
    }  # fmt: skip
    receive(origin, relay_state, kit.signed(replace(kit.Draft(), **draft)))
    trial.refresh_from_db()
    assert (trial.outcome, trial.reason, trial.sample) == ("refused", reason, {})
    assert not provider_trials.is_proven(trial)


def test_a_foreign_signature_shows_nothing_of_what_it_brought(carol, origin):
    trial, request_id, relay_state = begin(carol, origin)
    forged = answer(request_id)
    next(element for element in forged.iter("{*}AttributeValue")).text = "attacker"
    receive(origin, relay_state, forged)
    trial.refresh_from_db()
    assert trial.outcome == "refused"
    assert trial.sample == {}


def test_an_answer_counts_once_and_only_for_the_test_that_waits(carol, origin):
    trial, request_id, relay_state = begin(carol, origin)
    response = answer(request_id)
    assert receive(origin, "not-a-test", response) is None
    assert receive(origin, provider_trials.LABEL + "unknown", response) is None
    assert receive(origin, relay_state, response, slug="corp") is None
    assert receive(origin, relay_state, response, at=NOW + timedelta(minutes=11)) is None
    assert receive(origin, relay_state, response) == trial.pk
    assert receive(origin, relay_state, response) is None


def test_the_assertion_of_a_test_signs_nobody_in(carol, origin, publish):
    """Attack: what a tester's browser carried is posted again, to be a session this time."""
    publish(
        yaml.safe_dump(
            {
                "version": 1,
                "identity_providers": [{**ENTRY, "enabled": True}],
                "staff": [{"role": "owner", "groups": ["cloud-platform"]}],
            }
        )
    )
    trial, request_id, relay_state = begin(carol, origin)
    response = answer(request_id)
    for state in ("", relay_state):
        with pytest.raises(SamlRefused):
            sign_in.receive_saml("okta", saml_response=kit.post(response), relay_state=state, origin=origin, now=NOW)
    assert receive(origin, relay_state, response) == trial.pk
    assert UsedCredential.objects.count() == 1
    with pytest.raises(SamlRefused):
        sign_in.receive_saml("okta", saml_response=kit.post(response), relay_state="", origin=origin, now=NOW)


def test_a_sign_in_proves_no_trial(carol, origin):
    """And the other way round: an answer to an ordinary request, brought with a test's RelayState."""
    trial, _, relay_state = begin(carol, origin)
    receive(origin, relay_state, answer("_ordinary"))
    trial.refresh_from_db()
    assert trial.reason == "in_response_to_unknown"


def test_a_trial_is_its_persons_alone_and_ends_with_the_day(carol, origin, sign_in_as):
    trial = provider_trials.begin(carol, ENTRY, now=NOW)
    other = sign_in_as(cast.alice(), at=NOW)
    for use in (
        lambda: provider_trials.find(other, trial.pk),
        lambda: provider_trials.change(other, trial.pk, ENTRY, now=NOW),
        lambda: provider_trials.begin_test(other, trial.pk, origin=origin, now=NOW),
    ):
        with pytest.raises(NotFound):
            use()
    purge.purge_expired(now=NOW + timedelta(hours=23))
    assert ProviderTrial.objects.exists()
    purge.purge_expired(now=NOW + timedelta(hours=25))
    assert not ProviderTrial.objects.exists()


def test_faults_name_their_field(carol):
    with pytest.raises(TrialFaulty) as caught:
        provider_trials.begin(carol, {"slug": "Okta!", "saml": {"metadata_url": "http://okta.example.com"}}, now=NOW)
    assert {path for path, _ in caught.value.faults} == {"slug", "saml.metadata_url"}


def test_a_file_of_the_server_is_named_by_the_operator_alone(carol, publish, tmp_path):
    entry = {"slug": "okta", "saml": {"metadata_file": "/etc/passwd"}}
    with pytest.raises(TrialFaulty, match="metadata_file"):
        provider_trials.begin(carol, entry, now=NOW)
    path = tmp_path / "metadata.xml"
    path.write_text(kit.metadata_xml())
    held = {"slug": "okta", "saml": {"metadata_file": str(path)}}
    publish(yaml.safe_dump({"version": 1, "identity_providers": [held]}))
    assert provider_trials.begin(carol, held, now=NOW).slug == "okta"


def test_tests_count_toward_the_limit_of_sign_ins(carol, origin, monkeypatch):
    monkeypatch.setitem(rate_limits.LIMITS, "sign_in", rate_limits.Limit(60, 20, 3, refused=10))
    trial = provider_trials.begin(carol, ENTRY, now=NOW)
    for _ in range(3):
        provider_trials.begin_test(carol, trial.pk, origin=origin, now=NOW)
    with pytest.raises(RateLimited) as caught:
        provider_trials.begin_test(carol, trial.pk, origin=origin, now=NOW)
    assert caught.value.reason == "sign_in_rate"


# --- OpenID Connect -------------------------------------------------------------------------------------


@pytest.fixture
def op(carol, monkeypatch):
    monkeypatch.setenv("TEST_OIDC_SECRET", "another provider's")
    monkeypatch.setenv("OKTA_SECRET", oidc_kit.CLIENT_SECRET)
    monkeypatch.setattr(provider_documents, "oidc_documents", ProviderDocuments())
    with oidc_kit.running() as provider:
        yield provider


def entry_for(op, secret="${OKTA_SECRET}", slug="corp"):
    return {
        "slug": slug,
        "oidc": {
            "issuer": op.issuer,
            "client_id": oidc_kit.CLIENT_ID,
            "client_secret": secret,
            "scopes": ["openid", "groups"],
        },
        "claims": {"subject": "sub", "email": "email", "name": "name", "groups": "groups"},
    }


def go(op, carol, origin, trial):
    url = provider_trials.begin_test(carol, trial.pk, origin=origin, now=op.now)
    location = requests.get(url, allow_redirects=False, timeout=5).headers["Location"]
    return dict(parse_qsl(urlsplit(location).query))


def test_openid_connect_is_tried_too(op, carol, origin, events):
    trial = provider_trials.begin(carol, entry_for(op), now=op.now)
    params = go(op, carol, origin, trial)
    assert params["state"].startswith(provider_trials.LABEL)
    found = provider_trials.receive_oidc("corp", params=params, person=carol, origin=origin, now=op.now)
    assert found == trial.pk
    trial.refresh_from_db()
    assert (trial.outcome, trial.reason) == ("ok", "")
    provider = provider_trials.provider_of(trial)
    claims = {claim.name: claim for claim in provider_trials.claims_in(trial, provider)}
    assert claims["sub"].read_as == ("subject",)
    assert claims["iss"].values == (op.issuer,)
    assert queries.test_result(trial, provider, now=op.now).identity is not None
    assert events()[-1] == ("provider.tested", "ok", "")
    assert provider_trials.receive_oidc("corp", params=params, person=carol, origin=origin, now=op.now) is None


def test_a_callback_in_another_browser_is_no_test(op, carol, origin, sign_in_as):
    trial = provider_trials.begin(carol, entry_for(op), now=op.now)
    params = go(op, carol, origin, trial)
    for somebody in (None, sign_in_as(cast.alice(), at=NOW)):
        assert provider_trials.receive_oidc("corp", params=params, person=somebody, origin=origin, now=op.now) is None
    assert provider_trials.receive_oidc("corp", params={}, person=carol, origin=origin, now=op.now) is None


def test_an_owner_learns_no_other_providers_secret(op, carol, origin):
    """Attack: an issuer of one's own, tested with the reference to the secret of a provider in force."""
    trial = provider_trials.begin(carol, entry_for(op, "${TEST_OIDC_SECRET}", "evil"), now=op.now)
    with pytest.raises(SecretOfAnother):
        provider_trials.begin_test(carol, trial.pk, origin=origin, now=op.now)


def test_an_owner_learns_no_directorys_password(op, carol, origin, publish):
    """Attack: the same with the reference to the password that a directory is read with."""
    ldap = (
        "{url: ldaps://dc.example.com, bind_dn: cn=reader, password: '${LDAP_PASSWORD}', base_dn: 'dc=example,dc=com'}"
    )
    publish(
        f"{cast.DOCUMENT}directories:\n  - {{slug: ad, provider: corp, ldap: {ldap}}}\n",
        at=op.now,
    )
    trial = provider_trials.begin(carol, entry_for(op, "${LDAP_PASSWORD}", "evil"), now=op.now)
    with pytest.raises(SecretOfAnother):
        provider_trials.begin_test(carol, trial.pk, origin=origin, now=op.now)


def test_a_secret_in_clear_is_sealed_before_it_is_kept(op, carol, origin):
    trial = provider_trials.begin(carol, entry_for(op, oidc_kit.CLIENT_SECRET), now=op.now)
    assert oidc_kit.CLIENT_SECRET not in trial.text
    params = go(op, carol, origin, trial)
    assert provider_trials.receive_oidc("corp", params=params, person=carol, origin=origin, now=op.now) == trial.pk
    trial.refresh_from_db()
    assert trial.outcome == "ok"


def test_a_wrong_secret_is_said_precisely(op, carol, origin):
    trial = provider_trials.begin(carol, entry_for(op, "wrong-secret-of-somebody"), now=op.now)
    params = go(op, carol, origin, trial)
    provider_trials.receive_oidc("corp", params=params, person=carol, origin=origin, now=op.now)
    trial.refresh_from_db()
    assert (trial.outcome, trial.reason) == ("refused", "client_refused")
