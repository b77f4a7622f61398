"""What the issuer does not sign, each with its reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from federation.errors import ConfigurationError
from federation.issuer.assertion import MintRefused, mint_assertion
from federation.issuer.token import mint_token
from tests.issuer.material import NOW, alice, alices_token, signer

PROVIDER = "arn:aws:iam::111122223333:saml-provider/rolegate"
ROLE = "arn:aws:iam::111122223333:role/"

ASSERTIONS = {
    "role_arn_invalid": [
        {"role_arn": text}
        for text in (
            "",
            "ReadOnly",
            PROVIDER,
            f"{ROLE}a\n",
            f"{ROLE}<x/>",
            f"{ROLE}é",
            f"{ROLE}{'a' * 65}",
            "arn:aws:iam::1:role/a",
            f"{ROLE}a b",
        )
    ],
    "role_arn_has_comma": [
        {"role_arn": f"{ROLE}ReadOnly,{PROVIDER}"},
        {"role_arn": f"{ROLE}a,b"},
        {"role_arn": f"{ROLE}x,{ROLE}Admin/y"},
    ],
    "provider_arn_invalid": [
        {"provider_arn": text}
        for text in ("", "rolegate", f"{PROVIDER},x", f"{PROVIDER}\n", f"{PROVIDER}/x", ROLE + "a")
    ],
    "partition_mismatch": [{"provider_arn": "arn:aws-cn:iam::111122223333:saml-provider/rolegate"}],
    "account_mismatch": [{"provider_arn": "arn:aws:iam::999922223333:saml-provider/rolegate"}],
    "recipient_invalid": [
        {"recipient": text}
        for text in (
            "",
            "signin.aws.amazon.com",
            "javascript:alert(1)",
            "https://signin.aws.amazon.com/saml\n",
            'https://x/"',
            "https://a@b/saml",
            "https://x/?a",
        )
    ],
    "issuer_invalid": [{"issuer": ""}, {"issuer": "a\u0000b"}, {"issuer": "x" * 1025}],
    "audience_invalid": [{"audience": ""}, {"audience": "\ud800"}],
    "name_id_invalid": [
        {"name_id": ""},
        {"name_id": "x" * 257},
        {"name_id": "a\nb"},
        {"name_id": "\u202ealice"},
        {"name_id": "\ufffe"},
    ],
    "session_name_invalid": [
        {"session_name": text} for text in ("", "a", "a" * 65, "alice smith", "alice\n", "älice", "a/b")
    ],
    "source_identity_invalid": [{"source_identity": text} for text in ("a", "a" * 65, "aws:alice", "alice\n", "a b")],
    "tag_invalid": [
        {"tags": tags, "transitive_tags": ()}
        for tags in (
            {"": "x"},
            {"k" * 129: "x"},
            {"k": "v" * 257},
            {"aws:k": "v"},
            {"AWS:k": "v"},
            {"k": "a\nb"},
            {"k": "a,b"},
            {"k<": "v"},
            {"k": "\u202e"},
            {"k": "a\u2028b"},
        )
    ],
    "tag_duplicate": [{"tags": {"Team": "a", "team": "b"}, "transitive_tags": ()}],
    "too_many_tags": [{"tags": {f"k{n}": "v" for n in range(51)}, "transitive_tags": ()}],
    "transitive_tag_unknown": [{"transitive_tags": ("team",)}],
    "session_duration_out_of_range": [{"session_duration": n} for n in (0, 899, 43_201)],
}


@pytest.mark.parametrize(
    ("reason", "changes"), [(reason, c) for reason, all_changes in ASSERTIONS.items() for c in all_changes]
)
def test_assertion(reason, changes):
    with pytest.raises(MintRefused) as refused:
        mint_assertion(alice(**changes), signer(), now=NOW)
    assert refused.value.reason == reason
    assert isinstance(refused.value, ConfigurationError)


TOKENS = {
    "issuer_url_invalid": [
        {"issuer": u}
        for u in (
            "",
            "http://access.example.com",
            "https://access.example.com:8443/x",
            "https://a@b",
            "https://a/?q",
            "https://a/#f",
            "https://",
            "ftp://a",
            "https://a:x/",
            "https://a/" + "x" * 255,
        )
    ],
    "audience_invalid": [{"audience": ""}, {"audience": "a" * 256}],
    "subject_invalid": [{"subject": ""}, {"subject": "s" * 256}, {"subject": "a\r\nb"}],
    "source_identity_invalid": [{"source_identity": "a"}, {"source_identity": "aws:alice"}],
    "tag_invalid": [{"tags": {"k": "a\x00b"}, "transitive_tags": ()}],
    "transitive_tag_unknown": [{"transitive_tags": ("Nope",)}],
}


@pytest.mark.parametrize(
    ("reason", "changes"), [(reason, c) for reason, all_changes in TOKENS.items() for c in all_changes]
)
def test_token(reason, changes):
    with pytest.raises(MintRefused) as refused:
        mint_token(alices_token(**changes), signer(), now=NOW)
    assert refused.value.reason == reason


@pytest.mark.parametrize(("mint", "request_"), [(mint_assertion, alice()), (mint_token, alices_token())])
@pytest.mark.parametrize(
    "lifetime", [timedelta(0), timedelta(seconds=-1), timedelta(minutes=5, seconds=1), timedelta(hours=1)]
)
def test_lifetime(mint, request_, lifetime):
    with pytest.raises(MintRefused) as refused:
        mint(request_, signer(), now=NOW, lifetime=lifetime)
    assert refused.value.reason == "lifetime_out_of_range"


@pytest.mark.parametrize(("mint", "request_"), [(mint_assertion, alice()), (mint_token, alices_token())])
@pytest.mark.parametrize("now", [datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))])
def test_a_time_that_is_not_utc(mint, request_, now):
    with pytest.raises(MintRefused) as refused:
        mint(request_, signer(), now=now)
    assert refused.value.reason == "now_not_utc"


def test_an_assertion_is_signed_with_rsa_alone():
    with pytest.raises(MintRefused) as refused:
        mint_assertion(alice(), signer("ES256"), now=NOW)
    assert refused.value.reason == "signer_not_rsa"


def wide(count):
    """`count` tags as large as AWS takes them, in letters of four bytes."""
    return alice(
        tags={"\U00020000" * 126 + f"{number:02}": "\U00020000" * 256 for number in range(count)}, transitive_tags=()
    )


def test_an_assertion_too_large_for_sts_is_refused_before_the_key_is_used():
    class Untouchable:
        kid, algorithm, certificate_pem = "k", "RS256", ""

        def sign(self, data):
            raise AssertionError("signed what is refused")

    with pytest.raises(MintRefused) as refused:
        mint_assertion(wide(50), Untouchable(), now=NOW)
    assert refused.value.reason == "assertion_too_large"


def test_nothing_above_the_limit_is_handed_out_wherever_it_lies():
    minted, refused = [], []
    for count in range(36, 48):
        try:
            minted.append(len(mint_assertion(wide(count), signer(), now=NOW).saml_response))
        except MintRefused as error:
            assert error.reason == "assertion_too_large"
            refused.append(error.detail)
    assert max(minted) <= 100_000
    # Some are over only with their signature: these are counted exactly, after signing.
    assert any("base64" in detail for detail in refused)


def test_a_token_too_large_for_sts_is_not_signed():
    tags = {f"{'é' * 120}{number}": "語" * 256 for number in range(50)}
    with pytest.raises(MintRefused) as refused:
        mint_token(alices_token(tags=tags, transitive_tags=()), signer(), now=NOW)
    assert refused.value.reason == "token_too_large"


def test_the_largest_token_that_is_minted_is_taken_by_sts():
    tags = {f"t{number:03}": "v" * 150 for number in range(50)}
    minted = mint_token(alices_token(tags=tags, transitive_tags=()), signer(), now=NOW.replace(tzinfo=UTC))
    assert len(minted.token) <= 20_000
