"""From an identity provider that was tried, or is to be switched, to a draft of the mapping: nothing is in force before it is published.

Owns what is asked before: a test of exactly this entry before anybody can sign in by it, and a second look where the change
would shut its own author out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import yaml

from federation.audit.events import Origin
from federation.errors import BadRequest, NotFound, RolegateError
from federation.flows import mapping_drafts, provider_certificates, provider_trials
from federation.mapping import editing
from federation.mapping.document import DocumentError, parse
from federation.mapping.rules import IdentityProvider
from federation.mapping.writing import plain_yaml, provider_entry
from federation.models import current
from federation.models.mapping import MappingDraft
from federation.models.people import Person

_SECTION = "identity_providers"
_AT_ONCE = 500


class NotTested(BadRequest):
    """The provider is to be enabled, and no test of exactly this entry has succeeded."""

    code = "provider_not_tested"
    status = 409
    sentence = "Test exactly this entry first, or put it into the draft disabled: whoever signs in by it would be the first to find out."


class ShutsOut(BadRequest):
    """The change takes a way in from its author, every owner, or whoever comes by an old certificate, and was not confirmed. `reason` says which."""

    code = "provider_shuts_out"
    status = 409
    sentence = "This may shut people out, you perhaps among them. Read the warning and confirm it."


class WrittenByHand(BadRequest):
    """The document's text is written in a way in which this entry cannot be changed without rewriting other people's lines."""

    code = "document_not_editable"
    status = 409
    sentence = "The mapping document is written in a way in which this entry cannot be changed by itself. Copy the entry and put it into a draft by hand."


def propose(
    person: Person, trial_id: UUID, *, enabled: bool, confirmed: bool, origin: Origin, now: datetime
) -> MappingDraft:
    """A draft with the entry that was tried. Raises NotFound, NotTested, ShutsOut, WrittenByHand and what drafts raise."""
    trial = provider_trials.find(person, trial_id)
    if enabled and not provider_trials.is_proven(trial):
        raise NotTested("provider_not_tested")
    provider = replace(provider_trials.provider_of(trial), enabled=enabled)
    _refuse_unconfirmed(warnings(person, provider, now=now, trial_id=trial_id), confirmed=confirmed)
    return _draft(person, provider, origin, now)


def switch(person: Person, slug: str, *, enabled: bool, confirmed: bool, origin: Origin, now: datetime) -> MappingDraft:
    """A draft in which a provider of the mapping in force is enabled or disabled. Raises as `propose`, but no NotTested:
    what was in force once was tested by everybody.
    """
    provider = next((one for one in current.mapping().document.identity_providers if one.slug == slug), None)
    if provider is None:
        raise NotFound("no_such_provider")
    changed = replace(provider, enabled=enabled)
    _refuse_unconfirmed(warnings(person, changed, now=now), confirmed=confirmed)
    return _draft(person, changed, origin, now)


def _refuse_unconfirmed(found: tuple[str, ...], *, confirmed: bool) -> None:
    if found and not confirmed:
        raise ShutsOut(found[0], detail=",".join(found))


def _draft(person: Person, provider: IdentityProvider, origin: Origin, now: datetime) -> MappingDraft:
    held = {one.slug: one for one in current.mapping().document.identity_providers}.get(provider.slug)
    what = "added" if held is None else "changed"
    if held is not None and replace(held, enabled=provider.enabled) == provider and held.enabled != provider.enabled:
        what = "enabled" if provider.enabled else "disabled"
    newest = mapping_drafts.newest()
    before = newest.text if newest else "version: 1\n"
    try:
        text = editing.put(before, _SECTION, "slug", _entry(before, provider))
    except editing.NotEditable as error:
        raise WrittenByHand("document_not_editable", detail=str(error)) from error
    comment = f"Identity provider {provider.slug} {what}"
    draft = mapping_drafts.begin(person, origin=origin, now=now, comment=comment)
    return mapping_drafts.save(person, draft.pk, text, version=draft.version, origin=origin, now=now, comment=comment)


def _entry(text: str, provider: IdentityProvider) -> dict[str, Any]:
    """The entry as it should stand: with what its author wrote out although it only repeats a default, if it means the same."""
    wanted = provider_entry(provider)
    written: dict[str, Any] = next(
        (one for one in yaml.safe_load(text).get(_SECTION) or [] if one.get("slug") == provider.slug), {}
    )
    kept = _onto(written, wanted)
    try:
        same = parse(plain_yaml({"version": 1, _SECTION: [kept]})).identity_providers[0] == provider
    except DocumentError:
        same = False
    return kept if same else wanted


def _onto(written: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**written, **wanted}
    if merged.get("enabled") is False and "enabled" not in wanted:
        merged["enabled"] = True
    for key, value in wanted.items():
        if isinstance(value, Mapping) and isinstance(written.get(key), Mapping):
            merged[key] = _onto(written[key], value)
    return merged


def warnings(
    person: Person, provider: IdentityProvider, *, now: datetime, trial_id: UUID | None = None
) -> tuple[str, ...]:
    """What the change would take from its author, or from every owner, as codes: `your_own_way_in`, `your_own_right`,
    `every_owner`; and `certificate_dropped` where sign-ins by a certificate that is in force would not be accepted any more.
    Empty where it takes nothing of the kind.
    """
    mapping = current.mapping()
    found: list[str] = []
    own = person.provider == provider.slug
    if own and not provider.enabled:
        found.append("your_own_way_in")
    if own and provider.enabled and trial_id is not None and _loses_right(person, provider, trial_id, now):
        found.append("your_own_right")
    if provider.enabled and provider_certificates.left_behind(provider, now=now):
        found.append("certificate_dropped")
    held = {one.slug: one for one in mapping.document.identity_providers}.get(provider.slug)
    if held is not None and held.enabled and not provider.enabled and not _other_owner(mapping, provider.slug):
        found.append("every_owner")
    return tuple(found)


def _loses_right(person: Person, provider: IdentityProvider, trial_id: UUID, now: datetime) -> bool:
    """Whether the test was by the author themselves, and the new claim map makes somebody else, or no owner, of them."""
    trial = provider_trials.find(person, trial_id)
    try:
        identity = provider_trials.identity_in(trial, provider, now=now)
    except RolegateError:
        return True  # nobody at all would come in by it
    if identity is None:
        return False
    compiled = current.mapping().compiled
    mine = compiled.is_owner(current.identity_of(person))
    same_person = bool(identity.email) and identity.email.casefold() == person.email.casefold()
    still = compiled.is_owner(identity)
    return mine and same_person and not still


def _other_owner(mapping: current.CurrentMapping, slug: str) -> bool:
    """Whether somebody who is known came by another enabled provider, and their groups make them an owner."""
    others = [one.slug for one in mapping.document.identity_providers if one.enabled and one.slug != slug]
    people = Person.objects.filter(provider__in=others, active=True).iterator(chunk_size=_AT_ONCE)
    return any(mapping.compiled.is_owner(current.identity_of(one)) for one in people)
