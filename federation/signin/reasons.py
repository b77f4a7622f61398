"""Why a SAML document is refused: every reason, in one place. Audit events carry them and tests assert them.

The person sees one and the same sentence whatever the reason (no oracle for a forger).
"""

from __future__ import annotations

from enum import StrEnum

from federation.errors import SamlRefused


class Reason(StrEnum):
    """The check at which a SAML message was refused, in the order in which the checks run."""

    # Before parsing
    TOO_LARGE = "too_large"  # more than 256 KB
    NOT_BASE64 = "not_base64"  # SAMLResponse or SAMLRequest is not Base64
    INFLATE_TOO_LARGE = "inflate_too_large"  # redirect binding: inflates to more than 256 KB (inflate bomb)
    INFLATE_INVALID = "inflate_invalid"  # redirect binding: not a DEFLATE stream, or something after its end
    ENCODING_FORBIDDEN = "encoding_forbidden"  # anything but UTF-8 and XML 1.0
    DTD_FORBIDDEN = "dtd_forbidden"  # DOCTYPE or ENTITY: XXE, billion laughs
    COMMENT_FORBIDDEN = "comment_forbidden"  # a comment splits a value in two
    PI_FORBIDDEN = "pi_forbidden"  # so does a processing instruction
    CDATA_FORBIDDEN = "cdata_forbidden"  # no identity provider sends it
    TOO_MANY_ELEMENTS = "too_many_elements"
    TOO_MANY_ATTRIBUTES = "too_many_attributes"  # at one element: libxml2 takes quadratic time over them
    TOO_DEEP = "too_deep"
    XML_INVALID = "xml_invalid"  # not well-formed

    # Shape
    ROOT_WRONG = "root_wrong"  # the root is not the message that belongs here
    VERSION_WRONG = "version_wrong"
    DUPLICATE_ID = "duplicate_id"
    ID_INVALID = "id_invalid"
    ID_MISSING = "id_missing"
    TOO_MANY_NAMESPACES = "too_many_namespaces"
    ATTRIBUTE_FORBIDDEN = "attribute_forbidden"
    ELEMENT_FORBIDDEN = "element_forbidden"
    ELEMENT_REPEATED = "element_repeated"
    ELEMENT_MISSING = "element_missing"
    TEXT_MISPLACED = "text_misplaced"
    EXTENSIONS_FORBIDDEN = "extensions_forbidden"
    STATUS_DETAIL_FORBIDDEN = "status_detail_forbidden"
    OBJECT_FORBIDDEN = "object_forbidden"  # ds:Object can hold a whole document (XSW)
    RESPONSE_MISPLACED = "response_misplaced"  # a message inside a message (XSW)
    ASSERTION_MISPLACED = "assertion_misplaced"  # an assertion anywhere but under the root (XSW)
    ASSERTION_COUNT = "assertion_count"  # not exactly one Assertion or EncryptedAssertion (XSW)
    ENCRYPTED_ID_FORBIDDEN = "encrypted_id_forbidden"  # EncryptedID and EncryptedAttribute are not supported
    SIGNATURE_MISPLACED = "signature_misplaced"
    SIGNATURE_DOUBLED = "signature_doubled"
    REFERENCE_COUNT = "reference_count"
    REFERENCE_URI = "reference_uri"  # does not name its parent: empty, XPointer, http, file, another ID
    TRANSFORM_FORBIDDEN = "transform_forbidden"  # anything but enveloped-signature, then exclusive C14N
    CANONICALIZATION_FORBIDDEN = "canonicalization_forbidden"
    ALGORITHM_FORBIDDEN = "algorithm_forbidden"  # MD5, SHA-1, HMAC, DSA, RIPEMD-160, …
    ENCRYPTION_ALGORITHM = "encryption_algorithm"  # RSA 1.5, 3DES, or AES-CBC outside a signed Response
    ENCRYPTION_REFERENCE = "encryption_reference"  # CipherReference or RetrievalMethod: would be fetched
    SCHEMA_INVALID = "schema_invalid"  # not valid by the SAML 2.0 schema

    # Trust
    PROVIDER_DISABLED = "provider_disabled"
    METADATA_EXPIRED = "metadata_expired"
    CERTIFICATE_MISSING = "certificate_missing"  # the provider has no signing certificate (any more)
    CERTIFICATE_INVALID = "certificate_invalid"  # a pinned certificate cannot be read, or is not valid yet
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_FOREIGN = "certificate_foreign"  # KeyInfo names a key that is not pinned
    KEY_TOO_SMALL = "key_too_small"  # RSA under 2,048 bits
    KEY_TYPE = "key_type"  # neither RSA nor a NIST curve

    # Signatures and encryption
    SIGNATURE_MISSING = "signature_missing"
    SIGNATURE_INVALID = "signature_invalid"
    VERIFIERS_DISAGREE = "verifiers_disagree"  # the first verifier says yes, the second no, or about another element
    ENCRYPTION_REQUIRED = "encryption_required"  # a plain assertion from a provider that must encrypt
    DECRYPT_FAILED = "decrypt_failed"  # one and the same for every cause

    # What the message says
    STATUS_NOT_SUCCESS = "status_not_success"
    ISSUER_MISSING = "issuer_missing"
    ISSUER_WRONG = "issuer_wrong"
    DESTINATION_MISSING = "destination_missing"
    DESTINATION_WRONG = "destination_wrong"
    AUDIENCE_MISSING = "audience_missing"
    AUDIENCE_WRONG = "audience_wrong"
    RECIPIENT_MISSING = "recipient_missing"
    RECIPIENT_WRONG = "recipient_wrong"
    CONFIRMATION_METHOD = "confirmation_method"  # the subject confirmation is not bearer
    TIME_MALFORMED = "time_malformed"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    NOT_ON_OR_AFTER_MISSING = "not_on_or_after_missing"
    VALIDITY_TOO_LONG = "validity_too_long"
    SESSION_EXPIRED = "session_expired"
    UNSOLICITED = "unsolicited"
    IN_RESPONSE_TO_MISMATCH = "in_response_to_mismatch"  # the Response and its signed assertion do not agree
    IN_RESPONSE_TO_UNKNOWN = "in_response_to_unknown"  # not ours, another provider's, or used
    LIBRARY_REFUSED = "library_refused"  # python3-saml, strict, found something that no check above did

    # Whom it is about
    NAME_ID_MISSING = "name_id_missing"
    NAME_ID_QUALIFIER = "name_id_qualifier"  # made for another service provider
    NAME_ID_TRANSIENT = "name_id_transient"  # another one at every sign-in: nobody's key
    SUBJECT_MISSING = "subject_missing"
    SUBJECT_AMBIGUOUS = "subject_ambiguous"  # more than one value
    VALUE_NOT_TEXT = "value_not_text"  # an attribute value with elements inside
    VALUE_TOO_LONG = "value_too_long"
    CONTROL_CHARACTER = "control_character"
    TOO_MANY_GROUPS = "too_many_groups"

    # Redirect binding and single logout
    PARAMETER_MISSING = "parameter_missing"
    PARAMETER_REPEATED = "parameter_repeated"
    PARAMETER_UNKNOWN = "parameter_unknown"
    SLO_NOT_OFFERED = "slo_not_offered"  # the provider has no single logout address for redirects


# Reasons that no honest identity provider causes, or that stop every sign-in: somebody should look at once.
ALERTS: frozenset[Reason] = frozenset(
    {
        Reason.ALGORITHM_FORBIDDEN,
        Reason.CERTIFICATE_EXPIRED,
        Reason.CERTIFICATE_FOREIGN,
        Reason.CERTIFICATE_INVALID,
        Reason.CERTIFICATE_MISSING,
        Reason.ASSERTION_MISPLACED,
        Reason.DTD_FORBIDDEN,
        Reason.DUPLICATE_ID,
        Reason.KEY_TOO_SMALL,
        Reason.KEY_TYPE,
        Reason.METADATA_EXPIRED,
        Reason.OBJECT_FORBIDDEN,
        Reason.REFERENCE_COUNT,
        Reason.REFERENCE_URI,
        Reason.RESPONSE_MISPLACED,
        Reason.SIGNATURE_INVALID,
        Reason.SIGNATURE_MISPLACED,
        Reason.TRANSFORM_FORBIDDEN,
        Reason.VERIFIERS_DISAGREE,
    }
)


def refused(reason: Reason, detail: str = "") -> SamlRefused:
    """The error for `reason`; `context["alert"]` says whether somebody should be told at once.

    `detail` may quote the document: it is cut short and escaped, so that nothing in it can forge a log line.
    """
    return SamlRefused(reason.value, detail=ascii(detail[:200])[1:-1], alert=reason in ALERTS)
