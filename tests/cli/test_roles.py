"""roles: the list, its cache, and finding one by a few letters."""

from __future__ import annotations

import json
import time

import pytest

from tests.cli.double import ACCOUNT, GatewayDouble
from tests.cli.laptop import Laptop


@pytest.fixture
def laptop(double: GatewayDouble, laptop: Laptop) -> Laptop:
    double.roles = [
        double.role("shop-prod", ACCOUNT, "ReadOnly"),
        double.role("shop-dev", "222233334444", "ReadOnly", "development"),
        double.role("payments-prod", "333344445555", "Deployer"),
    ]
    double.sign_in(laptop)
    return laptop


def _labels(laptop: Laptop, *words: str) -> list[str]:
    return [row["label"] for row in json.loads(laptop.run("roles", *words, "--json").stdout)]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], ["payments-prod/Deployer", "shop-dev/ReadOnly", "shop-prod/ReadOnly"]),
        (["prod"], ["payments-prod/Deployer", "shop-prod/ReadOnly"]),
        (["PROD", "read"], ["shop-prod/ReadOnly"]),
        (["2222333344"], ["shop-dev/ReadOnly"]),
        (["development"], ["shop-dev/ReadOnly"]),
        (["pydp"], ["payments-prod/Deployer"]),
    ],
)
def test_words(laptop: Laptop, words: list[str], found: list[str]) -> None:
    assert _labels(laptop, *words) == found


def test_a_table_without_colours_in_a_pipe(laptop: Laptop) -> None:
    text = laptop.run("roles").stdout
    assert text.splitlines()[0].split() == ["ACCOUNT", "ACCOUNT", "ID", "ENVIRONMENT", "ROLE", "NOTE"]
    assert "\x1b" not in text
    assert "\x1b[31mproduction" in laptop.run("roles", CLICOLOR_FORCE="1").stdout
    assert "\x1b" not in laptop.run("roles", CLICOLOR_FORCE="1", NO_COLOR="1").stdout
    laptop.run("roles", "nothing-of-that-kind", status=6)


def test_the_list_is_cached_and_asked_about_by_its_etag(double: GatewayDouble, laptop: Laptop) -> None:
    laptop.run("roles")
    laptop.run("roles")
    assert double.asked["/api/v1/roles"] == 1
    laptop.run("roles", "--refresh")
    assert double.asked["/api/v1/roles"] == 2
    (path,) = laptop.cached("roles.json")
    kept = json.loads(path.read_text())
    kept["at"] -= 3600
    path.write_text(json.dumps(kept))
    assert len(_labels(laptop)) == 3
    assert double.asked["/api/v1/roles"] == 3
    assert json.loads(path.read_text())["at"] > time.time() - 60
    kept["at"] -= 3600
    path.write_text(json.dumps(kept))
    double.stop()
    done = laptop.run("roles")
    assert "min old" in done.stderr
    assert "shop-prod" in done.stdout


def test_access_that_was_given_a_minute_ago(double: GatewayDouble, laptop: Laptop) -> None:
    laptop.run("roles")
    double.roles.append(double.role("new", "444455556666", "ReadOnly"))
    (path,) = laptop.cached("roles.json")
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({**kept, "at": kept["at"] - 10}))
    assert laptop.credentials("new/ReadOnly")["AccountId"] == "444455556666"


def test_several_are_named_and_none_is_taken(laptop: Laptop) -> None:
    done = laptop.run("credentials", "--role", "ReadOnly", status=6)
    assert done.stdout == ""
    assert "shop-dev/ReadOnly" in done.stderr
    assert "arn:aws:iam::111122223333:role/ReadOnly" in done.stderr
    assert laptop.credentials("shop-prod/readonly")["AccountId"] == ACCOUNT
    assert laptop.credentials(f"{ACCOUNT}/ReadOnly")["AccountId"] == ACCOUNT
    assert laptop.credentials("prod read")["AccountId"] == ACCOUNT


def test_a_guess_is_shown_and_not_taken(laptop: Laptop) -> None:
    assert "Did you mean" in laptop.run("credentials", "--role", "pydp", status=6).stderr


def test_what_the_gateway_calls_things_cannot_reach_the_terminal(double: GatewayDouble, laptop: Laptop) -> None:
    double.roles = [double.role("\x1b]0;evil\x07\u202eshop", ACCOUNT, "ReadOnly")]
    text = laptop.run("roles").stdout
    assert "\x1b" not in text
    assert "\u202e" not in text
    double.roles.append(double.role("x", "222233334444", "ReadOnly"))
    double.roles[0]["roles"][0]["arn"] = "arn:aws:iam::999999999999:role/ReadOnly"
    assert "of another account" in laptop.run("roles", "--refresh", status=5).stderr


def test_completion(laptop: Laptop) -> None:
    laptop.run("roles")
    complete = lambda *words: laptop.run("__complete", *words).stdout.split()
    assert complete("cre") == ["credentials"]
    assert complete("exec", "") == ["payments-prod/Deployer", "shop-dev/ReadOnly", "shop-prod/ReadOnly"]
    assert laptop.run("__complete_next", "exec").stdout == laptop.run("__complete", "exec", "").stdout
    assert complete("exec", "shop-p") == ["shop-prod/ReadOnly"]
    assert complete("exec", "read") == ["shop-dev/ReadOnly", "shop-prod/ReadOnly"]
    assert complete("credentials", "--role", "pay") == ["payments-prod/Deployer"]
    assert complete("credentials", "--format", "f") == ["fish", "file"]
    assert complete("login", "--d") == ["--debug", "--device"]
    assert complete("completion", "z") == ["zsh"]


def test_completion_offers_nothing_that_a_shell_would_run(double: GatewayDouble, laptop: Laptop) -> None:
    """Attack: whoever owns an account calls it so. Bash and PowerShell put the word into the line, and Enter runs it."""
    evil = [
        "$(id)",
        "`id`",
        "a;id",
        "a|id",
        "a&id",
        "~root",
        "@{a}",
        "{a,b}",
        "a'b",
        'a"b',
        "a\\b",
        "a*",
        "-x",
        "#a",
        "a>b",
        "!a",
    ]
    double.roles = [double.role(name, f"{n:012}", "ReadOnly") for n, name in enumerate(evil)]
    double.roles.append(double.role("zürich-本番_1.x", "999988887777", "ReadOnly"))
    laptop.run("roles", "--refresh")
    assert laptop.run("__complete", "exec", "").stdout.split("\n") == ["zürich-本番_1.x/ReadOnly", ""]
