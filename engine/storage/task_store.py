"""The tasks of a state folder on disk: written in batches through `Database`, read back whole when an engine starts."""

from __future__ import annotations

import gc
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from ..errors import StateFolderError
from ..tasks.model import OutputSummary, State, Task, Tokens
from .database import Database
from .history import RunHistory
from .rows import AttemptRow, Batch, CacheEntry, Change, EventRow, NewTask, Order, RunRecord, Stored, StoredOutput
from .statements import apply

__all__ = [
    "AttemptRow",
    "Batch",
    "CacheEntry",
    "Change",
    "EventRow",
    "NewTask",
    "Order",
    "RunRecord",
    "Stored",
    "StoredOutput",
    "TaskStore",
]

_NEWEST = """SELECT key, task, digest, generation, state, cause, attempt, priority, manual, created_at, retries_left, crashes, retry_at,
lease, worker, finished_at, duration, exit_code, error, cached, lines, tokens, value FROM tasks AS mine
WHERE NOT EXISTS (SELECT 1 FROM tasks AS newer WHERE newer.id = mine.id AND newer.generation > mine.generation)
ORDER BY key"""
_ATTEMPTS = """SELECT attempts.key, attempts.attempt, generation, outcome, attempts.cause, attempts.error, attempts.exit_code,
attempts.started_at, attempts.finished_at, attempts.duration, wait_s, attempts.worker, warm, attempts.cached, attempts.tokens,
summary, log FROM attempts JOIN tasks USING (key) WHERE tasks.id = ? AND tasks.generation = coalesce(?, tasks.generation)
ORDER BY generation, attempts.finished_at, attempts.attempt"""
_OUTPUT = """SELECT attempt, log, compressed, output FROM attempts
WHERE key = ? AND attempt = coalesce(?, attempt) ORDER BY cached DESC, attempt DESC LIMIT 1"""
_EVENTS = """SELECT seq, time, events.key, coalesce(id, ''), events.attempt, events.state, events.cause, by_user
FROM events LEFT JOIN tasks USING (key) ORDER BY seq DESC LIMIT ?"""
_STATES = {state.value: state for state in State}
_NO_SUMMARY = OutputSummary()
_task = msgspec.json.Decoder(Task)
_tokens = msgspec.json.Decoder(Tokens)
_summary = msgspec.json.Decoder(OutputSummary)
_any: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


class TaskStore:
    """Tasks, attempts, events, runs and named values of one folder. Holds nothing itself: all state is in the database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.runs = RunHistory(database)
        """The lives of engines on this folder."""

    def submit(self, batch: Batch, done: Callable[[frozenset[int], Exception | None], None]) -> None:
        """Commit everything in `batch` together; `done(refused, error)` is called on the loop once it is durable.

        `refused` are the keys of changes whose guard did not hold; the rest of the batch stands. With an `error` (an insert that
        repeats a key or generation: `sqlite3.IntegrityError`; closing on a full disk: `StorageFullError`) nothing of it does.
        Loop thread only. The batch must not be changed afterwards.
        """
        now = self.database.clock.time()

        def answer(refused: frozenset[int] | None, error: Exception | None) -> None:
            done(refused or frozenset(), error)

        self.database.submit(lambda connection: apply(connection, batch, now), answer)

    def load(self) -> list[Stored]:
        """The newest generation of every id, by key. Raises `StateFolderError`."""
        try:
            with _no_collection():
                return [
                    _stored(row)
                    for row in self.database.read(lambda connection: connection.execute(_NEWEST).fetchall())
                ]
        except (msgspec.MsgspecError, KeyError) as error:
            path = self.database.path
            raise StateFolderError(
                f"{path} holds a task that cannot be read ({error}); name another --state-dir", path
            ) from error

    def next_key(self) -> int:
        """One more than any key in use."""
        return self._number("SELECT coalesce(max(key), 0) + 1 FROM tasks")

    def next_lease(self) -> int:
        """One more than any lease that was written."""
        return self._number("SELECT coalesce(max(lease), 0) + 1 FROM tasks")

    def attempts(self, task_id: str, generation: int | None = None) -> list[AttemptRow]:
        """Attempts that ended, oldest first, of one generation or of all."""
        rows = self.database.read(lambda connection: connection.execute(_ATTEMPTS, (task_id, generation)).fetchall())
        return [_attempt(row) for row in rows]

    def output(self, key: int, attempt: int | None = None) -> StoredOutput | None:
        """Where the output of an attempt is, by default of the one that counts; None when no attempt has ended."""
        row = self.database.read(lambda connection: connection.execute(_OUTPUT, (key, attempt)).fetchone())
        if row is None:
            return None
        number, log, compressed, data = row
        return StoredOutput(attempt=number, log=log, data=zlib.decompress(data) if compressed else data)

    def events(self, limit: int = 1000) -> list[EventRow]:
        """The last events, newest first."""
        rows = self.database.read(lambda connection: connection.execute(_EVENTS, (limit,)).fetchall())
        names = EventRow.__struct_fields__
        return [EventRow(**{**dict(zip(names, row, strict=True)), "by_user": bool(row[-1])}) for row in rows]

    def get_meta(self, name: str) -> str | None:
        """A named value, or None."""
        row = self.database.read(
            lambda connection: connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        )
        return None if row is None else str(row[0])

    async def set_meta(self, name: str, value: str) -> None:
        """Keep a named value; returns once it is durable."""

        def job(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (name, value))

        await self.database.run(job)

    def _number(self, query: str) -> int:
        (number,) = self.database.read(lambda connection: connection.execute(query).fetchone())
        return int(number)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector from walking rows that are all alive: it takes most of the time of a large load."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _stored(row: tuple[Any, ...]) -> Stored:
    """A row of `_NEWEST`, whose columns are in the order of the fields."""
    values = list(row)
    values[1] = _task.decode(values[1])
    values[4] = _STATES[values[4]]
    *_, cached, _lines, tokens, value = row
    values[-4] = bool(cached)
    values[-2] = None if tokens is None else _tokens.decode(tokens)
    values[-1] = None if value is None else _any.decode(value)
    return Stored(*values)


def _attempt(row: tuple[Any, ...]) -> AttemptRow:
    values = dict(zip(AttemptRow.__struct_fields__, row, strict=True))
    values["warm"], values["cached"] = bool(values["warm"]), bool(values["cached"])
    values["tokens"] = None if values["tokens"] is None else _tokens.decode(values["tokens"])
    values["summary"] = _NO_SUMMARY if values["summary"] is None else _summary.decode(values["summary"])
    return AttemptRow(**values)
