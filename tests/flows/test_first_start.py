"""A gateway's start: keys that are missing are made, ROLEGATE_CONFIG is published, and a restart undoes nothing."""

import threading

import pytest
from django.db import connection

from federation.errors import ConfigurationError
from federation.flows import first_start as flow
from federation.flows import publish_mapping
from federation.mapping.document import DocumentError
from federation.models import MappingRevision, SigningKey, current
from tests import cast

OTHER = cast.DOCUMENT.replace("roles: [ReadOnly]", "roles: [Auditor]")
THIRD = cast.DOCUMENT.replace("roles: [ReadOnly]", "roles: [Viewer]")


@pytest.fixture
def config(db, settings, tmp_path):
    path = tmp_path / "mapping.yaml"
    settings.ROLEGATE_CONFIG = str(path)
    path.write_text(cast.DOCUMENT)
    return path


def by_hand(text, origin, now):
    return publish_mapping.publish(text, author="carol", comment="", origin=origin, now=now)


def texts():
    return list(MappingRevision.objects.order_by("number").values_list("text", flat=True))


def test_the_keys_are_made_at_the_first_start_and_not_again(db, now, events):
    flow.first_start(now=now)
    kids = set(SigningKey.objects.values_list("kid", flat=True))
    assert len(kids) == 4
    assert events() == [("key.made", "ok", "")] * 4
    flow.first_start(now=now)
    assert set(SigningKey.objects.values_list("kid", flat=True)) == kids
    assert not MappingRevision.objects.exists()


def test_the_configured_document_is_published(config, gateway_keys, now):
    flow.first_start(now=now)
    assert texts() == [cast.DOCUMENT]
    revision = MappingRevision.objects.get()
    assert revision.author == "gateway:config"
    assert str(config) in revision.comment
    assert current.mapping().provider("corp").name == "Example Corp"


def test_a_restart_changes_nothing_and_a_changed_file_is_published(config, gateway_keys, now):
    flow.first_start(now=now)
    flow.first_start(now=now)
    assert texts() == [cast.DOCUMENT]
    config.write_text(OTHER)
    flow.first_start(now=now)
    config.write_text(cast.DOCUMENT)  # rolled back in the file
    flow.first_start(now=now)
    assert texts() == [cast.DOCUMENT, OTHER, cast.DOCUMENT]


def test_a_restart_does_not_undo_what_was_published_otherwise(config, gateway_keys, origin, now):
    flow.first_start(now=now)
    by_hand(OTHER, origin, now)
    flow.first_start(now=now)
    assert texts() == [cast.DOCUMENT, OTHER]
    config.write_text(THIRD)
    flow.first_start(now=now)
    assert texts()[-1] == THIRD


def test_nor_where_the_file_itself_was_applied_by_hand_first(config, gateway_keys, origin, now):
    by_hand(cast.DOCUMENT, origin, now)
    by_hand(OTHER, origin, now)
    flow.first_start(now=now)
    assert texts() == [cast.DOCUMENT, OTHER]


def test_a_secret_in_clear_is_no_change_each_time(config, gateway_keys, now):
    config.write_text(cast.DOCUMENT.replace("${TEST_OIDC_SECRET}", "a-secret-in-clear-for-this-test"))
    flow.first_start(now=now)
    flow.first_start(now=now)
    assert len(texts()) == 1
    assert "a-secret-in-clear" not in texts()[0]


def test_a_faulty_document_stops_a_gateway_that_has_none(config, gateway_keys, now):
    config.write_text(cast.DOCUMENT.replace("roles: [ReadOnly]", "rolez: [ReadOnly]"))
    with pytest.raises(DocumentError) as caught:
        flow.first_start(now=now)
    assert any(fault.line and "rolez" in fault.path for fault in caught.value.faults)
    config.unlink()
    with pytest.raises(ConfigurationError) as missing:
        flow.first_start(now=now)
    assert missing.value.reason == "config_unreadable"


def test_a_faulty_document_leaves_the_good_one_in_force_and_says_so(config, gateway_keys, now, caplog):
    flow.first_start(now=now)
    config.write_text("version: 2\n")
    flow.first_start(now=now)
    assert texts() == [cast.DOCUMENT]
    told = [line for line in caplog.records if "config_not_published" in line.getMessage()]
    assert [line.levelname for line in told] == ["CRITICAL"]
    assert "version" in told[0].getMessage()


def test_many_processes_at_once_make_one_of_each(transactional_db, settings, tmp_path, now):
    path = tmp_path / "mapping.yaml"
    settings.ROLEGATE_CONFIG = str(path)
    path.write_text(cast.DOCUMENT)
    faults = []

    def start():
        try:
            flow.first_start(now=now)
        except Exception as error:
            faults.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert SigningKey.objects.filter(state="active").count() == 4
    assert texts() == [cast.DOCUMENT]
