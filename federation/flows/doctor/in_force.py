"""The mapping in force: readable, with somebody who owns it, with secrets that can be opened, and callers whose tokens last."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings

from federation.errors import RolegateError
from federation.flows import first_start
from federation.flows.doctor.findings import Finding, counted, ok, problem, span, warning
from federation.mapping.document import parse
from federation.models import current
from federation.models.secrets import reveal
from federation.models.service_tokens import ServiceToken

_TOKEN_ENDS_SOON = timedelta(days=14)


def mapping(now: datetime) -> Iterator[Finding]:
    """There is one, and it gives somebody something; ROLEGATE_CONFIG, where it is set, says the same."""
    configured = list(_configured_file())
    yield from configured
    held = current.mapping()
    document = held.document
    if held.number == 0:
        yield problem(
            "mapping_none", "No mapping document is in force: nobody can sign in.", "Run manage.py apply FILE."
        )
        return
    missing = [
        what
        for what, there in (
            ("identity provider that is enabled", any(provider.enabled for provider in document.identity_providers)),
            ("account", document.accounts),
            ("rule", document.rules or document.delegations),
        )
        if not there
    ]
    if missing:
        yield warning(
            "mapping_gives_nothing",
            f"Revision {held.number} has no {', no '.join(missing)}: nobody gets a role.",
            "Complete it and apply it again (docs/mapping.md).",
        )
    if not any(rule.role == "owner" for rule in document.staff):
        yield warning(
            "no_owner",
            "No group owns the gateway: the console has nobody who may change the mapping; manage.py still can.",
            "Add {role: owner, groups: […]} under staff.",
        )
    providers = [provider.slug for provider in document.identity_providers if provider.enabled]
    open_roles = sorted({rule.role for rule in document.staff if not rule.provider})
    if len(providers) > 1 and open_roles:
        yield warning(
            "staff_of_any_provider",
            f"Whoever runs one of {len(providers)} identity providers ({', '.join(providers)}) can name a group that has rights here ({', '.join(open_roles)}).",
            "Add provider: under staff, with those whose groups you trust with that.",
        )
    if not missing:
        accounts, rules = counted(len(document.accounts), "account"), counted(len(document.rules), "rule")
        yield ok(f"Revision {held.number}: {accounts}, {rules}")


def _configured_file() -> Iterator[Finding]:
    path = settings.ROLEGATE_CONFIG
    if not path:
        return
    try:
        text = Path(path).read_text(encoding="utf-8")
        parse(text)
    except (OSError, UnicodeDecodeError, RolegateError) as error:
        yield problem(
            "config_faulty",
            f"ROLEGATE_CONFIG ({path}) cannot be published: {str(error)[:500]}",
            "manage.py apply FILE --dry-run names every fault. What is in force stays; a new gateway would not start.",
        )
        return
    if not first_start.is_published(text):
        yield warning(
            "config_not_published",
            f"ROLEGATE_CONFIG ({path}) says something else than what was last published from it.",
            "It is published at the next start of the gateway; or now, with manage.py apply.",
        )


def secrets(now: datetime) -> Iterator[Finding]:
    """The client secret of each provider can be opened, or is set in this process's environment."""
    count = 0
    faults = 0
    for provider in current.mapping().document.identity_providers:
        client = provider.client
        if client is None or not provider.enabled or not client.client_secret:
            continue
        count += 1
        try:
            reveal(client.client_secret)
        except RolegateError as error:
            faults += 1
            yield problem(
                "client_secret_unusable",
                f"{provider.slug}: its client secret cannot be used: {error.detail or error.reason}.",
                "Set the variable in the gateway's environment (and in this shell's); or apply the document with the secret once more.",
                provider=provider.slug,
            )
    if not faults:
        yield ok(
            f"{counted(count, 'client secret')}, there and readable" if count else "No provider needs a client secret"
        )


def tokens(now: datetime) -> Iterator[Finding]:
    """Programs' tokens end on a day; better one is made before."""
    living = list(ServiceToken.objects.filter(revoked_at=None, expires_at__gt=now).order_by("expires_at"))
    ending = [token for token in living if token.expires_at - now < _TOKEN_ENDS_SOON]
    for token in ending:
        yield warning(
            "token_ends",
            f"The token {token.name} ({token.scope}) ends in {span(token.expires_at - now)}.",
            "Make the next one with manage.py tokens create, give it to the program, then revoke this one.",
        )
    if not ending:
        yield ok(f"{counted(len(living), 'token')} of programs" if living else "No program has a token")
