"""A narrower rule is proposed out of the log and the people's groups, as the text of a document that is otherwise the same."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction

from federation.audit.events import Kind, Origin
from federation.audit.record import record
from federation.errors import NotFound
from federation.flows import refresh_entitlements
from federation.flows.digest_audit import digest
from federation.flows.narrow_rule import RuleNotNarrowable, propose
from federation.flows.refresh_entitlements import refresh
from federation.mapping.document import parse
from federation.models import Role, Source
from tests import cast
from tests.cast import DEV, NOW, PROD, STAGING, identity, role

WIDE = """\
  - name: wide
    when: {groups: [engineering, sales, "ext-*"]}   # to be tidied up
    allow: {roles: [Ops, Idle], accounts: {tags: {team: shop}}}
"""


@pytest.fixture
def company(monkeypatch, publish, sign_in_as):
    monkeypatch.setattr(refresh_entitlements, "_last", None)
    monkeypatch.setattr(refresh_entitlements.company, "AT_ONCE", 2)
    publish(cast.DOCUMENT + WIDE)
    people = {
        name: sign_in_as(identity(name, groups=groups))
        for name, groups in {
            "ann": ("engineering",),
            "ben": ("sales",),
            "eve": ("ext-acme", "mail"),
            "fay": ("engineering", "mail"),
            "guy": ("ext-other",),
        }.items()
    }
    refresh(now=NOW)
    return people


def uses(person, arn, *, days_ago=1):
    with transaction.atomic():
        at = NOW - timedelta(days_ago)
        data = {"person": str(person.pk), "role_arn": arn, "rule": "wide"}
        record(Kind.CREDENTIALS, actor="corp:x", outcome="ok", origin=Origin("r", ""), now=at, **data)
    digest()


def test_what_was_used_is_what_stays(company):
    uses(company["ann"], role(DEV, "Ops"))
    uses(company["eve"], role(STAGING, "Ops"), days_ago=30)
    uses(company["ben"], role(PROD, "Idle"), days_ago=200)
    found = propose("wide", now=NOW)
    assert found.found.changes == (
        "Leave out the group sales: none of its people uses what the rule gives.",
        "Leave out the role Idle: nobody uses it.",
    )
    assert (found.found.people, found.found.users, found.revision, found.days) == (5, 2, 1, 90)
    before, after = parse(cast.DOCUMENT + WIDE), parse(found.text)
    assert after.rules[:-1] == before.rules[:-1]
    assert [match.pattern for match in after.rules[-1].when.groups] == ["engineering", "ext-*"]
    assert "# to be tidied up" in found.text
    longer = propose("wide", now=NOW, days=365)
    assert longer.found is None
    assert parse(longer.text) == before


def test_a_rule_that_nobody_uses_goes(company):
    found = propose("wide", now=NOW)
    assert found.found.rule is None
    assert parse(found.text) == parse(cast.DOCUMENT)


def test_globs_are_made_exact_where_the_accounts_are_known(company, publish):
    publish(cast.DOCUMENT + WIDE.replace("[Ops, Idle]", '["O*"]'))
    arns = [role(account, name) for account in (PROD, STAGING, DEV) for name in ("Ops", "Other")]
    Role.objects.bulk_create(
        [Role(arn=a, account_id=a.split(":")[4], name=a.rpartition("/")[2], seen_at=NOW) for a in arns]
    )
    for account in (PROD, STAGING, DEV):
        Source.objects.create(key=f"account:{account}", version=1, succeeded_at=NOW)
    refresh(now=NOW)
    uses(company["ann"], role(DEV, "Ops"))
    assert propose("wide", now=NOW).found.rule.allow.roles == ("Ops",)


@pytest.mark.usefixtures("company")
def test_a_rule_that_is_not_there():
    with pytest.raises(NotFound, match="rule_unknown"):
        propose("nothing", now=NOW)


def test_before_the_first_revision_there_is_none(db):
    with pytest.raises(NotFound, match="rule_unknown"):
        propose("wide", now=NOW)


def test_a_rule_that_cannot_be_taken_out_by_itself_says_so(company, publish):
    head = cast.DOCUMENT.split("mapping:\n")[0]
    publish(head + "mapping:\n" + WIDE)
    refresh(now=NOW)
    with pytest.raises(RuleNotNarrowable):
        propose("wide", now=NOW)
