"""The SAML 2.0 service provider's endpoints: metadata, assertion consumer, single logout."""

from __future__ import annotations

from functools import partial
from urllib.parse import quote, urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from federation import queries
from federation.errors import SamlRefused
from federation.flows import provider_trials, sign_in, sign_out
from portal.views.guard import FormUnreadable, fields_of, navigations, origin_of


@require_safe
def metadata(request: HttpRequest, provider: str) -> HttpResponse:
    """`/saml/<provider>/metadata`: what the provider has to know of the gateway."""
    return HttpResponse(queries.sp_metadata(provider), content_type="application/samlmetadata+xml")


@csrf_exempt  # the provider's page posts here, from another site: no cookie comes with it and no token could
@navigations
@require_POST
def consume(request: HttpRequest, provider: str) -> HttpResponse:
    """`/saml/<provider>/acs`: verifies the answer, makes no session.

    What guards it instead of a CSRF token: the signature, one use, and the return by a same-site GET (303) on which the
    browser's binding cookie must match the sign-in that it began. The answer to a test sign-in of staff leads to its page.
    """
    try:
        fields = fields_of(request)
    except FormUnreadable as error:
        raise sign_in.refuse_unreadable(
            SamlRefused, provider, cause=str(error), origin=origin_of(request), now=timezone.now()
        ) from None
    tried = provider_trials.receive_saml(
        provider,
        saml_response=fields.get("SAMLResponse", ""),
        relay_state=fields.get("RelayState", ""),
        origin=origin_of(request),
        now=timezone.now(),
    )
    if tried is not None:
        answer = HttpResponse(status=303)
        answer["Location"] = reverse("staff-provider-trial", args=[tried]) + "#test"
        return answer
    received = sign_in.receive_saml(
        provider,
        saml_response=fields.get("SAMLResponse", ""),
        relay_state=fields.get("RelayState", ""),
        origin=origin_of(request),
        now=timezone.now(),
    )
    response = HttpResponse(status=303)  # 303: whatever the method was, the next one is GET
    response["Location"] = (
        f"/signin/{quote(received.provider_slug, safe='')}/complete?{urlencode({'code': received.code})}"
    )
    return response


@csrf_exempt  # a LogoutRequest by POST comes from the provider's site; its signature is what counts
@partial(navigations, frames=True)  # single logout by the browser is mostly done in frames (profiles 4.4.3)
@require_http_methods(["GET", "POST"])
def single_logout(request: HttpRequest, provider: str) -> HttpResponse:
    """`/saml/<provider>/slo`: the provider's LogoutRequest, or its answer to ours."""
    try:
        fields = fields_of(request)
    except FormUnreadable as error:
        raise sign_out.refuse_unreadable(
            SamlRefused, provider, cause=str(error), origin=origin_of(request), now=timezone.now()
        ) from None
    answer = sign_out.saml_logout(
        provider,
        method=request.method or "",
        params=fields,
        raw_query=request.META.get("QUERY_STRING", ""),  # the redirect binding signs the octets as they were sent
        origin=origin_of(request),
        now=timezone.now(),
    )
    return HttpResponseRedirect(answer.redirect_url or "/signout/done")
