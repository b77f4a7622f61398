"""Hardened parsing, and an allow-list of what a SAML message may look like. Runs before any verifier sees it.

A verifier says "this signature is right"; it does not say over what. Signature wrapping (XSW), shadow IDs, extra
references and transforms that burn CPU all live in the room between the two. So only documents of the plainest shape
go on: one assertion, every signature a child of what it signs, one reference to its parent's ID, the two usual
transforms, and no element or attribute that is not listed here. Sources: SAML core (grammar), XML Signature
4.4 to 4.5, SAML core 5.4 (signature profile), XML Encryption 3.
"""

from __future__ import annotations

import binascii
import re
import threading

from lxml import etree

from federation.signin import grammar
from federation.signin.grammar import SAML, SAMLP, SUCCESS, Element, Rule
from federation.signin.reasons import Reason, refused

MAX_BYTES = 256 * 1024
MAX_MARKUP = 16_000  # of "<": 2,000 groups need some 8,000
MAX_ATTRIBUTES = 64  # at one element, looked at where its tag is longer than MAX_PLAIN_TAG bytes
MAX_PLAIN_TAG = 1_024
MAX_NAMESPACES = 32  # different prefixes in the whole document, and so in scope at any one element

_NCNAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,255}\Z")
_PREFIX = re.compile(rb"xmlns:?([^\s=]*)")
_ATTRIBUTE = re.compile(rb"=\s*[\"']")
_DECLARATION = re.compile(
    rb"<\?xml\s+version\s*=\s*[\"']1\.0[\"'](?:\s+encoding\s*=\s*[\"']([A-Za-z0-9._\-]+)[\"'])?"
    rb"(?:\s+standalone\s*=\s*[\"'](?:yes|no)[\"'])?\s*\?>"
)

_local = threading.local()


def parser() -> etree.XMLParser:
    """A hardened parser, one a thread: no DTD, no entity is replaced, no network, libxml2's own limits kept.

    Comments and processing instructions are dropped, where the caller has let them through at all.
    """
    found: etree.XMLParser | None = getattr(_local, "parser", None)
    if found is None:
        found = _local.parser = etree.XMLParser(
            resolve_entities=False,
            load_dtd=False,
            dtd_validation=False,
            attribute_defaults=False,
            no_network=True,
            huge_tree=False,
            recover=False,
            remove_comments=True,
            remove_pis=True,
            collect_ids=False,
        )
    return found


def from_base64(text: str) -> bytes:
    """Base64 as forms and queries carry it: line breaks are common, anything else outside the alphabet is refused.

    Raises SamlRefused: too_large, not_base64.
    """
    if len(text) > MAX_BYTES * 3 // 2:
        raise refused(Reason.TOO_LARGE, f"{len(text)} characters")
    try:
        return binascii.a2b_base64(
            "".join(text.split()) if any(c in text for c in " \r\n\t") else text, strict_mode=True
        )
    except ValueError:
        raise refused(Reason.NOT_BASE64) from None


def parse(document: bytes, *, max_bytes: int = MAX_BYTES, lenient: bool = False) -> Element:
    """The root element of `document`, parsed without side effects; nothing about its content is checked yet.

    `lenient` lets comments, processing instructions, CDATA and many elements through: for metadata, which people
    write by hand. Raises SamlRefused: too_large, encoding_forbidden, dtd_forbidden, comment_forbidden, pi_forbidden,
    cdata_forbidden, too_many_elements, too_many_namespaces, too_many_attributes, too_deep (libxml2's limit; the grammar's is far below),
    xml_invalid.
    """
    if len(document) > max_bytes:
        raise refused(Reason.TOO_LARGE, f"{len(document)} bytes")
    body = _utf8_body(document)
    # Looked for in the bytes: libxml2 replaces entities in attribute values while it parses, whatever its options say.
    # In well-formed UTF-8, "<!" can be nothing but markup.
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise refused(Reason.DTD_FORBIDDEN)
    if not lenient:
        if b"<!--" in body:
            raise refused(Reason.COMMENT_FORBIDDEN)
        if b"<![CDATA[" in body:
            raise refused(Reason.CDATA_FORBIDDEN)
        if b"<?" in body:
            raise refused(Reason.PI_FORBIDDEN)
        if body.count(b"<") > MAX_MARKUP:
            raise refused(Reason.TOO_MANY_ELEMENTS)
        # Canonicalization costs elements times namespaces in scope: quadratic in a document made for it.
        if len(set(_PREFIX.findall(body))) > MAX_NAMESPACES:
            raise refused(Reason.TOO_MANY_NAMESPACES)
    # "<" cannot stand in an attribute's value, so what follows one holds all attributes of that element.
    for piece in body.split(b"<"):
        if len(piece) > MAX_PLAIN_TAG and len(_ATTRIBUTE.findall(piece)) > MAX_ATTRIBUTES:
            raise refused(Reason.TOO_MANY_ATTRIBUTES)
    try:
        root = etree.fromstring(body, parser())
    except etree.XMLSyntaxError as error:
        message = str(error)
        raise refused(Reason.TOO_DEEP if "depth" in message else Reason.XML_INVALID, message) from None
    if root.getroottree().docinfo.internalDTD is not None:  # pragma: no cover - the search above has found it
        raise refused(Reason.DTD_FORBIDDEN)
    return root


def _utf8_body(document: bytes) -> bytes:
    """`document` without byte order mark and XML declaration, proven to be UTF-8 in XML 1.0.

    UTF-16, UTF-7 and friends would hide "<!DOCTYPE" from the search for it.
    """
    body = document.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    declaration = _DECLARATION.match(body)
    if declaration is not None:
        encoding = declaration[1]
        body = body[declaration.end() :]
        if encoding is not None and encoding.upper() not in (b"UTF-8", b"UTF8"):
            raise refused(Reason.ENCODING_FORBIDDEN, repr(encoding))
    elif body.startswith(b"<?xml") and body[5:6].isspace():
        raise refused(Reason.ENCODING_FORBIDDEN, "XML declaration")
    if b"\x00" in body:
        raise refused(Reason.ENCODING_FORBIDDEN, "NUL: UTF-16 or UTF-32")
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        raise refused(Reason.ENCODING_FORBIDDEN, "not UTF-8") from None
    return body


def check_shape(root: Element, expected: str) -> None:
    """Refuse everything in the message `root` that the grammar above does not name.

    `expected`: the tag that the root must have, in Clark notation. A Response must hold exactly one assertion, unless
    its status is an error. Raises SamlRefused with one of the reasons under "Shape" or status_not_success.
    """
    if root.tag != expected:
        raise refused(Reason.ROOT_WRONG, str(root.tag))
    _walk(root, grammar.ROOTS[expected], set())
    for message in (root, *root.findall(SAML + "Assertion")):
        if message.get("Version") != "2.0":
            raise refused(Reason.VERSION_WRONG, message.get("Version", "none"))
        if not message.get("ID"):
            # Without an id there is nothing to use once only, and nothing that a signature could name.
            raise refused(Reason.ID_MISSING, str(message.tag))
    if expected == SAMLP + "Response":
        assertions = root.findall(SAML + "Assertion") + root.findall(SAML + "EncryptedAssertion")
        if not assertions:
            check_status(root)
        if len(assertions) != 1:
            raise refused(Reason.ASSERTION_COUNT, str(len(assertions)))


def check_status(root: Element) -> None:
    """Raise SamlRefused(status_not_success), with the provider's codes in its detail, unless the status is Success."""
    codes = [code.get("Value", "none") for code in root.iter(SAMLP + "StatusCode")]
    if codes[:1] != [SUCCESS]:
        raise refused(Reason.STATUS_NOT_SUCCESS, " ".join(code.rsplit(":", 1)[-1] for code in codes))


def check_signature(signature: Element) -> None:
    """Check the shape of one Signature alone: for documents, such as metadata, that have no grammar here."""
    _walk(signature, grammar.SIGNATURE, set())


def check_unique_ids(root: Element) -> None:
    """Refuse a document in which two elements carry the same ID of any kind (for documents that have no grammar here)."""
    seen: set[str] = set()
    for element in root.iter(etree.Element):
        for name, value in element.items():
            if str(name).rpartition("}")[2].lower() == "id":
                _collect_id(str(value), seen)


def _collect_id(value: str, ids: set[str]) -> None:
    if value in ids:
        raise refused(Reason.DUPLICATE_ID, value)
    if not _NCNAME.match(value):
        raise refused(Reason.ID_INVALID, value)
    ids.add(value)


def _walk(element: Element, rule: Rule, ids: set[str]) -> None:
    """Hold `element` and everything below it against `rule`; `ids` collects every kind of ID in the document.

    Goes no deeper than the grammar does, eleven levels, whatever the document.
    """
    for name, value in element.items():
        allowed = name in rule.attributes
        if allowed and name not in ("ID", "Id"):
            continue
        # A shadow: the same value as ID, Id, id or xml:id elsewhere makes two verifiers look at two elements.
        if str(name).rpartition("}")[2].lower() == "id":
            _collect_id(str(value), ids)
        if not allowed:
            raise refused(Reason.ATTRIBUTE_FORBIDDEN, f"{name!s} of {element.tag}")
    if rule.check is not None:
        rule.check(element)
    if not rule.text and (text := element.text) and not text.isspace():
        raise refused(Reason.TEXT_MISPLACED, str(element.tag))
    if not rule.children:
        for child in element:
            raise refused(grammar.FORBIDDEN.get(str(child.tag), _inside(rule)), f"{child.tag} in {element.tag}")
        return
    counts: dict[str, int] = {}
    for child in element:
        tag = str(child.tag)
        entry = rule.children.get(tag)
        if entry is None:
            raise refused(grammar.FORBIDDEN.get(tag, Reason.ELEMENT_FORBIDDEN), f"{tag} in {element.tag}")
        count = counts[tag] = counts.get(tag, 0) + 1
        if count > entry[2]:
            raise refused(grammar.REPEATED.get(tag, Reason.ELEMENT_REPEATED), tag)
        if (tail := child.tail) and not tail.isspace():
            raise refused(Reason.TEXT_MISPLACED, f"after {tag}")
        _walk(child, entry[0], ids)
    for tag, (_, least, _most) in rule.children.items():
        if counts.get(tag, 0) < least:
            raise refused(Reason.ELEMENT_MISSING, f"{tag} in {element.tag}")


def _inside(rule: Rule) -> Reason:
    """Why an element may not be inside a leaf: in a value, it could cut the text in two."""
    return Reason.VALUE_NOT_TEXT if rule.text else Reason.ELEMENT_FORBIDDEN
