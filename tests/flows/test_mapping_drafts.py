"""A change of the mapping on its way: who may take which step, and what is refused, by its reason."""

from __future__ import annotations

import threading
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import DatabaseError, connection

from federation.audit import record
from federation.errors import BadRequest, NotFound, RolegateError
from federation.flows import mapping_drafts as drafts
from federation.flows import publish_mapping
from federation.flows.apply_mapping import apply
from federation.flows.publish_mapping import RevisionMovedOn
from federation.flows.staff_rights import StaffForbidden
from federation.mapping.document import DocumentError
from federation.models import (
    AuditEvent,
    DirectoryGroup,
    DirectoryUser,
    MappingDraft,
    MappingRevision,
    Membership,
    current,
)
from federation.models.secrets import SecretNotSealable
from tests import cast

DOCUMENT = cast.DOCUMENT.replace(
    "staff:\n  - {role: owner, groups: [cloud-platform]}\n",
    "staff:\n  - {role: owner, groups: [cloud-platform]}\n  - {role: mapper, groups: [mappers]}\n  - {role: auditor, groups: [auditors]}\n",
)
SANDBOX = (
    "  - name: testers-develop\n    when: {groups: [testers]}\n    allow: {roles: [Developer], accounts: [shop-dev]}\n"
)
SMALL = DOCUMENT + SANDBOX
PRODUCTION = DOCUMENT + SANDBOX.replace("shop-dev", "shop-prod")
OWN = DOCUMENT + SANDBOX.replace("testers]", "mappers]")


@pytest.fixture
def people(publish, sign_in_as):
    """The mapping in force and the people: two mappers, an owner, an auditor, a tester."""
    publish(DOCUMENT)
    return {
        name: sign_in_as(cast.identity(name, groups=(group,)))
        for name, group in {
            "mike": "mappers",
            "mona": "mappers",
            "carol": "cloud-platform",
            "dora": "auditors",
            "tom": "testers",
        }.items()
    }


@pytest.fixture
def desk(people, origin, now):
    """What a person does with drafts."""

    class Desk:
        def begin(self, who, text=None, **more):
            draft = drafts.begin(people[who], origin=origin, now=now, **more)
            return draft if text is None else self.save(who, draft, text)

        def save(self, who, draft, text, **more):
            return drafts.save(
                people[who], draft.pk, text, version=more.pop("version", draft.version), origin=origin, now=now, **more
            )

        def look(self, who, draft):
            return drafts.show(people[who], drafts.find(draft.pk), now=now)

        def hand_over(self, who, draft, *, digest=None, comment="please"):
            digest = digest or self.look(who, draft).digest
            return drafts.hand_over(people[who], draft.pk, digest=digest, comment=comment, origin=origin, now=now)

        def publish(self, who, draft, *, digest=None, confirmation="production", comment=""):
            digest = digest or self.look(who, draft).digest
            return drafts.publish_draft(
                people[who], draft.pk, digest=digest, confirmation=confirmation, comment=comment, origin=origin, now=now
            )

        def do(self, step, who, draft, **more):
            return getattr(drafts, step)(people[who], draft.pk, origin=origin, now=now, **more)

    return Desk()


def refused(kind, reason):
    return pytest.raises(kind, match=rf": {reason}")


def steps():
    return [
        (event.data["change"], event.outcome, event.reason, event.actor.split(":")[1].split("-")[0])
        for event in AuditEvent.objects.filter(kind="mapping.draft").order_by("seq")
    ]


# --- The way of a small change --------------------------------------------------------------------------


def test_a_small_change_is_drafted_looked_at_and_published_by_one(desk, people):
    draft = desk.begin("mike")
    assert (draft.text, draft.base, draft.status) == (DOCUMENT, 1, "draft")
    draft = desk.save("mike", draft, SMALL, comment="testers need it")
    shown = desk.look("mike", draft)
    assert shown.second_person == ()
    assert [cohort.people[0].label for cohort in shown.impact.cohorts] == ["Tom"]
    assert "+  - name: testers-develop" in shown.diff
    result = desk.publish("mike", draft, digest=shown.digest, confirmation="")
    assert (result.number, current.mapping().number) == (2, 2)
    revision = MappingRevision.objects.get(number=2)
    assert (revision.text, revision.comment, revision.published_by) == (SMALL, "testers need it", "")
    assert revision.author == f"corp:{people['mike'].session_name}"
    assert revision.impact["counts"]["people_affected"] == 1
    assert revision.impact["digest"] == shown.impact.digest()
    draft.refresh_from_db()
    assert (draft.status, draft.revision) == ("published", 2)
    assert steps() == [
        ("begun", "ok", "", "mike"), ("saved", "ok", "", "mike"), ("published", "ok", "", "mike"),
    ]  # fmt: skip
    told = AuditEvent.objects.get(kind="mapping.published", data__revision=2).data
    assert told["impact"]["people_affected"] == 1
    assert record.verify() == []


def test_the_first_draft_of_all_begins_with_an_empty_document(db, sign_in_as, origin, now, monkeypatch):
    monkeypatch.setattr(drafts.staff_rights, "require", lambda *_, **__: None)
    draft = drafts.begin(sign_in_as(cast.carol()), origin=origin, now=now)
    assert (draft.text, draft.base) == ("version: 1\n", 0)


def test_what_was_published_cannot_be_published_again(desk):
    draft = desk.begin("mike", SMALL)
    digest = desk.look("mike", draft).digest
    desk.publish("mike", draft, digest=digest)
    with refused(drafts.DraftDecided, "draft_is_published"):
        desk.publish("mike", draft, digest=digest)
    assert MappingRevision.objects.count() == 2


def test_the_same_text_is_nothing_to_publish(desk):
    draft = desk.begin("mike", DOCUMENT)
    with refused(drafts.NothingToPublish, "nothing_to_publish"):
        desk.publish("mike", draft)


def test_a_draft_keeps_its_faults_and_does_not_come_into_force(desk):
    draft = desk.begin("mike", "version: 1\nmaping: []\n")
    assert draft.text == "version: 1\nmaping: []\n"
    with pytest.raises(DocumentError):
        desk.look("mike", draft)
    with pytest.raises(DocumentError):
        desk.publish("mike", draft, digest="0" * 64)
    assert steps()[-1] == ("publish", "refused", "mapping_document_invalid", "mike")
    assert current.mapping().number == 1


# --- Previewed is published -----------------------------------------------------------------------------


def test_what_is_published_is_what_was_previewed_text(desk):
    draft = desk.begin("mike", SMALL)
    digest = desk.look("mike", draft).digest
    draft = desk.save("mike", draft, DOCUMENT + SANDBOX.replace("shop-dev", "shop-staging"))
    with refused(drafts.PreviewChanged, "preview_changed"):
        desk.publish("mike", draft, digest=digest)
    assert current.mapping().number == 1


def test_what_is_published_is_what_was_previewed_people(desk, sign_in_as):
    draft = desk.begin("mike", SMALL)
    digest = desk.look("mike", draft).digest
    sign_in_as(cast.identity("tina", groups=("testers",)))
    with refused(drafts.PreviewChanged, "preview_changed"):
        desk.publish("mike", draft, digest=digest)
    assert steps()[-1] == ("publish", "refused", "preview_changed", "mike")
    assert desk.publish("mike", draft).number == 2


@pytest.mark.parametrize("digest", ["", "0" * 64, "é"])
def test_no_preview_no_publication(desk, digest):
    draft = desk.begin("mike", SMALL)
    with refused(drafts.PreviewChanged, "preview_changed"):
        desk.publish("mike", draft, digest=digest or " ")
    assert current.mapping().number == 1


def test_a_stale_draft_is_refused(desk, publish):
    draft = desk.begin("mike", SMALL)
    digest = desk.look("mike", draft).digest
    publish(DOCUMENT + "# another\n")
    with refused(RevisionMovedOn, "draft_is_stale"):
        desk.publish("mike", draft, digest=digest)
    with refused(RevisionMovedOn, "draft_is_stale"):
        desk.hand_over("mike", draft, digest=digest)
    assert steps()[-1] == ("publish", "refused", "draft_is_stale", "mike")
    assert current.mapping().number == 2


def test_a_stale_draft_is_brought_up_to_date(desk, publish):
    draft = desk.begin("mike", SMALL)
    other = DOCUMENT.replace("name: Example Corp", "name: Example Corporation")
    publish(other)
    merge = desk.do("bring_up_to_date", "mike", draft)
    assert (merge.draft.base, merge.draft.text, merge.conflicts) == (2, other + SANDBOX, ())
    assert desk.publish("mike", merge.draft).number == 3
    assert MappingRevision.objects.get(number=3).text == other + SANDBOX


def test_changes_of_the_same_lines_are_a_conflict_and_change_nothing(desk, publish):
    draft = desk.begin("mike", SMALL)
    publish(DOCUMENT + SANDBOX.replace("Developer", "Tester"))
    merge = desk.do("bring_up_to_date", "mike", draft)
    assert "testers-develop" in merge.conflicts[0]
    assert drafts.find(draft.pk).text == SMALL


# --- The second person ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code"),
    [(PRODUCTION, "production"), (OWN, "self")],
)
def test_the_author_may_not_publish_it_alone(desk, text, code):
    draft = desk.begin("mike", text)
    assert desk.look("mike", draft).second_person[0] == code
    with refused(drafts.SecondPersonNeeded, f"second_person_needed:{code}"):
        desk.publish("mike", draft)
    desk.hand_over("mike", draft)
    with refused(drafts.SecondPersonNeeded, f"second_person_needed:{code}"):
        desk.publish("mike", draft)
    assert current.mapping().number == 1
    assert steps()[-1] == ("publish", "refused", f"second_person_needed:{code}", "mike")


def test_another_mapper_publishes_it(desk, people):
    draft = desk.begin("mike", PRODUCTION)
    waiting = desk.hand_over("mike", draft, comment="for the load test")
    assert (waiting.status, waiting.preview["counts"]["people_affected"]) == ("waiting", 1)
    result = desk.publish("mona", waiting)
    revision = MappingRevision.objects.get(number=result.number)
    assert revision.author.startswith("corp:mike-")
    assert revision.published_by == f"corp:{people['mona'].session_name}"
    assert revision.comment == "for the load test"
    told = AuditEvent.objects.get(kind="mapping.published", data__revision=2)
    assert (told.actor, told.data["author"]) == (revision.published_by, revision.author)


def test_nobody_publishes_anothers_draft_that_was_not_handed_over(desk):
    draft = desk.begin("mike", PRODUCTION)
    with refused(drafts.DraftNotYours, "not_handed_over"):
        desk.publish("mona", draft)


def test_many_people_are_more_than_one_decides(desk, settings, sign_in_as):
    settings.ROLEGATE_SECOND_PERSON_ABOVE = 1
    sign_in_as(cast.identity("tina", groups=("testers",)))
    draft = desk.begin("mike", SMALL)
    with refused(drafts.SecondPersonNeeded, "second_person_needed:people"):
        desk.publish("mike", draft)


def test_the_same_human_with_another_provider_is_no_second_person(desk, people, sign_in_as):
    people["mike again"] = sign_in_as(
        cast.identity("m.ike", email="Mike@example.com", provider="entra", groups=("mappers",))
    )
    draft = desk.hand_over("mike", desk.begin("mike", PRODUCTION))
    with refused(drafts.SecondPersonNeeded, "second_person_needed:production"):
        desk.publish("mike again", draft)


def test_text_changed_after_it_was_handed_over_waits_no_more(desk):
    draft = desk.hand_over("mike", desk.begin("mike", PRODUCTION))
    digest = desk.look("mona", draft).digest
    changed = desk.save("mike", draft, PRODUCTION + "# and this\n")
    assert (changed.status, changed.digest) == ("draft", "")
    with refused(RolegateError, "preview_changed"):
        desk.publish("mona", draft, digest=digest)
    assert current.mapping().number == 1


def test_a_change_between_the_look_and_the_click_is_refused(desk, monkeypatch):
    draft = desk.hand_over("mike", desk.begin("mike", PRODUCTION))
    put = drafts._put_in_force

    def slow(person, row, shown, **more):
        MappingDraft.objects.filter(pk=row.pk).update(text=OWN, version=row.version + 1)
        return put(person, row, shown, **more)

    monkeypatch.setattr(drafts, "_put_in_force", slow)
    with refused(drafts.PreviewChanged, "draft_changed_meanwhile"):
        desk.publish("mona", draft)
    assert current.mapping().number == 1


def test_production_wants_a_typed_word(desk):
    draft = desk.hand_over("mike", desk.begin("mike", PRODUCTION))
    for typed in ("", "yes", "prod"):
        with refused(drafts.ConfirmationMissing, "confirmation_missing"):
            desk.publish("mona", draft, confirmation=typed)
    assert desk.publish("mona", draft, confirmation=" Production ").number == 2


def test_given_back_with_a_note(desk):
    draft = desk.hand_over("mike", desk.begin("mike", PRODUCTION))
    with refused(BadRequest, "note_missing"):
        desk.do("give_back", "mona", draft, note=" ")
    back = desk.do("give_back", "mona", draft, note="not on a Friday")
    assert (back.status, back.note) == ("draft", "not on a Friday")
    with refused(drafts.DraftDecided, "draft_is_draft"):
        desk.do("give_back", "mona", draft, note="again")
    assert desk.hand_over("mike", back).note == ""


def test_withdrawn_is_withdrawn(desk):
    draft = desk.begin("mike", SMALL)
    digest = desk.look("mike", draft).digest
    desk.do("withdraw", "mike", draft)
    for step in (
        lambda: desk.do("withdraw", "mike", draft),
        lambda: desk.save("mike", draft, PRODUCTION),
        lambda: desk.publish("mike", draft, digest=digest),
        lambda: desk.hand_over("mike", draft, digest=digest),
        lambda: desk.do("bring_up_to_date", "mike", draft),
    ):
        with refused(drafts.DraftDecided, "draft_is_withdrawn"):
            step()


# --- Who may ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["tom", "dora"])
def test_whoever_has_no_right_takes_no_step(desk, who):
    draft = desk.hand_over("mike", desk.begin("mike", PRODUCTION))
    for step in (
        lambda: desk.begin(who),
        lambda: desk.save(who, draft, SMALL),
        lambda: desk.hand_over(who, draft),
        lambda: desk.publish(who, draft),
        lambda: desk.do("give_back", who, draft, note="x"),
        lambda: desk.do("withdraw", who, draft),
        lambda: desk.do("bring_up_to_date", who, draft),
    ):
        with pytest.raises(StaffForbidden):
            step()
    assert drafts.find(draft.pk).status == "waiting"


def test_only_its_author_changes_a_draft(desk):
    draft = desk.begin("mike", SMALL)
    for step in (
        lambda: desk.save("mona", draft, PRODUCTION),
        lambda: desk.hand_over("mona", draft),
        lambda: desk.do("withdraw", "mona", draft),
        lambda: desk.do("bring_up_to_date", "mona", draft),
    ):
        with refused(drafts.DraftNotYours, "draft_not_yours"):
            step()


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ("staff", DOCUMENT.replace("{role: mapper, groups: [mappers]}", "{role: owner, groups: [mappers]}")),
        ("identity_providers", DOCUMENT.replace("groups: memberOf", "groups: everything")),
        ("directories", DOCUMENT + "directories:\n  - {slug: corp-people, provider: corp, scim: {}}\n"),
    ],
)
def test_a_mapper_touches_neither_staff_nor_who_is_who(desk, section, text):
    draft = desk.begin("mike", text)
    with refused(drafts.SectionNotYours, f"section_owners_only:{section}"):
        desk.hand_over("mike", draft)
    with refused(drafts.SectionNotYours, f"section_owners_only:{section}"):
        desk.publish("mike", draft)


def test_a_mapper_is_no_second_person_for_an_owners_change_of_staff(desk, people, sign_in_as):
    text = DOCUMENT.replace("{role: auditor, groups: [auditors]}", "{role: auditor, groups: [auditors, testers]}")
    draft = desk.hand_over("carol", desk.begin("carol", text))
    with refused(drafts.SectionNotYours, "section_owners_only:staff"):
        desk.publish("mona", draft)
    with refused(drafts.SecondPersonNeeded, "second_person_needed:staff"):
        desk.publish("carol", draft)
    people["cora"] = sign_in_as(cast.identity("cora", groups=("cloud-platform",)))
    assert desk.publish("cora", draft).number == 2


def test_a_right_that_is_gone_is_gone_at_the_next_step(desk, publish):
    draft = desk.begin("mike", SMALL)
    publish(DOCUMENT.replace("groups: [mappers]", "groups: [others]"))
    with pytest.raises(StaffForbidden):
        desk.save("mike", draft, SMALL)


# --- Keeping ------------------------------------------------------------------------------------------------


def test_two_windows_do_not_overwrite_each_other(desk):
    draft = desk.begin("mike")
    desk.save("mike", draft, SMALL, version=1)
    with refused(drafts.DraftChanged, "draft_changed"):
        desk.save("mike", draft, PRODUCTION, version=1)
    assert drafts.find(draft.pk).text == SMALL


def test_keeping_while_typing_is_no_event_of_its_own(desk):
    draft = desk.begin("mike")
    for n in range(3):
        draft = desk.save("mike", draft, f"{SMALL}# {n}\n", by_hand=False)
    assert [step[0] for step in steps()] == ["begun"]
    assert drafts.find(draft.pk).text.endswith("# 2\n")


def test_a_client_secret_in_clear_is_never_kept(desk):
    clear = DOCUMENT.replace('"${TEST_OIDC_SECRET}"', "hunter2-hunter2-hunter2")
    draft = desk.begin("carol", clear)
    assert "hunter2" not in draft.text
    assert "client_secret: sealed:" in draft.text
    with refused(SecretNotSealable, "secret_in_faulty_draft"):
        desk.save("carol", draft, clear + "nonsense: [\n")
    assert "hunter2" not in drafts.find(draft.pk).text
    kept = desk.save("carol", draft, DOCUMENT + "nonsense: [\n")
    assert kept.text.endswith("nonsense: [\n")


def test_line_ends_of_a_browser_are_those_of_a_file(desk):
    assert desk.begin("mike", SMALL.replace("\n", "\r\n")).text == SMALL
    assert desk.begin("mike", "version: 1\n\x00").text == "version: 1\n\ufffd"
    with refused(BadRequest, "document_too_large"):
        desk.begin("mike", "#" * 2_000_001)


def test_what_is_not_there(desk):
    with refused(NotFound, "no_such_draft"):
        drafts.find(uuid4())
    with refused(NotFound, "no_such_revision"):
        desk.begin("mike", from_revision=99)
    with refused(NotFound, "no_such_draft"):
        desk.do("withdraw", "mike", MappingDraft(pk=uuid4()))


def test_rolling_back_is_a_draft_like_any_other(desk, publish):
    publish(SMALL)
    draft = desk.begin("mike", from_revision=1, comment="back to revision 1")
    assert (draft.text, draft.base) == (DOCUMENT, 2)
    assert [c.kind for c in desk.look("mike", draft).impact.cohorts[0].changes] == ["lost"]
    assert desk.publish("mike", draft).number == 3
    assert MappingRevision.objects.get(number=3).text == DOCUMENT


def test_an_event_that_cannot_be_written_takes_the_step_with_it(desk, monkeypatch):
    draft = desk.begin("mike", SMALL)
    digest = desk.look("mike", draft).digest

    def full(*args, **kwargs):
        raise DatabaseError("TEST: the disk is full")

    monkeypatch.setattr(publish_mapping, "record", full)
    with pytest.raises(DatabaseError):
        desk.publish("mike", draft, digest=digest)
    assert (drafts.find(draft.pk).status, current.mapping().number) == ("draft", 1)


# --- At once -------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("same", [True, False])
def test_of_publishers_at_once_one_wins(desk, same):
    """Two second persons of one draft, or the authors of two drafts on one revision: one revision comes of it."""
    if same:
        draft = desk.hand_over("mike", desk.begin("mike", PRODUCTION))
        digest = desk.look("mona", draft).digest
        work = [("mona", draft, digest), ("carol", draft, digest), ("mona", draft, digest)]
    else:
        work = []
        for who, name in (("mike", "a"), ("mona", "b"), ("carol", "c")):
            draft = desk.begin(who, SMALL + f"# {name}\n")
            work.append((who, draft, desk.look(who, draft).digest))
    reasons, lock = [], threading.Lock()

    def run(who, draft, digest):
        try:
            desk.publish(who, draft, digest=digest)
            said = "published"
        except RolegateError as error:
            said = error.reason
        finally:
            connection.close()
        with lock:
            reasons.append(said)

    threads = [threading.Thread(target=run, args=one) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reasons.count("published") == 1
    assert set(reasons) <= {"published", "draft_is_published", "draft_is_stale", "revision_moved_on"}
    assert MappingRevision.objects.count() == 2
    assert record.verify() == []


# --- Whose impact it is -----------------------------------------------------------------------------------


def test_the_people_of_today(desk, people, sign_in_as, now):
    """Disabled and long gone are not counted; whoever cannot be decided on is counted apart."""
    gone = sign_in_as(cast.identity("gone", groups=("testers",)), at=now - timedelta(days=91))
    away = sign_in_as(cast.identity("away", groups=("testers",)), at=now - timedelta(days=60))
    disabled = sign_in_as(cast.identity("disabled", groups=("testers",)))
    type(disabled).objects.filter(pk=disabled.pk).update(active=False)
    sign_in_as(cast.identity("half", groups=("testers",), groups_complete=False))
    impact = desk.look("mike", desk.begin("mike", SMALL)).impact
    affected = {person.label for cohort in impact.cohorts for person in cohort.people}
    assert affected == {"Tom", away.name}
    assert (impact.people, impact.undecided) == (7, 1)
    assert gone.name not in affected


@pytest.fixture
def listed(publish, now):
    """A directory that lists the people, and besides them three testers who have never signed in; one is disabled."""

    def do(*, mode="replace"):
        directory = f"directories:\n  - {{slug: staff, provider: corp, scim: {{}}, groups: {mode}}}\n"
        publish(DOCUMENT + directory)
        groups = {}
        for name, group, active in (
            ("mike", "mappers", True), ("mona", "mappers", True), ("carol", "cloud-platform", True), ("tom", "testers", True),
            ("nia", "testers", True), ("ned", "testers", True), ("nan", "testers", False),
        ):  # fmt: skip
            user = DirectoryUser.objects.create(
                directory="staff", user_name=name, user_name_key=name, name=name.title(), active=active, created_at=now, modified_at=now
            )  # fmt: skip
            if group not in groups:
                groups[group] = DirectoryGroup.objects.create(directory="staff", display_name=group, created_at=now, modified_at=now)  # fmt: skip
            Membership.objects.create(user=user, group=groups[group], since=now)
        return directory

    return do


def test_the_people_of_today_are_also_those_whom_a_directory_lists(desk, listed, origin, now):
    """A new department is pushed and the mapping is written before anybody of it has signed in."""
    applied = apply(SMALL + listed(), author="test", comment="", origin=origin, now=now, dry_run=True)
    impact = applied.preview.impact
    assert {person.label for cohort in impact.cohorts for person in cohort.people} == {"Tom", "Nia", "Ned"}
    assert (impact.counts["people_gain"], applied.preview.never_signed_in) == (3, 2)
    assert applied.preview.as_dict()["never_signed_in"] == 2
    assert len({person.key for cohort in impact.cohorts for person in cohort.people}) == 3


def test_what_a_directory_does_not_speak_for_is_not_guessed(desk, listed, origin, now):
    """Where claims count besides, nobody knows what they will say."""
    applied = apply(SMALL + listed(mode="add"), author="test", comment="", origin=origin, now=now, dry_run=True)
    assert applied.preview.never_signed_in == 0
    assert {person.label for cohort in applied.preview.impact.cohorts for person in cohort.people} == {"Tom"}


def test_one_who_is_listed_under_anothers_session_name_is_not_taken_for_them(desk, listed, people, now):
    """Attack: a line of the directory called as a mapper's session hides what the mapper gains by their own draft."""
    directory = listed()
    DirectoryUser.objects.create(
        directory="staff", user_name=people["mike"].session_name, user_name_key="x", created_at=now, modified_at=now
    )
    draft = desk.begin("mike", OWN + directory)
    shown = desk.look("mike", draft)
    assert "self" in shown.second_person
    keys = [person.key for cohort in shown.impact.cohorts for person in cohort.people]
    assert len(keys) == len(set(keys))


def test_a_provider_that_is_switched_off_takes_everything(desk, origin, now):
    applied = apply(
        DOCUMENT.replace("name: Example Corp", "name: Example Corp\n    enabled: false"),
        author="test", comment="", origin=origin, now=now, dry_run=True,
    )  # fmt: skip
    rights = {change.person.label: change.lost for change in applied.preview.impact.rights}
    assert rights["Carol"] == ("owner",)
    assert "sign_in" in applied.preview.second_person


def test_a_directory_that_is_to_come_takes_what_it_does_not_know(desk, origin, now):
    """Its people are asked of it, as a mint would: it knows nobody yet."""
    text = SMALL + "directories:\n  - {slug: corp-people, provider: corp, scim: {}}\n"
    applied = apply(text, author="test", comment="", origin=origin, now=now, dry_run=True)
    assert applied.preview.impact.counts["people_gain"] == 0
    assert {change.person.label for change in applied.preview.impact.rights} >= {"Carol", "Mike"}
