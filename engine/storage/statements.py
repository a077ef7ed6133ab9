"""The SQL of a `Batch`: guarded updates in groups, and row by row only where a guard did not hold.

Every change is one ``UPDATE .. WHERE key = ? AND attempt = ? AND state IN (..)``. Changes that set the same columns share a prepared
statement and run through ``executemany``, whose row count tells whether all guards held. Where it tells otherwise, that group is
undone and run again one by one in the same transaction, to learn which.
"""

from __future__ import annotations

import logging
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from ..tasks.lifecycle import FINAL
from ..tasks.model import AttemptResult, OutputSummary, State
from .rows import Batch, CacheEntry, Change, NewTask, Order

CACHED_ATTEMPT = 0
"""Number of the attempt row of a result that came from the cache (real attempts count from 1)."""
COMPRESS_OVER = 512
"""Bytes of output above which it is stored compressed."""
_INSERT = """INSERT INTO tasks (key, id, generation, digest, state, cause, priority, manual, created_at, retries_left, finished_at, task)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_ATTEMPT = """INSERT OR REPLACE INTO attempts (key, attempt, outcome, cause, error, exit_code, started_at, finished_at, duration, wait_s,
worker, warm, cached, tokens, summary, log, compressed, output)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, coalesce(nullif(?, ''), (SELECT worker FROM tasks WHERE key = ?)), ?, ?, ?, ?, ?, ?, ?)"""
_EVENT = "INSERT INTO events (time, key, attempt, state, cause, by_user) VALUES (?, ?, ?, ?, ?, ?)"
NEXT_USE = "(SELECT coalesce(max(used), 0) + 1 FROM cache)"
"""Cache entries are ordered by a count of uses, which no jump of the clock can disturb."""
_encode = msgspec.json.Encoder().encode
_NO_SUMMARY = OutputSummary()
_log = logging.getLogger("mi4.engine.storage")


class Shape(NamedTuple):
    """Which columns a change sets; changes of one shape share a statement."""

    sources: int
    attempt: bool
    lease: bool
    retries: bool
    crashes: bool
    final: bool
    result: bool


def apply(connection: sqlite3.Connection, batch: Batch, now: float) -> frozenset[int]:
    """Write the batch inside the caller's transaction; the keys of changes whose guard did not hold.

    Raises `sqlite3.IntegrityError` when an insert repeats a key or a generation; then nothing of the batch may stay.
    """
    if batch.inserts:
        _insert(connection, batch.inserts)
    refused: set[int] = set()
    for wave in waves(batch.changes):
        refused |= _change(connection, wave)
    if batch.orders:
        _order(connection, batch.orders, now)
    for entry in batch.cache:
        _store(connection, entry)
    return frozenset(refused)


def waves(changes: Sequence[Change]) -> Iterator[Sequence[Change]]:
    """Cut into runs in which no key comes twice, so that the order inside a run does not matter."""
    if len({change.key for change in changes}) == len(changes):
        if changes:
            yield changes
        return
    wave: list[Change] = []
    seen: set[int] = set()
    for change in changes:
        if change.key in seen:
            yield wave
            wave, seen = [], set()
        wave.append(change)
        seen.add(change.key)
    yield wave


def _insert(connection: sqlite3.Connection, tasks: Sequence[NewTask]) -> None:
    connection.executemany(_INSERT, (_insert_row(new) for new in tasks))
    final = [(new.created_at, new.key, 0, new.state.value, new.cause, 0) for new in tasks if new.state in FINAL]
    if final:
        connection.executemany(_EVENT, final)


def _insert_row(new: NewTask) -> tuple[Any, ...]:
    task = new.task
    return (
        new.key,
        task.id,
        new.generation,
        new.digest,
        on_disk(new.state),
        new.cause,
        task.priority,
        new.manual,
        new.created_at,
        new.retries_left,
        new.created_at if new.state in FINAL else None,
        _encode(task),
    )


def _change(connection: sqlite3.Connection, wave: Sequence[Change]) -> set[int]:
    """Apply changes of different keys; the keys of those that were refused."""
    groups: dict[Shape, list[Change]] = {}
    for change in wave:
        groups.setdefault(_shape(change), []).append(change)
    held: list[Change] = []
    for shape, changes in groups.items():
        held += _update(connection, _update_sql(shape), changes)
    keys = {change.key for change in held}
    accepted = wave if len(held) == len(wave) else [change for change in wave if change.key in keys]
    results = [_attempt_row(change, change.result) for change in accepted if change.result is not None]
    if results:
        connection.executemany(_ATTEMPT, results)
    told = [_event_row(change) for change in accepted if change.by_user or change.target in FINAL]
    if told:
        connection.executemany(_EVENT, told)
    return {change.key for change in wave} - keys


def _update(connection: sqlite3.Connection, sql: str, changes: list[Change]) -> list[Change]:
    """The changes whose guard held."""
    if len(changes) == 1:
        return changes if _update_one(connection, sql, changes[0]) else []
    connection.execute("SAVEPOINT fast")
    try:
        held = connection.executemany(sql, [_parameters(change) for change in changes]).rowcount
    except sqlite3.IntegrityError:
        held = -1
    if held != len(changes):
        connection.execute("ROLLBACK TO fast")
    connection.execute("RELEASE fast")
    if held == len(changes):
        return changes
    return [change for change in changes if _update_one(connection, sql, change)]


def _update_one(connection: sqlite3.Connection, sql: str, change: Change) -> bool:
    try:
        return connection.execute(sql, _parameters(change)).rowcount == 1
    except sqlite3.IntegrityError as error:
        _log.error("refused by the database: task %d to %s: %s", change.key, change.target.value, error)
        return False


@lru_cache(maxsize=256)
def _update_sql(shape: Shape) -> str:
    parts = ["state = ?, cause = ?, retry_at = ?"]
    parts += ["attempt = ?"] * shape.attempt
    parts += ["lease = ?, worker = ?"] * shape.lease
    parts += ["retries_left = ?"] * shape.retries
    parts += ["crashes = ?"] * shape.crashes
    parts += ["finished_at = ?, cached = ?"] * shape.final
    parts += ["duration = ?, exit_code = ?, error = ?, lines = ?, tokens = ?, value = ?"] * shape.result
    states = ", ".join("?" * shape.sources)
    return f"UPDATE tasks SET {', '.join(parts)} WHERE key = ? AND attempt = ? AND state IN ({states})"


def _shape(change: Change) -> Shape:
    return Shape(
        len(_sources(change.sources)),
        change.next_attempt is not None,
        change.lease > 0,
        change.retries_left is not None,
        change.crashes is not None,
        change.target in FINAL,
        change.result is not None,
    )


def _parameters(change: Change) -> list[Any]:
    """In the order of `_update_sql`."""
    values: list[Any] = [on_disk(change.target), change.cause, change.retry_at]
    if change.next_attempt is not None:
        values.append(change.next_attempt)
    if change.lease > 0:
        values += (change.lease, change.worker)
    if change.retries_left is not None:
        values.append(change.retries_left)
    if change.crashes is not None:
        values.append(change.crashes)
    if change.target in FINAL:
        values += (change.at, change.cached)
    if (result := change.result) is not None:
        values += (result.duration, result.exit_code, result.error, result.summary.lines)
        values += (_optional(result.tokens), _optional(result.value))
    values += (change.key, change.attempt, *_sources(change.sources))
    return values


def on_disk(state: State) -> str:
    """The name of a state in the database, where a running task is leased."""
    return "leased" if state is State.RUNNING else state.value


@lru_cache(maxsize=256)
def _sources(sources: tuple[State, ...]) -> tuple[str, ...]:
    return tuple(sorted({on_disk(state) for state in sources}))


def _attempt_row(change: Change, result: AttemptResult) -> tuple[Any, ...]:
    summary, output = result.summary, result.output
    compressed = len(output) > COMPRESS_OVER
    return (
        change.key,
        CACHED_ATTEMPT if change.cached else change.attempt,
        result.outcome,
        change.cause or result.cause,
        result.error,
        result.exit_code,
        result.started_at,
        change.at,
        result.duration,
        change.wait_s,
        change.worker,
        change.key,
        result.warm,
        change.cached,
        _optional(result.tokens),
        None if summary == _NO_SUMMARY else _encode(summary),
        result.log,
        compressed,
        zlib.compress(output, 1) if compressed else output,
    )


def _event_row(change: Change) -> tuple[Any, ...]:
    attempt = change.attempt if change.next_attempt is None else change.next_attempt
    return change.at, change.key, attempt, change.target.value, change.cause, change.by_user


def _optional(value: Any) -> bytes | None:
    """JSON, or NULL for nothing and for what JSON cannot hold: one odd value must not keep its whole group from disk."""
    if value is None:
        return None
    try:
        return _encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        _log.warning("a result of type %s cannot be stored", type(value).__name__)
        return None


def _order(connection: sqlite3.Connection, orders: Sequence[Order], now: float) -> None:
    connection.executemany(
        "UPDATE tasks SET priority = ?, manual = ? WHERE key = ?",
        [(order.priority, order.manual, order.key) for order in orders],
    )
    connection.executemany(
        _EVENT,
        [(now, order.key, 0, "", f"priority {order.priority:g} manual {order.manual:g}", True) for order in orders],
    )


def _store(connection: sqlite3.Connection, entry: CacheEntry) -> None:
    """Add or replace one entry, then make room: what is too old goes first, then the least recently used."""
    connection.execute("DELETE FROM cache WHERE digest = ?", (entry.digest,))
    if entry.size > entry.max_bytes:
        return
    connection.execute(
        f"INSERT INTO cache (digest, task_id, seal, size, created_at, used, value) VALUES (?, ?, ?, ?, ?, {NEXT_USE}, ?)",
        (entry.digest, entry.task_id, entry.seal, entry.size, entry.created_at, entry.value),
    )
    gone = connection.execute("DELETE FROM cache WHERE created_at < ?", (entry.expire_before,)).rowcount
    gone += _make_room(connection, entry)
    if gone:
        connection.execute("UPDATE cache_totals SET evictions = evictions + ?", (gone,))


def _make_room(connection: sqlite3.Connection, entry: CacheEntry) -> int:
    """Drop the least recently used entries but the new one until the bound holds; how many."""
    (total,) = connection.execute("SELECT bytes FROM cache_totals").fetchone()
    if total <= entry.max_bytes:
        return 0
    victims: list[tuple[str]] = []
    for digest, size in connection.execute(
        "SELECT digest, size FROM cache WHERE digest <> ? ORDER BY used", (entry.digest,)
    ):
        victims.append((digest,))
        total -= size
        if total <= entry.max_bytes:
            break
    connection.executemany("DELETE FROM cache WHERE digest = ?", victims)
    return len(victims)
