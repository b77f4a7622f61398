"""Publishing the mapping: whole or not at all, once per text, one revision after the other, and none of them ever changed."""

import hashlib
import threading
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction

from federation.audit import record
from federation.errors import UnknownProvider
from federation.flows import assess_mapping, publish_mapping, written_mapping
from federation.mapping.document import DocumentError
from federation.models import AuditEvent, AuditHead, MappingRevision, PortalSession, current
from federation.models.mapping import RevisionIsImmutable
from tests import cast

OTHER = cast.DOCUMENT.replace("roles: [ReadOnly]", "roles: [Auditor]")


def publish(text, origin, now, **more):
    options = {"author": "carol", "comment": "", **more}
    return publish_mapping.publish(text, origin=origin, now=now, **options)


def test_a_document_becomes_the_next_revision_and_is_in_force(db, origin, now, events):
    assert current.mapping().number == 0
    result = publish(cast.DOCUMENT, origin, now, comment="the first")
    assert (result.number, result.changed) == (1, True)
    assert current.mapping().number == 1
    assert current.mapping().provider("corp").name == "Example Corp"
    revision = MappingRevision.objects.get()
    assert revision.text == cast.DOCUMENT
    assert (revision.author, revision.comment, revision.published_at) == ("carol", "the first", now)
    assert revision.sha256 == hashlib.sha256(cast.DOCUMENT.encode()).hexdigest()
    assert events() == [("mapping.published", "ok", "")]
    assert AuditEvent.objects.get().data["revision"] == 1


def test_the_same_document_again_changes_nothing(db, origin, now, events):
    publish(cast.DOCUMENT, origin, now)
    result = publish(cast.DOCUMENT, origin, now)
    assert (result.number, result.changed, result.diff) == (1, False, "")
    assert MappingRevision.objects.count() == 1
    assert len(events()) == 1


def test_another_document_is_another_revision_with_its_difference(db, origin, now):
    publish(cast.DOCUMENT, origin, now)
    result = publish(OTHER, origin, now)
    assert result.number == 2
    assert "-    allow: {roles: [ReadOnly]," in result.diff
    assert "+    allow: {roles: [Auditor]," in result.diff
    assert MappingRevision.objects.get(number=2).diff == result.diff


@pytest.mark.parametrize(
    ("text", "ended"),
    [
        (cast.DOCUMENT.replace("  - slug: entra\n", "  - slug: entra\n    enabled: false\n"), {"entra": 2}),
        (cast.DOCUMENT.replace("slug: entra", "slug: renamed"), {"entra": 2}),
        (OTHER, None),
    ],
    ids=["disabled", "gone", "still-there"],
)
def test_whoever_is_signed_in_by_a_provider_that_is_closed_is_signed_out(db, origin, now, sign_in_as, text, ended):
    publish(cast.DOCUMENT, origin, now)
    bob, eve = (sign_in_as(cast.identity(name, provider="entra"), at=now) for name in ("bob", "eve"))
    for key, person, provider in (
        ("1", sign_in_as(cast.alice(), at=now), "corp"),
        ("2", bob, "entra"),
        ("3", eve, "entra"),
        ("4", None, ""),
    ):
        PortalSession.objects.create(
            session_key=key * 64,
            session_data="",
            expire_date=now + timedelta(hours=1),
            person=person,
            provider=provider,
        )
    publish(text, origin, now)
    left = set(PortalSession.objects.values_list("provider", flat=True))
    assert left == ({"corp", ""} if ended else {"corp", "", "entra"})
    assert AuditEvent.objects.filter(kind="mapping.published").latest("seq").data.get("sessions_ended") == ended


def test_an_earlier_document_again_is_a_new_revision(db, origin, now):
    """That is how one rolls back: history is not rewritten."""
    for text in (cast.DOCUMENT, OTHER, cast.DOCUMENT):
        publish(text, origin, now)
    assert current.mapping().number == 3
    assert list(MappingRevision.objects.order_by("number").values_list("text", flat=True)) == [
        cast.DOCUMENT,
        OTHER,
        cast.DOCUMENT,
    ]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (
            cast.DOCUMENT
            + "  - {name: x, when: {groups: [a]}, allow: {roles: [R], accounts: {tags: {team: shop}}}, unknown: 1}\n",
            "mapping[4].unknown",
        ),
        (cast.DOCUMENT.replace("duration: 1h", "duration: soon"), "mapping[0].session.duration"),
        ("version: 2\n", "version"),
        ("{", ""),
    ],
)
def test_a_document_with_a_fault_is_refused_whole(db, origin, now, text, path):
    publish(cast.DOCUMENT, origin, now)
    with pytest.raises(DocumentError) as caught:
        publish(text, origin, now)
    assert any(fault.path.startswith(path) for fault in caught.value.faults)
    assert all(fault.line for fault in caught.value.faults)
    assert MappingRevision.objects.count() == 1
    assert current.mapping().number == 1
    assert AuditEvent.objects.count() == 1


def test_every_fault_is_named_not_the_first_alone(db, origin, now):
    text = (
        cast.DOCUMENT.replace("duration: 1h", "duration: soon")
        .replace("roles: [Developer]", "rolls: [Developer]")
        .replace("at_most: 4h", "at_most: 400h")
    )
    with pytest.raises(DocumentError) as caught:
        publish(text, origin, now)
    assert len(caught.value.faults) >= 3


@pytest.mark.parametrize("before", [None, cast.DOCUMENT])
def test_a_dry_run_writes_nothing(db, origin, now, before):
    if before:
        publish(before, origin, now)
    counts = [model.objects.count() for model in (MappingRevision, AuditEvent, AuditHead)]
    result = publish(OTHER, origin, now, dry_run=True)
    assert (result.number, result.changed) == (1 if before else 0, True)
    assert "+    allow: {roles: [Auditor]," in result.diff
    assert [model.objects.count() for model in (MappingRevision, AuditEvent, AuditHead)] == counts
    assert current.mapping().number == result.number


def test_a_dry_run_of_what_is_in_force_says_so(db, origin, now):
    publish(cast.DOCUMENT, origin, now)
    assert not publish(cast.DOCUMENT, origin, now, dry_run=True).changed


def test_a_revision_is_never_saved_again_nor_deleted(db, origin, now):
    publish(cast.DOCUMENT, origin, now)
    revision = MappingRevision.objects.get()
    revision.text = OTHER
    with pytest.raises(RevisionIsImmutable):
        revision.save()
    with pytest.raises(RevisionIsImmutable):
        revision.delete()
    assert MappingRevision.objects.get().text == cast.DOCUMENT


def test_postgresql_itself_refuses_to_change_a_revision(db, origin, now):
    publish(cast.DOCUMENT, origin, now)
    rows = MappingRevision.objects.all()
    if connection.vendor != "postgresql":
        assert connection.vendor == "sqlite"  # SQLite is for the demo: there the model alone refuses
        return
    for change in (lambda: rows.update(text="x"), rows.delete):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()


def test_an_event_that_cannot_be_written_takes_the_revision_with_it(transactional_db, origin, now, monkeypatch):
    def full(*args, **kwargs):
        raise DatabaseError("TEST: the disk is full")

    monkeypatch.setattr(publish_mapping, "record", full)
    with pytest.raises(DatabaseError):
        publish(cast.DOCUMENT, origin, now)
    assert not MappingRevision.objects.exists()
    with pytest.raises(UnknownProvider):
        current.mapping().provider("corp")


@pytest.mark.parametrize("same", [True, False])
def test_publishers_at_once_take_turns(transactional_db, origin, now, same):
    texts = [cast.DOCUMENT + ("" if same else f"# {n}\n") for n in range(12)]
    faults, numbers, lock = [], [], threading.Lock()

    def work(text):
        try:
            result = publish(text, origin, now)
            with lock:
                numbers.append((result.number, result.changed))
        except Exception as error:
            faults.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert sorted(numbers) == (sorted([(1, True)] + [(1, False)] * 11) if same else [(n, True) for n in range(1, 13)])
    assert record.verify() == []
    for row in MappingRevision.objects.filter(number__gt=1):
        before = MappingRevision.objects.get(number=row.number - 1)
        assert f"-{before.text.splitlines()[-1]}" in row.diff or before.text == cast.DOCUMENT


def test_a_directory_is_published_and_in_force_at_the_next_decision(publish, sign_in_as, now):
    from federation.errors import NotInDirectory
    from federation.flows import access

    publish()
    alice = sign_in_as(cast.alice())
    arn = cast.role(cast.PROD, "ReadOnly")
    assert access.decide(alice.pk, arn, now=now).revision == 1
    publish(cast.DOCUMENT + "directories:\n  - {slug: corp-people, provider: corp, scim: {}}\n")
    with pytest.raises(NotInDirectory):  # it has not pushed anybody yet
        access.decide(alice.pk, arn, now=now)


def test_what_nobody_sees_is_published_by_nobody_and_what_is_in_force_stays_so(db, origin, now, monkeypatch):
    """A revision of an earlier version may have it: it goes on, and the same document again changes nothing."""
    unseen = cast.DOCUMENT.replace("groups: [contractors]", 'groups: ["con\u3164tractors"]')
    with pytest.raises(DocumentError, match=r"U\+3164"):
        publish(unseen, origin, now)
    with pytest.raises(DocumentError, match=r"U\+3164"):
        assess_mapping.preview(unseen, author=None, now=cast.NOW)
    with monkeypatch.context() as earlier:
        earlier.setattr(written_mapping, "refuse_unseen", lambda text: None)
        number = publish(unseen, origin, now).number
    assert not publish(unseen, origin, now).changed
    assert current.mapping().number == number
    # What was in force once can be gone back to, by whoever sees its preview.
    publish(cast.DOCUMENT, origin, now)
    assert assess_mapping.preview(unseen, author=None, now=cast.NOW).document.rules
    assert publish(unseen, origin, now).number == number + 2
    with pytest.raises(DocumentError, match=r"U\+3164"):  # and nothing else that has it
        publish(unseen + "# another\n", origin, now)
