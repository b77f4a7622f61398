"""Documents of at most 256 KB that are made to cost as much as possible. None may be accepted; none may be dear."""

from __future__ import annotations

from lxml import etree

from tests.saml_kit import DS, SAML, Draft, Signing, at, pair, signed, tree

LIMIT = 256 * 1024

XSLT = (
    '<ds:Transform xmlns:ds="http://www.w3.org/2000/09/xmldsig#" Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116">'
    '<xsl:stylesheet xmlns:xsl="http://www.w3.org/1999/XSL/Transform" version="1.0"><xsl:template match="/">'
    '<xsl:for-each select="//. | //@*"><xsl:for-each select="//. | //@*"><xsl:for-each select="//. | //@*">'
    '<xsl:value-of select="count(//@*)"/></xsl:for-each></xsl:for-each></xsl:for-each>'
    "</xsl:template></xsl:stylesheet></ds:Transform>"
)
XPATH = (
    '<ds:Transform xmlns:ds="http://www.w3.org/2000/09/xmldsig#" Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116">'
    "<ds:XPath>count(//. | //@* | //namespace::*[count(//. | //@*) > 0]) &gt; 0</ds:XPath></ds:Transform>"
)


def with_transform(transform: str) -> etree._Element:
    """A signed response with one more transform, put before the others: a verifier would run it before any check."""
    root = signed()
    transforms = root.find(f".//{DS}Transforms")
    assert transforms is not None
    transforms.insert(0, tree(transform))
    return root


def _fill(start: bytes, unit: bytes, end: bytes) -> bytes:
    """`start`, as many `unit` as the size cap lets in, `end`."""
    return start + unit * ((LIMIT - len(start) - len(end)) // len(unit)) + end


def full_response(groups: int, width: int, *, bits: str = "", by: str = "forger") -> etree._Element:
    """A response of a right shape and full size, signed with a key that is not the provider's."""
    attributes = {"memberOf": [f"{number:0{width}}{bits}" for number in range(groups)]}
    return signed(Draft(attributes=attributes), "both", Signing(by=pair(by), shown=None))


def corpus() -> dict[str, bytes]:
    """Name -> document; all at most 256 KB, but for the one that is there to be larger."""
    start = b'<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"'
    documents: dict[str, bytes] = {
        "over the cap": b"<a>" + b"x" * LIMIT + b"</a>",
        "deep nesting": b"<a>" * (LIMIT // 7) + b"</a>" * (LIMIT // 7),
        "nesting under libxml2's limit": start + b">" + b"<b>" * 200 + b"</b>" * 200 + b"</samlp:Response>",
        "many elements": _fill(start + b">", b"<a/>", b"</samlp:Response>"),
        "many elements, under the count": start + b">" + b"<saml:Attribute/>" * 15_000 + b"</samlp:Response>",
        "many attributes": start + b"".join(b' a%d=""' % number for number in range(24_000)) + b"/>",
        "attributes just under the count": start
        + b">"
        + (b"<saml:Issuer" + b"".join(b' a%d=""' % number for number in range(140)) + b"/>") * 230
        + b"</samlp:Response>",
        "attributes in a deep tree": start
        + b">"
        + b'<saml:Issuer a="1" b="2" c="3" d="4"/>' * 6_000
        + b"</samlp:Response>",
        "many namespaces": start + b"".join(b' xmlns:n%d="u"' % number for number in range(14_000)) + b"/>",
        "namespaces everywhere": start
        + b">"
        + b"".join(b'<saml:Issuer xmlns:n%d="u%d"/>' % (number, number) for number in range(7_000))
        + b"</samlp:Response>",
        "nested namespaces": start
        + b">"
        + b"".join(b'<a xmlns:n%d="u">' % number for number in range(200))
        + b"</a>" * 200
        + b"</samlp:Response>",
        "one long name": start + b">" + b"<" + b"a" * (LIMIT - 400) + b"/></samlp:Response>",
        "one long attribute": start + b' ID="' + b"a" * (LIMIT - 400) + b'"/>',
        "one long text": start + b">" + b"x" * (LIMIT - 400) + b"</samlp:Response>",
        "character references": _fill(start + b">", b"&#x41;", b"</samlp:Response>"),
        "whitespace": _fill(start + b">", b"\n", b"</samlp:Response>"),
        "billion laughs": b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
        + b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10 if n else b"&a;" * 10) for n in range(10))
        + b"]><a>&a9;</a>",
        "quadratic entity": b'<!DOCTYPE a [<!ENTITY a "' + b"x" * 100_000 + b'">]><a>' + b"&a;" * 30_000 + b"</a>",
        "comments": _fill(start + b">", b"<!---->", b"</samlp:Response>"),
        "XSLT transform": etree.tostring(with_transform(XSLT)),
        "XPath transform": etree.tostring(with_transform(XPATH)),
    }
    # Of a right shape: these reach both verifiers with a signature that is wrong.
    documents["forged, many groups"] = etree.tostring(full_response(1_300, 8))
    documents["forged, long groups"] = etree.tostring(full_response(230, 900))
    unknown = signed(Draft(attributes={"memberOf": [f"g{number}" for number in range(1_300)]}), "both")
    unknown.find(f".//{SAML}NameID").text = "carol"
    documents["changed after signing"] = etree.tostring(unknown)
    prefixes = signed()
    for transform in list(prefixes.iter(DS + "Transform"))[1:2]:
        inclusive = etree.SubElement(transform, "{http://www.w3.org/2001/10/xml-exc-c14n#}InclusiveNamespaces")
        inclusive.set("PrefixList", " ".join(f"n{number}" for number in range(30_000)))
    documents["long PrefixList"] = etree.tostring(prefixes)
    big_exponent = signed()
    value = big_exponent.find(f".//{DS}SignatureValue")
    value.text = "A" * 180_000
    documents["long SignatureValue"] = etree.tostring(big_exponent)
    certificate = big_exponent.find(f".//{DS}X509Certificate")
    value.text, certificate.text = "AAAA", "A" * 180_000
    documents["long certificate"] = etree.tostring(big_exponent)
    # Rightly signed by the provider itself, but full: the dearest that passes every signature check.
    honest = sign_full()
    documents["rightly signed, full, expired"] = etree.tostring(honest)
    return documents


def sign_full() -> etree._Element:
    attributes = {"memberOf": [f"group-{number:04}" for number in range(1_300)]}
    draft = Draft(attributes=attributes, not_on_or_after=at(-120), confirmation_until=at(-120))
    return signed(draft, "both")
