"""`/staff/providers/`: identity providers, their health, and trying one before anybody signs in with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from federation.errors import NotFound, RolegateError
from federation.flows import provider_certificates, provider_changes, provider_documents, provider_trials
from federation.flows.provider_trials import TrialFaulty
from federation.mapping.capabilities import Capability
from federation.mapping.writing import plain_yaml, provider_entry
from federation.models.providers import ProviderTrial
from federation.queries import providers as queries
from portal.staff import provider_forms as forms
from portal.staff.guard import staff
from portal.staff.mapping import number_in
from portal.staff.page import page
from portal.staff.provider_words import USES, WARNINGS, words_for
from portal.views.guard import fields_of, origin_of, person_of
from portal.views.sign_in import leave

PROTOCOLS = ("saml", "oidc")


@staff(Capability.SEE_PROVIDERS)
@require_safe
def providers(request: HttpRequest) -> HttpResponse:
    """The list, with what is wrong in words."""
    lines = queries.providers(now=timezone.now())
    return page(request, "staff/providers.html", {"lines": [(line, words_for(line.why)) for line in lines]})


@staff(Capability.SEE_PROVIDERS)
@require_safe
def provider(request: HttpRequest, slug: str) -> HttpResponse:
    """One provider: our values, its documents and certificates, its claims."""
    line = queries.provider(slug, now=timezone.now())
    entry = provider_entry(line.provider)
    said = request.GET.get("said", "")
    changed = replace(line.provider, enabled=not line.provider.enabled)
    context = {
        "line": line,
        "warnings": _warnings(provider_changes.warnings(person_of(request), changed, now=timezone.now())),
        "why": words_for(line.why) if line.why else "",
        "ours": queries.values_for(slug, line.protocol),
        "entry_text": plain_yaml([entry]),
        "said": said,
        "said_words": "" if said in {"", "fetched"} else words_for(said),
        "own": person_of(request).provider == slug,
        "can_roll": provider_certificates.can_roll(line.provider),
    }
    return page(request, "staff/provider.html", context)


@staff(Capability.MANAGE_PROVIDERS)
@require_POST
def refresh(request: HttpRequest, slug: str) -> HttpResponse:
    """Ask the provider for its documents now."""
    line = queries.provider(slug, now=timezone.now())
    said = provider_documents.refresh(line.provider, now=timezone.now())
    return HttpResponseRedirect(f"{reverse('staff-provider', args=[slug])}?said={said}")


@staff(Capability.MANAGE_PROVIDERS)
@require_POST
def try_provider(request: HttpRequest, slug: str) -> HttpResponse:
    """Take the entry in force into a trial: to test it, or to change it."""
    line = queries.provider(slug, now=timezone.now())
    trial = provider_trials.begin(person_of(request), provider_entry(line.provider), now=timezone.now())
    part = "#rolled" if fields_of(request).get("part") == "certificates" else ""
    return HttpResponseRedirect(reverse("staff-provider-trial", args=[trial.pk]) + part)


@staff(Capability.MANAGE_PROVIDERS)
@require_POST
def certificates(request: HttpRequest, trial_id: UUID) -> HttpResponse:
    """One certificate more in the entry, one that is in force kept beside it, or one dropped."""
    person, fields, now = person_of(request), fields_of(request), timezone.now()
    try:
        if "drop" in fields:
            provider_certificates.drop(person, trial_id, fields["drop"], now=now)
        elif "keep" in fields:
            provider_certificates.keep(person, trial_id, fields["keep"], now=now)
        else:
            provider_certificates.add(person, trial_id, fields.get("certificate", ""), now=now)
    except provider_certificates.CertificateRefused as error:
        held = provider_trials.find(person, trial_id)
        faults = (("certificate", str(words_for(error.reason))),)
        return _form(request, held, provider_trials.entry_of(held), faults, pasted=fields.get("certificate", ""))
    return HttpResponseRedirect(reverse("staff-provider-trial", args=[trial_id]) + "?rolled=1#rolled")


@staff(Capability.MANAGE_PROVIDERS)
@require_http_methods(["GET", "HEAD", "POST"])
def add(request: HttpRequest) -> HttpResponse:
    """A new provider: first our values, which follow from its short name; then where its own are."""
    protocol = request.GET.get("protocol", "")
    slug = request.GET.get("slug", "").strip()
    if protocol not in PROTOCOLS or not slug:
        context: dict[str, Any] = {"protocol": protocol or "saml", "slug": slug, "faults": []}
        if request.GET:
            context["faults"] = [("slug", _("Give it a short name of lower-case letters, digits and hyphens."))]
        return page(request, "staff/provider_add.html", context, status=422 if request.GET else 200)
    if request.method == "POST":
        entry = forms.entry_from({**fields_of(request), "slug": slug}, {protocol: {}, "enabled": False})
        try:
            trial = provider_trials.begin(person_of(request), entry, now=timezone.now())
        except TrialFaulty as error:
            return _form(request, None, entry, error.faults)
        return HttpResponseRedirect(reverse("staff-provider-trial", args=[trial.pk]))
    entry = {"slug": slug, "name": "", protocol: {}, "enabled": False}
    taken = next((line for line in queries.providers(now=timezone.now()) if line.provider.slug == slug), None)
    if taken is not None:
        faults = [("slug", _("There is a provider with this short name already."))]
        return page(
            request, "staff/provider_add.html", {"protocol": protocol, "slug": slug, "faults": faults}, status=422
        )
    return _form(request, None, entry, ())


@staff(Capability.MANAGE_PROVIDERS)
@require_http_methods(["GET", "HEAD", "POST"])
def trial(request: HttpRequest, trial_id: UUID) -> HttpResponse:
    """An entry that is being tried; a POST keeps another one."""
    person, now = person_of(request), timezone.now()
    held = provider_trials.find(person, trial_id)
    if request.method == "POST":
        entry = forms.entry_from(fields_of(request), provider_trials.entry_of(held))
        try:
            changed = provider_certificates.change(person, trial_id, entry, now=now)
        except TrialFaulty as error:
            return _form(request, held, entry, error.faults)
        beside = f"&beside={changed.kept}#rolled" if changed.kept else ""
        return HttpResponseRedirect(f"{reverse('staff-provider-trial', args=[trial_id])}?saved=1{beside}")
    return _form(request, held, provider_trials.entry_of(held), ())


@staff(Capability.MANAGE_PROVIDERS)
@require_POST
def sample(request: HttpRequest, trial_id: UUID) -> HttpResponse:
    """What the claims in the form would make of what the last test received; nothing is kept."""
    held = provider_trials.find(person_of(request), trial_id)
    entry = forms.entry_from(fields_of(request), provider_trials.entry_of(held))
    try:
        tried = provider_trials.read(entry)
    except TrialFaulty as error:
        return page(
            request, "staff/_provider_result.html", {"faults": forms.fields_of_faults(error.faults)[1]}, status=422
        )
    return page(request, "staff/_provider_result.html", _result(held, tried, timezone.now()))


@staff(Capability.MANAGE_PROVIDERS)
@require_POST
def begin_test(request: HttpRequest, trial_id: UUID) -> HttpResponse:
    """Off to the provider, by a page of ours: one's own session stays as it is."""
    person = person_of(request)
    held = provider_trials.find(person, trial_id)
    try:
        url = provider_trials.begin_test(person, trial_id, origin=origin_of(request), now=timezone.now())
    except RolegateError as error:
        if error.status == 429:
            raise
        entry = provider_trials.entry_of(held)
        return _form(request, held, entry, (), begin_error=error)
    return leave(
        request, url, heading=_("Off to the provider"),
        explanation=_("Sign in there as somebody whose groups you know. You stay signed in here as who you are."),
    )  # fmt: skip


@staff(Capability.MANAGE_PROVIDERS)
@require_POST
def propose(request: HttpRequest, trial_id: UUID) -> HttpResponse:
    """Put the entry into a draft of the mapping."""
    fields = fields_of(request)
    draft = provider_changes.propose(
        person_of(request), trial_id, enabled=fields.get("enabled") == "on", confirmed=fields.get("confirmed") == "on",
        origin=origin_of(request), now=timezone.now(),
    )  # fmt: skip
    return HttpResponseRedirect(reverse("staff-mapping-draft", args=[draft.pk]))


@staff(Capability.MANAGE_PROVIDERS)
@require_POST
def switch(request: HttpRequest, slug: str) -> HttpResponse:
    """A draft in which a provider in force is enabled or disabled."""
    fields = fields_of(request)
    draft = provider_changes.switch(
        person_of(request), slug, enabled=fields.get("to") == "enabled", confirmed=fields.get("confirmed") == "on",
        origin=origin_of(request), now=timezone.now(),
    )  # fmt: skip
    return HttpResponseRedirect(reverse("staff-mapping-draft", args=[draft.pk]))


def _warnings(codes: tuple[str, ...]) -> list[str | Promise]:
    return [WARNINGS[code] for code in codes]


def _form(
    request: HttpRequest,
    held: ProviderTrial | None,
    entry: Mapping[str, Any],
    faults: tuple[tuple[str, str], ...],
    begin_error: RolegateError | None = None,
    *,
    pasted: str = "",
) -> HttpResponse:
    """The page with the form: for a new provider, or for one that is being tried."""
    by_field, listed = forms.fields_of_faults(faults)
    protocol = forms.protocol_of(entry)
    context: dict[str, Any] = {
        "trial": held,
        "values": forms.values_of(entry),
        "protocol": protocol,
        "ours": queries.values_for(str(entry["slug"]), protocol),
        "fault": by_field,
        "faults": listed,
        "usual_mfa": forms.usual_claims(protocol).mfa,
        "saved": request.GET.get("saved") == "1",
        "was_rolled": request.GET.get("rolled") == "1",
        "beside": number_in(request.GET.get("beside", "")) or 0,
        "pasted": pasted,
        "begin_error": begin_error,
        "begin_words": words_for(begin_error.reason) if begin_error else "",
    }
    if held is not None:
        now = timezone.now()
        tried = provider_trials.provider_of(held)
        context |= _result(held, tried, now)
        # Of pasted metadata: the new beside those in force, before the old ones go.
        if tried.saml is not None and tried.saml.metadata_xml:
            context["rolled"] = queries.rolled(held, tried, now=now)
            context["can_roll"] = provider_certificates.can_roll(tried)
        found = provider_changes.warnings(person_of(request), tried, now=now, trial_id=held.pk)
        context |= {"warnings": _warnings(found)}
        context |= {"entry_text": plain_yaml([dict(entry)]), "proven": provider_trials.is_proven(held)}
        try:
            context["in_force"] = queries.provider(held.slug, now=now)
        except NotFound:
            context["in_force"] = None
    status = 422 if listed else begin_error.status if begin_error and begin_error.status < 500 else 200
    return page(request, "staff/provider_trial.html", context, status=status)


def _result(held: ProviderTrial, tried: Any, now: datetime) -> dict[str, Any]:
    result = queries.test_result(held, tried, now=now)
    return {
        "trial": held,
        "tested": bool(held.outcome),
        "reason_words": words_for(held.reason) if held.reason else "",
        "fault_words": words_for(result.fault) if result.fault else "",
        "result": result,
        "claims": [
            (claim, [USES.get(use, use.removeprefix("attributes.")) for use in claim.read_as])
            for claim in result.claims
        ],
        "grants": result.grants[:20],
        "more_grants": max(0, len(result.grants) - 20),
    }
