"""Hostile bytes: refused before a verifier, a schema or an entity resolver sees them."""

from __future__ import annotations

import base64

import pytest
from lxml import etree

from federation.errors import SamlRefused
from federation.signin import saml, shape
from tests import saml_kit as kit
from tests.saml_kit import SAML, Draft, assertion_of, reason, signed


def _text() -> str:
    return etree.tostring(signed()).decode()


def _posted(text: str) -> str:
    with pytest.raises(SamlRefused) as caught:
        saml.verify_response(
            kit.service_provider(), kit.idp_metadata(), kit.provider(), text, is_outstanding=lambda _: True, now=kit.NOW
        )
    return caught.value.reason


def test_the_document_is_right_to_begin_with():
    assert reason(_text()) == "accepted"


@pytest.mark.parametrize("text", ["%%%", "PGE", "PGE-_w==", "\u00e9", "PGE+\x00"])
def test_not_base64(text):
    assert _posted(text) == "not_base64"


@pytest.mark.parametrize("text", ["", "PGE+"])
def test_base64_of_no_document(text):
    assert _posted(text) == "xml_invalid"


def test_too_large_before_and_after_base64():
    body = _text().replace("Alice Ng", "Alice Ng" + "x" * shape.MAX_BYTES)
    assert reason(body) == "too_large"
    assert _posted("A" * (2 * shape.MAX_BYTES)) == "too_large"


@pytest.mark.parametrize(
    "prolog",
    [
        "<!DOCTYPE samlp:Response>",
        '<!DOCTYPE r [<!ENTITY x "carol">]>',
        '<!DOCTYPE r SYSTEM "http://127.0.0.1:9/evil.dtd">',
        '<!DOCTYPE r [<!ENTITY % p SYSTEM "http://127.0.0.1:9/p"> %p;]>',
        "<!DOCTYPE r [<!ATTLIST saml:Assertion ID ID #IMPLIED>]>",
    ],
)
def test_any_dtd(prolog):
    assert reason(prolog + _text()) == "dtd_forbidden"
    assert reason('<?xml version="1.0"?>' + prolog + _text()) == "dtd_forbidden"


def test_external_entity(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("root:x:0:0")
    body = _text().replace(">alice<", ">&x;<")
    assert reason(f'<!DOCTYPE r [<!ENTITY x SYSTEM "file://{secret}">]>' + body) == "dtd_forbidden"
    # Without the DTD there is no such entity.
    assert reason(body) == "xml_invalid"


def test_billion_laughs_also_in_an_attribute():
    laughs = '<!DOCTYPE r [<!ENTITY a "ha">' + "".join(
        f'<!ENTITY a{n} "{f"&a{n - 1};" * 10 if n else "&a;"}">' for n in range(10)
    )
    assert reason(laughs + "]>" + _text().replace(">alice<", ">&a9;<")) == "dtd_forbidden"
    assert reason(laughs + "]>" + _text().replace('ID="_response-1"', 'ID="&a9;"')) == "dtd_forbidden"


def test_deep_nesting():
    assert reason("<a>" * 5_000 + "</a>" * 5_000) == "too_deep"
    nested = _text().replace(">alice<", ">" + "<b>" * 100 + "alice" + "</b>" * 100 + "<")
    assert reason(nested) == "value_not_text"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_other_encodings(encoding):
    """A DOCTYPE in UTF-16 would not be found by a search for its bytes."""
    for prolog in ("", '<?xml version="1.0" encoding="UTF-16"?>', "<!DOCTYPE r>"):
        assert reason((prolog + _text()).encode(encoding)) == "encoding_forbidden"


@pytest.mark.parametrize("encoding", ["UTF-16", "ISO-8859-1", "US-ASCII", "UTF-7", "EBCDIC-CP-US"])
def test_other_encodings_declared(encoding):
    assert reason(f'<?xml version="1.0" encoding="{encoding}"?>' + _text()) == "encoding_forbidden"


def test_odd_declarations_and_bytes():
    assert reason('<?xml version="1.1"?>' + _text()) == "encoding_forbidden"
    assert reason('<?xml version="1.0" evil="x"?>' + _text()) == "encoding_forbidden"
    assert reason(_text().replace("Alice Ng", "Al\u00efce").encode("latin-1")) == "encoding_forbidden"
    assert reason(_text().replace("Alice Ng", "Al\x00ce")) == "encoding_forbidden"


@pytest.mark.parametrize("where", [">alice<", ">engineering<", ">alice@example.com<"])
@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        ("<!-- -->", "comment_forbidden"),
        ("<?cut?>", "pi_forbidden"),
        ("<![CDATA[]]>", "cdata_forbidden"),
        ("<b/>", "value_not_text"),
    ],
)
def test_something_that_cuts_a_value_in_two(where, cut, expected):
    """Signed as a whole by the provider: exclusive C14N leaves comments out, so the signature stays right."""
    value = where[1:-1]
    cut_value = value[:3] + cut + value[3:]
    draft = Draft(
        name_id=cut_value if value == "alice" else "alice",
        attributes={
            "memberOf": [cut_value if value == "engineering" else "x"],
            "mail": [cut_value if "@" in value else "y"],
        },
    )
    assert reason(signed(draft)) == expected


def test_a_comment_put_in_after_signing():
    assert reason(_text().replace(">alice<", ">alice<!-- -->.evil<")) == "comment_forbidden"


def test_not_well_formed():
    assert reason(_text()[:-20]) == "xml_invalid"
    assert reason(_text() + "<a/>") == "xml_invalid"


def test_too_much_of_anything():
    assert reason("<a/>" * 20_000) == "too_many_elements"
    many = "".join(f' xmlns:n{number}="u"' for number in range(40))
    assert reason(_text().replace("<samlp:Status>", f"<samlp:Status{many}>")) == "too_many_namespaces"
    attributes = "".join(f' attribute-number-{number}=""' for number in range(70))
    assert reason(_text().replace("<samlp:Status>", f"<samlp:Status{attributes}>")) == "too_many_attributes"
    assert reason(signed(Draft(attributes={f"a{n}": [] for n in range(2_501)}))) == "too_many_groups"


def test_unknown_attributes_and_elements():
    root = signed()
    root.set("{http://www.w3.org/2001/XMLSchema-instance}schemaLocation", "urn:x http://127.0.0.1:9/x.xsd")
    assert reason(root) == "attribute_forbidden"
    root = signed()
    etree.SubElement(assertion_of(root), "{urn:evil}Anything")
    assert reason(root) == "element_forbidden"
    root = signed()
    assertion_of(root).find(SAML + "Conditions").text = "words"
    assert reason(root) == "text_misplaced"
    root = signed()
    assertion_of(root).find(SAML + "Conditions").tail = "words"
    assert reason(root) == "text_misplaced"
    root = signed()
    etree.SubElement(
        assertion_of(root).find(f"{SAML}Subject/{SAML}SubjectConfirmation/{SAML}SubjectConfirmationData"), "x"
    )
    assert reason(root) == "element_forbidden"


@pytest.mark.parametrize(
    ("path", "expected"),
    [("Subject", "element_missing"), ("Conditions", "element_missing"), ("AuthnStatement", "element_missing")],
)
def test_what_must_be_there(path, expected):
    root = signed()
    assertion_of(root).remove(assertion_of(root).find(SAML + path))
    assert reason(root) == expected


@pytest.mark.parametrize("path", ["Subject", "Conditions", "AuthnStatement", "Issuer"])
def test_what_may_be_there_once(path):
    root = signed()
    element = assertion_of(root).find(SAML + path)
    element.addnext(etree.fromstring(etree.tostring(element, with_tail=False)))
    assert reason(root) == "element_repeated"


def test_version_and_id():
    root = signed()
    root.set("Version", "1.1")
    assert reason(root) == "version_wrong"
    root = signed()
    del root.attrib["ID"]
    assert reason(root) == "id_missing"
    root = signed()
    del assertion_of(root).attrib["ID"]
    assert reason(root) == "id_missing"
    assert reason(kit.sign(kit.tree(Draft().xml().replace(' ID="_assertion-1"', "")))) == "id_missing"


def test_encrypted_ids_and_attributes_are_not_supported():
    body = _text().replace("<saml:NameID", "<saml:EncryptedID/><saml:NameID", 1)
    assert reason(body) == "encrypted_id_forbidden"
    assert reason(signed(Draft(in_statement="<saml:EncryptedAttribute/>"))) == "encrypted_id_forbidden"


def test_no_assertion():
    root = signed()
    root.remove(assertion_of(root))
    assert reason(root) == "assertion_count"


def test_base64_is_read_strictly():
    assert shape.from_base64(base64.b64encode(b"abc").decode() + "\r\n") == b"abc"
    with pytest.raises(SamlRefused, match="not_base64"):
        shape.from_base64("YW!Jj")
