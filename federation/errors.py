"""The tree of errors: what may be said to a person, kept apart from what only the log may hold.

Every error that leaves `federation` is a `RolegateError`. Its class gives a stable `code`, an HTTP
`status` and a `sentence` that says what to do; all three are safe to show. `reason` is the precise,
machine-readable cause: it goes to the audit event and the log, and tests assert it. `detail` is free
text for the log alone and must never hold a secret.
"""

from __future__ import annotations

from typing import Any, ClassVar


class RolegateError(Exception):
    """Base of every error that the gateway raises on purpose.

    `code`: stable, lower snake case, documented in docs/errors.md. `status`: HTTP status of the answer.
    `sentence`: what happened and what to do next, safe for anyone to read. `retry_after`: seconds after
    which trying again makes sense, or None.
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    sentence: ClassVar[str] = (
        "Something went wrong in the gateway. Try again, and give the request id to your administrators."
    )

    def __init__(
        self,
        reason: str = "",
        *,
        detail: str = "",
        sentence: str = "",
        retry_after: int | None = None,
        **context: Any,
    ) -> None:
        self.reason = reason or self.code
        self.detail = detail
        self.public_sentence = sentence or self.sentence
        self.retry_after = retry_after
        self.context = context
        super().__init__(f"{self.code}: {self.reason}" + (f": {detail}" if detail else ""))


# --- Signing in -------------------------------------------------------------------------------------


class SignInRefused(RolegateError):
    """A sign-in that did not verify. The same sentence whatever the reason: no oracle for a forger."""

    code = "sign_in_refused"
    status = 403
    sentence = "Your sign-in could not be verified. Start again from the sign-in page; if it happens again, give the request id to your administrators."


class SamlRefused(SignInRefused):
    """A SAML response or logout message was refused; `reason` says at which check."""

    code = "saml_refused"


class OidcRefused(SignInRefused):
    """An OpenID Connect callback, token or logout token was refused; `reason` says at which check."""

    code = "oidc_refused"


class SignInExpired(SignInRefused):
    """The sign-in took too long, or the browser brought no matching sign-in request (login CSRF)."""

    code = "sign_in_expired"
    status = 400
    sentence = "This sign-in was started in another window or too long ago. Start again from the sign-in page."


class ProviderUnavailable(RolegateError):
    """The identity provider's metadata, keys or endpoints cannot be had, and no good copy is left."""

    code = "provider_unavailable"
    status = 503
    sentence = "Your company's identity provider cannot be reached. Try again in a minute; if it lasts, tell your administrators."


class UnknownProvider(RolegateError):
    """No enabled identity provider has this slug."""

    code = "unknown_provider"
    status = 404
    sentence = "There is no such identity provider here. Choose one on the sign-in page."


class GroupsIncomplete(RolegateError):
    """The provider left groups out of the token (overage): unknown is not "none" (OIDC Core 5.6.2)."""

    code = "groups_incomplete"
    status = 403
    sentence = "Your identity provider sent only a part of your groups, so your roles cannot be decided. Ask your administrators to connect the directory or to send fewer groups."


class NotInDirectory(RolegateError):
    """The provider's directory does not know this person: unknown is no."""

    code = "not_in_directory"
    status = 403
    sentence = "Your company's directory does not list you for this gateway, so your roles cannot be decided. Ask your administrators to assign it to you there."


class PersonDisabled(RolegateError):
    """The person is disabled in the gateway or in the directory."""

    code = "person_disabled"
    status = 403
    sentence = "Your account is disabled here. Ask your administrators."


# --- Using access -----------------------------------------------------------------------------------


class NotSignedIn(RolegateError):
    """No session or no valid token."""

    code = "not_signed_in"
    status = 401
    sentence = "Sign in first."


class ClaimsTooOld(RolegateError):
    """The person's claims are older than ROLEGATE_CLAIMS_MAX_AGE."""

    code = "claims_too_old"
    status = 401
    sentence = "Your sign-in is too old to decide access on. Sign in again."


class AccessDenied(RolegateError):
    """The mapping does not give this person this role now; `reason` says why."""

    code = "access_denied"
    status = 403
    sentence = "You do not have this role. Ask the account's owner, and mention the request id."


class ApprovalRequired(AccessDenied):
    """The mapping gives this role only with an approval."""

    code = "approval_required"
    sentence = "This role needs an approval before it can be used."


class MayNotDecide(AccessDenied):
    """Somebody who may not decide on a request tried to: it is their own, or the rule does not name them."""

    code = "may_not_decide"
    sentence = "You may not decide on this request: somebody else must, whom the rule names."


class BadRequest(RolegateError):
    """Input that does not have the documented form."""

    code = "bad_request"
    status = 400
    sentence = "The request is not in the form that is expected here."


class RequestRefused(BadRequest):
    """A request for access that cannot be made so; the sentence says what would be right."""

    code = "request_refused"
    status = 422
    sentence = "This cannot be asked for in this way."


class RequestStale(RolegateError):
    """A request is no longer what it was when the page was made: decided, withdrawn, expired, or the rule has changed."""

    code = "request_stale"
    status = 409
    sentence = "This request has changed since you opened it. Look at it again, then decide."


class MethodNotAllowed(BadRequest):
    """The path exists, but not for this method."""

    code = "method_not_allowed"
    status = 405
    sentence = "This path does not take this method; the Allow header says which it takes."


class RateLimited(RolegateError):
    """Too many attempts by one person or from one address."""

    code = "rate_limited"
    status = 429
    sentence = "Too many attempts. Wait a moment, then try again."


class ServiceUnavailable(RolegateError):
    """A part that is needed (the database, say) is not there now."""

    code = "service_unavailable"
    status = 503
    sentence = "The gateway cannot work right now. Try again in a few seconds."


# --- AWS --------------------------------------------------------------------------------------------


class AwsError(RolegateError):
    """AWS refused or could not be reached. `aws_code` is AWS's own error code, safe to show."""

    code = "aws_error"
    status = 502
    sentence = "AWS answered with an error. Try again; if it lasts, give the request id to your administrators."

    def __init__(self, reason: str = "", *, aws_code: str = "", **kwargs: Any) -> None:
        super().__init__(reason, **kwargs)
        self.aws_code = aws_code


# --- Configuration ----------------------------------------------------------------------------------


class ConfigurationError(RolegateError):
    """The gateway's own configuration is at fault; an administrator must act."""

    code = "configuration_error"
    status = 500
    sentence = "The gateway is not configured for this. Tell your administrators, with the request id."


class NotFound(RolegateError):
    """What was asked for does not exist, or is not for this person to see."""

    code = "not_found"
    status = 404
    sentence = "There is no such thing here."
