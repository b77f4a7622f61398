"""Reading an identity provider's metadata: what is taken, and what is refused whole."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from lxml import etree

from federation.errors import ConfigurationError
from federation.signin.metadata import (
    MAX_BYTES,
    POST,
    REDIRECT,
    MetadataInvalid,
    parse_idp_metadata,
    with_certificate,
    without_certificate,
)
from tests import saml_kit as kit
from tests.saml_kit import DS, IDP, NOW, Signing, at, metadata_xml, pair, sign, tree

MD = "{urn:oasis:names:tc:SAML:2.0:metadata}"


def parse(xml, pinned=""):
    return parse_idp_metadata(xml.encode() if isinstance(xml, str) else xml, now=NOW, pinned_certificate=pinned)


def refused(xml, pinned=""):
    with pytest.raises(MetadataInvalid) as caught:
        parse(xml, pinned)
    assert isinstance(caught.value, ConfigurationError)
    assert caught.value.code == "metadata_invalid"
    return caught.value.reason


def several(*entities: str) -> str:
    inside = "".join(entities)
    return f'<md:EntitiesDescriptor xmlns:md="{MD[1:-1]}" ID="_list" validUntil="{at(50)}">{inside}</md:EntitiesDescriptor>'


def signed_metadata(xml=None, **how):
    return etree.tostring(sign(tree(xml or metadata_xml()), Signing(**how)))


def test_everything_that_is_needed():
    found = parse(metadata_xml(valid_until=at(86400), cache="PT6H", role_attributes=' WantAuthnRequestsSigned="true"'))
    assert found.entity_id == IDP
    assert found.sso_redirect_url == "https://idp.example.com/sso"
    assert (found.slo_url, found.slo_response_url, found.slo_binding) == (
        "https://idp.example.com/slo",
        "https://idp.example.com/slo",
        REDIRECT,
    )
    assert found.signing_certificates == (pair().certificate,)
    assert found.want_authn_requests_signed
    assert found.valid_until == NOW + timedelta(days=1)
    assert found.cache_duration == timedelta(hours=6)


def test_the_least():
    found = parse(metadata_xml(slo=""))
    assert (found.slo_url, found.slo_response_url, found.slo_binding) == ("", "", "")
    assert (found.valid_until, found.cache_duration, found.want_authn_requests_signed) == (None, None, False)


def test_keys_for_signing_or_for_no_stated_use_side_by_side_never_for_encryption_alone():
    keys = (
        ("signing", pair().bare),
        ("", pair("next").bare),
        ("encryption", pair("enc").bare),
        ("signing", pair().bare),
    )
    assert parse(metadata_xml(keys=keys)).signing_certificates == (pair().certificate, pair("next").certificate)
    assert refused(metadata_xml(keys=keys[2:3])) == "certificate_missing"


def test_expired_and_small_keys_are_dropped():
    expired = pair("expired", end=NOW - timedelta(seconds=1))
    small = pair("small", bits=1024)
    keys = (("signing", expired.bare), ("signing", small.bare), ("signing", pair().bare))
    assert parse(metadata_xml(keys=keys)).signing_certificates == (pair().certificate,)
    assert refused(metadata_xml(keys=keys[:1])) == "certificate_expired"
    assert refused(metadata_xml(keys=keys[1:2])) == "key_too_small"
    assert refused(metadata_xml(keys=(("signing", "AAAA"),))) == "certificate_invalid"
    assert refused(metadata_xml(keys=(("signing", "%%"),))) == "certificate_invalid"


def test_certificates_with_line_breaks():
    wrapped = "\n  ".join(pair().bare[start : start + 64] for start in range(0, len(pair().bare), 64))
    assert parse(metadata_xml(keys=(("signing", wrapped),))).signing_certificates == (pair().certificate,)


def test_redirect_is_preferred_and_post_known():
    post = f'<md:SingleLogoutService Binding="{POST}" Location="https://idp.example.com/slo-post"/>'
    redirect = f'<md:SingleLogoutService Binding="{REDIRECT}" Location="https://idp.example.com/slo" ResponseLocation="https://idp.example.com/done"/>'
    assert parse(metadata_xml(slo=post)).slo_binding == POST
    found = parse(metadata_xml(slo=post + redirect))
    assert (found.slo_binding, found.slo_response_url) == (REDIRECT, "https://idp.example.com/done")


@pytest.mark.parametrize(
    "location",
    [
        "http://idp.example.com/sso",
        "javascript:alert(1)",
        "//idp.example.com",
        "",
        "https://u:p@idp.example.com/",
        "ftp://x/",
    ],
)
def test_where_a_browser_may_not_be_sent(location):
    sso = f'<md:SingleSignOnService Binding="{REDIRECT}" Location="{location}"/>'
    assert refused(metadata_xml(sso=sso)) == "url_not_allowed"
    slo = f'<md:SingleLogoutService Binding="{REDIRECT}" Location="{location}"/>'
    assert refused(metadata_xml(slo=slo)) == "url_not_allowed"


def test_plain_http_on_loopback_for_the_demo():
    sso = f'<md:SingleSignOnService Binding="{REDIRECT}" Location="http://localhost:8001/sso"/>'
    assert parse(metadata_xml(sso=sso)).sso_redirect_url == "http://localhost:8001/sso"


def test_sign_on_by_redirect_must_be_there():
    sso = f'<md:SingleSignOnService Binding="{POST}" Location="https://idp.example.com/sso"/>'
    assert refused(metadata_xml(sso=sso)) == "sso_missing"


@pytest.mark.parametrize("until", [at(0), at(-1), "2020-01-01T00:00:00Z"])
def test_valid_until(until):
    assert refused(metadata_xml(valid_until=until)) == "expired"
    assert refused(metadata_xml(role_attributes=f' validUntil="{until}"')) == "expired"


def test_valid_until_is_the_earliest_of_all_levels():
    xml = several(metadata_xml(valid_until=at(100), role_attributes=f' validUntil="{at(70)}"'))
    assert parse(xml).valid_until == NOW + timedelta(seconds=50)


def test_malformed_times():
    assert refused(metadata_xml(valid_until="soon")) == "time_malformed"
    for text in ("", "P", "PT", "6H", "P1DT", "-PT1H", "PT1H2"):
        assert refused(metadata_xml(cache=text)) == "duration_malformed"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("P1D", timedelta(days=1)),
        ("P1Y2M", timedelta(days=425)),
        ("PT1H30M5.5S", timedelta(hours=1, minutes=30, seconds=5)),
        ("PT604800S", timedelta(days=7)),
    ],
)
def test_cache_durations(text, expected):
    assert parse(metadata_xml(cache=text)).cache_duration == expected


def test_a_list_holding_one_identity_provider():
    other = f'<md:EntityDescriptor xmlns:md="{MD[1:-1]}" entityID="https://sp.example.com"><md:SPSSODescriptor protocolSupportEnumeration="x"/></md:EntityDescriptor>'
    assert parse(several(other, metadata_xml())).entity_id == IDP
    assert refused(several(other)) == "no_identity_provider"
    second = metadata_xml(entity_id="https://second.example.com").replace("_metadata-1", "_metadata-2")
    assert refused(several(metadata_xml(), second)) == "several_identity_providers"


def test_roles():
    xml = metadata_xml()
    start, end = xml.index("<md:IDPSSODescriptor"), xml.index("</md:EntityDescriptor>")
    assert refused(xml[:end] + xml[start:end] + xml[end:]) == "several_roles"
    assert (
        refused(xml.replace('"urn:oasis:names:tc:SAML:2.0:protocol"', '"urn:oasis:names:tc:SAML:1.1:protocol"'))
        == "no_identity_provider"
    )
    assert refused(metadata_xml(entity_id="")) == "entity_id_missing"


def test_not_metadata():
    assert refused(b"<a/>") == "root_wrong"
    assert refused(b"") == "xml_invalid"
    assert refused(b"x" * (MAX_BYTES + 1)) == "too_large"
    assert refused('<!DOCTYPE a [<!ENTITY x "y">]>' + metadata_xml()) == "dtd_forbidden"
    assert refused(metadata_xml().encode("utf-16")) == "encoding_forbidden"


def test_people_write_comments_into_metadata():
    assert parse("<?note?>" + metadata_xml(extra="<!-- changed on Monday -->")).entity_id == IDP


def test_a_pinned_certificate_and_the_right_signature():
    assert parse(signed_metadata(), pair().certificate).entity_id == IDP
    bare = pair().bare
    assert parse(signed_metadata(), bare).entity_id == IDP
    assert parse(signed_metadata(several(metadata_xml())), pair().certificate).entity_id == IDP


def test_a_pinned_certificate_and_no_right_signature():
    pinned = pair().certificate
    assert refused(metadata_xml(), pinned) == "signature_missing"
    assert refused(signed_metadata(by=pair("stranger")), pinned) == "certificate_foreign"
    assert refused(signed_metadata(by=pair("stranger"), shown=None), pinned) == "signature_invalid"
    changed = signed_metadata().replace(b"https://idp.example.com/sso", b"https://evil.example.com/sso")
    assert refused(changed, pinned) == "signature_invalid"
    assert refused(signed_metadata(), "nonsense") == "certificate_invalid"
    expired = pair("expired", end=NOW - timedelta(seconds=1))
    assert refused(signed_metadata(by=expired), expired.certificate) == "certificate_expired"


def test_a_signed_entity_in_a_forged_list():
    inner = sign(tree(metadata_xml()))
    assert refused(several(etree.tostring(inner).decode()), pair().certificate) == "signature_missing"


def test_wrapping_of_signed_metadata():
    pinned = pair().certificate
    # The signature moved to a forged root of another ID, the original inside its Object.
    original = tree(signed_metadata())
    forged = tree(metadata_xml(entity_id="https://evil.example.com").replace("_metadata-1", "_evil"))
    signature = original.find(DS + "Signature")
    forged.insert(0, signature)
    assert refused(etree.tostring(forged), pinned) == "reference_uri"
    forged.set("ID", "_metadata-1")
    etree.SubElement(signature, DS + "Object").append(original)
    assert refused(etree.tostring(forged), pinned) == "object_forbidden"
    # The original elsewhere, under the same ID.
    signature.remove(signature.find(DS + "Object"))
    etree.SubElement(forged, MD + "Extensions").append(original)
    assert refused(etree.tostring(forged), pinned) == "duplicate_id"
    forged.append(tree(etree.tostring(signature)))
    assert refused(etree.tostring(forged), pinned) == "signature_doubled"


def test_weak_signatures_on_metadata():
    from xmlsec import constants

    assert refused(signed_metadata(method=constants.TransformRsaSha1), pair().certificate) == "algorithm_forbidden"


def test_without_a_pinned_certificate_the_signature_says_nothing():
    assert parse(signed_metadata(by=pair("stranger"))).entity_id == IDP


def test_what_it_says_is_what_signs_people_in():
    idp = parse(metadata_xml())
    assert kit.reason(kit.signed(), idp=idp) == "accepted"


# --- Rolling a key in metadata that somebody has pasted ------------------------------------------------


def test_one_more_certificate_stands_beside_those_that_are_there():
    xml = metadata_xml(keys=(("signing", pair().bare), ("encryption", pair("crypt").bare)))
    both = with_certificate(xml, pair("next").certificate)
    assert parse(both).signing_certificates == (pair().certificate, pair("next").certificate)
    assert replace(parse(both), signing_certificates=()) == replace(parse(xml), signing_certificates=())
    assert with_certificate(both, pair("next").bare) == both


def test_the_old_one_is_dropped_and_the_last_one_is_not():
    both = with_certificate(metadata_xml(), pair("next").certificate)
    after = without_certificate(both, pair().certificate)
    assert parse(after).signing_certificates == (pair("next").certificate,)
    with pytest.raises(MetadataInvalid) as caught:
        without_certificate(after, pair("next").certificate)
    assert caught.value.reason == "certificate_missing"


def test_a_key_that_is_for_both_uses_stays_for_encryption():
    xml = metadata_xml(keys=(("", pair().bare), ("signing", pair("next").bare)))
    after = tree(without_certificate(xml, pair().certificate))
    assert [node.get("use") for node in after.iter(MD + "KeyDescriptor")] == ["encryption", "signing"]


def test_a_signature_does_not_outlast_a_change_and_so_a_pin_refuses_it():
    xml = signed_metadata().decode()
    both = with_certificate(xml, pair("next").certificate)
    assert "SignatureValue" not in both
    assert refused(both, pinned=pair().certificate) == "signature_missing"


@pytest.mark.parametrize(
    ("xml", "reason"),
    [("<no", "xml_invalid"), ("<a/>", "no_identity_provider"), ("<!DOCTYPE a><a/>", "dtd_forbidden"), (several(metadata_xml(), metadata_xml(entity_id="urn:b")), "several_roles")],
)  # fmt: skip
def test_what_is_no_metadata_of_one_provider_is_not_changed(xml, reason):
    with pytest.raises(MetadataInvalid) as caught:
        with_certificate(xml, pair().certificate)
    assert caught.value.reason == reason
