"""A private key at rest: sealed, bound to its kid and to the gateway's secret."""

from __future__ import annotations

import pytest

from federation.errors import ConfigurationError
from federation.issuer.signing import KeyInvalid, KeySealBroken, seal, unseal
from tests.issuer.material import key

MASTER = b"test-master-key-that-protects-nothing"


def test_round_trip_and_never_twice_the_same():
    private = key().private_pem
    first, second = (seal(private, master_key=MASTER, kid="k1") for _ in range(2))
    assert first != second
    assert first.startswith("v1.")
    assert unseal(first, master_key=MASTER, kid="k1") == unseal(second, master_key=MASTER, kid="k1") == private


def test_the_sealed_form_shows_nothing_of_the_key():
    sealed = seal(b"PRIVATE KEY canary", master_key=MASTER, kid="k1")
    assert "PRIVATE" not in sealed
    assert "canary" not in sealed


def flipped(sealed: str) -> str:
    return sealed[:40] + ("A" if sealed[40] != "A" else "B") + sealed[41:]


@pytest.mark.parametrize(
    ("reason", "change", "master", "kid"),
    [
        ("seal_broken", lambda s: s, b"another-master-key-altogether", "k1"),
        ("seal_broken", lambda s: s, MASTER, "k2"),
        ("seal_broken", flipped, MASTER, "k1"),
        ("seal_version_unknown", lambda s: "v2" + s[2:], MASTER, "k1"),
        ("seal_version_unknown", lambda s: "", MASTER, "k1"),
        ("seal_malformed", lambda s: s + "!", MASTER, "k1"),
        ("seal_malformed", lambda s: "v1.é", MASTER, "k1"),
        ("seal_malformed", lambda s: s[:19], MASTER, "k1"),
    ],
)
def test_what_does_not_open(reason, change, master, kid):
    sealed = change(seal(key().private_pem, master_key=MASTER, kid="k1"))
    with pytest.raises(KeySealBroken) as refused:
        unseal(sealed, master_key=master, kid=kid)
    assert refused.value.reason == reason
    assert isinstance(refused.value, ConfigurationError)


def test_a_short_master_key_is_refused():
    with pytest.raises(KeyInvalid) as refused:
        seal(b"x", master_key=b"short", kid="k1")
    assert refused.value.reason == "master_key_too_short"
