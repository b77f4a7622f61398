"""`manage.py explain`: yes or no, rule by rule, as text and as JSON."""

import json

import pytest
from django.core.management import CommandError
from django.utils import timezone

from tests import cast

READ = cast.role(cast.PROD, "ReadOnly")


@pytest.fixture
def people(publish, sign_in_as):
    publish()
    at = timezone.now()
    return sign_in_as(cast.alice(now=at), at=at), sign_in_as(cast.bob(now=at), at=at)


def test_a_yes_names_the_rule_and_its_reasons(run, people):
    said = run("explain", "alice@example.com", READ)
    lines = said.splitlines()
    assert lines[:2] == [READ, "Yes."]
    assert any(line.startswith("engineers-read-production gives it (line ") for line in lines)
    assert any(line.startswith("no-contractors-in-production does not deny it") for line in lines)


def test_a_no_names_the_rule_that_denies(run, people):
    said = run("explain", "corp:bob", READ)
    assert "No: a rule denies it." in said
    assert "no-contractors-in-production denies it" in said


def test_a_role_of_no_rule_is_a_no(run, people):
    assert "No: no rule gives it." in run("explain", "alice", cast.role(cast.PROD, "Owner"))


def test_as_json_it_is_for_programs(run, people):
    document = json.loads(run("explain", "alice", READ, "--json"))
    assert (document["role_arn"], document["allowed"], document["rule"]) == (READ, True, "engineers-read-production")
    assert [rule["effect"] for rule in document["rules"] if rule["matched"]] == ["allow"]
    document = json.loads(run("explain", "bob", READ, "--json"))
    assert (document["allowed"], document["code"], document["rule"]) == (False, "denied_by_rule", None)


def test_who_signs_in_at_two_providers_is_explained_as_each(run, people, sign_in_as):
    at = timezone.now()
    sign_in_as(cast.identity("alice-7", provider="entra", email="alice@example.com", groups=(), now=at), at=at)
    said = run("explain", "alice@example.com", READ)
    first, second = said.split("As entra:alice-7:\n")
    assert first.splitlines()[:3] == ["As corp:alice:", READ, "Yes."]
    assert second.splitlines()[:2] == [READ, "No: no rule gives it."]
    documents = json.loads(run("explain", "alice@example.com", READ, "--json"))
    assert [(one["person"], one["allowed"]) for one in documents] == [("corp:alice", True), ("entra:alice-7", False)]
    assert json.loads(run("explain", "corp:alice", READ, "--json"))["person"] == "corp:alice"


@pytest.mark.parametrize(
    ("who", "arn", "code"), [("nobody", READ, "not_found: person_not_found"), ("alice", "ReadOnly", "arn")]
)
def test_what_cannot_be_explained_is_one_sentence(run, people, who, arn, code):
    with pytest.raises(CommandError, match=code):
        run("explain", who, arn)
