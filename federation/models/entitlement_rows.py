"""Writing entitlements: many rows staged, then in force all at once or not at all.

`Staging` keeps them in a file until `swap`. `Streaming` gives them to PostgreSQL while the rest is still worked out: COPY in
a transaction that another thread holds open, which ends with `swap` or as if it had never been. The same rows come of both.
"""

from __future__ import annotations

import queue
import struct
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import IO, Any, Final, Self
from uuid import UUID

import structlog
from django.db import DatabaseError, connection, transaction

from federation.models import compiled
from federation.models.entitlements import Entitlement, GivenByRule, GivenRole

log = structlog.get_logger(__name__)

_IN_MEMORY: Final = 32 << 20  # bytes that are staged before a file is made
_BLOCK: Final = 1 << 18  # bytes of staged rows at a time
_ROWS: Final = 5_000
_FEW: Final = _ROWS  # rows for which a table of their own is not worth making
_MANY: Final = 20_000  # rows after which the planner is told anew what there is
_BLOCKS_AHEAD: Final = 32
_SECONDS_TO_WAIT: Final = 1.0

# COPY's binary form: https://www.postgresql.org/docs/15/sql-copy.html, "Binary Format". Each field has its length before it.
_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)  # no flags, no extension of the header
_TRAILER: Final = b"\xff\xff"
_INTEGER: Final = struct.Struct(">i")
_MOMENT: Final = struct.Struct(">q")  # microseconds since _EPOCH
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_FIELDS: Final = b"\x00\x04"
_FOUR, _EIGHT, _SIXTEEN = (_INTEGER.pack(length) for length in (4, 8, 16))


class Staging:
    """Rows to be added and to be taken away: nothing is in force before `swap`, and nothing at all without it.

    A row is text, `person, given, revision, since` with tabs between, as COPY reads it.
    """

    def __init__(self) -> None:
        self._added_rows: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  closed with this
        self._gone_rows: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  closed with this
        self.added = self.gone = 0
        self.given_gone: set[int] = set()  # given roles that somebody has no longer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._added_rows.close()
        self._gone_rows.close()

    def add(self, person_id: UUID, given_ids: Iterable[int], revision: int, since: datetime) -> None:
        """A person has got these."""
        head, tail = f"{person_id}\t", f"\t{revision}\t{since.isoformat()}\n"
        lines = [f"{head}{given_id}{tail}" for given_id in given_ids]
        self.added += len(lines)
        self._added_rows.write("".join(lines).encode())

    def take(self, person_id: UUID, given_ids: Iterable[int]) -> None:
        """A person has these no longer."""
        taken = list(given_ids)
        self.given_gone.update(taken)
        self.gone += len(taken)
        self._gone_rows.write("".join([f"{person_id}\t{given_id}\n" for given_id in taken]).encode())

    def swap(self, seal: Callable[[], None]) -> None:
        """Write everything in one transaction, `seal` last: what it raises undoes all of it."""
        with transaction.atomic():
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    _delete(cursor, self._gone_rows, self.gone)
                    if self.added:
                        _copy(cursor, _COPY, _blocks(self._added_rows))
            else:
                _delete_one_by_one(self._gone_rows)
                _insert(self._added_rows)
            seal()


class _Abandoned(Exception):
    """Whoever worked the rows out has given up."""


class Streaming(Staging):
    """Staging on PostgreSQL, outside of any transaction: while rows are worked out here, the database stores them already.

    `seal` is called in the other thread, on its connection. Raises what went wrong there.
    """

    def __init__(self) -> None:
        super().__init__()
        self._block: list[bytes] = []
        self._size = 0
        self._ahead: queue.Queue[bytes | Callable[[], None] | None] = queue.Queue(_BLOCKS_AHEAD)
        self._failed: BaseException | None = None
        self._ended = threading.Event()  # the transaction, one way or the other
        self._writer = threading.Thread(target=self._write, name="entitlements", daemon=True)
        self._writer.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._ended.is_set():
            self._hand_over(None)
            self._ended.wait()
        super().__exit__(kind, error, trace)

    def swap(self, seal: Callable[[], None]) -> None:
        """End the transaction: the rows that are left, what is gone, and `seal`."""
        self._flush()
        self._hand_over(seal)
        self._ended.wait()
        self._raise_failure()

    def add(self, person_id: UUID, given_ids: Iterable[int], revision: int, since: datetime) -> None:
        """A person has got these. In COPY's binary form, which neither side has to write out and read as text."""
        ids = list(map(_INTEGER.pack, given_ids))
        if not ids:
            return
        head = _FIELDS + _SIXTEEN + person_id.bytes + _FOUR
        microseconds = (since - _EPOCH) // timedelta(microseconds=1)
        tail = _FOUR + _INTEGER.pack(revision) + _EIGHT + _MOMENT.pack(microseconds)
        self.added += len(ids)
        self._keep(head + (tail + head).join(ids) + tail)

    def _keep(self, rows: bytes) -> None:
        self._block.append(rows)
        self._size += len(rows)
        if self._size >= _BLOCK:
            self._flush()
            self._raise_failure()

    def _flush(self) -> None:
        if self._block:
            self._hand_over(b"".join(self._block))
            self._block, self._size = [], 0

    def _hand_over(self, item: bytes | Callable[[], None] | None) -> None:
        while not self._ended.is_set():
            try:
                self._ahead.put(item, timeout=_SECONDS_TO_WAIT)
            except queue.Full:
                continue  # unless the transaction has failed meanwhile, of which nobody tells the queue
            return

    def _raise_failure(self) -> None:
        if self._failed is not None:
            raise self._failed

    def _write(self) -> None:
        try:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    _copy(cursor, f"{_COPY} WITH (FORMAT binary)", self._received())
                    _delete(cursor, self._gone_rows, self.gone)
                self._seal()
        except BaseException as error:  # noqa: BLE001  raised in the thread that waits for this one
            self._failed = error
        try:
            self._ended.set()  # the rows are in force: nobody waits for what the planner is told
            if self._failed is None and self.added > _MANY:
                _analyze()
        finally:
            connection.close()

    def _received(self) -> Iterator[bytes]:
        yield _SIGNATURE
        while isinstance(item := self._ahead.get(), bytes):
            yield item
        if item is None:
            raise _Abandoned
        self._seal = item
        yield _TRAILER


_COPY: Final = f"COPY {Entitlement._meta.db_table} (person_id, given_id, revision, since) FROM STDIN"


def _blocks(staged: IO[bytes]) -> Iterator[bytes]:
    staged.seek(0)
    while block := staged.read(_BLOCK):
        yield block


def _copy(cursor: Any, sql: str, blocks: Iterable[bytes]) -> None:
    with connection.wrap_database_errors, cursor.copy(sql) as copy:  # Django wraps what it calls itself alone
        for block in blocks:
            copy.write(block)


def _analyze() -> None:
    """Autovacuum comes within minutes. Until then the planner would read whole tables for each person whose page is opened."""
    tables = ", ".join(compiled.table(model) for model in (Entitlement, GivenRole, GivenByRule))
    try:
        compiled.execute(f"ANALYZE {tables}", [])
    except DatabaseError:
        log.warning("entitlements_not_analyzed", exc_info=True)  # the rows are in force all the same


def _delete(cursor: Any, gone: IO[bytes], rows: int) -> None:
    """On PostgreSQL, in one statement."""
    if not rows:
        return
    if rows <= _FEW:
        people, given = zip(*next(_batches(gone)), strict=True)
        listed, wanted = "unnest(%s::uuid[], %s::integer[]) gone (person_id, given_id)", [list(people), list(given)]
    else:
        cursor.execute("CREATE TEMPORARY TABLE gone (person_id uuid, given_id integer) ON COMMIT DROP")
        _copy(cursor, "COPY gone (person_id, given_id) FROM STDIN", _blocks(gone))
        listed, wanted = "gone", []
    cursor.execute(
        f"DELETE FROM {compiled.table(Entitlement)} e USING {listed} "  # noqa: S608  ours
        "WHERE e.person_id = gone.person_id AND e.given_id = gone.given_id",
        wanted,
    )
    if rows > _FEW:
        cursor.execute("DROP TABLE gone")


def _delete_one_by_one(gone: IO[bytes]) -> None:
    sql = f"DELETE FROM {compiled.table(Entitlement)} WHERE person_id = %s AND given_id = %s"  # noqa: S608  ours
    with connection.cursor() as cursor:
        for rows in _batches(gone):
            cursor.executemany(sql, [(who.replace("-", ""), int(given_id)) for who, given_id in rows])


def _insert(added: IO[bytes]) -> None:
    sql = f"INSERT INTO {compiled.table(Entitlement)} (person_id, given_id, revision, since) VALUES (%s, %s, %s, %s)"  # noqa: S608
    moments: dict[str, Any] = {}  # as the database wants them: few, and each in many rows
    with connection.cursor() as cursor:
        for rows in _batches(added):
            for text in {row[3] for row in rows} - moments.keys():
                (moments[text],) = compiled.adapt(Entitlement, since=datetime.fromisoformat(text))
            cursor.executemany(
                sql,
                [
                    (who.replace("-", ""), int(given_id), int(revision), moments[since])
                    for who, given_id, revision, since in rows
                ],
            )


def _batches(staged: IO[bytes]) -> Iterator[list[list[str]]]:
    staged.seek(0)
    batch: list[list[str]] = []
    for line in staged:
        batch.append(line.decode().rstrip("\n").split("\t"))
        if len(batch) == _ROWS:
            yield batch
            batch = []
    if batch:
        yield batch
