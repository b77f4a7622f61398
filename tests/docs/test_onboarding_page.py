"""docs/onboarding.md: every finding, with the severities that it can have, and trust policies that are found good."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

from federation.aws import trust
from federation.aws.gateway_trust import gateway_trust
from federation.aws.onboarding import ORGANIZATION_ACTIONS, READER_ACTIONS

PAGE = (Path(__file__).resolve().parents[2] / "docs/onboarding.md").read_text()
SEVERITIES = {"ERROR": "error", "DANGER": "danger", "WARNING": "warning", "INFO": "info"}


def rows():
    """Code -> severities, as the table has them."""
    found = {}
    for line in re.findall(r"^\| (`.+?) \| (.+?) \|", PAGE, re.MULTILINE):
        words = set(line[1].split(", "))
        if words <= set(SEVERITIES.values()):
            for code in re.findall(r"`([^`]+)`", line[0]):
                assert code not in found
                found[code] = words
    return found


def test_every_finding_is_documented_and_no_other():
    assert rows().keys() == trust.CODES.keys()


def test_the_documented_severities_are_those_of_the_code():
    """Where the severity stands as a word beside the code in the source."""
    tree = ast.parse(Path(trust.__file__).read_text())
    seen = 0
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or getattr(node.func, "attr", getattr(node.func, "id", "")) not in (
            "_add",
            "Finding",
        ):
            continue
        values = node.args
        if isinstance(values[0], ast.Constant) and isinstance(values[1], ast.Name) and values[1].id in SEVERITIES:
            seen += 1
            assert SEVERITIES[values[1].id] in rows()[values[0].value], values[0].value
    assert seen > 20


def test_the_statements_on_the_page_open_a_role():
    statements = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
    assert len(statements) == 2
    for federation, statement in zip(("saml", "oidc"), statements, strict=True):
        gateway = gateway_trust(
            "111122223333", partition="aws", federation=federation, provider="rolegate",
            issuer_url="https://gate.example.com/issuer", region="eu-west-1",
        )  # fmt: skip
        assert statement == gateway.way.statement()
        report = trust.examine(
            {"Version": "2012-10-17", "Statement": [statement]},
            role_arn="arn:aws:iam::111122223333:role/ReadOnly",
            gateway=gateway,
        )
        assert (report.findings, report.way.usable_with_tags) == ((), "yes")


def test_the_readers_permissions_are_on_the_page():
    for action in (*READER_ACTIONS, *ORGANIZATION_ACTIONS):
        assert re.search(rf"`(?:\w+:)?{action.partition(':')[2]}`", PAGE), action
