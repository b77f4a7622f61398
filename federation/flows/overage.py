"""Groups that the provider left out of its token or assertion: asked of Microsoft Graph, where the mapping document says so.

What Graph does not say stays unknown, and unknown is not none: the sign-in goes on, and every decision says `groups_incomplete`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import structlog

from federation.errors import RolegateError
from federation.flows import provider_documents
from federation.identity import Identity
from federation.mapping.rules import IdentityProvider
from federation.models import current
from federation.models.secrets import reveal
from federation.signin.graph import Application, Graph

log = structlog.get_logger(__name__)
graph = Graph()


def completed(
    provider: IdentityProvider, identity: Identity, object_id: str, mapping: current.CurrentMapping, *, now: datetime
) -> tuple[Identity, str]:
    """The identity with the groups that were left out, and what became of it for the audit log: "" where nothing was asked,
    "ok", or the reason for which they stay unknown. `object_id`: what the verified answer says of it, `Verified.object_id`.
    Never raises for what Graph did. Call it outside a transaction.
    """
    client = provider.client
    if identity.groups_complete or client is None or client.graph is None:
        return identity, ""
    directory = mapping.directory_of(provider.slug)
    if directory is not None and directory.groups == "replace":
        return identity, ""  # the claims' groups do not count
    try:
        discovery = provider_documents.oidc_documents.discovery(client.issuer, now=now)
        application = Application(client, reveal(client.client_secret), discovery.token_endpoint)
        groups = graph.groups_of(application, object_id)
    except RolegateError as error:
        log.warning("graph_groups_not_had", provider=provider.slug, reason=error.reason, detail=error.detail[:300])
        return identity, error.reason
    # What the answer says is signed, and stays.
    return replace(identity, groups=identity.groups | groups, groups_complete=True), "ok"
