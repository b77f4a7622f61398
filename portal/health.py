"""Is the process alive, and can it work? For load balancers and orchestrators; says nothing that is secret.

`HealthMiddleware` belongs before everything else: a probe comes by the pod's address and over plain http, so it
must be answered before the Host check, the redirect to https and the sessions.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.urls import path

from federation.models import current
from federation.models.keys import SigningKey

log = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 5
# What minting needs: without an active key for either, the gateway cannot federate anywhere.
_NEEDED_KEYS = frozenset({SigningKey.Purpose.SAML.value, SigningKey.Purpose.TOKEN.value})


class _Migrations:
    """Remembers that this process has seen all of its own migrations applied: reading the plan costs 100 ms and more.

    They do not come undone under a running process; newer ones are a newer version's business (rolling upgrade).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._applied = False

    def applied(self) -> bool:
        """Whether every migration that this version knows is applied. Raises DatabaseError."""
        if not self._applied:
            with self._lock:
                executor = MigrationExecutor(connection)
                self._applied = not executor.migration_plan(executor.loader.graph.leaf_nodes())
        return self._applied

    def forget(self) -> None:
        """Look again at the next call."""
        self._applied = False


migrations = _Migrations()


def reasons_not_ready() -> list[str]:
    """Why the gateway cannot work now; empty when it can."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        if not migrations.applied():
            return ["migrations_pending"]
        active = set(SigningKey.objects.filter(state=SigningKey.State.ACTIVE).values_list("purpose", flat=True))
    except DatabaseError as error:
        log.warning("not ready: the database %s cannot be used", DEFAULT_DB_ALIAS, exc_info=error)
        connection.close()  # a broken connection must not be what the next probe finds
        return ["database_unreachable"]
    missing = [f"no_active_{purpose}_key" for purpose in sorted(_NEEDED_KEYS - active)]
    return missing or _mapping_unreadable()


def _mapping_unreadable() -> list[str]:
    """A new version that cannot read the mapping in force: whoever updates one process after the other keeps the old ones."""
    try:
        current.mapping()
    except current.MappingUnreadable as error:
        return [error.reason]
    return []


def healthz(request: HttpRequest) -> HttpResponse:
    """200 as long as the process answers; asks nothing of anybody else, so that a database restart restarts no worker."""
    return _answer(request, [])


def readyz(request: HttpRequest) -> HttpResponse:
    """200 when requests can be served: database, migrations, signing keys, a mapping that can be read. Otherwise 503 with the reasons."""
    return _answer(request, reasons_not_ready())


def _answer(request: HttpRequest, reasons: list[str]) -> HttpResponse:
    if request.method not in {"GET", "HEAD"}:
        return HttpResponseNotAllowed(["GET", "HEAD"], headers={"Cache-Control": "no-store"})
    body = {"status": "unavailable", "reasons": reasons} if reasons else {"status": "ok"}
    response = JsonResponse(body, status=503 if reasons else 200)
    response["Cache-Control"] = "no-store"
    if reasons:
        response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


_PROBES = {"/healthz": healthz, "/readyz": readyz}


class HealthMiddleware:
    """Answers the probes before any other middleware sees them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        probe = _PROBES.get(request.path_info)
        return self._get_response(request) if probe is None else probe(request)


urlpatterns = [path("healthz", healthz, name="healthz"), path("readyz", readyz, name="readyz")]
