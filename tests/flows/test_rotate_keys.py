"""The life of a signing key: next, active, retiring, retired; and of the secret that the private halves are sealed under."""

import json
import stat
import threading
from base64 import b64decode
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from federation.audit import record
from federation.errors import BadRequest, ConfigurationError
from federation.flows import rotate_keys, sign_in
from federation.issuer.signing import KeySealBroken
from federation.models import AuditEvent, SigningKey, current
from tests import saml_kit

DAY = timedelta(days=1)
NEW_SECRET = "another-test-secret-that-is-public-and-protects-nothing-9876543210"


def rotate(origin, now, purpose="token", algorithm="RS256", **more):
    return rotate_keys.rotate(purpose, algorithm, actor="carol", origin=origin, now=now, **more)


def states(purpose="token", algorithm="RS256"):
    return {row.kid: row.state for row in SigningKey.objects.filter(purpose=purpose, algorithm=algorithm)}


def published():
    return [key["kid"] for key in rotate_keys.jwks()["keys"]]


def test_the_first_start_makes_a_key_of_each_kind(db, origin, now):
    made = rotate_keys.ensure_keys(actor="carol", origin=origin, now=now)
    assert set(SigningKey.objects.values_list("purpose", "algorithm", "state")) == {
        (p, a, "active") for p, a in rotate_keys.KINDS
    }
    assert sorted(made) == sorted(SigningKey.objects.values_list("kid", flat=True))
    assert [event.data["kid"] for event in AuditEvent.objects.filter(kind="key.made").order_by("seq")] == made


def test_the_next_start_makes_none(gateway_keys, origin, now):
    before = set(SigningKey.objects.values_list("kid", flat=True))
    assert rotate_keys.ensure_keys(actor="carol", origin=origin, now=now) == []
    assert set(SigningKey.objects.values_list("kid", flat=True)) == before
    assert not AuditEvent.objects.exists()


def test_only_what_is_missing_is_made(gateway_keys, origin, now):
    SigningKey.objects.filter(purpose="token", algorithm="ES256").delete()
    assert len(rotate_keys.ensure_keys(actor="carol", origin=origin, now=now)) == 1


@pytest.mark.django_db(transaction=True)
def test_eight_processes_that_start_at_once_agree_on_one_key_of_each_kind(origin, now, monkeypatch):
    from federation.issuer.signing import generate

    monkeypatch.setattr(rotate_keys, "KINDS", (("token", "ES256"), ("saml", "RS256")))
    spare, lock, faults, made = (
        [generate("RS256", common_name="TEST KEY", now=now) for _ in range(8)],
        threading.Lock(),
        [],
        [],
    )
    together = threading.Barrier(8)

    def generated(algorithm, **more):
        if algorithm == "ES256":
            material = generate(algorithm, **more)
            together.wait(60)  # everybody has seen that there is no key before anybody writes one
            return material
        with lock:
            return spare.pop()

    monkeypatch.setattr(rotate_keys, "generate", generated)

    def work():
        try:
            kids = rotate_keys.ensure_keys(actor="carol", origin=origin, now=now)
            with lock:
                made.extend(kids)
        except Exception as error:
            with lock:
                faults.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert sorted(made) == sorted(SigningKey.objects.values_list("kid", flat=True))
    assert sorted(SigningKey.objects.values_list("purpose", "algorithm", "state")) == [
        ("saml", "RS256", "active"),
        ("token", "ES256", "active"),
    ]
    assert AuditEvent.objects.filter(kind="key.made").count() == 2
    assert record.verify() == []


# --- Rotation ---------------------------------------------------------------------------------------


def test_a_next_key_is_published_and_signs_nothing(gateway_keys, origin, now):
    active = current.signer("token").kid
    said = rotate(origin, now)
    upcoming = next(kid for kid, state in states().items() if state == "next")
    assert "Run rotate again" in said[0]
    assert upcoming in said[0]
    assert current.signer("token").kid == active
    assert published()[:2] == [active, upcoming]


def test_the_second_step_signs_with_it_and_goes_on_publishing_the_old_one(gateway_keys, origin, now):
    old = current.signer("token").kid
    rotate(origin, now)
    rotate(origin, now + DAY)
    new = current.signer("token").kid
    assert states() == {old: "retiring", new: "active"}
    assert new != old
    assert published()[:2] == [new, old]
    events = [(e.data["step"], e.data["kid"]) for e in AuditEvent.objects.filter(kind="key.rotated").order_by("seq")]
    assert events == [("next", new), ("active", new)]


def test_a_day_later_the_old_one_is_retired_and_its_private_half_erased(gateway_keys, origin, now):
    old = current.signer("token").kid
    rotate(origin, now)
    rotate(origin, now)
    rotate(origin, now + DAY)
    assert states()[old] == "retiring"  # not yet longer than a day
    said = rotate(origin, now + DAY + timedelta(seconds=1))
    assert states()[old] == "retired"
    assert any(line.startswith(old) and "erased" in line for line in said)
    row = SigningKey.objects.get(pk=old)
    assert row.sealed_private_key == ""
    assert old not in published()
    with pytest.raises(KeySealBroken):
        current.unseal_key(row)


def test_a_key_that_others_may_know_is_withdrawn_at_once(gateway_keys, origin, now):
    """Whatever is published AWS goes on believing: a key that leaked must not stay for a day."""
    old = current.signer("token").kid
    said = rotate(origin, now, at_once=True)
    new = current.signer("token").kid
    assert states() == {old: "retired", new: "active"}
    assert SigningKey.objects.get(pk=old).sealed_private_key == ""
    assert old not in published()
    assert said == [f"{old} is retired: no longer published, its private half erased.", f"{new} is active."]


def test_at_once_uses_the_next_key_that_is_published_already(gateway_keys, origin, now):
    rotate(origin, now)
    upcoming = next(kid for kid, state in states().items() if state == "next")
    rotate(origin, now, at_once=True)
    assert current.signer("token").kid == upcoming


def test_an_old_decryption_key_goes_on_decrypting_for_a_day(gateway_keys, publish, origin, now):
    """A provider encrypts to the certificate that it knows until it has read our new metadata."""
    publish()
    old = current.signer("sp")
    rotate(origin, now, "sp", at_once=True)
    sp = sign_in.service_provider("corp")
    assert sp.certificate_pem == current.signer("sp").certificate_pem != old.certificate_pem
    assert [certificate for _, certificate in sp.older] == [old.certificate_pem]
    assert "PRIVATE KEY" in sp.older[0][0]
    rotate(origin, now + 2 * DAY, "sp")
    assert sign_in.service_provider("corp").older == ()


def test_without_an_active_key_the_next_one_still_becomes_it(gateway_keys, origin, now):
    SigningKey.objects.filter(purpose="token", algorithm="RS256").update(state="retired")
    rotate(origin, now, at_once=True)
    assert current.signer("token").kid in published()


@pytest.mark.parametrize(
    ("purpose", "algorithm"), [("saml", "ES256"), ("sp", "ES256"), ("session", "RS256"), ("token", "none")]
)
def test_a_kind_that_does_not_exist_is_refused(gateway_keys, origin, now, purpose, algorithm):
    with pytest.raises(BadRequest) as caught:
        rotate(origin, now, purpose, algorithm)
    assert caught.value.reason == "key_kind_unknown"
    assert "token/ES256" in caught.value.public_sentence
    assert not AuditEvent.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_rotations_at_once_are_two_steps(gateway_keys, origin, now):
    faults = []

    def work():
        try:
            rotate(origin, now, algorithm="ES256")
        except Exception as error:
            faults.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert sorted(states(algorithm="ES256").values()) == ["active", "retiring"]


def test_keys_are_listed_with_their_states_and_no_private_half(gateway_keys, origin, now):
    rotate(origin, now + DAY, "saml")
    lines = rotate_keys.list_keys()
    assert [(line.purpose, line.algorithm, line.state) for line in lines] == [
        ("saml", "RS256", "next"), ("saml", "RS256", "active"), ("sp", "RS256", "active"), ("token", "ES256", "active"), ("token", "RS256", "active"),
    ]  # fmt: skip
    assert "PRIVATE" not in repr(lines)
    assert "v1." not in repr(lines)


# --- What is published ------------------------------------------------------------------------------


def test_the_active_rsa_key_is_published_first(gateway_keys, origin, now):
    """IAM is reported to read the first key for its thumbprint."""
    rotate(origin, now, algorithm="ES256")
    rotate(origin, now)
    keys = rotate_keys.jwks()["keys"]
    assert [key["alg"] for key in keys] == ["RS256", "RS256", "ES256", "ES256"]
    assert keys[0]["kid"] == current.signer("token").kid
    assert keys[2]["kid"] == current.signer("token", "ES256").kid
    assert all(not {"d", "p", "q"} & key.keys() for key in keys)


def test_the_metadata_names_the_active_certificate_first(gateway_keys, origin, now):
    rotate(origin, now, "saml")
    tree = saml_kit.tree(rotate_keys.saml_metadata(now=now))
    found = [node.text for node in tree.iter(saml_kit.DS + "X509Certificate")]
    assert len(found) == 2
    active = current.signer("saml").certificate_pem
    assert b64decode(found[0]) == b64decode("".join(active.strip().splitlines()[1:-1]))


def test_static_files_are_the_documents_and_are_only_touched_when_they_change(gateway_keys, origin, tmp_path):
    now = datetime.now(UTC)
    paths = rotate_keys.publish_static(tmp_path, actor="carol", origin=origin, now=now)
    assert {path.relative_to(tmp_path).as_posix() for path in paths} == {
        ".well-known/openid-configuration",
        "jwks.json",
        "saml/metadata.xml",
    }
    assert {p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in paths} == rotate_keys.published_documents(
        now=now
    )
    assert json.loads((tmp_path / "jwks.json").read_bytes())["keys"][0]["use"] == "sig"
    assert stat.S_IMODE((tmp_path / "jwks.json").stat().st_mode) == 0o644
    assert rotate_keys.publish_static(tmp_path, actor="carol", origin=origin, now=now) == []
    rotate(origin, now)
    assert [path.name for path in rotate_keys.publish_static(tmp_path, actor="carol", origin=origin, now=now)] == [
        "jwks.json"
    ]
    assert AuditEvent.objects.filter(kind="key.published").count() == 3


# --- ROLEGATE_SECRET_KEY ----------------------------------------------------------------------------


def test_a_rotated_secret_still_opens_what_the_old_one_sealed(gateway_keys, settings, origin, now):
    old = settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW_SECRET, ["nonsense" * 8, old]
    assert current.signer("saml").sign(b"x")
    assert sign_in.service_provider("corp").private_key_pem.startswith("-----BEGIN PRIVATE KEY-----")
    rotate(origin, now, at_once=True)
    settings.SECRET_KEY_FALLBACKS = []
    current.forget()
    assert current.signer("token").sign(b"x")  # sealed under the new one
    with pytest.raises(KeySealBroken):
        current.signer("saml")


def test_a_wrong_secret_opens_nothing_and_says_so(gateway_keys, settings):
    settings.SECRET_KEY = NEW_SECRET
    for use in (lambda: current.signer("saml"), lambda: sign_in.service_provider("corp")):
        with pytest.raises(KeySealBroken) as caught:
            use()
        assert caught.value.reason == "key_seal_broken"
        assert "PRIVATE" not in str(caught.value)


def test_without_a_key_nothing_is_signed(db):
    with pytest.raises(ConfigurationError) as caught:
        current.signer("token")
    assert caught.value.reason == "no_active_key"


# --- On schedule --------------------------------------------------------------------------------------


@pytest.fixture
def own_jwks(monkeypatch, settings):
    """The issuer's JWKS served over real HTTP, as it is at each request; "" answers 503."""
    import json
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    held = {"body": b""}

    class Served(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if held["body"] else 503)
            self.end_headers()
            self.wfile.write(held["body"])

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Served)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings.ROLEGATE_ISSUER_URL = f"http://127.0.0.1:{server.server_address[1]}/issuer"

    def serve(body=None):
        held["body"] = json.dumps(rotate_keys.jwks()).encode() if body is None else body

    yield serve
    server.shutdown()
    server.server_close()


def test_a_young_key_is_left_alone(gateway_keys, now, own_jwks):
    assert rotate_keys.rotate_due(now=now + 89 * DAY) == []
    assert list(states().values()) == ["active"]


def test_an_old_key_gets_a_successor_that_is_public_a_day_before_it_signs(gateway_keys, now, own_jwks):
    old = SigningKey.objects.get(purpose="token", algorithm="RS256").kid
    due = now + 91 * DAY
    said = rotate_keys.rotate_due(now=due)
    assert len(said) == 2  # RS256 and ES256
    assert all("It signs by itself a day later" in one for one in said)  # nobody has to run anything
    successor = SigningKey.objects.get(purpose="token", algorithm="RS256", state="next").kid
    own_jwks()
    assert rotate_keys.rotate_due(now=due + DAY - timedelta(minutes=1)) == []
    rotate_keys.rotate_due(now=due + DAY)
    assert SigningKey.objects.get(purpose="token", algorithm="RS256", state="active").kid == successor
    assert SigningKey.objects.get(pk=old).state == "retiring"
    rotate_keys.rotate_due(now=due + 2 * DAY + timedelta(minutes=1))
    assert SigningKey.objects.get(pk=old).state == "retired"
    assert SigningKey.objects.get(pk=old).sealed_private_key == ""


@pytest.mark.parametrize("body", [b"", b"not json", b'{"keys": []}', b'{"keys": [{"kty": "RSA"}]}', b"[]"])
def test_a_key_that_the_world_cannot_see_does_not_sign(gateway_keys, now, own_jwks, body):
    due = now + 91 * DAY
    rotate_keys.rotate_due(now=due)
    own_jwks(body)
    said = rotate_keys.rotate_due(now=due + 30 * DAY)
    assert all("not in the published JWKS" in sentence for sentence in said)
    assert len(said) == 2
    assert SigningKey.objects.filter(purpose="token", state="next").count() == 2


def test_the_saml_key_waits_for_a_person(gateway_keys, now, own_jwks):
    rotate_keys.rotate_due(now=now + 400 * DAY)
    assert list(states("saml").values()) == ["active"]
    assert list(states("sp").values()) == ["active"]


def test_a_step_that_another_worker_has_taken_is_not_taken_again(gateway_keys, origin, now):
    seen = SigningKey.objects.get(purpose="token", algorithm="RS256").kid
    rotate(origin, now)
    assert rotate(origin, now, after=seen) == []
    assert sorted(states().values()) == ["active", "next"]
