"""`manage.py import_mapping`: prints a document that can be applied, and publishes nothing."""

import json
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from federation.mapping.document import parse
from federation.models import MappingRevision
from tests import cast


def test_it_prints_a_document_and_writes_nothing(run):
    document = parse(run("import_mapping", "okta"))
    assert [rule.name for rule in document.rules] == ["okta-groups"]
    assert not MappingRevision.objects.exists()


def test_merged_behind_the_mapping_in_force(run, publish):
    publish()
    before = parse(cast.DOCUMENT)
    document = parse(run("import_mapping", "names", "--merge"))
    assert document.rules[:-1] == before.rules
    assert document.rules[-1].name == "aws-account-role-groups"
    assert document.accounts == before.accounts


def test_a_file_is_read_and_what_is_left_out_is_said(run, tmp_path, capsys):
    path = tmp_path / "assignments.json"
    path.write_text(
        json.dumps(
            [{"PrincipalType": "USER", "PrincipalName": "bob", "PermissionSetName": "A", "AccountId": cast.PROD}]
        )
    )
    run("import_mapping", "identity-center", str(path))
    with pytest.raises(CommandError, match=r"not_json"):
        path.write_text("{")
        run("import_mapping", "identity-center", str(path))


@pytest.mark.parametrize("words", [("identity-center",), ("okta", "file.json"), ("consoleme", "/nowhere.json")])
def test_a_file_too_few_or_too_many_is_said(run, words):
    with pytest.raises(CommandError, match=r"reads no file|reads a file|cannot be read"):
        run("import_mapping", *words)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", True),
        (
            '[{"Arn": "arn:aws:iam::111122223333:role/x", "Tags": [{"Key": "consoleme-authorized", "Value": "a"}]}]',
            False,
        ),
    ],
)
def test_a_file_of_which_nothing_is_imported_is_said_so(db, tmp_path, content, said):
    """The document that is printed has no rule then, and looks like one all the same."""
    path, told = tmp_path / "roles.json", StringIO()
    path.write_text(content)
    call_command("import_mapping", "consoleme", str(path), stdout=StringIO(), stderr=told)
    assert ("Nothing was imported" in told.getvalue()) is said
