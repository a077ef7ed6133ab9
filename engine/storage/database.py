"""SQLite with one writer: jobs go in on the loop's thread, are committed in groups by one thread, and are answered on the loop.

The writer takes whatever waits as soon as it is free, so the groups grow with the load and one fsync serves many jobs. A job is a
function of the connection: it may run more than once (its group is rolled back and tried again when the disk is full), so it must
have no effect but on the database. What cannot be written waits in memory until it can; nothing is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from ..clock import SYSTEM_CLOCK, Clock
from ..errors import StateFolderError, StorageFullError
from .opening import check_readable, error_code, explain, open_reader, open_writer

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], Any]
Done = Callable[[Any, Exception | None], None]

RETRY_SECONDS = 0.5
"""Pause between attempts to write a group that the disk refuses."""
IDLE_SECONDS = 2.0
"""Quiet time after which what was written is moved from the log into the database file."""
_TROUBLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
    }
)
"""Codes that speak of the disk and not of the job: the whole group is kept and tried again."""
_log = logging.getLogger("mi4.engine.storage")


class Database:
    """The state database of one folder; one object for each process that writes (the holder of the folder's lock)."""

    # Mutable state. Loop thread: `on_trouble`, `_closed`. Under `_wake`: `_waiting`, `_closing`. Under `_reading`: `_readers`.
    # Writer thread alone after `start`: `_connection`, `_trouble`, `_dirty`.

    def __init__(self, path: Path, connection: sqlite3.Connection | None, clock: Clock = SYSTEM_CLOCK) -> None:
        self.path = path
        self.clock = clock
        self.on_trouble: Callable[[str | None], None] | None = None
        """Called on the loop with one line when writing fails, and with None when it works again."""
        self._connection = connection
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._wake = threading.Condition()
        self._waiting: list[tuple[Job, Done]] = []
        self._closing = threading.Event()
        self._closed = False
        self._reading = threading.Lock()
        self._readers: list[sqlite3.Connection] = []
        self._trouble: str | None = None
        self._dirty = False

    def __repr__(self) -> str:
        state = (
            "closed" if self._closed else "read-only" if self._connection is None else f"{len(self._waiting)} waiting"
        )
        return f"<Database {self.path} {state}>"

    @classmethod
    def open(
        cls, path: Path, *, clock: Clock = SYSTEM_CLOCK, factory: type[sqlite3.Connection] = sqlite3.Connection
    ) -> Database:
        """Open or create the file; hold the folder's lock before you do.

        Raises `StateFolderError`: damaged (kept beside, named in the message), of a newer version, not ours, not readable; or
        `StorageFullError`. `factory` makes the writing connection, for tests of disk faults.
        """
        return cls(path, open_writer(path, clock, factory), clock)

    @classmethod
    def view(cls, path: Path) -> Database:
        """Open for reading only, also while another process writes; raises `StateFolderError`."""
        check_readable(path)
        return cls(path, None)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the writer; answers come on `loop`. Jobs submitted before wait until then."""
        self._loop = loop
        self._thread = threading.Thread(target=self._write, name="mi4-database", daemon=True)
        self._thread.start()

    def submit(
        self, job: Callable[[sqlite3.Connection], T], done: Callable[[T | None, Exception | None], None]
    ) -> None:
        """Run `job` in the next transaction; `done(value, error)` is called on the loop once it is durable, in order.

        Loop thread only. A job that raises is undone alone and the others of its transaction stand. After `aclose` the answer is
        a `StateFolderError`.
        """
        if self._closed or self._connection is None:
            self._answer([(done, None, StateFolderError(f"{self.path} is not open for writing", self.path))])
            return
        with self._wake:
            self._waiting.append((job, done))
            self._wake.notify()

    async def run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Like `submit`, for one caller that waits; raises what the job raised."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def done(value: T | None, error: Exception | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

        self.submit(job, done)
        value: T = await future
        return value

    def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """What `query` returns on a read-only connection that sees the last commit; any thread. Raises `StateFolderError`."""
        with self._reading:
            connection = self._readers.pop() if self._readers else None
        try:
            connection = connection or open_reader(self.path)
            value = query(connection)
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, sqlite3.DatabaseError):
                raise StateFolderError(f"cannot read {self.path}: {explain(error)}", self.path) from error
            raise
        self._keep_reader(connection)
        return value

    async def aclose(self) -> None:
        """Commit what waits, then close. What the disk still refuses is answered with `StorageFullError`."""
        if self._closed:
            return
        self._closed = True
        if self._connection is not None and self._thread is None:
            self.start(asyncio.get_running_loop())
        self._closing.set()
        with self._wake:
            self._wake.notify()
        with self._reading:
            readers, self._readers = self._readers, []
        for reader in readers:
            reader.close()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    def _keep_reader(self, connection: sqlite3.Connection) -> None:
        with self._reading:
            if not self._closed and len(self._readers) < 4:
                self._readers.append(connection)
                return
        connection.close()

    # The writer thread.

    def _write(self) -> None:
        connection = self._connection
        assert connection is not None
        while (group := self._next_group(connection)) is not None:
            if group:
                self._commit_until_done(connection, group)
        with suppress(sqlite3.Error):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.close()

    def _next_group(self, connection: sqlite3.Connection) -> list[tuple[Job, Done]] | None:
        """All that waits; an empty list after idle work, None when closing and nothing is left."""
        with self._wake:
            if not self._waiting and not self._closing.is_set():
                self._wake.wait(IDLE_SECONDS if self._dirty else None)
            group, self._waiting = self._waiting, []
        if not group and self._closing.is_set():
            return None
        if not group and self._dirty:
            self._dirty = False
            with suppress(sqlite3.Error):
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        return group

    def _commit_until_done(self, connection: sqlite3.Connection, group: list[tuple[Job, Done]]) -> None:
        while True:
            last = self._closing.is_set()
            try:
                answers = self._commit(connection, group)
            except Exception as error:  # noqa: BLE001 (whatever it is, the group must be kept and the thread must live)
                self._report(self._describe(error))
                if last:
                    refusal = StorageFullError(f"not written: {self._trouble}")
                    self._answer([(done, None, refusal) for _, done in group])
                    return
                self._closing.wait(RETRY_SECONDS)
                continue
            self._dirty = True
            self._report(None)
            self._answer(answers)
            return

    def _commit(
        self, connection: sqlite3.Connection, group: list[tuple[Job, Done]]
    ) -> list[tuple[Done, Any, Exception | None]]:
        try:
            connection.execute("BEGIN IMMEDIATE")
            answers = [(done, *_run_alone(connection, job)) for job, done in group]
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.rollback()
            raise
        return answers

    def _describe(self, error: Exception) -> str:
        if isinstance(error, sqlite3.Error) and error_code(error) == sqlite3.SQLITE_FULL:
            return f"the disk is full: free some space on the disk of {self.path.parent}"
        if not isinstance(error, sqlite3.Error):
            _log.error("writing the state failed", exc_info=error)
        return f"cannot write {self.path}: {explain(error)}"

    def _report(self, trouble: str | None) -> None:
        """Tell `on_trouble`, once for each change."""
        if trouble != self._trouble:
            self._trouble = trouble
            self._answer([(lambda text, _: self.on_trouble(text) if self.on_trouble else None, trouble, None)])

    def _answer(self, answers: list[tuple[Done, Any, Exception | None]]) -> None:
        """One wake-up of the loop for all of them."""
        loop = self._loop or asyncio.get_running_loop()
        with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            loop.call_soon_threadsafe(_call_all, answers)


def _run_alone(connection: sqlite3.Connection, job: Job) -> tuple[Any, Exception | None]:
    """The job's value, or its error after undoing it; raises only what speaks of the disk."""
    connection.execute("SAVEPOINT job")
    try:
        value = job(connection)
    except Exception as error:
        if not connection.in_transaction or (isinstance(error, sqlite3.Error) and error_code(error) in _TROUBLE):
            raise
        connection.execute("ROLLBACK TO job")
        connection.execute("RELEASE job")
        return None, error
    connection.execute("RELEASE job")
    return value, None


def _call_all(answers: list[tuple[Done, Any, Exception | None]]) -> None:
    for done, value, error in answers:
        try:
            done(value, error)
        except Exception:  # noqa: BLE001 (the other answers of this commit must still be given)
            _log.exception("a callback after a commit failed")
