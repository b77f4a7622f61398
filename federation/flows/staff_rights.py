"""What a person may do in the gateway's own console: decided at each use, on today's mapping and the directory's latest word.

Nothing about it is kept in a session: whoever leaves the group is out at the next click.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from federation.audit.events import Kind, Origin
from federation.errors import ClaimsTooOld, RateLimited, RolegateError
from federation.flows import rate_limits
from federation.flows.access import fresh_identity
from federation.flows.refusals import record_refusal
from federation.identity import Identity
from federation.mapping import capabilities
from federation.mapping.capabilities import Capability, Powers
from federation.models import current
from federation.models.people import Person


class StaffForbidden(RolegateError):
    """The person's rights do not cover this part of the console, or not this account; `reason` is the capability."""

    code = "staff_forbidden"
    status = 403
    sentence = (
        "Your groups do not give you this part of the console. Ask an owner of the gateway, and mention the request id."
    )


def powers_of(identity: Identity, mapping: current.CurrentMapping) -> Powers:
    """The powers of an identity under a mapping. Asks no database."""
    compiled = mapping.compiled
    held = [
        (entry.role, None if entry.accounts is None else [account.id for account in compiled.accounts_of(entry.accounts)])
        for entry in compiled.staff_rights(identity)
    ]  # fmt: skip
    return capabilities.powers(held, stale=identity.directory_stale)


def powers(person: Person, *, now: datetime) -> Powers:
    """The person's powers now.

    Raises PersonDisabled, ClaimsTooOld, UnknownProvider, NotInDirectory, GroupsIncomplete.
    """
    mapping = current.mapping()
    return powers_of(fresh_identity(person, mapping, now=now), mapping)


def glance(person: Person, *, now: datetime) -> Powers:
    """The same for a page that only wants to know whether to show a link: what cannot be decided is nothing. Never raises for that."""
    try:
        return powers(person, now=now)
    except RolegateError:
        return capabilities.NONE


def require(
    person: Person, capability: Capability, *, account_id: str | None, path: str, origin: Origin, now: datetime
) -> Powers:
    """The person's powers, with `capability` among them (for this account). A refusal is audited, and counted: RateLimited.

    Raises StaffForbidden, RateLimited, and what `powers` raises.
    """
    try:
        found = powers(person, now=now)
        if found.may(capability, account_id):
            return found
        raise StaffForbidden(capability.value)
    except ClaimsTooOld:
        raise  # no refusal: a new sign-in, and they are back
    except RolegateError as error:
        asked = _Asked(person, capability, account_id or "", path)
        try:
            rate_limits.hit("staff_refused", person=str(person.pk), address="", now=now)
        except RateLimited as flood:
            _record_refusal(flood, asked, origin, now)
            raise flood from error
        _record_refusal(error, asked, origin, now)
        raise


@dataclass(frozen=True, slots=True)
class _Asked:
    """Who wanted to do what, for which account ("" for none in particular), at which address of the console."""

    person: Person
    capability: Capability
    account_id: str
    path: str


def _record_refusal(error: RolegateError, asked: _Asked, origin: Origin, now: datetime) -> None:
    record_refusal(
        Kind.STAFF_REFUSED,
        error,
        actor=asked.person.actor,
        origin=origin,
        now=now,
        person=str(asked.person.pk),
        capability=asked.capability.value,
        account=asked.account_id,
        path=asked.path[:500],
    )
