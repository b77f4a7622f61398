"""The OpenID Connect relying party's endpoints: callback and back-channel logout."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from federation.errors import OidcRefused, RateLimited, RolegateError
from federation.flows import provider_trials, sign_in, sign_out
from federation.models.people import Person
from portal.views.guard import FormUnreadable, fields_of, navigations, origin_of, programs
from portal.views.sign_in import binding_of, establish


@navigations
@require_GET
def callback(request: HttpRequest, provider: str) -> HttpResponse:
    """`/oidc/<provider>/callback`: the provider's answer, by the browser that began."""
    try:
        fields = fields_of(request)
    except FormUnreadable as error:
        raise sign_in.refuse_unreadable(
            OidcRefused, provider, cause=str(error), origin=origin_of(request), now=timezone.now()
        ) from None
    if fields.get("state", "").startswith(
        provider_trials.LABEL
    ):  # a test sign-in of staff: their session stays as it is
        person = request.user if isinstance(request.user, Person) else None
        tried = provider_trials.receive_oidc(
            provider, params=fields, person=person, origin=origin_of(request), now=timezone.now()
        )
        if tried is not None:
            return HttpResponseRedirect(reverse("staff-provider-trial", args=[tried]) + "#test")
    signed_in = sign_in.complete_oidc(
        provider,
        params=fields,
        binding=binding_of(request),
        origin=origin_of(request),
        now=timezone.now(),
    )
    return establish(request, signed_in)


@csrf_exempt  # called by the provider's server, which has neither cookie nor token; the logout token is signed
@programs
@require_POST
def backchannel_logout(request: HttpRequest, provider: str) -> HttpResponse:
    """`/oidc/<provider>/backchannel-logout` (OpenID Connect Back-Channel Logout 1.0, sections 2.5 and 2.8)."""
    origin, now = origin_of(request), timezone.now()
    try:
        try:
            token = fields_of(request).get("logout_token", "")
        except FormUnreadable as error:
            raise sign_out.refuse_unreadable(OidcRefused, provider, cause=str(error), origin=origin, now=now) from None
        sign_out.oidc_backchannel_logout(provider, logout_token=token, origin=origin, now=now)
    except RolegateError as error:
        # Section 2.8: 400 with a JSON body. What is worth another try later (a fault of ours, too many) keeps its own status.
        body = {
            "error": "invalid_request",
            "error_description": error.public_sentence,
            "code": error.code,
            "request_id": origin.request_id,
        }
        later = error.status >= 500 or isinstance(error, RateLimited)
        response: HttpResponse = JsonResponse(body, status=error.status if later else 400)
        if error.retry_after is not None:
            response["Retry-After"] = str(error.retry_after)
    else:
        response = HttpResponse(status=200)
    response["Cache-Control"] = "no-store"
    return response
