"""Roles that a command line paired by a typed code does not get: `ROLEGATE_DEVICE_EXCLUDED_ROLES`.

A typed code can be somebody else's: a stranger starts the pairing and talks the person into typing it (RFC 8628 section
5.4, device code phishing). A loopback redirect cannot leave the person's own machine. So what matters most can be kept
for clients that were paired that way; everything else goes on as it was.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from django.conf import settings

from federation.errors import AccessDenied
from federation.mapping.rules import Account, is_production

BROWSER = "authorization_code"


class PairingTooWeak(AccessDenied):
    """The role is kept out of the device flow; `reason` is pairing_too_weak."""

    code = "pairing_too_weak"
    sentence = "This role is not given to command lines that were paired by a typed code. Sign in on a machine with a browser: rolegate login --browser."


def refuse_by_pairing(account: Account, role_arn: str, paired_by: str | None) -> None:
    """Raises PairingTooWeak where the role matches a pattern and the client was not paired by a browser's redirect.

    `paired_by`: the family's grant; "" (paired before it was written down) counts as weak; None: no client at all, the portal.
    """
    if paired_by in {None, BROWSER}:
        return
    # What keeps out is the wider one in each doubt, as a deny is: IAM does not tell role names apart by case.
    path = role_arn.split(":role/", 1)[-1].casefold()
    names = {path, path.rsplit("/", 1)[-1]}
    environment = account.tags.get("environment", "").strip()
    places = {place.casefold() for place in (account.name, account.id, environment) if place}
    if is_production(account):
        places.add("production")
    for pattern in settings.ROLEGATE_DEVICE_EXCLUDED_ROLES:
        where, _, which = pattern.casefold().partition("/")
        if any(fnmatchcase(place, where) for place in places) and any(fnmatchcase(name, which) for name in names):
            raise PairingTooWeak("pairing_too_weak", role_arn=role_arn)
