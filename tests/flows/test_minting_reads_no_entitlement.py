"""Entitlements are for lists. Whatever is in that table, a mint and the roles page ask the mapping."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from federation import queries
from federation.errors import AccessDenied
from federation.flows import access
from federation.flows.issue_credentials import issue_credentials
from federation.flows.refresh_entitlements import refresh
from federation.mapping.company import Given
from federation.models import Entitlement, entitlements
from tests.cast import NOW, PROD, alice, role

TABLES = ("entitlement", "givenrole", "givenbyrule")


def test_an_entitlement_that_nobody_should_have_mints_nothing(publish, sign_in_as):
    publish()
    person = sign_in_as(alice())
    refresh(now=NOW)
    forged = Given(
        role(PROD, "Owner"), "Owner", PROD, "engineers-develop", ("engineers-develop",), needs_approval=False
    )
    (given_id,) = entitlements.ids_of([forged])
    Entitlement.objects.create(person=person, given_id=given_id, revision=1, since=NOW)
    with pytest.raises(AccessDenied, match="no_matching_rule"):
        access.decide(person.pk, forged.role_arn, now=NOW)
    assert forged.role_arn not in {line.arn for a in queries.my_roles(person, now=NOW).accounts for line in a.roles}


def test_a_mint_needs_no_entitlement_and_asks_for_none(aws, sign_in_as, origin):
    now = timezone.now()
    person = sign_in_as(alice(now=now), at=now)
    assert not Entitlement.objects.exists()
    how = {"duration": None, "policy": None, "channel": "api", "origin": origin, "now": now}
    with CaptureQueriesContext(connection) as asked:
        issue_credentials(person.pk, role(PROD, "ReadOnly"), **how)
        queries.my_roles(person, now=now)
    said = " ".join(query["sql"].lower() for query in asked)
    assert "federation_person" in said
    assert not [table for table in TABLES if table in said]
