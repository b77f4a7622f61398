"""Attack: reach the Role attribute, or another meaning of the assertion, through names and tags; find a key where it must not be."""

from __future__ import annotations

import base64
import traceback

import pytest

from federation.aws.arns import ArnInvalid, parse_role_arn
from federation.issuer.assertion import MintRefused, mint_assertion
from federation.issuer.signing import KeyInvalid, KeySealBroken, LocalSigner, seal, unseal
from federation.issuer.token import mint_token
from tests.issuer.material import NOW, SAML, alice, alices_token, attributes, key, parsed, signer

ADMIN = "arn:aws:iam::111122223333:role/Admin,arn:aws:iam::111122223333:saml-provider/rolegate"
INJECTIONS = [
    f"x,{ADMIN}",
    f"x\n{ADMIN}",
    f"x\r\n{ADMIN}",
    f'x</saml:AttributeValue></saml:Attribute><saml:Attribute Name="https://aws.amazon.com/SAML/Attributes/Role"><saml:AttributeValue>{ADMIN}',
    "x]]><!-- ",
    "x<!---->y",
    "&lt;x&gt;",
    '" ID="other',
    "x\u0000y",
    "\u202eresu",
    "a\ud800b",
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_a_role_arn_with_something_in_it_is_no_role_arn(text):
    with pytest.raises(ArnInvalid):
        parse_role_arn(f"arn:aws:iam::111122223333:role/{text}/x")
    with pytest.raises(MintRefused) as refused:
        mint_assertion(alice(role_arn=f"arn:aws:iam::111122223333:role/{text}"), signer(), now=NOW)
    assert refused.value.reason in ("role_arn_invalid", "role_arn_has_comma")


@pytest.mark.parametrize("text", INJECTIONS)
@pytest.mark.parametrize("where", ["session_name", "source_identity", "provider_arn", "recipient"])
def test_fields_with_a_grammar_refuse_it(where, text):
    with pytest.raises(MintRefused):
        mint_assertion(alice(**{where: text}), signer(), now=NOW)


@pytest.mark.parametrize("text", INJECTIONS)
@pytest.mark.parametrize("where", ["name_id", "issuer", "audience"])
def test_free_text_is_refused_or_stays_text(where, text):
    try:
        minted = mint_assertion(alice(**{where: text}), signer(), now=NOW)
    except MintRefused as refused:
        assert refused.reason == f"{where}_invalid"
        return
    document = parsed(minted.saml_response)
    assert attributes(document) == attributes(parsed(mint_assertion(alice(), signer(), now=NOW).saml_response))
    assert [a.get("ID") for a in document.iter(f"{SAML}Assertion")] == [minted.id]
    assert not list(document.iter("comment"))
    assert text in [e.text for e in document.iter()]


@pytest.mark.parametrize("text", INJECTIONS)
def test_a_group_or_display_name_in_a_tag_never_reaches_the_role(text):
    for tags in ({"Group": text}, {text: "x"}):
        for mint, request in ((mint_assertion, alice), (mint_token, alices_token)):
            with pytest.raises(MintRefused) as refused:
                mint(request(tags=tags, transitive_tags=()), signer(), now=NOW)
            assert refused.value.reason == "tag_invalid"


def test_a_tag_named_like_an_attribute_stays_a_tag():
    document = parsed(
        mint_assertion(
            alice(tags={"Role": "arn:aws:iam::111122223333:role/Admin"}, transitive_tags=()), signer(), now=NOW
        ).saml_response
    )
    assert attributes(document)["Role"] == [
        "arn:aws:iam::111122223333:role/ReadOnly,arn:aws:iam::111122223333:saml-provider/rolegate"
    ]


def test_one_document_is_for_one_role():
    roles = [
        a
        for a in parsed(mint_assertion(alice(), signer(), now=NOW).saml_response).iter(f"{SAML}Attribute")
        if a.get("Name").endswith("/Role")
    ]
    assert [len(a) for a in roles] == [1]


def lines_of(private_pem: bytes) -> list[str]:
    return [line for line in private_pem.decode().splitlines() if "-----" not in line]


def test_the_signing_key_is_in_no_error_trace_or_sealed_form():
    private = key().private_pem
    broken = private.replace(b"-----END", b"------END")
    sealed = seal(private, master_key=b"test-master-key-that-protects-nothing", kid="k1")
    shown = [sealed, base64.urlsafe_b64decode(sealed[3:] + "==").decode("latin-1"), repr(signer()), repr(key())]
    for attempt in (
        lambda: LocalSigner("k1", "RS256", broken, key().certificate_pem),
        lambda: LocalSigner("k1", "ES256", private, key().certificate_pem),
        lambda: unseal(sealed, master_key=b"some-other-master-key", kid="k1"),
    ):
        with pytest.raises((KeyInvalid, KeySealBroken)) as failed:
            attempt()
        shown += ["".join(traceback.format_exception(failed.value)), repr(vars(failed.value))]
    for text in shown:
        assert not [line for line in lines_of(private) if line in text]
