"""`manage.py export`: byte for byte what was applied, and never a secret's value."""

import os

import pytest
from django.core.management import CommandError

from tests import cast


@pytest.mark.parametrize(
    "text", [cast.DOCUMENT, cast.DOCUMENT + "# a comment, ünïcode, no end of line", "version: 1\n\n\n", "{version: 1}"]
)
def test_it_is_what_was_applied_byte_for_byte(run, publish, text):
    publish(text)
    assert run("export") == text


def test_an_earlier_revision_can_be_had(run, publish):
    publish("version: 1\n")
    publish(cast.DOCUMENT)
    assert run("export") == cast.DOCUMENT
    assert run("export", "--revision", 1) == "version: 1\n"


def test_what_is_exported_can_be_applied_and_changes_nothing(run, publish, file, gateway_keys):
    publish()
    assert "nothing to do" in run("apply", file(run("export")))


def test_a_secret_stays_a_reference(run, publish):
    publish()
    text = run("export")
    assert "${TEST_OIDC_SECRET}" in text
    assert os.environ["TEST_OIDC_SECRET"] not in text


def test_without_a_revision_it_says_what_to_do(run, publish):
    with pytest.raises(CommandError, match=r"manage\.py apply"):
        run("export")
    publish()
    with pytest.raises(CommandError, match="no such revision"):
        run("export", "--revision", 7)
