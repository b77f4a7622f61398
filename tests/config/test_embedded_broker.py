"""The demo's broker over files: a reader that comes in the middle of a write finds a whole message, or none."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest
from kombu import Connection, Exchange, Producer, Queue
from kombu.transport import filesystem

from config import embedded_broker

WORK = Queue("work", Exchange("work"), routing_key="work")


@pytest.fixture(autouse=True)
def _new_process():
    """What kombu remembers for a process, it remembers of other tests' folders."""
    filesystem.Transport.global_state.clear()


@contextlib.contextmanager
def connected(folder, transport=embedded_broker.Transport):
    options = {f"data_folder_{way}": str(folder / "in") for way in ("in", "out")}
    options |= {f"{name}_folder": str(folder / name) for name in ("control", "processed")}
    for name in ("in", "control", "processed"):
        (folder / name).mkdir(exist_ok=True)
    with Connection("filesystem://", transport=transport, transport_options=options) as connection:
        yield connection


def send(connection, number):
    Producer(connection).publish({"number": number}, exchange=WORK.exchange, routing_key="work", declare=[WORK])


def take(connection):
    """What a worker finds when it looks."""
    message = WORK(connection.channel()).get(no_ack=True)
    return None if message is None else message.payload["number"]


def test_a_worker_that_looks_while_a_message_is_written_finds_none_yet(tmp_path, monkeypatch):
    with connected(tmp_path) as beat, connected(tmp_path) as worker:
        send(beat, 1)
        assert take(worker) == 1
        looked = []

        def look_first(fresh, final, replace=Path.replace):
            looked.append(take(worker))
            return replace(fresh, final)

        monkeypatch.setattr(Path, "replace", look_first)
        send(beat, 2)
        assert looked == [None]
        assert take(worker) == 2
        assert not list((tmp_path / "in").iterdir())


def test_kombus_own_ends_the_worker(tmp_path, monkeypatch):
    """Where this fails, kombu has mended it, and `config.embedded_broker` can go."""
    with connected(tmp_path, filesystem.Transport) as beat, connected(tmp_path, filesystem.Transport) as worker:
        send(beat, 1)
        assert take(worker) == 1
        lock = filesystem.lock

        def look_first(file, flags):
            if file.name.endswith(".msg"):
                with pytest.raises(ValueError, match="Expecting value"):
                    take(worker)
                looked.append(file.name)
            lock(file, flags)

        looked = []
        monkeypatch.setattr(filesystem, "lock", look_first)
        send(beat, 2)
        assert len(looked) == 1


@pytest.mark.parametrize("use", [lambda c: c.get_table("work"), lambda c: c._queue_bind("work", "key", "", "queue")])
def test_a_table_that_another_process_is_writing_is_waited_for(tmp_path, use):
    with connected(tmp_path) as connection:
        table = tmp_path / "control" / "work.exchange"
        table.touch()
        writer = threading.Timer(0.1, table.write_text, args=['[["key", "", "queue"]]'])
        writer.start()
        channel = connection.channel()
        use(channel)
        assert [row.queue for row in channel.get_table("work")] == ["queue"]
        writer.join()


def test_messages_come_in_their_order_and_with_any_text(tmp_path):
    with connected(tmp_path) as beat, connected(tmp_path) as worker:
        for number in ("первый", 2, "\u2028"):
            send(beat, number)
        assert [take(worker) for _ in range(4)] == ["первый", 2, "\u2028", None]
