"""Why an OpenID Connect message is refused: every reason, in one place. Audit events carry them, tests assert them.

The person sees one and the same sentence whatever the reason (no oracle for a forger); only where the provider
itself ended the sign-in does the sentence say so.
"""

from __future__ import annotations

from enum import StrEnum

from federation.errors import OidcRefused


class Reason(StrEnum):
    """The check at which a callback, a token or an answer was refused, in the order in which the checks run."""

    # Request
    PKCE_UNSUPPORTED = "pkce_unsupported"  # the provider lists PKCE methods, and S256 is not among them: no downgrade

    # Callback
    STATE_MISSING = "state_missing"  # the callback or the caller has no state (login CSRF)
    STATE_WRONG = "state_wrong"  # not the state of this sign-in
    CALLBACK_ISS_MISSING = "callback_iss_missing"  # the provider promises `iss` on the callback (RFC 9207)
    CALLBACK_ISS_WRONG = "callback_iss_wrong"  # mix-up: the answer comes from another provider
    PROVIDER_ERROR = "provider_error"  # the provider ended the sign-in; its `error` is in the context
    CODE_MISSING = "code_missing"
    PKCE_MISSING = "pkce_missing"  # no code verifier, or one shorter than RFC 7636 allows
    NONCE_UNKNOWN = "nonce_unknown"  # the caller has no nonce for this sign-in: nothing could be compared

    # Token endpoint
    CODE_REFUSED = "code_refused"  # invalid_grant: used, expired, injected (PKCE) or foreign code
    CLIENT_REFUSED = "client_refused"  # invalid_client: the gateway's own client id or secret is wrong
    TOKEN_REQUEST_REFUSED = "token_request_refused"  # any other OAuth error
    TOKEN_RESPONSE_MALFORMED = "token_response_malformed"
    ID_TOKEN_MISSING = "id_token_missing"

    # Signed token: form, header, signature
    TOKEN_TOO_LARGE = "token_too_large"  # more than 64 KB
    TOKEN_MALFORMED = "token_malformed"  # not three base64url parts with a JSON object in the first two
    DUPLICATE_HEADER = "duplicate_header"  # a header parameter twice
    ALG_FORBIDDEN = "alg_forbidden"  # none, HMAC, or not what the provider says it signs with
    HEADER_FORBIDDEN = "header_forbidden"  # jwk, jku, x5u, x5c, crit, b64, zip, enc, cty
    TYP_WRONG = "typ_wrong"  # another kind of token, an access token (at+jwt) for instance
    KID_INVALID = "kid_invalid"  # not a plain short string: a list, a path, a URL
    KID_MISSING = "kid_missing"  # no key id although several keys would do, or none
    KID_UNKNOWN = "kid_unknown"  # no such key, also after the refresh that is due: forged or withdrawn
    KEY_UNFIT = "key_unfit"  # the key is of another type, curve or algorithm
    SIGNATURE_INVALID = "signature_invalid"
    DUPLICATE_CLAIM = "duplicate_claim"  # a claim twice, at any depth

    # Claims
    ISSUER_MISSING = "issuer_missing"
    ISSUER_MISMATCH = "issuer_mismatch"
    AUDIENCE_MISSING = "audience_missing"
    AUDIENCE_WRONG = "audience_wrong"
    AZP_MISSING = "azp_missing"  # several audiences and nobody named as the authorized party
    AZP_WRONG = "azp_wrong"
    TIME_MISSING = "time_missing"  # exp or iat; the claim is in the detail
    TIME_MALFORMED = "time_malformed"  # not a number that is a date
    EXPIRED = "expired"  # more than 60 s ago
    NOT_YET_VALID = "not_yet_valid"  # iat, nbf or auth_time more than 60 s ahead
    TOO_OLD = "too_old"  # issued more than 10 minutes ago
    SUBJECT_MISSING = "subject_missing"
    SUBJECT_MALFORMED = "subject_malformed"  # empty, no string, or longer than 255 characters
    NONCE_MISSING = "nonce_missing"
    NONCE_WRONG = "nonce_wrong"
    AT_HASH_WRONG = "at_hash_wrong"  # the access token was swapped
    C_HASH_WRONG = "c_hash_wrong"  # the code was swapped
    JTI_MALFORMED = "jti_malformed"
    CLAIM_MALFORMED = "claim_malformed"  # a mapped claim is not text or a list of texts; its name is in the detail
    VALUE_TOO_LONG = "value_too_long"  # more than 1,024 characters in one value of a mapped claim
    CONTROL_CHARACTER = "control_character"  # a value with something unseen in it that makes it look like another
    TOO_MANY_GROUPS = "too_many_groups"  # more than 2,000

    # Userinfo
    ACCESS_TOKEN_MISSING = "access_token_missing"  # there is a userinfo endpoint to ask and no bearer token for it
    USERINFO_REFUSED = "userinfo_refused"  # answered with an error, or not in plain JSON
    USERINFO_MALFORMED = "userinfo_malformed"
    USERINFO_SUBJECT_MISMATCH = "userinfo_subject_mismatch"  # token substitution (OIDC Core 5.3.2)

    # Logout token (Back-Channel Logout 1.0 section 2.6)
    LOGOUT_EVENT_MISSING = "logout_event_missing"
    LOGOUT_NONCE_PRESENT = "logout_nonce_present"  # an ID token passed off as a logout token
    LOGOUT_TARGET_MISSING = "logout_target_missing"  # neither sub nor sid
    JTI_MISSING = "jti_missing"


# Reasons that no honest identity provider causes, or that stop every sign-in: somebody should look at once.
ALERTS: frozenset[Reason] = frozenset(
    {
        Reason.ALG_FORBIDDEN,
        Reason.AT_HASH_WRONG,
        Reason.C_HASH_WRONG,
        Reason.CALLBACK_ISS_WRONG,
        Reason.CLIENT_REFUSED,
        Reason.DUPLICATE_CLAIM,
        Reason.DUPLICATE_HEADER,
        Reason.HEADER_FORBIDDEN,
        Reason.ISSUER_MISMATCH,
        Reason.KEY_UNFIT,
        Reason.KID_INVALID,
        Reason.LOGOUT_NONCE_PRESENT,
        Reason.NONCE_WRONG,
        Reason.PKCE_UNSUPPORTED,
        Reason.SIGNATURE_INVALID,
        Reason.TYP_WRONG,
        Reason.USERINFO_SUBJECT_MISMATCH,
    }
)


def refused(reason: Reason, detail: str = "") -> OidcRefused:
    """The error for `reason`; `context["alert"]` says whether somebody should be told at once.

    `detail` is for the log alone and holds no token.
    """
    return OidcRefused(reason.value, detail=detail, alert=reason in ALERTS)
