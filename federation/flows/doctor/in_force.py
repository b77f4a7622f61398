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
from federation.mapping.patterns import MAX_PROGRAMS
from federation.models import current
from federation.models.secrets import reveal
from federation.models.service_tokens import ServiceToken
from federation.said import listed, say

_TOKEN_ENDS_SOON = timedelta(days=14)
_SHOWN_RULES = 10


def mapping(now: datetime) -> Iterator[Finding]:
    """There is one, and it gives somebody something; ROLEGATE_CONFIG, where it is set, says the same."""
    configured = list(_configured_file())
    yield from configured
    try:
        held = current.mapping()
    except current.MappingUnreadable as error:
        yield problem(
            "mapping_unreadable",
            say("This version cannot read the mapping in force: {fault}", fault=error.detail[:500]),
            say(
                "Go on with the version that published it; or apply a document that this one reads: manage.py apply FILE."
            ),
        )
        return
    document = held.document
    if held.number == 0:
        yield problem(
            "mapping_none",
            say("No mapping document is in force: nobody can sign in."),
            say("Run manage.py apply FILE."),
        )
        return
    if held.expressions > MAX_PROGRAMS:
        yield warning(
            "mapping_too_large",
            say(
                "The expressions and globs of revision {revision} are larger together than is accepted of a new document ({size} of {most} instructions). It stays in force.",
                revision=str(held.number),
                size=held.expressions,
                most=MAX_PROGRAMS,
            ),
            say("Make them fewer or smaller: until then no change of it is accepted (docs/mapping.md)."),
        )
    missing = [
        what
        for what, there in (
            (say("no identity provider that is enabled"), any(p.enabled for p in document.identity_providers)),
            (say("no account"), document.accounts),
            (say("no rule"), document.rules or document.delegations),
        )
        if not there
    ]
    if missing:
        yield warning(
            "mapping_gives_nothing",
            say(
                "Revision {revision} has {missing}: nobody gets a role.",
                revision=str(held.number),
                missing=listed(missing),
            ),
            say("Complete it and apply it again (docs/mapping.md)."),
        )
    if not any(rule.role == "owner" for rule in document.staff):
        yield warning(
            "no_owner",
            say("No group owns the gateway: the console has nobody who may change the mapping; manage.py still can."),
            say("Add {{role: owner, groups: […]}} under staff."),
        )
    providers = [provider.slug for provider in document.identity_providers if provider.enabled]
    open_roles = sorted({rule.role for rule in document.staff if not rule.provider})
    if len(providers) > 1 and open_roles:
        yield warning(
            "staff_of_any_provider",
            say(
                "Whoever runs one of the identity providers {providers} can name a group that has rights here: {roles}.",
                providers=listed(providers),
                roles=listed(open_roles),
            ),
            say("Add provider under staff, with those whose groups you trust with that."),
        )
    open_rules = [rule.name for rule in document.rules if rule.approval is not None and not rule.approval.provider]
    if len(providers) > 1 and open_rules:
        yield warning(
            "approval_of_any_provider",
            say(
                "Whoever runs one of the identity providers {providers} can name a group that may say yes: {rules}.",
                providers=listed(providers),
                rules=listed(open_rules[:_SHOWN_RULES]),
            ),
            say("Add provider under approval, with those whose groups you trust with that."),
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
            say("ROLEGATE_CONFIG ({path}) cannot be published: {error}", path=path, error=str(error)[:500]),
            say(
                "manage.py apply FILE --dry-run names every fault. What is in force stays; a new gateway would not start."
            ),
        )
        return
    if not first_start.is_published(text):
        yield warning(
            "config_not_published",
            say("ROLEGATE_CONFIG ({path}) says something else than what was last published from it.", path=path),
            say("It is published at the next start of the gateway; or now, with manage.py apply."),
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
                say(
                    "{provider}: its client secret cannot be used: {reason}.",
                    provider=provider.slug,
                    reason=error.detail or error.reason,
                ),
                say(
                    "Set the variable in the gateway's environment (and in this shell's); or apply the document with the secret once more."
                ),
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
            say(
                "The token {name} ({scope}) ends in {span}.",
                name=token.name,
                scope=token.scope,
                span=span(token.expires_at - now),
            ),
            say("Make the next one with manage.py tokens create, give it to the program, then revoke this one."),
        )
    if not ending:
        yield ok(f"{counted(len(living), 'token')} of programs" if living else "No program has a token")
