"""Propose a narrower rule, out of who has used what it gives: the text of a draft, which nobody but a person publishes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from federation.errors import BadRequest, NotFound
from federation.flows import company
from federation.mapping.document import DocumentError, parse
from federation.mapping.editing import NotEditable
from federation.mapping.narrowing import Holder, Narrower, as_text, narrower
from federation.models import current
from federation.models.audit_digest import RoleUse
from federation.models.catalogue import ACCOUNT
from federation.models.entitlements import Entitlement, GivenByRule, GivenRole
from federation.models.mapping import MappingRevision
from federation.models.people import Person
from federation.models.sync import Source


class RuleNotNarrowable(BadRequest):
    """The rule's place in the document is written in a way that cannot be changed by itself."""

    code = "rule_not_narrowable"
    sentence = "This rule cannot be changed without rewriting what stands around it. Change it by hand."


@dataclass(frozen=True, slots=True)
class Proposal:
    """`found`: what would change, None where every part of the rule is used. `text`: the whole document with it, and `revision`
    the one that it was made from. `days`: how far back uses were looked for.
    """

    found: Narrower | None
    text: str
    revision: int
    days: int


def propose(name: str, *, now: datetime, days: int = 90) -> Proposal:
    """A narrower rule instead of the rule `name` of the document in force. Raises NotFound, RuleNotNarrowable.

    Costs as many statements as there are pieces of 500 people who have something by the rule, and five.
    """
    mapping = current.mapping()
    row = MappingRevision.objects.filter(pk=mapping.number).first()
    rule = next((rule for rule in mapping.document.rules if rule.name == name), None)
    if row is None or rule is None or not rule.line:
        raise NotFound("rule_unknown", sentence="The mapping document in force has no rule of this name.")
    holders = _holders(name, mapping, now, now - timedelta(days))
    known = Source.objects.filter(key__startswith=ACCOUNT, succeeded_at__isnull=False).values_list("key", flat=True)
    found = narrower(rule, mapping.document, holders, {key.removeprefix(ACCOUNT) for key in known})
    if found is None:
        return Proposal(None, row.text, mapping.number, days)
    try:
        text = as_text(row.text, name, found)
        parse(text)
    except (NotEditable, DocumentError) as error:
        raise RuleNotNarrowable("rule_not_narrowable", detail=str(error)) from error
    return Proposal(found, text, mapping.number, days)


def _holders(name: str, mapping: current.CurrentMapping, now: datetime, since: datetime) -> list[Holder]:
    """Everybody who has something by the rule, with their groups, and what of it they have used since then."""
    givens = GivenByRule.objects.filter(rule=name).values("given_id")
    arns = set(GivenRole.objects.filter(pk__in=givens).values_list("role_arn", flat=True))
    used: dict[object, set[str]] = {}
    for who, arn in RoleUse.objects.filter(last_used_at__gte=since, role_arn__in=arns).values_list(
        "person_id", "role_arn"
    ):
        used.setdefault(who, set()).add(arn)
    ids = iter(
        Entitlement.objects.filter(given__in=givens)
        .order_by("person_id")
        .values_list("person_id", flat=True)
        .distinct()
    )
    holders: list[Holder] = []
    while some := list(islice(ids, company.AT_ONCE)):
        people = list(Person.objects.filter(pk__in=some).order_by("pk"))
        holders += [
            Holder(member.identity.groups, frozenset(used.get(member.person.pk, ())))
            for member in company.members(people, mapping, now=now)
            if member.identity is not None
        ]
    return holders
