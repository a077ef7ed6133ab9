"""What goes into the store and comes out of it: the rows of the state database as values.

`Batch` is the unit of writing: everything in it is committed together. `Stored`, `AttemptRow`, `EventRow` and `RunRecord` are what
reading gives back. Points in time are seconds since the epoch, durations are seconds.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..tasks.model import AttemptResult, OutputSummary, State, Task, Tokens


class NewTask(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A task that was accepted: one new row, one generation of its id."""

    key: int
    """Primary key, given by the caller; see `TaskStore.next_key`."""
    task: Task
    """Its `priority` becomes the row's."""
    digest: str
    """`Task.digest()`."""
    generation: int
    """1, or one more than the newest row of the same id."""
    state: State
    created_at: float
    retries_left: int
    cause: str = ""
    manual: float = 0.0
    """Manual term of the score."""


class Change(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One guarded transition: it happens only if the row has `key`, `attempt` and one of the states in `sources`."""

    key: int
    attempt: int
    """The attempt that the row must have now."""
    sources: tuple[State, ...]
    """Never empty. A running task is ``leased`` on disk, so RUNNING and LEASED mean the same here."""
    target: State
    at: float
    cause: str = ""
    next_attempt: int | None = None
    """For a lease: the attempt that the row has from now on."""
    lease: int = 0
    """For a lease: its number."""
    worker: str = ""
    """For a lease: the id of the worker host."""
    retries_left: int | None = None
    """None leaves it as it is."""
    crashes: int | None = None
    """None leaves it as it is."""
    retry_at: float | None = None
    """What the row has from now on: None clears it."""
    result: AttemptResult | None = None
    """Settles an attempt: writes the attempt's row and the result columns of the task."""
    cached: bool = False
    wait_s: float = 0.0
    """Seconds between ready and started, for the attempt's row."""
    by_user: bool = False
    """Whether a person asked for it; such changes and final states leave an event row."""


class Order(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A new place in the queue, asked for by the user."""

    key: int
    priority: float
    manual: float


class CacheEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One result for the cache, complete and sealed; made by `engine.caching`."""

    digest: str
    """Cache key."""
    task_id: str
    """The task that it came from, for people."""
    value: bytes
    """Compressed and encoded result, output and files."""
    seal: str
    """Digest over key and value, verified on every read."""
    created_at: float
    max_bytes: int
    """Bound of the whole cache; the least recently used entries make room."""
    expire_before: float = 0.0
    """Entries that were made before are dropped when this one is stored."""

    @property
    def size(self) -> int:
        """Bytes that count against the bound: the value and what a row costs beside it."""
        return len(self.value) + 256


class Batch(msgspec.Struct, kw_only=True):
    """Writes that commit together: all of them, but for changes whose guard does not hold. Applied in the order of the fields."""

    inserts: list[NewTask] = []
    changes: list[Change] = []
    orders: list[Order] = []
    cache: list[CacheEntry] = []

    def __bool__(self) -> bool:
        return bool(self.inserts or self.changes or self.orders or self.cache)


class Stored(msgspec.Struct, frozen=True, gc=False):
    """One row: the newest generation of one task id."""

    key: int
    task: Task
    digest: str
    generation: int
    state: State
    cause: str
    attempt: int
    priority: float
    manual: float
    created_at: float
    retries_left: int
    crashes: int
    retry_at: float | None
    lease: int
    worker: str
    finished_at: float | None
    duration: float
    exit_code: int | None
    error: str
    cached: bool
    lines: int
    tokens: Tokens | None
    value: Any


class AttemptRow(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt that ended; a result from the cache is attempt 0 or the attempt that the task had."""

    key: int
    attempt: int
    generation: int
    outcome: str
    cause: str
    error: str
    exit_code: int | None
    started_at: float
    finished_at: float
    duration: float
    wait_s: float
    worker: str
    warm: bool
    cached: bool
    tokens: Tokens | None
    summary: OutputSummary
    log: str
    """Log file below ``logs/``; empty where the output is stored inline."""


class StoredOutput(msgspec.Struct, frozen=True, kw_only=True):
    """Where the output of one attempt is: `log` names a file below ``logs/``, else `data` is all of it."""

    attempt: int
    log: str = ""
    data: bytes = b""


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the history: a final state, or what the user did."""

    seq: int
    time: float
    key: int
    task_id: str
    attempt: int
    state: str
    """The state reached; empty for a change of order."""
    cause: str
    by_user: bool


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One life of an engine on this folder."""

    run_id: str
    started_at: float
    finished_at: float | None = None
    """None while it runs, or when it was killed."""
    summary: dict[str, Any] = {}
    """The fields of `RunFinished`."""
    settings: dict[str, Any] = {}
