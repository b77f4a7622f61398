"""`manage.py who` and `explain --at`: the auditor's questions from a terminal."""

import json
from datetime import timedelta

import pytest
from django.core.management import CommandError
from django.utils import timezone

from federation.models import Person, Role, Source
from tests import cast

READ = cast.role(cast.PROD, "ReadOnly")


@pytest.fixture
def people(publish, sign_in_as):
    at = timezone.now()
    publish(at=at - timedelta(days=9))
    earlier = at - timedelta(days=5)
    sign_in_as(cast.alice(now=earlier), at=earlier)
    sign_in_as(cast.alice(now=at), at=at)
    sign_in_as(cast.bob(now=at), at=at)


def test_everybody_who_can_use_a_role_is_listed_with_the_rule(run, people):
    said = run("who", READ)
    assert "alice@example.com  corp:alice  engineers-read-production" in said
    assert "bob" not in said
    assert said.endswith("1 person(s).\n")


def test_whoever_has_the_role_and_signed_in_long_ago_is_listed_and_said_to(run, people):
    """On Monday at nine nobody's sign-in is new, and everybody has what they had on Friday."""
    Person.objects.filter(subject="alice").update(claims_at=timezone.now() - timedelta(days=3))
    said = run("who", READ)
    assert "corp:alice  engineers-read-production (must sign in again first)" in said
    assert said.endswith("1 person(s); 1 of them must sign in first.\n")
    assert json.loads(run("who", READ, "--json"))["must_sign_in"] is True


def test_as_json_it_is_one_object_a_line(run, people):
    lines = [json.loads(line) for line in run("who", READ, "--json").splitlines()]
    assert [(line["subject"], line["rule"]) for line in lines] == [("alice", "engineers-read-production")]


def test_at_a_past_moment(run, people):
    day = (timezone.now() - timedelta(days=7)).date().isoformat()
    assert run("who", READ, "--at", day) == "0 person(s).\n"
    assert "No sign-in of this person is known" in run("explain", "alice", READ, "--at", day)
    later = (timezone.now() - timedelta(days=4)).isoformat()
    assert "1 person(s)." in run("who", READ, "--at", later)
    assert "Yes." in run("explain", "alice", READ, "--at", later)


@pytest.mark.parametrize(
    ("arn", "words"),
    [
        (cast.role(cast.PROD, "ReadOnli"), f"The account {cast.PROD} had no such role at that moment."),
        (cast.role("999999999999", "ReadOnly"), "does not name the account 999999999999."),
    ],
)
def test_a_role_that_is_not_known_is_said_to_be(run, people, capsys, arn, words):
    """A slip of the pen must not read as "nobody could"."""
    now = timezone.now()
    made = now - timedelta(days=8)
    Role.objects.create(arn=READ, account_id=cast.PROD, name="ReadOnly", seen_at=made, created_at=made)
    Source.objects.create(key=f"account:{cast.PROD}", state="ok", succeeded_at=made)
    for at in ((), ("--at", (now - timedelta(days=4)).isoformat())):
        capsys.readouterr()
        assert run("who", arn, *at) == "0 person(s).\n"
        assert words in capsys.readouterr().err
        run("who", READ, *at)
        assert capsys.readouterr().err == ""


def test_the_story_says_revision_and_claims(run, people):
    assert "By revision 1 at " in run("explain", "alice", READ)
    document = json.loads(run("explain", "alice", READ, "--json"))
    assert (document["revision"], document["stopped_by"], document["last_use"]) == (1, None, None)


def test_what_is_no_moment_is_said(run, people):
    with pytest.raises(CommandError, match=r"is no moment: write 2026-05-03"):
        run("who", READ, "--at", "yesterday")
    with pytest.raises(CommandError, match=r"no_revision_then"):
        run("who", READ, "--at", "2001-01-01")
