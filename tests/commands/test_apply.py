"""`manage.py apply`: whole or not at all, twice is once, a dry run writes nothing, every fault has its place."""

import io
import json

import pytest
import yaml
from django.core.management import CommandError

from federation.models import AuditEvent, AuditHead, MappingRevision, SigningKey
from tests import cast


def counts():
    return [model.objects.count() for model in (MappingRevision, SigningKey, AuditEvent, AuditHead)]


def test_a_document_is_put_in_force(run, file, gateway_keys):
    said = run("apply", file(), "--comment", "the first")
    assert said.endswith("Revision 1 is in force.\n")
    assert "+version: 1" in said
    revision = MappingRevision.objects.get()
    assert (revision.text, revision.comment) == (cast.DOCUMENT, "the first")
    assert revision.author.startswith("command:")
    assert AuditEvent.objects.get().actor == revision.author


def test_the_first_apply_makes_the_keys(run, file, monkeypatch):
    monkeypatch.setattr("federation.flows.rotate_keys.KINDS", (("token", "ES256"),))
    run("apply", file())
    assert SigningKey.objects.get().state == "active"


def test_without_a_file_it_is_the_configured_one(run, file, gateway_keys, settings):
    settings.ROLEGATE_CONFIG = ""
    with pytest.raises(CommandError, match="Name the document"):
        run("apply")
    assert not MappingRevision.objects.exists()
    settings.ROLEGATE_CONFIG = file()
    assert "Revision 1 is in force" in run("apply")


def test_twice_is_once(run, file, gateway_keys):
    run("apply", file())
    before = counts()
    assert run("apply", file()) == "Revision 1 is already exactly this document: nothing to do.\n"
    assert counts() == before


def test_a_change_is_shown(run, file, gateway_keys):
    run("apply", file())
    said = run("apply", file(cast.DOCUMENT.replace("roles: [ReadOnly]", "roles: [Auditor]")))
    assert "-    allow: {roles: [ReadOnly]," in said
    assert "+    allow: {roles: [Auditor]," in said
    assert said.endswith("Revision 2 is in force.\n")


def test_a_dry_run_writes_nothing_at_all(run, file):
    assert run("apply", file(), "--dry-run").endswith(
        "Dry run: revision 0 stays in force; applying would make revision 1.\n"
    )
    assert counts() == [0, 0, 0, 0]


def test_every_fault_is_listed_with_its_path_and_line_and_nothing_changes(run, file, gateway_keys):
    run("apply", file())
    before = counts()
    text = cast.DOCUMENT.replace("duration: 1h", "duration: soon").replace("roles: [Developer]", "rolls: [Developer]")
    path = file(text, "broken.yaml")
    line = {
        word: next(n for n, content in enumerate(text.splitlines(), 1) if word in content) for word in ("soon", "rolls")
    }
    for options in ([], ["--dry-run"]):
        with pytest.raises(CommandError) as caught:
            run("apply", path, *options)
        said = str(caught.value)
        assert "nothing was changed" in said
        assert f"{path}:{line['soon']}: mapping[0].session.duration: " in said
        assert f"{path}:{line['rolls']}: mapping[1].allow" in said
    assert counts() == before


def test_a_fault_of_the_whole_text_stands_behind_file_and_line(run, file, gateway_keys):
    path = file("version: 1\naccounts: &all []\nstaff: *all\n", "aliases.yaml")
    with pytest.raises(CommandError) as caught:
        run("apply", path)
    assert f"{path}:2: anchors (&) and aliases (*) are not accepted" in str(caught.value)


def test_a_region_that_is_none_is_refused_and_not_found_out_at_the_first_mint(run, file, gateway_keys):
    text = cast.DOCUMENT.replace("region: eu-west-1", "region: moon-base-1", 1)
    path = file(text)
    line = next(n for n, content in enumerate(text.splitlines(), 1) if "moon-base-1" in content)
    with pytest.raises(CommandError) as caught:
        run("apply", path)
    wanted = f'{path}:{line}: accounts[0].region: "moon-base-1" is no region of the partition aws; its regions are called like "eu-west-1"'
    assert wanted in str(caught.value)
    assert not MappingRevision.objects.exists()


@pytest.mark.parametrize("text", ["", "[]", "{", "version: 3\n", "\t- x", "version: 1\nmaping: []\n", "&a [*a]"])
def test_what_is_no_document_is_refused_with_a_sentence(run, file, text):
    with pytest.raises(CommandError, match="fault"):
        run("apply", file(text))
    assert not MappingRevision.objects.exists()


def test_a_file_that_cannot_be_read_is_named(run, tmp_path):
    with pytest.raises(CommandError, match=r"nowhere\.yaml cannot be read"):
        run("apply", tmp_path / "nowhere.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CommandError, match=r"binary\.yaml cannot be read"):
        run("apply", binary)


def test_standard_input_and_json_are_taken_too(run, gateway_keys, monkeypatch):
    text = json.dumps(yaml.safe_load(cast.DOCUMENT))
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert run("apply", "-").endswith("Revision 1 is in force.\n")
    assert MappingRevision.objects.get().text == text


def test_an_operator_without_a_name_is_recorded_as_unknown(run, file, gateway_keys, monkeypatch):
    def nobody():
        raise KeyError("TEST: uid without a name")

    monkeypatch.setattr("getpass.getuser", nobody)
    run("apply", file())
    assert MappingRevision.objects.get().author.startswith("command:unknown@")
