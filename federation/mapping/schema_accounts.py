"""Account selectors, and the two sections built on them: `staff` and `delegations`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from federation.mapping import leaves
from federation.mapping.patterns import is_glob
from federation.mapping.reading import Value, quoted
from federation.mapping.rolearn import ACCOUNT_ID
from federation.mapping.rules import Account, AccountSelector, Delegation, StaffRole, StaffRule
from federation.said import say

_STAFF_ROLES = ("owner", "mapper", "account-owner", "approver", "auditor")


@dataclass(frozen=True, slots=True)
class Known:
    """What the rest of the document may refer to. `attributes` is None where no provider is declared."""

    providers: frozenset[str]
    attributes: frozenset[str] | None
    accounts: Mapping[str, Account]
    names: frozenset[str]


def read_selector(value: Value, known: Known) -> AccountSelector | None:
    """`{ids, names, tags, organizational_units}`, or a list (or one) of ids and name globs."""
    if value.node.kind != "mapping":
        entries = value.texts(lambda v: _id_or_name(v, known), scalar_too=True)
        ids = tuple(entry for entry in entries if ACCOUNT_ID.fullmatch(entry))
        return (
            AccountSelector(ids=ids, names=tuple(entry for entry in entries if entry not in ids)) if entries else None
        )
    fields = value.fields(("ids", "names", "tags", "organizational_units"))
    if not value.node.entries:
        value.fault(
            say(
                "an empty selector chooses nothing; leave accounts out for every account, or say which: ids, names, tags, organizational_units"
            )
        )
    return AccountSelector(
        ids=fields.read("ids", lambda v: v.texts(leaves.account_id, scalar_too=True), ()),
        names=fields.read("names", lambda v: v.texts(lambda name: _name(name, known), scalar_too=True), ()),
        tags=fields.read("tags", _wanted_tags, {}),
        organizational_units=fields.read("organizational_units", lambda v: v.texts(leaves.glob, scalar_too=True), ()),
    )


def _id_or_name(value: Value, known: Known) -> str | None:
    if value.node.kind == "integer" or ACCOUNT_ID.fullmatch(value.node.text):
        return leaves.account_id(value)
    return _name(value, known)


def _name(value: Value, known: Known) -> str | None:
    text = leaves.glob(value)
    # A misspelt account in a deny would silently deny nothing.
    if text is not None and not is_glob(text) and text not in known.names:
        value.fault(
            say("no account of this document is called {name}", name=quoted(text)), value.near(text, known.names)
        )
        return None
    return text


def _wanted_tags(value: Value) -> dict[str, tuple[str, ...]]:
    wanted = {}
    entries = value.entries(say("a mapping from tag to its value or values"))
    if value.node.kind == "mapping" and not entries:
        value.fault(say("name at least one tag, or leave tags out"))
    for key, entry in entries:
        wanted[key] = entry.texts(lambda v: v.text(longest=256, empty=True), scalar_too=True)
    return wanted


def read_providers(value: Value, known: Known) -> tuple[str, ...]:
    """One or more slugs of identity providers of this document."""
    return value.texts(lambda item: _provider(item, known), scalar_too=True)


def _provider(value: Value, known: Known) -> str | None:
    slug = leaves.slug(value)
    if slug is not None and known.providers and slug not in known.providers:
        value.fault(
            say("no identity provider of this document has the slug {slug}", slug=quoted(slug)),
            value.near(slug, known.providers),
        )
        return None
    return cast("str | None", slug)


def read_staff(value: Value, known: Known) -> StaffRule:
    """One entry of `staff`."""
    fields = value.fields(("role", "groups", "accounts", "provider"), required=("role", "groups"))
    role = fields.read("role", leaves.choice(*_STAFF_ROLES), "auditor")
    selector = fields.read("accounts", lambda v: read_selector(v, known), None)
    if role == "account-owner" and "accounts" not in fields:
        value.fault(say("an account-owner owns some accounts: name them under accounts"))
    if role != "account-owner" and (entry := fields.get("accounts")):
        entry.fault(say("accounts belongs to account-owner; the role {role} counts for the whole gateway", role=role))
    return StaffRule(
        role=cast("StaffRole", role),
        groups=fields.read("groups", lambda v: v.each(leaves.group_match, scalar_too=True), ()),
        accounts=selector,
        provider=fields.read("provider", lambda v: read_providers(v, known), ()),
    )


def read_delegation(value: Value, known: Known) -> Delegation:
    """One entry of `delegations`."""
    fields = value.fields(("accounts", "groups", "max_duration", "provider"), required=("accounts", "groups"))
    return Delegation(
        accounts=fields.read("accounts", lambda v: read_selector(v, known), AccountSelector()),
        groups=fields.read("groups", lambda v: v.texts(leaves.glob, scalar_too=True), ()),
        max_duration=fields.read("max_duration", leaves.session_duration, None),
        provider=fields.read("provider", lambda v: read_providers(v, known), ()),
    )
