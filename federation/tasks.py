"""Celery tasks: one line each. What they do is in `flows`; authority is read from the database, never from a message."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from federation.flows import certificate_letters, letters, provider_documents, purge, runs
from federation.flows import digest_audit as audit_digest
from federation.flows import refresh_catalogue as catalogue
from federation.flows import refresh_directory as directories
from federation.flows import refresh_entitlements as entitlements
from federation.flows import refresh_findings as findings
from federation.flows import resume_lost as lost
from federation.flows import rotate_keys as keys
from federation.flows import verify_account as accounts
from federation.flows import verify_audit as audit


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator,unused-ignore]
def refresh_provider_documents() -> None:
    """Fetch identity provider metadata ahead of its end, and write to the owners where a certificate comes to its own."""
    runs.noted("refresh_provider_documents", lambda: provider_documents.refresh_all(now=timezone.now()))
    certificate_letters.tell_owners(now=timezone.now())


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator,unused-ignore]
def send_letters() -> None:
    """Send the e-mail that is due; where there is none, a run is left every few minutes, so that a worker is seen."""
    if letters.any_due(now=timezone.now()):
        runs.noted("send_letters", lambda: {"sent": letters.send_due(now=timezone.now())})
    else:
        runs.still_alive("send_letters", {"sent": 0})


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator,unused-ignore]
def resume_lost() -> None:
    """Send the work again whose worker has died."""
    runs.told("resume_lost", lost.resume_lost(now=timezone.now()))


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator,unused-ignore]
def purge_expired() -> None:
    """Delete what has expired."""
    runs.noted("purge_expired", lambda: purge.purge_expired(now=timezone.now()))


@shared_task(ignore_result=True, soft_time_limit=3500, time_limit=3600)  # type: ignore[untyped-decorator,unused-ignore]
def refresh_catalogue() -> None:
    """Read every account's roles."""
    catalogue.refresh_catalogue(now=timezone.now())


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator,unused-ignore]
def digest_audit() -> None:
    """Add up what is new in the audit log."""
    audit_digest.digest()


@shared_task(ignore_result=True, soft_time_limit=1700, time_limit=1800)  # type: ignore[untyped-decorator,unused-ignore]
def refresh_entitlements() -> None:
    """Work out who has which role, where something has changed."""
    entitlements.refresh(now=timezone.now())


@shared_task(ignore_result=True, soft_time_limit=3500, time_limit=3600)  # type: ignore[untyped-decorator,unused-ignore]
def refresh_directory() -> None:
    """Read the directories whose interval is over."""
    directories.refresh_due(now=timezone.now())


@shared_task(ignore_result=True, soft_time_limit=1700, time_limit=1800)  # type: ignore[untyped-decorator,unused-ignore]
def verify_account(account_id: str) -> None:
    """Verify one account end to end; started by hand alone."""
    accounts.run(account_id, now=timezone.now())


@shared_task(ignore_result=True, soft_time_limit=7000, time_limit=7200)  # type: ignore[untyped-decorator,unused-ignore]
def verify_audit() -> None:
    """Check the audit log's chain; started by hand alone."""
    audit.run()


@shared_task(ignore_result=True, soft_time_limit=1700, time_limit=1800)  # type: ignore[untyped-decorator,unused-ignore]
def refresh_findings() -> None:
    """Examine the trust of roles whose account or mapping has changed."""
    findings.refresh_findings(now=timezone.now())


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator,unused-ignore]
def rotate_keys() -> None:
    """Take the step that is due with the token keys."""
    runs.noted("rotate_keys", lambda: keys.rotate_due(now=timezone.now()))
