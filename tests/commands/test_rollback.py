"""`manage.py rollback`, `manage.py revisions`, and the impact that `apply` tells: previewed, then done, on today's people."""

import json
from datetime import UTC, datetime

import pytest
from django.core.management import CommandError

from federation.flows import apply_mapping
from federation.flows.publish_mapping import RevisionMovedOn
from federation.models import AuditEvent, MappingRevision
from tests import cast

OTHER = cast.DOCUMENT.replace("roles: [ReadOnly]", "roles: [Auditor]")


@pytest.fixture
def history(run, file, gateway_keys, sign_in_as):
    """Two revisions, and Alice."""
    run("apply", file(), "--comment", "the first")
    sign_in_as(cast.alice(), at=datetime.now(UTC))
    run("apply", file(OTHER), "--comment", "auditors")


def test_a_dry_run_of_apply_tells_who_gains_and_loses(run, file, gateway_keys, sign_in_as):
    run("apply", file())
    sign_in_as(cast.alice(), at=datetime.now(UTC))
    said = run("apply", file(OTHER), "--dry-run")
    assert "Impact on 1 person:" in said
    assert "+ Auditor in shop-prod PRODUCTION: by rule engineers-read-production" in said
    assert "- ReadOnly in shop-prod PRODUCTION: rule engineers-read-production no longer gives it" in said
    assert "a second person would have to publish this" in said
    assert said.endswith("Dry run: revision 1 stays in force; applying would make revision 2.\n")
    assert MappingRevision.objects.count() == 1


def test_the_impact_as_json_and_nothing_else(run, file, gateway_keys, sign_in_as):
    run("apply", file())
    sign_in_as(cast.alice(), at=datetime.now(UTC))
    told = json.loads(run("apply", file(OTHER), "--dry-run", "--json"))
    assert (told["revision"], told["changed"], told["dry_run"], told["second_person"]) == (
        1,
        True,
        True,
        ["production"],
    )
    assert told["impact"]["counts"]["people_affected"] == 1
    again = json.loads(run("apply", file(), "--json"))
    assert (again["changed"], again["impact"]) == (False, None)


def test_the_impact_is_kept_with_the_revision_and_in_the_event(history):
    revision = MappingRevision.objects.get(number=2)
    assert revision.impact["counts"]["gained"] == 1
    assert AuditEvent.objects.get(kind="mapping.published", data__revision=2).data["impact"]["lost"] == 1


def test_one_goes_back_to_the_text_before_the_last_change(run, history):
    said = run("rollback")
    assert "+ ReadOnly in shop-prod PRODUCTION" in said
    assert said.endswith("Revision 3 is in force.\n")
    newest = MappingRevision.objects.get(number=3)
    assert (newest.text, newest.comment) == (cast.DOCUMENT, "back to revision 1")
    assert MappingRevision.objects.count() == 3


def test_twice_back_is_forth(run, history):
    run("rollback")
    run("rollback", "--comment", "after all")
    assert MappingRevision.objects.get(number=4).text == OTHER
    assert MappingRevision.objects.get(number=4).comment == "after all"


def test_a_dry_run_of_going_back_writes_nothing(run, history):
    before = AuditEvent.objects.count()
    said = run("rollback", "1", "--dry-run")
    assert said.endswith("Dry run: revision 2 stays in force; applying would make revision 3.\n")
    assert (MappingRevision.objects.count(), AuditEvent.objects.count()) == (2, before)


def test_to_what_is_in_force_there_is_no_way_back(run, history):
    assert run("rollback", "2") == "Revision 2 is already exactly this document: nothing to do.\n"


@pytest.mark.parametrize("number", ["9", "0"])
def test_to_what_never_was_neither(run, history, number):
    with pytest.raises(CommandError, match="no such revision"):
        run("rollback", number)


def test_before_the_first_revision_there_is_nothing(run):
    for command in ("rollback", "revisions"):
        if command == "rollback":
            with pytest.raises(CommandError, match="no revision yet"):
                run(command)
        else:
            assert run(command) == ""


def test_an_old_text_that_is_no_document_any_more_is_refused_with_its_faults(run, history):
    MappingRevision(number=3, text="version: 1\nold: key\n", sha256="0" * 64, author="x", published_at=cast.NOW).save(
        force_insert=True
    )
    with pytest.raises(CommandError, match=r"revision 3:2: old: unknown key"):
        run("rollback", "3")


def test_the_history(run, history):
    lines = run("revisions").splitlines()
    assert [line.split()[0] for line in lines] == ["2", "1"]
    assert lines[0].endswith("1 people affected  auditors")
    assert run("revisions", "--limit", "1").startswith("2 ")
    plain = [json.loads(line) for line in run("revisions", "--json").splitlines()]
    assert [(row["number"], row["comment"], row["published_by"]) for row in plain] == [
        (2, "auditors", None),
        (1, "the first", None),
    ]


def test_one_revision_with_its_difference(run, history):
    said = run("revisions", "2")
    assert "+    allow: {roles: [Auditor]," in said
    assert "people affected: 1" in said
    assert json.loads(run("revisions", "2", "--json"))["impact"]["counts"]["lost"] == 1
    with pytest.raises(CommandError, match="no such revision"):
        run("revisions", "7")


def test_whoever_publishes_in_between_is_not_undone_unseen(publish, origin, now, monkeypatch):
    """The impact is worked out again for the revision that it then stands on."""
    publish()
    preview, calls = apply_mapping.preview, []

    def slow(text, **more):
        shown = preview(text, **more)
        if not calls:
            publish(cast.DOCUMENT + "# in between\n")
        calls.append(shown.base)
        return shown

    monkeypatch.setattr(apply_mapping, "preview", slow)
    applied = apply_mapping.apply(OTHER, author="x", comment="", origin=origin, now=now)
    assert (calls, applied.published.number, applied.preview.base) == ([1, 2], 3, 2)


def test_where_others_publish_without_end_it_gives_up(publish, origin, now, monkeypatch):
    publish()
    preview = apply_mapping.preview
    count = iter(range(100))

    def slow(text, **more):
        shown = preview(text, **more)
        publish(cast.DOCUMENT + f"# {next(count)}\n")
        return shown

    monkeypatch.setattr(apply_mapping, "preview", slow)
    with pytest.raises(RevisionMovedOn):
        apply_mapping.apply(OTHER, author="x", comment="", origin=origin, now=now)
