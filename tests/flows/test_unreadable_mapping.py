"""A revision in force that this version would not take as a new one, or cannot read at all: after an upgrade, say."""

from __future__ import annotations

import hashlib

import pytest

from federation.errors import RolegateError
from federation.flows import access, apply_mapping
from federation.flows.doctor import in_force
from federation.mapping import reading
from federation.mapping.document import DocumentError, parse
from federation.models import MappingRevision, current
from tests import cast

READ = cast.role(cast.PROD, "ReadOnly")
LARGE = cast.DOCUMENT.replace(
    "mapping:\n",
    "mapping:\n  - {name: large, when: {groups: [{regex: '^x(a{900}|b{900})$'}, 'team-*-*-*']}, allow: {roles: [ReadOnly]}}\n",
)


@pytest.fixture
def smaller_bound(monkeypatch):
    """An upgrade by which less is taken of a new document than before."""

    def upgrade():
        monkeypatch.setattr(reading, "MAX_PROGRAMS", 1_000)
        monkeypatch.setattr(in_force, "MAX_PROGRAMS", 1_000)
        current.forget()

    return upgrade


def stored(text: str, now) -> None:
    """A revision that another version has published."""
    number = (MappingRevision.objects.order_by("-number").values_list("number", flat=True).first() or 0) + 1
    MappingRevision.objects.create(
        number=number, text=text, sha256=hashlib.sha256(text.encode()).hexdigest(), author="x", published_at=now
    )
    current.forget()


def apply(text: str, now, **more):
    origin = apply_mapping.Origin(request_id="test", address="", user_agent="")
    return apply_mapping.apply(text, author="command:test", comment="", origin=origin, now=now, **more)


def test_one_that_is_larger_than_is_taken_today_stays_in_force(publish, sign_in_as, smaller_bound, now):
    publish(LARGE)
    alice = sign_in_as(cast.alice())
    smaller_bound()
    with pytest.raises(DocumentError, match="too large together"):
        parse(LARGE)
    assert access.decide(alice.pk, READ, now=now).person == alice
    assert current.mapping().expressions > 1_000
    (found,) = (one for one in in_force.mapping(now) if one.code != "ok" and "large" in one.code)
    assert found.code == "mapping_too_large"
    assert "It stays in force." in found.says


def test_it_can_be_gone_back_to_and_not_be_changed(publish, smaller_bound, now):
    publish(LARGE)
    publish(cast.DOCUMENT)
    smaller_bound()
    with pytest.raises(DocumentError, match="too large together"):
        apply(LARGE + "# another\n", now)
    assert apply(LARGE, now).published.number == 3
    assert current.mapping().number == 3


def test_one_that_cannot_be_read_decides_nothing_and_is_said_once(
    publish, sign_in_as, client, gateway_keys, now, caplog
):
    publish()
    alice = sign_in_as(cast.alice())
    assert client.get("/readyz").status_code == 200
    stored(cast.DOCUMENT + "of_tomorrow: 1\n", now)
    for _ in range(3):
        with pytest.raises(RolegateError) as caught:
            access.decide(alice.pk, READ, now=now)
        assert (caught.value.code, caught.value.status) == ("mapping_unreadable", 503)
    assert sum("mapping_unreadable" in record.getMessage() for record in caplog.records) == 1
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["reasons"]) == (503, ["mapping_unreadable"])
    page = client.get("/signin/")
    assert page.status_code == 503
    assert "mapping_unreadable" in page.content.decode()
    (found,) = in_force.mapping(now)
    assert found.code == "mapping_unreadable"
    assert "of_tomorrow" in found.says


def test_a_document_that_can_be_read_is_the_way_out(publish, sign_in_as, now):
    publish()
    alice = sign_in_as(cast.alice())
    stored(cast.DOCUMENT + "of_tomorrow: 1\n", now)
    shown = apply(cast.DOCUMENT, now, dry_run=True)
    assert (shown.published.changed, shown.preview) == (True, None)
    done = apply(cast.DOCUMENT, now)
    assert done.published.number == 3
    assert access.decide(alice.pk, READ, now=now).person == alice
