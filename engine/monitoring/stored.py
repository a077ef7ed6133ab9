"""The last run of a state folder, read without an engine: for reports and the monitor when nothing runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ..errors import EngineError
from ..events.projection import RunRow, TaskRow
from ..storage.database import Database
from ..storage.rows import RunRecord, Stored
from ..storage.task_store import TaskStore
from ..tasks.model import State
from .metrics import PerformanceMetrics

SUMMARY_METRICS = "metrics"
"""Key in a run's stored summary under which its last metrics are."""
_RAN = (State.SUCCEEDED, State.FAILED, State.TIMED_OUT)


@dataclass(frozen=True, slots=True)
class StoredRun:
    """What a folder holds about its last run."""

    metrics: PerformanceMetrics
    """As the engine left them; else counted from the tasks, with None for what tasks do not tell."""
    rows: list[TaskRow]
    run: RunRow
    settings: dict[str, Any]


def read_last_run(folder: Path) -> StoredRun:
    """The last run. Raises `EngineError` when nothing has run there, `StateFolderError` when it cannot be read."""
    path = folder / "state.db"
    if not path.exists():
        raise EngineError(f"nothing has run in {folder} yet; start with 'mi4-tui FILE' or name another --state-dir")
    store = TaskStore(Database.view(path))
    runs = store.runs.latest(1)
    if not runs:
        raise EngineError(f"nothing has run in {folder} yet; start with 'mi4-tui FILE' or name another --state-dir")
    stored = store.load()
    last = runs[0]
    finished = {name: value for name, value in last.summary.items() if name != SUMMARY_METRICS}
    run = RunRow(
        run_id=last.run_id,
        state="finished" if last.finished_at is not None else "interrupted",
        started_at=last.started_at,
        last_settled_at=max((row.finished_at for row in stored if row.finished_at is not None), default=None),
        finished=finished or None,
    )
    return StoredRun(stored_metrics(last, stored), [_row(row) for row in stored], run, last.settings)


def stored_metrics(run: RunRecord, stored: Sequence[Stored]) -> PerformanceMetrics:
    """The metrics that the engine left with the run, else what its tasks tell."""
    left = run.summary.get(SUMMARY_METRICS)
    if isinstance(left, Mapping):
        try:
            return msgspec.convert(dict(left), PerformanceMetrics)
        except msgspec.ValidationError:
            pass  # written by another version: count again
    ended = [row for row in stored if row.finished_at is not None and row.finished_at >= run.started_at]
    ran = [row.duration for row in ended if row.state in _RAN and not row.cached and row.attempt > 0]
    return PerformanceMetrics(
        time=run.finished_at or max((row.finished_at or 0.0 for row in ended), default=run.started_at),
        tasks_completed=_count(ended, State.SUCCEEDED),
        tasks_failed=_count(ended, State.FAILED),
        tasks_timed_out=_count(ended, State.TIMED_OUT),
        tasks_cancelled=_count(ended, State.CANCELLED),
        tasks_skipped=sum(row.cause == "dependency_failed" for row in ended if row.state is State.SKIPPED),
        tasks_cached=sum(row.cached for row in ended),
        tasks_in_progress=0 if run.finished_at is not None else None,
        concurrent_tasks=0 if run.finished_at is not None else None,
        peak_concurrent_tasks=None,
        average_task_time=sum(ran) / len(ran) if ran else None,
        min_task_time=min(ran, default=None),
        max_task_time=max(ran, default=None),
        timeout_count=None,
        retry_count=None,
        requeue_count=None,
    )


def _count(rows: Iterable[Stored], state: State) -> int:
    return sum(row.state is state for row in rows)


def _row(stored: Stored) -> TaskRow:
    task = stored.task
    return TaskRow(
        key=stored.key,
        id=task.id,
        title=task.title,
        category=task.category,
        kind=task.kind,
        priority=stored.priority,
        manual=stored.manual,
        generation=stored.generation,
        state=stored.state.value,
        cause=stored.cause,
        attempt=stored.attempt,
        retries_left=stored.retries_left,
        worker=stored.worker,
        created_at=stored.created_at,
        finished_at=stored.finished_at,
        retry_at=stored.retry_at,
        duration_s=stored.duration,
        cached=stored.cached,
        exit_code=stored.exit_code,
        error=stored.error,
        lines=stored.lines,
        tokens=stored.tokens,
        dependencies=task.dependencies,
    )
