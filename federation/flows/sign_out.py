"""Signing out, from either side: ours, the identity provider's (SAML single logout, OIDC back-channel), or staff's."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Q

from federation.audit.events import Kind, Origin
from federation.audit.record import record_or_log
from federation.errors import OidcRefused, RateLimited, RolegateError, SamlRefused, SignInRefused
from federation.flows import provider_documents, rate_limits
from federation.flows.refusals import record_refusal
from federation.flows.sign_in import _state_key, provider_of, saml_provider, service_provider
from federation.mapping.rules import IdentityProvider
from federation.models.people import Person
from federation.models.sessions import (
    LONGEST_SESSION_INDEX,
    PortalSession,
    SignInState,
    UsedCredential,
    session_row_key,
)
from federation.signin import oidc, saml
from federation.signin.protocol import NameId

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LogoutAnswer:
    """What to do after a logout message: go on at `redirect_url`, or show that the person is signed out (None)."""

    redirect_url: str | None


def sign_out(person: Person, session_key: str | None, *, origin: Origin, now: datetime) -> str | None:
    """End one portal session; returns the URL at the provider where single logout goes on, or None.

    A provider that cannot be reached does not keep anybody signed in here: the local session ends first.
    """
    row = PortalSession.objects.filter(session_key=session_row_key(session_key or "")).first()
    with transaction.atomic():
        if row is not None:
            row.delete()
        record_or_log(
            Kind.SIGN_OUT,
            actor=person.actor,
            outcome="ok",
            origin=origin,
            now=now,
            person=str(person.pk),
        )
    if row is None or not row.provider:
        return None
    try:
        return _continue_at_provider(row, now)
    except RolegateError:
        return None


def _continue_at_provider(row: PortalSession, now: datetime) -> str | None:
    provider = provider_of(row.provider)
    if provider.oidc is not None:
        return oidc.end_session_url(
            provider,
            provider_documents.oidc_documents,
            id_token_hint="",
            post_logout_redirect_uri=f"{settings.ROLEGATE_URL}/signout/done",
            state=secrets.token_urlsafe(16),
            now=now,
        )
    metadata = provider_documents.saml_metadata(provider, now=now)
    if not metadata.slo_url or not row.name_id:
        return None
    request = saml.logout_request(
        service_provider(provider.slug), metadata, NameId(**row.name_id), row.session_index, relay_state="", now=now
    )
    SignInState.objects.create(
        key=_state_key(provider.slug, "logout", request.id),
        provider=provider.slug,
        created_at=now,
        expires_at=now + timedelta(minutes=10),
    )
    return request.url


def _refused(error: RolegateError, provider_slug: str, origin: Origin, now: datetime) -> None:
    if error.status < 500 and not isinstance(error, RateLimited):
        rate_limits.count_refusal("sign_in", address=origin.address, now=now)
    if error.context.get("alert"):
        log.error("sign_out_alert", provider=provider_slug[:64], reason=error.reason, address=origin.address)
    slug = provider_slug[:64]  # it came out of the address, and may be anything
    record_refusal(Kind.SIGN_OUT_BY_PROVIDER, error, actor=f"{slug}:?", origin=origin, now=now, provider=slug)


def refuse_unreadable(
    refusal: type[SignInRefused], provider_slug: str, *, cause: str, origin: Origin, now: datetime
) -> SignInRefused:
    """A logout message that could not even be read, recorded as any other refusal. Returned, to be raised. Raises RateLimited."""
    error = refusal("form_unreadable", detail=cause)
    try:
        rate_limits.hit("sign_in", person=None, address=origin.address, now=now)
    except RolegateError as limited:
        _refused(limited, provider_slug, origin, now)
        raise
    _refused(error, provider_slug, origin, now)
    return error


def saml_logout(
    provider_slug: str, *, method: str, params: Mapping[str, str], raw_query: str, origin: Origin, now: datetime
) -> LogoutAnswer:
    """Take a LogoutRequest from the provider (answer with a LogoutResponse) or its LogoutResponse to ours.

    Only signed messages count: an unsigned LogoutRequest would let anyone end anyone's session. Raises SamlRefused.
    """
    try:
        rate_limits.hit("sign_in", person=None, address=origin.address, now=now)
        provider = saml_provider(provider_slug)
        if not {"SAMLRequest", "SAMLResponse"} & params.keys():
            raise SamlRefused("logout_message_missing")  # before anything is fetched
        metadata = provider_documents.saml_metadata(provider, now=now)
        sp = service_provider(provider.slug)
        query, form = (raw_query, None) if method == "GET" else ("", params)
        if "SAMLResponse" in params:
            answered = saml.verify_logout_response(sp, metadata, provider, query_string=query, form=form, now=now)
            key = _state_key(provider.slug, "logout", answered)
            SignInState.objects.filter(key=key, completed_at=None).update(completed_at=now)
            return LogoutAnswer(None)
        subject = saml.verify_logout_request(sp, metadata, provider, query_string=query, form=form, now=now)
        once = _state_key(provider.slug, "logout_request", subject.request_id)
        if not UsedCredential.use(once, expires_at=now + timedelta(hours=1)):
            raise SamlRefused("replayed")  # a request out of a log would end every later session too
    except RolegateError as error:
        _refused(error, provider_slug, origin, now)
        raise
    sessions = PortalSession.objects.filter(provider=provider.slug, name_id__value=subject.name_id.value)
    if subject.session_indexes:
        kept = [index[:LONGEST_SESSION_INDEX] for index in subject.session_indexes]
        sessions = sessions.filter(session_index__in=kept)
    with transaction.atomic():
        ended, _ = sessions.delete()
        record_or_log(
            Kind.SIGN_OUT_BY_PROVIDER,
            actor=f"{provider.slug}:provider",
            outcome="ok",
            origin=origin,
            now=now,
            provider=provider.slug,
            sessions=ended,
        )
    relay_state = params.get("RelayState", "")[:80]
    try:
        return LogoutAnswer(
            saml.logout_response(sp, metadata, in_response_to=subject.request_id, relay_state=relay_state, now=now)
        )
    except SamlRefused:
        return LogoutAnswer(None)  # the provider takes no answer by redirect; the sessions have ended all the same


def _is_called(sub: str, provider: IdentityProvider) -> Q:
    """Sessions of whom the provider calls `sub`: not the subject by which we know them, where the claim map takes another."""
    called = Q(name_id__value=sub)
    if provider.claims.subject == "sub":
        called |= Q(
            name_id={}, person__subject=sub, person__subject_format=""
        )  # made by a version that did not keep it
    return called


def oidc_backchannel_logout(provider_slug: str, *, logout_token: str, origin: Origin, now: datetime) -> None:
    """End the sessions that a logout token names (OpenID Connect Back-Channel Logout 1.0, 2.6). Raises OidcRefused."""
    try:
        rate_limits.hit("sign_in", person=None, address=origin.address, now=now)
        provider = provider_of(provider_slug)
        if provider.oidc is None:
            raise OidcRefused("not_an_oidc_provider")
        token = oidc.verify_logout_token(provider, provider_documents.oidc_documents, logout_token, now=now)
        with transaction.atomic():
            key = _state_key(provider.slug, "logout_token", token.jti)
            if not UsedCredential.use(key, expires_at=token.expires + timedelta(minutes=2)):
                raise OidcRefused("replayed")
            sessions = PortalSession.objects.filter(provider=provider.slug)
            if token.sid:
                sessions = sessions.filter(session_index=token.sid)
            if token.sub:
                sessions = sessions.filter(_is_called(token.sub, provider))
            ended, _ = sessions.delete()
            record_or_log(
                Kind.SIGN_OUT_BY_PROVIDER,
                actor=f"{provider.slug}:provider",
                outcome="ok",
                origin=origin,
                now=now,
                provider=provider.slug,
                sessions=ended,
            )
    except RolegateError as error:
        _refused(error, provider_slug, origin, now)
        raise
