"""The grammar: every element and attribute that a SAML message may hold here, and how often. Data, but for four checks.

Sources: SAML core 2 and 3, its signature profile (core 5.4), XML Signature 4.4 and 4.5, XML Encryption 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from lxml import etree

from federation.signin.reasons import Reason, refused

Element: TypeAlias = etree._Element  # lxml has no public name for the type of an element

SAMLP = "{urn:oasis:names:tc:SAML:2.0:protocol}"
SAML = "{urn:oasis:names:tc:SAML:2.0:assertion}"
DS = "{http://www.w3.org/2000/09/xmldsig#}"
XENC = "{http://www.w3.org/2001/04/xmlenc#}"
XENC11 = "{http://www.w3.org/2009/xmlenc11#}"
EXC_C14N = "http://www.w3.org/2001/10/xml-exc-c14n#"

SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"

_MORE = "http://www.w3.org/2001/04/xmldsig-more#"
SIGNATURE_ALGORITHMS = frozenset(_MORE + f"{key}-sha{bits}" for key in ("rsa", "ecdsa") for bits in (256, 384, 512))
DIGEST_ALGORITHMS = frozenset(
    {"http://www.w3.org/2001/04/xmlenc#sha256", _MORE + "sha384", "http://www.w3.org/2001/04/xmlenc#sha512"}
)
AES_GCM = {f"http://www.w3.org/2009/xmlenc11#aes{bits}-gcm": bits // 8 for bits in (128, 192, 256)}
AES_CBC = {f"http://www.w3.org/2001/04/xmlenc#aes{bits}-cbc": bits // 8 for bits in (128, 192, 256)}
RSA_OAEP_MGF1P = "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p"
RSA_OAEP = "http://www.w3.org/2009/xmlenc11#rsa-oaep"
MAX_PREFIX_LIST = 256  # characters
# Inside OAEP, SHA-1 needs no resistance to collisions, and it is what most identity providers send.
OAEP_DIGESTS = DIGEST_ALGORITHMS | {"http://www.w3.org/2000/09/xmldsig#sha1"}


@dataclass(frozen=True, slots=True)
class Rule:
    """What one element may hold: attributes, children with (rule, least, most), text; `check` looks at it first."""

    attributes: frozenset[str] = frozenset()
    children: Mapping[str, tuple[Rule, int, int]] = field(default_factory=dict)
    text: bool = False
    check: Callable[[Element], None] | None = None


def _attributes(names: str) -> frozenset[str]:
    return frozenset(names.split())


def _one_of(allowed: frozenset[str], reason: Reason) -> Callable[[Element], None]:
    """A check that the element's Algorithm is one of `allowed`."""

    def check(element: Element) -> None:
        algorithm = element.get("Algorithm", "")
        if algorithm not in allowed:
            raise refused(reason, algorithm)

    return check


def _check_signature(signature: Element) -> None:
    """One Reference, and to the ID of the parent: the signature is about the element that it sits in, no other (XSW)."""
    parent = signature.getparent()
    parent_id = parent.get("ID", "") if parent is not None else ""
    if not parent_id:
        raise refused(Reason.ID_MISSING, "a signed element without ID")
    references = list(signature.iter(DS + "Reference"))
    if len(references) != 1:
        raise refused(Reason.REFERENCE_COUNT, str(len(references)))
    if references[0].get("URI", "") != "#" + parent_id:
        raise refused(Reason.REFERENCE_URI, references[0].get("URI", "none"))


def _check_transforms(transforms: Element) -> None:
    """Exactly enveloped-signature, then exclusive C14N (core 5.4.4). XSLT or XPath in 4 KB burns 40 s of CPU."""
    algorithms = [child.get("Algorithm", "") for child in transforms]
    if algorithms != [ENVELOPED, EXC_C14N]:
        raise refused(Reason.TRANSFORM_FORBIDDEN, " ".join(algorithms))


def _check_prefixes(inclusive: Element) -> None:
    """Canonicalization compares every namespace at every element with every prefix in this list."""
    if len(inclusive.get("PrefixList", "")) > MAX_PREFIX_LIST:
        raise refused(Reason.TOO_MANY_NAMESPACES, "PrefixList")


_LEAF = Rule(text=True)
_EMPTY = Rule()
_VALUE_ATTRIBUTES = frozenset(
    {
        "{http://www.w3.org/2001/XMLSchema-instance}type",
        "{http://www.w3.org/2001/XMLSchema-instance}nil",
        "{http://www.w3.org/XML/1998/namespace}lang",
    }
)
_NAME = Rule(_attributes("Format NameQualifier SPNameQualifier SPProvidedID"), text=True)

_C14N = Rule(
    _attributes("Algorithm"),
    {f"{{{EXC_C14N}}}InclusiveNamespaces": (Rule(_attributes("PrefixList"), check=_check_prefixes), 0, 1)},
)
_X509_DATA = Rule(
    children={
        DS + "X509Certificate": (_LEAF, 0, 5),
        DS + "X509SubjectName": (_LEAF, 0, 1),
        DS + "X509SKI": (_LEAF, 0, 1),
        DS + "X509IssuerSerial": (
            Rule(children={DS + "X509IssuerName": (_LEAF, 1, 1), DS + "X509SerialNumber": (_LEAF, 1, 1)}),
            0,
            1,
        ),
    }
)
_KEY_VALUE = Rule(
    children={
        DS + "RSAKeyValue": (Rule(children={DS + "Modulus": (_LEAF, 1, 1), DS + "Exponent": (_LEAF, 1, 1)}), 0, 1)
    }
)
_KEY_INFO = Rule(
    _attributes("Id"),
    {DS + "X509Data": (_X509_DATA, 0, 1), DS + "KeyName": (_LEAF, 0, 1), DS + "KeyValue": (_KEY_VALUE, 0, 1)},
)
_REFERENCE = Rule(
    _attributes("URI Id"),
    {
        DS + "Transforms": (Rule(children={DS + "Transform": (_C14N, 2, 2)}, check=_check_transforms), 1, 1),
        DS + "DigestMethod": (
            Rule(_attributes("Algorithm"), check=_one_of(DIGEST_ALGORITHMS, Reason.ALGORITHM_FORBIDDEN)),
            1,
            1,
        ),
        DS + "DigestValue": (_LEAF, 1, 1),
    },
)
_SIGNED_INFO = Rule(
    _attributes("Id"),
    {
        DS + "CanonicalizationMethod": (
            Rule(
                _C14N.attributes,
                _C14N.children,
                check=_one_of(frozenset({EXC_C14N}), Reason.CANONICALIZATION_FORBIDDEN),
            ),
            1,
            1,
        ),
        DS + "SignatureMethod": (
            Rule(_attributes("Algorithm"), check=_one_of(SIGNATURE_ALGORITHMS, Reason.ALGORITHM_FORBIDDEN)),
            1,
            1,
        ),
        DS + "Reference": (_REFERENCE, 1, 1),
    },
)
SIGNATURE = Rule(
    _attributes("Id"),
    {
        DS + "SignedInfo": (_SIGNED_INFO, 1, 1),
        DS + "SignatureValue": (Rule(_attributes("Id"), text=True), 1, 1),
        DS + "KeyInfo": (_KEY_INFO, 0, 1),
    },
    check=_check_signature,
)

_CIPHER = Rule(children={XENC + "CipherValue": (_LEAF, 1, 1)})
_ENCRYPTED_KEY = Rule(
    _attributes("Id Recipient"),
    {
        XENC + "EncryptionMethod": (
            Rule(
                _attributes("Algorithm"),
                {
                    DS + "DigestMethod": (
                        Rule(_attributes("Algorithm"), check=_one_of(OAEP_DIGESTS, Reason.ENCRYPTION_ALGORITHM)),
                        0,
                        1,
                    ),
                    XENC11 + "MGF": (Rule(_attributes("Algorithm")), 0, 1),
                },
                # RSA 1.5 is Bleichenbacher's oracle.
                check=_one_of(frozenset({RSA_OAEP_MGF1P, RSA_OAEP}), Reason.ENCRYPTION_ALGORITHM),
            ),
            1,
            1,
        ),
        DS + "KeyInfo": (_KEY_INFO, 0, 1),
        XENC + "CipherData": (_CIPHER, 1, 1),
        XENC + "ReferenceList": (Rule(children={XENC + "DataReference": (Rule(_attributes("URI")), 1, 1)}), 0, 1),
    },
)
_ENCRYPTED_ASSERTION = Rule(
    children={
        XENC + "EncryptedData": (
            Rule(
                _attributes("Id Type"),
                {
                    XENC + "EncryptionMethod": (
                        Rule(
                            _attributes("Algorithm"),
                            check=_one_of(frozenset(AES_GCM | AES_CBC), Reason.ENCRYPTION_ALGORITHM),
                        ),
                        1,
                        1,
                    ),
                    DS + "KeyInfo": (
                        Rule(
                            children={
                                XENC + "EncryptedKey": (_ENCRYPTED_KEY, 0, 1),
                                # Some providers point to the EncryptedKey beside; the pointer is never followed.
                                DS + "RetrievalMethod": (Rule(_attributes("URI Type")), 0, 1),
                            }
                        ),
                        0,
                        1,
                    ),
                    XENC + "CipherData": (_CIPHER, 1, 1),
                },
            ),
            1,
            1,
        ),
        XENC + "EncryptedKey": (_ENCRYPTED_KEY, 0, 1),
    }
)

_AUDIENCES = {SAML + "Audience": (_LEAF, 1, 10)}
_ASSERTION = Rule(
    _attributes("ID Version IssueInstant"),
    {
        SAML + "Issuer": (_NAME, 1, 1),
        DS + "Signature": (SIGNATURE, 0, 1),
        SAML + "Subject": (
            Rule(
                children={
                    SAML + "NameID": (_NAME, 0, 1),
                    SAML + "SubjectConfirmation": (
                        Rule(
                            _attributes("Method"),
                            {
                                SAML + "SubjectConfirmationData": (
                                    # NotBefore is forbidden by profiles 4.1.4.2.
                                    Rule(_attributes("Recipient NotOnOrAfter InResponseTo Address")),
                                    1,
                                    1,
                                )
                            },
                        ),
                        1,
                        1,
                    ),
                }
            ),
            1,
            1,
        ),
        SAML + "Conditions": (
            Rule(
                _attributes("NotBefore NotOnOrAfter"),
                {
                    SAML + "AudienceRestriction": (Rule(children=_AUDIENCES), 0, 4),
                    SAML + "OneTimeUse": (_EMPTY, 0, 1),
                    SAML + "ProxyRestriction": (
                        Rule(_attributes("Count"), {SAML + "Audience": (_LEAF, 0, 10)}),
                        0,
                        1,
                    ),
                },
            ),
            1,
            1,
        ),
        SAML + "AuthnStatement": (
            Rule(
                _attributes("AuthnInstant SessionIndex SessionNotOnOrAfter"),
                {
                    SAML + "SubjectLocality": (Rule(_attributes("Address DNSName")), 0, 1),
                    SAML + "AuthnContext": (
                        Rule(
                            children={
                                SAML + "AuthnContextClassRef": (_LEAF, 0, 1),
                                SAML + "AuthnContextDeclRef": (_LEAF, 0, 1),
                                SAML + "AuthenticatingAuthority": (_LEAF, 0, 10),
                            }
                        ),
                        1,
                        1,
                    ),
                },
            ),
            1,
            1,
        ),
        SAML + "AttributeStatement": (
            Rule(
                children={
                    SAML + "Attribute": (
                        Rule(
                            _attributes("Name NameFormat FriendlyName")
                            | {
                                "{urn:oasis:names:tc:SAML:2.0:profiles:attribute:X500}Encoding",
                                "{http://schemas.xmlsoap.org/ws/2009/09/identity/claims}OriginalIssuer",
                            },
                            {SAML + "AttributeValue": (Rule(_VALUE_ATTRIBUTES, text=True), 0, 5_000)},
                        ),
                        0,
                        2_500,
                    )
                }
            ),
            0,
            4,
        ),
    },
)

_INNER_STATUS_CODE = Rule(_attributes("Value"))
_STATUS = Rule(
    children={
        SAMLP + "StatusCode": (
            Rule(_attributes("Value"), {SAMLP + "StatusCode": (_INNER_STATUS_CODE, 0, 1)}),
            1,
            1,
        ),
        SAMLP + "StatusMessage": (_LEAF, 0, 1),
    }
)
_ENVELOPE = {SAML + "Issuer": (_NAME, 0, 1), DS + "Signature": (SIGNATURE, 0, 1)}
_ANSWER = _attributes("ID Version IssueInstant Destination Consent InResponseTo")

ROOTS: Mapping[str, Rule] = {
    SAMLP + "Response": Rule(
        _ANSWER,
        _ENVELOPE
        | {
            SAMLP + "Status": (_STATUS, 1, 1),
            SAML + "Assertion": (_ASSERTION, 0, 1),
            SAML + "EncryptedAssertion": (_ENCRYPTED_ASSERTION, 0, 1),
        },
    ),
    SAMLP + "LogoutRequest": Rule(
        _attributes("ID Version IssueInstant Destination Consent NotOnOrAfter Reason"),
        _ENVELOPE | {SAML + "NameID": (_NAME, 1, 1), SAMLP + "SessionIndex": (_LEAF, 0, 50)},
    ),
    SAMLP + "LogoutResponse": Rule(_ANSWER, _ENVELOPE | {SAMLP + "Status": (_STATUS, 1, 1)}),
    SAML + "Assertion": _ASSERTION,
}

# Elements that an attack brings: each is named by a reason of its own when it stands where it may not.
FORBIDDEN: Mapping[str, Reason] = {
    SAMLP + "Extensions": Reason.EXTENSIONS_FORBIDDEN,
    SAMLP + "StatusDetail": Reason.STATUS_DETAIL_FORBIDDEN,
    SAMLP + "Response": Reason.RESPONSE_MISPLACED,
    SAMLP + "LogoutRequest": Reason.RESPONSE_MISPLACED,
    SAMLP + "LogoutResponse": Reason.RESPONSE_MISPLACED,
    SAML + "Assertion": Reason.ASSERTION_MISPLACED,
    SAML + "EncryptedAssertion": Reason.ASSERTION_MISPLACED,
    SAML + "EncryptedID": Reason.ENCRYPTED_ID_FORBIDDEN,
    SAML + "EncryptedAttribute": Reason.ENCRYPTED_ID_FORBIDDEN,
    DS + "Object": Reason.OBJECT_FORBIDDEN,
    DS + "Signature": Reason.SIGNATURE_MISPLACED,
    DS + "Reference": Reason.REFERENCE_COUNT,
    DS + "HMACOutputLength": Reason.ALGORITHM_FORBIDDEN,
    DS + "RetrievalMethod": Reason.ENCRYPTION_REFERENCE,
    XENC + "CipherReference": Reason.ENCRYPTION_REFERENCE,
}
REPEATED: Mapping[str, Reason] = {
    SAML + "Assertion": Reason.ASSERTION_COUNT,
    SAML + "EncryptedAssertion": Reason.ASSERTION_COUNT,
    DS + "Signature": Reason.SIGNATURE_DOUBLED,
    DS + "Reference": Reason.REFERENCE_COUNT,
    SAML + "Attribute": Reason.TOO_MANY_GROUPS,
    SAML + "AttributeValue": Reason.TOO_MANY_GROUPS,
}
