"""What the page on importing shows is what the command makes of it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from federation.mapping.document import parse
from federation.mapping.engine import compile_mapping
from federation.mapping.importing import CONVENTIONS, READ_A_FILE, consoleme, identity_center
from tests import cast

PAGE = Path(__file__).resolve().parents[2] / "docs" / "importing.md"
SECTIONS = dict(re.findall(r"^## `([^`]+)`\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL))


def fence(convention, language):
    found = re.search(rf"^```{language}\n(.*?)^```$", SECTIONS[convention], re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def groups_and_roles():
    for convention, text in SECTIONS.items():
        for group, role in re.findall(r"^\| `([^`]+)` \| (?:`(arn:[^`]+)`)? ?\|$", text, re.MULTILINE):
            yield pytest.param(convention, group, role, id=f"{convention} {group}")


def test_every_convention_is_on_the_page_and_no_other():
    assert list(SECTIONS) == list(CONVENTIONS)
    assert {name for name in SECTIONS if fence(name, "json")} == READ_A_FILE


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_what_the_page_shows_is_what_the_command_prints(db, tmp_path, convention):
    file = tmp_path / "export.json"
    file.write_text(fence(convention, "json"))
    printed = StringIO()
    call_command("import_mapping", convention, *([str(file)] if convention in READ_A_FILE else []), stdout=printed)
    assert printed.getvalue().strip() == fence(convention, "yaml").strip()


@pytest.mark.parametrize(("convention", "group", "role"), list(groups_and_roles()))
def test_a_group_gives_the_role_that_the_page_says(convention, group, role):
    account = '{id: "111122223333", name: shop, federation: saml, provider: rolegate}'
    document = parse(f"{fence(convention, 'yaml')}\naccounts: [{account}]\n")
    decision = compile_mapping(document).decide(cast.alice(groups=(group,)), datetime(2026, 5, 3, tzinfo=UTC))
    assert [grant.role_arn for grant in decision.grants] == ([role] if role else [])


def test_what_the_page_says_is_left_out_is_left_out():
    assert identity_center(fence("identity-center", "json")).left_out == (
        "entry 3: alice@example.com is assigned directly; roles are given to groups here",
    )
    assert consoleme(fence("consoleme", "json")).left_out == ()


@pytest.mark.parametrize(
    ("key", "other"),
    [("PrincipalName", "GroupName"), ("PrincipalName", "PrincipalDisplayName"), ("AccountId", "TargetId")],
)
def test_the_other_names_of_a_key_are_read_too(key, other):
    assert f"| `{key}` |" in SECTIONS["identity-center"]
    assert f"`{other}`" in SECTIONS["identity-center"]
    text = fence("identity-center", "json")
    assert identity_center(text.replace(f'"{key}"', f'"{other}"')) == identity_center(text)
