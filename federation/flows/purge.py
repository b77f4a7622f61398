"""Throw away what has expired. Never the audit log, never a revision, never a person.

A worker does it on a schedule. What anybody can make without being anybody (a sign-in that is only begun) is also
thrown away where it is made, a little at a time: with no worker running, a flood must not fill the disk.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from federation.flows.rate_limits import LIMITS
from federation.models.access import RateWindow
from federation.models.accounts import PolicyDocument, Role
from federation.models.clients import (
    AccessToken,
    AuthorizationCode,
    DeviceGrant,
    RefreshToken,
    TokenFamily,
    WrongUserCode,
)
from federation.models.providers import ProviderTrial
from federation.models.requests import Letter
from federation.models.sessions import PortalSession, SignInState, UsedCredential

# What strangers can make: kept after its end only as long as somebody may ask why it did not work.
_STRANGERS = timedelta(hours=1)
_AT_ONCE = 1000  # rows: a few milliseconds


def purge_some_sign_in_states(*, now: datetime) -> int:
    """Delete up to a thousand sign-ins that ended an hour ago; returns how many."""
    ended = SignInState.objects.filter(expires_at__lt=now - _STRANGERS).order_by("expires_at")
    return SignInState.objects.filter(pk__in=list(ended.values_list("pk", flat=True)[:_AT_ONCE])).delete()[0]


def purge_expired(*, now: datetime) -> dict[str, int]:
    """Delete expired rows; returns how many of each table. Running it twice changes nothing."""
    later = now - timedelta(days=1)
    shortest = min(limit.seconds for limit in LIMITS.values())
    gone = {
        "sign_in_states": SignInState.objects.filter(expires_at__lt=now - _STRANGERS),
        # Kept beyond the assertion's own end, so that a replay inside the clock skew still meets its row.
        "used_credentials": UsedCredential.objects.filter(expires_at__lt=now - timedelta(minutes=10)),
        "sessions": PortalSession.objects.filter(expire_date__lt=now),
        "rate_windows": RateWindow.objects.filter(slot__lt=int(now.timestamp() // shortest) - 10),
        "codes": AuthorizationCode.objects.filter(expires__lt=later),
        "device_grants": DeviceGrant.objects.filter(expires__lt=now - _STRANGERS),
        "wrong_user_codes": WrongUserCode.objects.filter(at__lt=later),
        "access_tokens": AccessToken.objects.filter(expires__lt=later),
        "refresh_tokens": RefreshToken.objects.filter(expires__lt=now - timedelta(days=8)),
        # Bodies name people and reasons: kept as long as somebody may ask whether it was sent.
        "letters": Letter.objects.filter(created_at__lt=now - timedelta(days=30)),
        "provider_trials": ProviderTrial.objects.filter(changed_at__lt=later),
        "families": TokenFamily.objects.filter(expires__lt=now - timedelta(days=30)),
    }
    return {name: rows.delete()[0] for name, rows in gone.items()} | {
        "policy_documents": _purge_policy_documents(later)
    }


def _purge_policy_documents(before: datetime) -> int:
    """Delete texts of policies that no role has any more. One that a role is just getting again has been seen just now."""
    held = Role.objects.exclude(policies=None).values_list("policies", flat=True).iterator(chunk_size=_AT_ONCE)
    named = {str(policy["document"]) for policies in held for policy in policies or ()}
    old = PolicyDocument.objects.filter(seen_at__lt=before).values_list("digest", flat=True)
    unused = [digest for digest in old if digest not in named]
    return sum(
        PolicyDocument.objects.filter(digest__in=unused[at : at + _AT_ONCE], seen_at__lt=before).delete()[0]
        for at in range(0, len(unused), _AT_ONCE)
    )
