"""The demo's parts fit together: the mapping document, the cast, the accounts in the local AWS, the child processes."""

from __future__ import annotations

import re
import sys

import psutil
import pytest
import yaml

from demo import estate
from demo.cast import CAST, check_password
from demo.company import accounts, past, people
from demo.company.accounts import FOR_PEOPLE
from demo.processes import Child, DemoFailed, run, wait_for
from federation.mapping.document import parse

# Role -> the longest session that it allows, of those in the estate and those of the whole company.
LONGEST = {**{role: seconds for role, (seconds, _) in FOR_PEOPLE.items()}, **estate.ROLES}
DOCUMENT = yaml.safe_load(estate.MAPPING.read_text())


def test_the_gateway_takes_the_mapping_document(monkeypatch):
    monkeypatch.setenv("DEMO_OIDC_SECRET", "a-secret-that-is-public")
    document = parse(estate.MAPPING.read_text())
    assert [rule.name for rule in document.rules] == [rule["name"] for rule in DOCUMENT["mapping"]]


def named_roles(rule):
    """The roles that a rule gives by their exact name; a pattern gives what an owner makes."""
    return [role for role in rule.get("allow", {}).get("roles", []) if "*" not in role]


def test_every_role_that_a_rule_gives_exists():
    given = {role for rule in DOCUMENT["mapping"] for role in named_roles(rule)}
    assert given <= LONGEST.keys()
    expression = next(
        group["regex"]
        for rule in DOCUMENT["mapping"]
        for group in rule.get("when", {}).get("groups", [])
        if isinstance(group, dict)
    )
    named = [match for actor in CAST.values() for group in actor.groups if (match := re.match(expression, group))]
    assert named
    for match in named:
        assert match["role"] in estate.ROLES
        assert match["account"] in {account["id"] for account in DOCUMENT["accounts"]}


def test_both_federations_and_all_environments_are_shown():
    accounts = estate.accounts()
    assert {account["federation"] for account in accounts} == {"saml", "oidc"}
    assert {account["tags"]["environment"] for account in accounts} == {
        "production",
        "staging",
        "development",
        "sandbox",
    }


def test_rules_never_ask_for_longer_than_the_roles_allow():
    hours = {"1h": 3600, "2h": 7200, "4h": 14400, "8h": 28800}
    for rule in DOCUMENT["mapping"]:
        for role in named_roles(rule):
            assert hours[rule.get("session", {}).get("duration", "1h")] <= LONGEST[role]


def test_the_cast_is_told_apart():
    assert len({actor.subject for actor in CAST.values()}) == len({actor.email for actor in CAST.values()}) == len(CAST)
    assert [actor.login for actor in CAST.values() if actor.overage] == ["olivia"]
    assert check_password("Alice", "wonderland") is CAST["alice"]
    assert check_password("alice", "builder") is None
    assert check_password("mallory", "") is None


def test_the_company_is_as_large_as_it_says_and_the_same_each_time():
    living = [account for account in accounts.accounts() if account.state == "ACTIVE"]
    assert len(living) == len({account.id for account in living}) == 40
    assert {account["id"] for account in estate.accounts()} <= {account.id for account in living}
    lives = people.lives()
    assert len(lives) == len({life.actor.subject for life in lives}) == len({life.actor.email for life in lives}) == 300
    assert list(people.everybody())[: len(CAST)] == list(CAST)
    assert check_password("alice", "wonderland", people.everybody()) is CAST["alice"]
    assert check_password(lives[-1].actor.login, people.PASSWORD, people.everybody()) == lives[-1].actor
    assert check_password(lives[-1].actor.login, people.PASSWORD) is None
    assert past.history() == past.history()


def test_the_company_has_six_hundred_roles_that_the_gateway_reads():
    providers = {account.id: f"arn:aws:iam::{account.id}:saml-provider/rolegate" for account in accounts.accounts()}
    made = accounts.roles(providers, "http://localhost:8000/issuer")
    assert len(made) == len({(role.account, role.name) for role in made})
    closed = next(account.id for account in accounts.accounts() if account.name == accounts.NOT_ONBOARDED)
    living = [account for account in accounts.accounts() if account.state == "ACTIVE"]
    estates = (len(estate.ROLES) + 1) * len(estate.accounts())
    readers = len(living) - len(estate.accounts()) - 1
    assert estates + readers + sum(1 for role in made if role.account != closed) == 600


@pytest.mark.parametrize("rule", [rule["name"] for rule in DOCUMENT["mapping"]])
def test_a_rule_can_be_taken_out_of_the_text(rule):
    text = past.without(estate.MAPPING.read_text(), [rule])
    names = [left["name"] for left in yaml.safe_load(text)["mapping"]]
    assert names == [other["name"] for other in DOCUMENT["mapping"] if other["name"] != rule]


def test_a_child_that_dies_is_reported_with_its_last_words(tmp_path):
    child = Child(
        "The gateway", [sys.executable, "-c", "raise SystemExit('no such setting')"], {}, tmp_path / "gateway.log"
    )
    with pytest.raises(DemoFailed, match=r"The gateway has ended \(status 1\)[\s\S]*no such setting"):
        wait_for("http://127.0.0.1:9/", child, seconds=30)


def test_a_child_is_ended_with_its_own_children(tmp_path):
    source = "import subprocess, sys, time; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid, flush=True); time.sleep(60)"
    child = Child("The worker", [sys.executable, "-c", source], {}, tmp_path / "worker.log")
    while not (said := (tmp_path / "worker.log").read_text().strip()):
        child.check()
    grandchild = psutil.Process(int(said))
    child.stop()
    with pytest.raises(DemoFailed):
        child.check()
    _, alive = psutil.wait_procs([grandchild], timeout=5)
    assert alive == []


def test_a_command_that_fails_says_what_it_said():
    with pytest.raises(DemoFailed, match=r"Migrating did not work:\s+no database"):
        run("Migrating", [sys.executable, "-c", "raise SystemExit('no database')"], {})
    run("Migrating", [sys.executable, "-c", ""], {})


def test_the_demo_and_the_gateway_share_no_code():
    sources = [path.read_text() for path in estate.MAPPING.parent.rglob("*.py")]
    assert not [
        source
        for source in sources
        if re.search(r"^\s*(from|import) (federation|portal|config)\b", source, re.MULTILINE)
    ]
