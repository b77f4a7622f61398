"""Signing in by SAML through the flows: one assertion, one browser, one session; each refusal in the audit log."""

import threading
import zlib
from base64 import b64decode
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from django.db import connection, transaction

from federation.audit import record
from federation.audit.events import Origin
from federation.errors import (
    PersonDisabled,
    ProviderUnavailable,
    RateLimited,
    SamlRefused,
    SignInExpired,
    UnknownProvider,
)
from federation.flows import rate_limits, revoke, sign_in
from federation.models import AuditEvent, PastClaims, Person, SignInState, UsedCredential
from federation.signin.metadata import MetadataInvalid
from tests import saml_kit as kit

NOW = kit.NOW
BINDING = "binding-of-alices-browser"


def document(**saml):
    source = {} if saml.keys() & {"metadata_file", "metadata_url"} else {"metadata_xml": kit.metadata_xml()}
    return yaml.safe_dump(
        {
            "version": 1,
            "identity_providers": [
                {
                    "slug": "corp",
                    "name": "Example Corp",
                    "saml": {**source, **saml},
                    "claims": {"subject": "NameID", "email": "mail", "name": "displayName", "groups": "memberOf"},
                }
            ],
        }
    )


@pytest.fixture
def gateway(gateway_keys, publish, settings):
    settings.ROLEGATE_URL = "https://rolegate.example.com"
    publish(document())


def begin(origin, binding=BINDING, next_path="/cli/"):
    url = sign_in.begin("corp", next_path=next_path, binding=binding, origin=origin, now=NOW).url
    query = parse_qs(urlsplit(url).query)
    request = kit.tree(zlib.decompress(b64decode(query["SAMLRequest"][0]), -15))
    return request.get("ID"), query["RelayState"][0]


def draft(request_id, **more):
    return replace(kit.Draft(), in_response_to=request_id, response_in_response_to=request_id, **more)


def receive(origin, response, at=NOW):
    return sign_in.receive_saml("corp", saml_response=kit.post(response), relay_state="", origin=origin, now=at)


def complete(origin, code, binding=BINDING, *, confirmed=False, at=NOW):
    return sign_in.complete_saml("corp", code=code, binding=binding, confirmed=confirmed, origin=origin, now=at)


def test_a_sign_in_ends_in_its_person_and_its_deep_link(gateway, origin, events):
    request_id, _ = begin(origin)
    received = receive(origin, kit.signed(draft(request_id)))
    signed_in = complete(origin, received.code)
    person = Person.objects.get()
    assert signed_in.person == person
    assert signed_in.next_path == "/cli/"
    assert signed_in.session_index == "session-1"
    assert signed_in.name_id["value"] == "alice"
    assert (person.provider, person.subject_format, person.subject) == ("corp", kit.PERSISTENT, "alice")
    assert person.email == "alice@example.com"
    assert person.session_name.startswith("alice")
    assert person.claims_at == NOW
    assert events()[1:] == [("sign_in", "ok", "")]
    assert record.verify() == []


def test_the_request_that_goes_out_carries_no_url_of_ours_in_relay_state(gateway, origin):
    _, relay_state = begin(origin, next_path="/roles/111122223333/ReadOnly/console")
    assert "/" not in relay_state
    assert len(relay_state) >= 24


def test_the_same_assertion_twice_is_one_sign_in(gateway, origin, events):
    request_id, _ = begin(origin)
    response = kit.signed(draft(request_id))
    receive(origin, response)
    with pytest.raises(SamlRefused) as caught:
        receive(origin, response)
    assert caught.value.reason == "replayed"
    assert UsedCredential.objects.count() == 1
    assert events() == [("mapping.published", "ok", ""), ("sign_in", "refused", "replayed")]


def test_a_second_assertion_for_a_request_that_was_answered_is_a_replay_too(gateway, origin, events):
    request_id, _ = begin(origin)
    receive(origin, kit.signed(draft(request_id)))
    with pytest.raises(SamlRefused) as caught:
        receive(origin, kit.signed(draft(request_id, assertion_id="_another", response_id="_another-response")))
    assert caught.value.reason == "replayed"
    assert UsedCredential.objects.count() == 1


def test_the_same_assertion_with_a_fresh_request_is_a_replay(gateway, publish, origin, events):
    publish(document(allow_unsolicited=True))
    unsolicited = kit.signed(draft(None))
    receive(origin, unsolicited)
    with pytest.raises(SamlRefused) as caught:
        receive(origin, unsolicited)
    assert caught.value.reason == "replayed"
    assert events()[-1] == ("sign_in", "refused", "replayed")


@pytest.mark.django_db(transaction=True)
def test_the_same_assertion_a_hundred_times_at_once_is_one_sign_in(gateway_keys_committed, origin):
    request_id, _ = begin(origin)
    response = kit.signed(draft(request_id))
    codes, reasons, lock = [], [], threading.Lock()

    def work():
        try:
            received = receive(origin, response)
            with lock:
                codes.append(received.code)
        except SamlRefused as error:
            with lock:
                reasons.append(error.reason)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(codes) == 1
    assert set(reasons) <= {"replayed", "in_response_to_unknown"}
    assert len(reasons) == 99
    assert complete(origin, codes[0]).person == Person.objects.get()
    assert AuditEvent.objects.filter(kind="sign_in", outcome="refused").count() == 99
    assert record.verify() == []


@pytest.fixture
def gateway_keys_committed(transactional_db, gateway_keys, publish, settings):
    settings.ROLEGATE_URL = "https://rolegate.example.com"
    settings.ROLEGATE_RATE_FACTOR = 1000
    publish(document())


def test_login_csrf_an_answer_in_another_browser_is_refused_and_burnt(gateway, origin, events):
    request_id, _ = begin(origin, binding="binding-of-the-attacker")
    received = receive(origin, kit.signed(draft(request_id)))
    with pytest.raises(SignInExpired) as caught:
        complete(origin, received.code, binding="binding-of-the-victim")
    assert caught.value.reason == "binding_mismatch"
    assert events()[-1] == ("sign_in", "refused", "binding_mismatch")
    with pytest.raises(SignInExpired) as again:
        complete(origin, received.code, binding="binding-of-the-attacker")
    assert again.value.reason == "code_unknown"


def test_a_browser_without_a_binding_is_another_browser(gateway, origin):
    request_id, _ = begin(origin)
    received = receive(origin, kit.signed(draft(request_id)))
    with pytest.raises(SignInExpired) as caught:
        complete(origin, received.code, binding="")
    assert caught.value.reason == "binding_mismatch"


def test_a_code_works_once(gateway, origin):
    request_id, _ = begin(origin)
    received = receive(origin, kit.signed(draft(request_id)))
    complete(origin, received.code)
    with pytest.raises(SignInExpired) as caught:
        complete(origin, received.code)
    assert caught.value.reason == "code_unknown"


def test_a_code_works_for_a_minute(gateway, origin):
    request_id, _ = begin(origin)
    received = receive(origin, kit.signed(draft(request_id)))
    with pytest.raises(SignInExpired) as caught:
        complete(origin, received.code, at=NOW + timedelta(seconds=61))
    assert caught.value.reason == "code_expired"


def test_a_code_of_another_provider_is_unknown(gateway, origin):
    request_id, _ = begin(origin)
    received = receive(origin, kit.signed(draft(request_id)))
    with pytest.raises(SignInExpired) as caught:
        sign_in.complete_saml("other", code=received.code, binding=BINDING, confirmed=False, origin=origin, now=NOW)
    assert caught.value.reason == "code_unknown"


def test_an_unsolicited_response_is_refused_unless_the_provider_allows_it(gateway, origin, events):
    with pytest.raises(SamlRefused) as caught:
        receive(origin, kit.signed(draft(None)))
    assert caught.value.reason == "unsolicited"
    assert events()[-1] == ("sign_in", "refused", "unsolicited")


def test_an_idp_initiated_sign_in_waits_for_the_persons_yes(gateway, publish, origin):
    publish(document(allow_unsolicited=True))
    received = receive(origin, kit.signed(draft(None)))
    assert received.unsolicited
    asked = complete(origin, received.code, binding="")
    assert isinstance(asked, sign_in.Unconfirmed)
    assert (asked.identity.provider, asked.identity.subject.value) == ("corp", "alice")
    assert not AuditEvent.objects.filter(kind="sign_in", outcome="ok").exists()
    assert not Person.objects.exists()
    signed_in = complete(origin, received.code, binding="", confirmed=True)
    assert (signed_in.person, signed_in.next_path) == (Person.objects.get(), "/")


def test_an_answer_changes_nothing_of_the_person_before_its_own_browser_comes(gateway, origin):
    """Login CSRF leaves nothing behind: neither a person nor other claims of one who is there."""
    request_id, _ = begin(origin)
    received = receive(origin, kit.signed(draft(request_id)))
    assert not Person.objects.exists()
    complete(origin, received.code)
    other = {**kit.ALICE, "memberOf": ["finance"]}
    request_id, _ = begin(origin)
    received = receive(origin, kit.signed(draft(request_id, assertion_id="_a2", response_id="_r2", attributes=other)))
    with pytest.raises(SignInExpired):
        complete(origin, received.code, binding="binding-of-the-victim")
    assert Person.objects.get().groups != ["finance"]
    assert PastClaims.objects.count() == 1


def test_what_was_kept_for_the_browser_is_what_the_provider_said_and_goes_with_the_sign_in(gateway, origin):
    request_id, _ = begin(origin)
    received = receive(origin, kit.signed(draft(request_id)))
    assert SignInState.objects.get().identity["groups"] == sorted(kit.ALICE["memberOf"])
    complete(origin, received.code, at=NOW + timedelta(seconds=30))
    assert SignInState.objects.get().identity is None
    person = Person.objects.get()
    assert person.groups == sorted(kit.ALICE["memberOf"])
    assert (person.claims_at, PastClaims.objects.get().since) == (NOW, NOW + timedelta(seconds=30))


def test_what_was_kept_goes_with_a_sign_in_that_is_burnt(gateway, origin):
    request_id, _ = begin(origin)
    received = receive(origin, kit.signed(draft(request_id)))
    with pytest.raises(SignInExpired):
        complete(origin, received.code, binding="of another")
    assert SignInState.objects.get().identity is None


def test_a_provider_closed_between_the_answer_and_the_session_is_closed(gateway, publish, origin, events):
    request_id, _ = begin(origin)
    received = receive(origin, kit.signed(draft(request_id)))
    publish(document().replace("name: Example Corp", "name: Example Corp\n  enabled: false"))
    with pytest.raises(UnknownProvider):
        complete(origin, received.code)
    assert events()[-1] == ("sign_in", "refused", "provider_unknown_or_disabled")
    assert not Person.objects.exists()


def test_a_refused_answer_uses_up_neither_request_nor_assertion(gateway, origin):
    """Both or neither: what was refused for another answer's sake leaves that other's request as it was."""
    first, _ = begin(origin)
    second, _ = begin(origin)
    receive(origin, kit.signed(draft(first)))
    with pytest.raises(SamlRefused) as caught, transaction.atomic():
        receive(origin, kit.signed(draft(second)))  # the same assertion id, signed anew for another request
    assert caught.value.reason == "replayed"
    assert UsedCredential.objects.count() == 1
    assert SignInState.objects.filter(received_at=None).count() == 1


def test_a_request_that_is_too_old_is_unknown(gateway, origin):
    request_id, _ = begin(origin)
    SignInState.objects.update(expires_at=NOW - timedelta(seconds=1))
    with pytest.raises(SamlRefused) as caught:
        receive(origin, kit.signed(draft(request_id)))
    assert caught.value.reason == "in_response_to_unknown"


def test_the_same_name_from_another_form_is_another_person(gateway, origin):
    for n, name in enumerate(["alice", "Alice", "alicé", "alice\u0301"]):
        request_id, _ = begin(origin)
        answer = kit.signed(draft(request_id, name_id=name, assertion_id=f"_a{n}", response_id=f"_r{n}"))
        complete(origin, receive(origin, answer).code)
    assert Person.objects.count() == 4
    assert Person.objects.values("session_name").distinct().count() == 4


def test_a_second_sign_in_refreshes_the_claims_of_the_same_person(gateway, origin):
    for n, groups in enumerate([["engineering"], ["finance"]]):
        request_id, _ = begin(origin)
        attributes = {**kit.ALICE, "memberOf": groups, "mail": [f"alice{n}@example.com"]}
        answer = kit.signed(draft(request_id, assertion_id=f"_a{n}", response_id=f"_r{n}", attributes=attributes))
        complete(origin, receive(origin, answer).code)
    person = Person.objects.get()
    assert person.groups == ["finance"]
    assert person.email == "alice1@example.com"
    assert person.session_name.startswith("alice0")  # the name that CloudTrail knows stays


def test_a_disabled_person_stays_out(gateway, origin, events):
    request_id, _ = begin(origin)
    complete(origin, receive(origin, kit.signed(draft(request_id))).code)
    revoke.revoke(Person.objects.get(), disable=True, actor="test", why="left", origin=origin, now=NOW)
    request_id, _ = begin(origin)
    received = receive(origin, kit.signed(draft(request_id, assertion_id="_a2", response_id="_r2")))
    with pytest.raises(PersonDisabled):
        complete(origin, received.code)
    assert events()[-1] == ("sign_in", "refused", "person_disabled")
    revoke.allow_again(Person.objects.get(), actor="test", why="back", origin=origin, now=NOW)
    request_id, _ = begin(origin)
    received = receive(origin, kit.signed(draft(request_id, assertion_id="_a3", response_id="_r3")))
    assert complete(origin, received.code).person.active


def test_a_person_disabled_between_the_answer_and_the_session_stays_out(gateway, origin):
    for number in range(2):
        request_id, _ = begin(origin)
        answer = kit.signed(draft(request_id, assertion_id=f"_a{number}", response_id=f"_r{number}"))
        received = receive(origin, answer)
        if not number:
            complete(origin, received.code)
    Person.objects.update(active=False)
    with pytest.raises(PersonDisabled):
        complete(origin, received.code)


def test_a_disabled_or_unknown_provider_is_closed(gateway, publish, origin, events):
    request_id, _ = begin(origin)
    publish(document().replace("name: Example Corp", "name: Example Corp\n  enabled: false"))
    with pytest.raises(UnknownProvider):
        receive(origin, kit.signed(draft(request_id)))
    assert events()[-1] == ("sign_in", "refused", "provider_unknown_or_disabled")
    with pytest.raises(UnknownProvider):
        sign_in.begin("nobody", next_path="/", binding=BINDING, origin=origin, now=NOW)


def test_a_provider_whose_certificate_was_removed_is_closed(gateway, publish, origin):
    request_id, _ = begin(origin)
    other = kit.metadata_xml(keys=(("signing", kit.pair("the new key").bare),))
    publish(
        yaml.safe_dump(
            {
                "version": 1,
                "identity_providers": [
                    {
                        "slug": "corp",
                        "name": "C",
                        "saml": {"metadata_xml": other},
                        "claims": {"subject": "NameID", "groups": "memberOf", "email": "mail", "name": "displayName"},
                    }
                ],
            }
        )
    )
    with pytest.raises(SamlRefused) as caught:
        receive(origin, kit.signed(draft(request_id)))
    assert caught.value.reason == "certificate_foreign"


def test_metadata_that_cannot_be_had_says_so(gateway_keys, publish, origin):
    publish()  # the cast's provider is at a closed port
    with pytest.raises(ProviderUnavailable) as caught:
        sign_in.begin("corp", next_path="/", binding=BINDING, origin=origin, now=NOW)
    assert caught.value.reason == "unreachable"


def test_a_flood_from_one_address_is_limited_and_others_are_not(gateway, origin, monkeypatch):
    monkeypatch.setitem(rate_limits.LIMITS, "sign_in", rate_limits.Limit(60, 2, 2))
    begin(origin)
    begin(origin)
    with pytest.raises(RateLimited) as caught:
        begin(origin)
    assert caught.value.reason == "sign_in_rate"
    assert 0 < caught.value.retry_after <= 2 * 60
    begin(Origin("r", "192.0.2.8", ""))


def test_a_saml_answer_for_an_oidc_provider_is_refused(gateway_keys, publish, origin):
    publish()
    with pytest.raises(SamlRefused) as caught:
        sign_in.receive_saml("entra", saml_response="x", relay_state="", origin=origin, now=NOW)
    assert caught.value.reason == "not_a_saml_provider"


def test_a_sign_in_that_cannot_even_begin_is_in_the_audit_log(gateway, publish, origin, events):
    with pytest.raises(UnknownProvider):
        sign_in.begin("nobody", next_path="/", binding=BINDING, origin=origin, now=NOW)
    assert events()[-1] == ("sign_in", "refused", "provider_unknown_or_disabled")
    publish(document(metadata_file="/no/such/file"))
    with pytest.raises(ProviderUnavailable):
        sign_in.begin("corp", next_path="/", binding=BINDING, origin=origin, now=NOW)
    assert events()[-1] == ("sign_in", "failed", "metadata_file_unreadable")
    assert AuditEvent.objects.order_by("seq").last().data["code"] == "provider_unavailable"


@pytest.mark.parametrize(
    ("changes", "how", "reason", "alerts"),
    [
        ({}, kit.Signing(by=kit.pair("evil")), "certificate_foreign", 1),
        ({"audiences": (("https://elsewhere.example.com",),)}, kit.Signing(), "audience_wrong", 0),
    ],
)
def test_what_only_a_forger_sends_raises_an_alert(gateway, origin, caplog, changes, how, reason, alerts):
    request_id, _ = begin(origin)
    with pytest.raises(SamlRefused) as caught:
        receive(origin, kit.signed(draft(request_id, **changes), how=how))
    assert caught.value.reason == reason
    told = [line for line in caplog.records if "sign_in_alert" in line.getMessage()]
    assert [line.levelname for line in told] == ["ERROR"] * alerts


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"keys": (("signing", kit.pair("over", end=NOW - timedelta(seconds=1)).bare),)}, "certificate_expired"),
        ({"keys": (("signing", kit.pair("small", bits=1024).bare),)}, "key_too_small"),
        ({"valid_until": kit.at(-1)}, "expired"),
    ],
)
def test_a_provider_that_nobody_can_sign_in_by_any_more_raises_an_alert(
    gateway, publish, origin, events, caplog, metadata, reason
):
    """Also in a process that has not read the metadata before, where they are refused as a whole."""
    request_id, _ = begin(origin)
    publish(document(metadata_xml=kit.metadata_xml(**metadata)))
    for attempt in (lambda: begin(origin), lambda: receive(origin, kit.signed(draft(request_id)))):
        caplog.clear()
        with pytest.raises(MetadataInvalid) as caught:
            attempt()
        assert caught.value.reason == reason
        assert events()[-1] == ("sign_in", "failed", reason)
        assert [line.levelname for line in caplog.records if "sign_in_alert" in line.getMessage()] == ["ERROR"]


def test_a_flood_of_begun_sign_ins_ends_and_says_when_to_come_back(gateway, origin, events, monkeypatch):
    monkeypatch.setitem(rate_limits.LIMITS, "sign_in", rate_limits.Limit(60, 20, 5, refused=10))
    for _ in range(5):
        begin(origin)
    for _ in range(3):
        with pytest.raises(RateLimited) as caught:
            begin(origin)
    assert caught.value.retry_after >= 1
    assert SignInState.objects.count() == 5
    assert events()[1:] == [("sign_in", "refused", "sign_in_rate")]  # once a window
    begin(Origin("another-request", "192.0.2.8", "pytest"))


def test_a_provider_that_is_down_does_not_count_against_the_people_who_try(gateway, publish, origin, monkeypatch):
    """At nine in the morning a whole company tries behind one address: when the provider is back, they must get in."""
    monkeypatch.setitem(rate_limits.LIMITS, "sign_in", rate_limits.Limit(60, 20, 12, refused=10))
    publish(document(metadata_file="/no/such/file"))
    for _ in range(10):
        with pytest.raises(ProviderUnavailable):
            begin(origin)
    publish(document())
    begin(origin)


def test_one_person_signs_in_so_often_a_minute_whatever_the_address(gateway, publish, monkeypatch, events):
    monkeypatch.setitem(rate_limits.LIMITS, "sign_in", rate_limits.Limit(60, 3, 1000, refused=10))

    def once(n, subject):
        origin = Origin(f"request-{n}", f"192.0.2.{n}", "pytest")
        request_id, _ = begin(origin)
        answer = kit.signed(draft(request_id, name_id=subject, assertion_id=f"_a{n}", response_id=f"_r{n}"))
        complete(origin, receive(origin, answer).code)

    for n in range(3):
        once(n, "alice")
    with pytest.raises(RateLimited) as caught:
        once(4, "alice")
    assert caught.value.reason == "sign_in_rate"
    assert caught.value.retry_after >= 1
    assert events()[-1] == ("sign_in", "refused", "sign_in_rate")
    once(5, "bob")
