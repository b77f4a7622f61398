"""`manage.py keys`: listed, rotated, published; never a private half on the screen."""

import json

import pytest
from django.core.management import CommandError

from federation.flows import rotate_keys
from federation.models import AuditEvent, SigningKey, current


@pytest.fixture
def keys(run, gateway_keys):
    def do(*args):
        said = run("keys", *args)
        assert "PRIVATE" not in said
        return said

    return do


def test_the_list_has_every_key_with_its_state(keys):
    lines = [line.split() for line in keys("list").splitlines()]
    assert [line[:3] for line in lines] == [
        ["saml", "RS256", "active"],
        ["sp", "RS256", "active"],
        ["token", "ES256", "active"],
        ["token", "RS256", "active"],
    ]
    assert {line[-1] for line in lines} == set(SigningKey.objects.values_list("kid", flat=True))


def test_a_new_gateway_makes_its_keys_first(run, db, monkeypatch):
    monkeypatch.setattr(rotate_keys, "KINDS", (("token", "ES256"),))
    assert run("keys", "list").split()[:3] == ["token", "ES256", "active"]


def test_rotating_takes_two_steps(keys):
    old = current.signer("token", "ES256").kid
    assert "published as the next token ES256 key" in keys("rotate", "token", "--algorithm", "ES256")
    assert current.signer("token", "ES256").kid == old
    said = keys("rotate", "token", "--algorithm", "ES256")
    assert f"{old} is retiring" in said
    assert current.signer("token", "ES256").kid != old
    assert AuditEvent.objects.latest("seq").actor.startswith("command:")


def test_at_once_takes_one_and_withdraws_the_old_key(keys):
    old = current.signer("token", "ES256").kid
    assert f"{old} is retired" in keys("rotate", "token", "--algorithm", "ES256", "--at-once")
    listed = {line.split()[-1]: line.split()[2] for line in keys("list").splitlines()}
    assert listed[old] == "retired"


def test_a_kind_that_does_not_exist_is_a_sentence(keys):
    with pytest.raises(CommandError, match=r"choose saml/RS256.*\[bad_request: key_kind_unknown\]"):
        keys("rotate", "saml", "--algorithm", "ES256")
    with pytest.raises(CommandError, match="invalid choice"):
        keys("rotate", "everything")


def test_publishing_writes_the_documents_and_says_which(keys, tmp_path):
    said = keys("publish", "--directory", tmp_path / "new" / "host")
    assert sorted(said.split()) == sorted(
        str(tmp_path / "new" / "host" / name)
        for name in (".well-known/openid-configuration", "jwks.json", "saml/metadata.xml")
    )
    assert json.loads((tmp_path / "new/host/jwks.json").read_text())["keys"][0]["kid"] == current.signer("token").kid
    assert keys("publish", "--directory", tmp_path / "new" / "host") == ""


def test_a_directory_that_cannot_be_written_is_a_sentence(keys, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match="publish_refused: directory_not_writable"):
        keys("publish", "--directory", tmp_path / "file")


def test_listing_and_publishing_need_no_private_half(keys, settings, tmp_path):
    settings.SECRET_KEY = "another-test-secret-that-is-public-and-protects-nothing-9876543210"
    assert "jwks.json" in keys("publish", "--directory", tmp_path)
    assert "active" in keys("list")
