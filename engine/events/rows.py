"""The rows of the projection, and the frame in which they travel to a client: plain data, no behaviour."""

from __future__ import annotations

from typing import Any

import msgspec

from ..tasks.model import OutputSummary, Tokens

MAX_ROWS = 20_000
"""Rows in one frame; what is over comes in the next, so that one frame never holds up the engine or a client for long."""


class TaskRow(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """One task (its newest generation) as viewers see it. Mutable state of the projection; others only read it."""

    key: int
    id: str
    title: str = ""
    category: str = ""
    kind: str = ""
    priority: float = 200.0
    manual: float = 0.0
    generation: int = 1
    state: str = "pending"
    cause: str = ""
    score_base: float = 0.0
    """Score at the epoch; see `engine.scheduling.scoring.score_at`."""
    attempt: int = 0
    retries_left: int = 0
    worker: str = ""
    created_at: float = 0.0
    ready_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    retry_at: float | None = None
    """When a back-off ends (seconds since the epoch)."""
    duration_s: float = 0.0
    wait_s: float = 0.0
    cached: bool = False
    already_done: bool = False
    """Whether it had succeeded before this engine started."""
    warm: bool = False
    exit_code: int | None = None
    error: str = ""
    lines: int = 0
    bytes: int = 0
    progress: str = ""
    last_line: str = ""
    tokens: Tokens | None = None
    cost_usd: float | None = None
    waits_for: tuple[str, ...] = ()
    """Ids of dependencies that have not ended, in declared order."""
    dependencies: tuple[str, ...] = ()


class WorkerRow(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One worker slot as viewers see it."""

    name: str
    state: str = "starting"
    """``starting idle busy broken stopped``."""
    pid: int = 0
    task_id: str = ""
    """Of the task that it has, or of the last one."""
    task_key: int = 0
    since: float = 0.0
    """When the present state began (seconds since the epoch)."""
    tasks_run: int = 0
    """Attempts that ended in this slot, over all its processes."""
    starts: int = 0
    """Processes that this slot has had."""
    summary: OutputSummary | None = None
    """Of the task that runs, or of the last one."""
    note: str = ""
    """Why it idles or is broken."""


class RunRow(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The run as a whole."""

    run_id: str = ""
    pid: int = 0
    state: str = "starting"
    """``starting running paused draining finished``."""
    started_at: float = 0.0
    first_dispatch_at: float | None = None
    last_settled_at: float | None = None
    paused_reason: str = ""
    paused_categories: tuple[str, ...] = ()
    trouble: str = ""
    """A storage fault that keeps new tasks from starting."""
    workers: int = 0
    finished: dict[str, Any] | None = None
    """The fields of `RunFinished`, once nothing is left to run."""


class Frame(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A change of the projection, or with `full` the whole of it. Parts that are None did not change."""

    seq: int
    """Sequence number of the last event that is in it."""
    time: float
    """The engine's clock, for ages."""
    full: bool = False
    more: bool = False
    """Whether rows that belong to this change come in the next frames (a frame holds at most `MAX_ROWS`)."""
    rows: list[TaskRow] | None = None
    """Rows that are new or changed."""
    removed: list[int] | None = None
    """Keys of rows that are no longer there: a newer generation took their place."""
    counts: dict[str, int] | None = None
    """Tasks by state (all 12 names of `State`); ``total``; and of these ``already_done`` (succeeded before this engine started),
    ``cached`` (succeeded from the cache since) and ``not_needed`` (skipped without being a failure)."""
    workers: list[WorkerRow] | None = None
    """Slots that changed; those outside the view come without their output tail."""
    removed_workers: list[str] | None = None
    """Slots that the pool gave up."""
    metrics: dict[str, Any] | None = None
    """`engine.monitoring.metrics.PerformanceMetrics` as a dict."""
    findings: list[dict[str, Any]] | None = None
    run: RunRow | None = None
