"""Signing in by OpenID Connect through the flows, against a provider that speaks real HTTP."""

from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
import requests
import yaml

from federation.errors import ConfigurationError, OidcRefused, SignInExpired
from federation.flows import provider_documents, sign_in, sign_out
from federation.models import Person, PortalSession
from federation.signin.oidc import ProviderDocuments
from tests import oidc_kit as kit

BINDING = "binding-of-alices-browser"


@pytest.fixture
def op(gateway_keys, publish, monkeypatch, settings):
    settings.ROLEGATE_URL = "https://rolegate.example.com"
    monkeypatch.setenv("TEST_OIDC_SECRET", kit.CLIENT_SECRET)
    monkeypatch.setattr(provider_documents, "oidc_documents", ProviderDocuments())
    with kit.running() as provider:
        publish(document(provider.issuer))
        yield provider


def document(issuer, *, subject="sub"):
    return yaml.safe_dump(
        {
            "version": 1,
            "identity_providers": [
                {
                    "slug": "corp",
                    "name": "Example Corp",
                    "oidc": {
                        "issuer": issuer,
                        "client_id": kit.CLIENT_ID,
                        "client_secret": "${TEST_OIDC_SECRET}",
                        "scopes": ["openid", "groups"],
                    },
                    "claims": {"subject": subject, "email": "email", "name": "name", "groups": "groups"},
                }
            ],
        }
    )


def begin(op, origin, binding=BINDING):
    url = sign_in.begin("corp", next_path="/next", binding=binding, origin=origin, now=op.now).url
    answer = requests.get(url, allow_redirects=False, timeout=5)
    return url, dict(parse_qsl(urlsplit(answer.headers["Location"]).query))


def complete(op, origin, params, binding=BINDING):
    return sign_in.complete_oidc("corp", params=params, binding=binding, origin=origin, now=op.now)


def test_a_sign_in_ends_in_its_person(op, origin, events):
    url, params = begin(op, origin)
    query = parse_qs(urlsplit(url).query)
    assert query["code_challenge_method"] == ["S256"]
    assert query["redirect_uri"] == [kit.REDIRECT_URI]
    signed_in = complete(op, origin, params)
    assert signed_in.next_path == "/next"
    person = Person.objects.get()
    assert (person.provider, person.subject_format) == ("corp", "")
    assert events()[-1] == ("sign_in", "ok", "")


def test_a_state_works_once(op, origin, events):
    _, params = begin(op, origin)
    complete(op, origin, params)
    with pytest.raises(OidcRefused) as caught:
        complete(op, origin, params)
    assert caught.value.reason == "state_used"
    assert events()[-1] == ("sign_in", "refused", "state_used")


@pytest.mark.parametrize(
    ("change", "reason"), [({"state": ""}, "state_missing"), ({"state": "foreign"}, "state_unknown")]
)
def test_a_missing_or_foreign_state_is_refused(op, origin, events, change, reason):
    _, params = begin(op, origin)
    with pytest.raises(OidcRefused) as caught:
        complete(op, origin, {**params, **change})
    assert caught.value.reason == reason
    assert events()[-1] == ("sign_in", "refused", reason)


def test_login_csrf_a_callback_in_another_browser_is_refused(op, origin, events):
    _, params = begin(op, origin, binding="the attacker's")
    with pytest.raises(SignInExpired) as caught:
        complete(op, origin, params, binding="the victim's")
    assert caught.value.reason == "binding_mismatch"
    assert events()[-1] == ("sign_in", "refused", "binding_mismatch")
    assert not Person.objects.exists()


def test_a_state_expires(op, origin):
    from datetime import timedelta

    _, params = begin(op, origin)
    op_now = op.now + timedelta(minutes=11)
    with pytest.raises(SignInExpired) as caught:
        sign_in.complete_oidc("corp", params=params, binding=BINDING, origin=origin, now=op_now)
    assert caught.value.reason == "state_expired"


def test_the_client_secret_must_be_in_the_environment(op, origin, monkeypatch):
    _, params = begin(op, origin)
    monkeypatch.delenv("TEST_OIDC_SECRET")
    with pytest.raises(ConfigurationError) as caught:
        complete(op, origin, params)
    assert caught.value.reason == "secret_not_set"


def test_a_saml_provider_has_no_callback(gateway_keys, publish, origin, now):
    publish()
    with pytest.raises(OidcRefused) as caught:
        sign_in.complete_oidc("corp", params={"state": "x"}, binding="", origin=origin, now=now)
    assert caught.value.reason == "not_an_oidc_provider"


def session(person, **more):
    from datetime import timedelta

    from django.utils import timezone

    return PortalSession.objects.create(
        session_key=more.pop("key"),
        session_data="",
        expire_date=timezone.now() + timedelta(hours=1),
        person=person,
        provider="corp",
        **more,
    )


def test_a_back_channel_logout_ends_the_named_session_only(op, origin, events):
    _, params = begin(op, origin)
    person = complete(op, origin, params).person
    session(person, key="a" * 64, session_index="sid-1")
    session(person, key="b" * 64, session_index="sid-2")
    token = op.logout_token(sid="sid-1", sub=person.subject)
    sign_out.oidc_backchannel_logout("corp", logout_token=token, origin=origin, now=op.now)
    assert list(PortalSession.objects.values_list("session_index", flat=True)) == ["sid-2"]
    assert events()[-1] == ("sign_out.by_provider", "ok", "")
    with pytest.raises(OidcRefused) as caught:
        sign_out.oidc_backchannel_logout("corp", logout_token=token, origin=origin, now=op.now)
    assert caught.value.reason == "replayed"
    assert events()[-1] == ("sign_out.by_provider", "refused", "replayed")


@pytest.mark.parametrize(
    ("forged", "reason", "alerts"),
    [({"nonce": "another"}, "nonce_wrong", 1), ({"aud": "another"}, "audience_wrong", 0)],
)
def test_what_only_a_forger_sends_raises_an_alert(op, origin, caplog, forged, reason, alerts):
    _, params = begin(op, origin)
    op.id_token = forged
    with pytest.raises(OidcRefused) as caught:
        complete(op, origin, params)
    assert caught.value.reason == reason
    told = [line for line in caplog.records if "sign_in_alert" in line.getMessage()]
    assert [line.levelname for line in told] == ["ERROR"] * alerts


@pytest.mark.parametrize("named", [{"sid": None}, {"sub": None}, {}])
def test_a_back_channel_logout_names_the_person_by_sub_whatever_we_call_them(op, origin, publish, named):
    """Entra's people are known here by `oid`, and its logout tokens speak of `sub`."""
    op.claims = {**kit.ALICE, "oid": "00000000-0000-4000-8000-00000000a11c"}
    publish(document(op.issuer, subject="oid"))
    _, params = begin(op, origin)
    signed_in = complete(op, origin, params)
    assert signed_in.person.subject == op.claims["oid"]
    kept = {"session_index": signed_in.session_index, "name_id": signed_in.name_id}
    session(signed_in.person, key="a" * 64, **kept)
    op.claims = {**kit.ALICE, "sub": "bob-2", "oid": "alice-7"}  # somebody else, known here by what alice's sub is
    _, params = begin(op, origin)
    other = complete(op, origin, params)
    session(other.person, key="b" * 64, session_index="session-2", name_id=other.name_id)
    sign_out.oidc_backchannel_logout("corp", logout_token=op.logout_token(**named), origin=origin, now=op.now)
    assert list(PortalSession.objects.values_list("session_index", flat=True)) == ["session-2"]


def test_a_session_of_before_the_upgrade_is_ended_by_its_subject(op, origin):
    _, params = begin(op, origin)
    session(complete(op, origin, params).person, key="a" * 64, session_index="session-1")
    sign_out.oidc_backchannel_logout("corp", logout_token=op.logout_token(), origin=origin, now=op.now)
    assert not PortalSession.objects.exists()


def test_signing_out_goes_on_at_the_provider(op, origin):
    from federation.models.sessions import session_row_key

    _, params = begin(op, origin)
    person = complete(op, origin, params).person
    session(person, key=session_row_key("cookie"))
    url = sign_out.sign_out(person, "cookie", origin=origin, now=op.now)
    assert PortalSession.objects.count() == 0
    assert url.startswith(f"{op.issuer}/logout?from=app&")
    assert parse_qs(urlsplit(url).query)["post_logout_redirect_uri"] == ["https://rolegate.example.com/signout/done"]
    assert sign_out.sign_out(person, "cookie", origin=origin, now=op.now) is None
