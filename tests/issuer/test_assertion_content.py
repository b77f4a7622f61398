"""What the assertion says to AWS."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from federation.issuer.assertion import mint_assertion
from tests.issuer.material import ISSUER, NOW, SAML, SAMLP, alice, attributes, parsed, signer


def mint(**changes):
    minted = mint_assertion(alice(**changes), signer(), now=NOW)
    return minted, parsed(minted.saml_response)


def test_attributes_are_those_of_aws_each_once():
    _, document = mint()
    assert attributes(document) == {
        "Role": ["arn:aws:iam::111122223333:role/ReadOnly,arn:aws:iam::111122223333:saml-provider/rolegate"],
        "RoleSessionName": ["alice@example.com"],
        "SessionDuration": ["3600"],
        "SourceIdentity": ["alice-4f2a"],
        "PrincipalTag:Team": ["shop"],
        "PrincipalTag:Department": ["engineering"],
        "TransitiveTagKeys": ["Team"],
    }


def test_what_is_not_asked_for_is_not_there():
    _, document = mint(source_identity="", session_duration=None, tags={}, transitive_tags=())
    assert set(attributes(document)) == {"Role", "RoleSessionName"}


def test_subject_audience_and_times():
    minted, document = mint()
    assertion = document.find(f"{SAML}Assertion")
    assert assertion.get("ID") == minted.id
    assert assertion.findtext(f"{SAML}Issuer") == document.findtext(f"{SAML}Issuer") == ISSUER
    name = assertion.find(f"{SAML}Subject/{SAML}NameID")
    assert (name.text, name.get("Format")) == ("corp/alice", "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent")
    (confirmation,) = assertion.iter(f"{SAML}SubjectConfirmation")
    assert confirmation.get("Method") == "urn:oasis:names:tc:SAML:2.0:cm:bearer"
    assert dict(confirmation[0].attrib) == {
        "NotOnOrAfter": "2026-03-04T12:35:15Z",
        "Recipient": "https://signin.aws.amazon.com/saml",
    }
    assert document.get("Destination") == "https://signin.aws.amazon.com/saml"
    conditions = assertion.find(f"{SAML}Conditions")
    assert dict(conditions.attrib) == {"NotBefore": "2026-03-04T12:29:45Z", "NotOnOrAfter": "2026-03-04T12:35:15Z"}
    assert [a.text for a in conditions.iter(f"{SAML}Audience")] == ["urn:amazon:webservices"]
    assert (minted.issued_at, minted.expires_at) == (
        datetime(2026, 3, 4, 12, 30, 15, tzinfo=UTC),
        datetime(2026, 3, 4, 12, 35, 15, tzinfo=UTC),
    )


def test_session_not_on_or_after_is_absent_so_that_session_duration_governs():
    _, document = mint()
    (statement,) = document.iter(f"{SAML}AuthnStatement")
    assert set(statement.attrib) == {"AuthnInstant", "SessionIndex"}


def test_ids_are_new_each_time_and_response_and_assertion_differ():
    ids = set()
    for _ in range(20):
        minted, document = mint()
        ids |= {minted.id, document.get("ID")}
    assert len(ids) == 40


def test_lifetime_may_be_shorter():
    minted = mint_assertion(alice(), signer(), now=NOW, lifetime=timedelta(seconds=60))
    assert minted.expires_at - minted.issued_at == timedelta(seconds=60)


def test_fifty_long_tags_fit():
    tags = {f"{number:0128}": "é" * 256 for number in range(50)}
    minted = mint_assertion(alice(tags=tags, transitive_tags=()), signer(), now=NOW)
    assert len(minted.saml_response) <= 100_000
    assert sum(name.startswith("PrincipalTag:") for name in attributes(parsed(minted.saml_response))) == 50


def test_the_response_stays_out_of_repr():
    minted, document = mint()
    assert minted.id in repr(minted)
    assert minted.saml_response[:40] not in repr(minted)
    assert document.tag == f"{SAMLP}Response"
