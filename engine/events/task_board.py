"""The tasks of the projection: one row for each id, counted by state, kept by events in O(1) each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..tasks.model import Cause, OutputSummary, State
from . import events as ev
from .rows import TaskRow

_NOT_NEEDED = frozenset({Cause.DONE_IN_FILE.value, Cause.RUN_IF_UNMET.value})
MAX_TITLE = 500
"""Characters of a title that rows keep; the task has it all."""
_FINAL = frozenset({"succeeded", "failed", "timed_out", "cancelled", "skipped"})


def empty_counts() -> dict[str, int]:
    """Every name that counts have, at zero."""
    return {**{state.value: 0 for state in State}, "total": 0, "cached": 0, "already_done": 0, "not_needed": 0}


class TaskBoard:
    """Rows and counts. `note(key, counts_changed)` is called for every row that is new or changed, `note_removed(key)` for the rest."""

    # Mutable state, owned by the Projection: rows, ids, counts; open dependencies by key and, the other way round, keys that wait for
    # an id; rows whose `waits_for` is to be rebuilt. Rebuilding is left to `refresh`, because a task may wait for ten thousand others.

    def __init__(self, note: Callable[[int, bool], None], note_removed: Callable[[int], None]) -> None:
        self.rows: dict[int, TaskRow] = {}
        self.by_id: dict[str, int] = {}
        self.counts = empty_counts()
        self._note = note
        self._note_removed = note_removed
        self._open: dict[int, dict[str, None]] = {}
        self._waiting: dict[str, list[int]] = {}
        self._stale: set[int] = set()
        self._handlers: dict[type[ev.TaskEvent], Callable[[TaskRow, Any], None]] = {
            ev.TaskQueued: self._queued,
            ev.TaskLeased: self._leased,
            ev.TaskStarted: self._started,
            ev.TaskRecalled: self._recalled,
            ev.OutputSummarised: self._printed,
            ev.TaskRetryScheduled: self._retry_scheduled,
            ev.TaskRequeued: self._requeued,
            ev.TaskHeld: self._held,
            ev.TaskReleased: self._released,
            ev.TaskCancelRequested: self._cancelling,
            ev.TaskReprioritised: self._reprioritised,
            ev.TaskFinished: self._finished,
        }

    def apply(self, event: ev.TaskEvent) -> None:
        """Take in one event; ignored when its row is not there or has reached a final state, which nothing changes."""
        handler = self._handlers.get(type(event))
        if handler is None and isinstance(event, ev.TaskAdded):
            self._added(event)
            return
        row = self.rows.get(event.key)
        if handler is None or row is None or row.state in _FINAL:
            return
        before = row.state
        handler(row, event)
        self._note(row.key, row.state != before)

    def refresh(self) -> None:
        """Rebuild `waits_for` where a dependency has ended since the last call."""
        for key in self._stale:
            row = self.rows.get(key)
            if row is not None:
                row.waits_for = tuple(self._open.get(key, ()))
        self._stale.clear()

    def clear(self) -> None:
        """Forget all rows and counts (before a full frame)."""
        self.rows.clear()
        self.by_id.clear()
        self.counts.update(empty_counts())
        self._open.clear()
        self._waiting.clear()
        self._stale.clear()

    def take_over(self, rows: Iterable[TaskRow], removed: Iterable[int]) -> list[int]:
        """Replace rows by those of a frame, without counting; the keys that this touched."""
        keys: list[int] = []
        for key in removed:
            old = self.rows.pop(key, None)
            if old is not None:
                del self.by_id[old.id]  # the newer generation comes after: in this frame or the next
            keys.append(key)
        for row in rows:
            self.rows[row.key] = row
            self.by_id[row.id] = row.key
            keys.append(row.key)
        return keys

    # Adding and removing.

    def _added(self, event: ev.TaskAdded) -> None:
        known = self.by_id.get(event.task_id)
        if known is not None:
            if known > event.key:
                return
            self._remove(known, announce=known != event.key)
        row = _row_of(event)
        self.rows[row.key] = row
        self.by_id[row.id] = row.key
        self._count(row, 1)
        self._wait_for(row.key, event.waits_for)
        self._note(row.key, True)

    def _remove(self, key: int, *, announce: bool) -> None:
        row = self.rows.pop(key)
        self._count(row, -1)
        self._open.pop(key, None)
        if announce:
            self._note_removed(key)

    def _wait_for(self, key: int, ids: Sequence[str]) -> None:
        if not ids:
            return
        self._open[key] = dict.fromkeys(ids)
        for task_id in self._open[key]:
            self._waiting.setdefault(task_id, []).append(key)

    def _count(self, row: TaskRow, step: int) -> None:
        counts = self.counts
        counts["total"] += step
        counts[row.state] += step
        if row.state in _FINAL and (flag := _flag_of(row)):
            counts[flag] += step

    def _move(self, row: TaskRow, state: str) -> None:
        """Change the state of a row that is not in a final one."""
        counts = self.counts
        counts[row.state] -= 1
        counts[state] += 1
        row.state = state
        if state in _FINAL and (flag := _flag_of(row)):
            counts[flag] += 1

    # One method for each kind of event.

    def _queued(self, row: TaskRow, event: ev.TaskQueued) -> None:
        self._move(row, "queued")
        row.ready_at = event.time
        row.retry_at = None
        row.cause = row.worker = ""
        if event.score_base is not None:
            row.score_base = event.score_base
        self._stop_waiting(row)

    def _leased(self, row: TaskRow, event: ev.TaskLeased) -> None:
        self._move(row, "leased")
        row.worker = event.worker
        row.attempt = event.attempt
        row.started_at = None
        row.cause = ""

    def _started(self, row: TaskRow, event: ev.TaskStarted) -> None:
        self._move(row, "running")
        row.worker = event.worker
        row.attempt = event.attempt
        row.started_at = event.time
        row.lines = row.bytes = 0
        row.progress = row.last_line = row.error = row.cause = ""

    def _recalled(self, row: TaskRow, _: ev.TaskRecalled) -> None:
        self._move(row, "queued")
        row.attempt -= 1  # the attempt that was taken back never was
        row.worker = ""

    def _printed(self, row: TaskRow, event: ev.OutputSummarised) -> None:
        if event.attempt == row.attempt:
            _take_summary(row, event.summary)

    def _retry_scheduled(self, row: TaskRow, event: ev.TaskRetryScheduled) -> None:
        self._move(row, "backoff")
        row.retry_at = event.time + event.delay_s
        row.retries_left = event.retries_left
        row.error = event.error
        row.cause = event.cause
        row.duration_s = event.duration_s
        row.worker = ""

    def _requeued(self, row: TaskRow, event: ev.TaskRequeued) -> None:
        self._move(row, "queued")
        row.ready_at = event.time
        row.error = event.error
        row.worker = ""

    def _held(self, row: TaskRow, event: ev.TaskHeld) -> None:
        self._move(row, "held")
        row.cause = event.cause
        row.worker = ""

    def _released(self, row: TaskRow, event: ev.TaskReleased) -> None:
        self._move(row, event.state)
        row.cause = ""
        if event.state == "queued":
            row.ready_at = event.time

    def _cancelling(self, row: TaskRow, _: ev.TaskCancelRequested) -> None:
        self._move(row, "cancelling")

    def _reprioritised(self, row: TaskRow, event: ev.TaskReprioritised) -> None:
        row.priority = event.priority
        row.manual = event.manual
        row.score_base = event.score_base

    def _finished(self, row: TaskRow, event: ev.TaskFinished) -> None:
        if event.duration_s and row.started_at is None:
            row.started_at = event.time - event.duration_s
        row.cause = event.cause
        row.cached = event.cached
        self._move(row, event.state)
        row.attempt = event.attempt or row.attempt
        row.worker = event.worker or row.worker
        row.finished_at = event.time
        row.duration_s = event.duration_s
        row.wait_s = event.wait_s
        row.exit_code = event.exit_code
        row.error = event.error
        row.tokens = event.tokens
        row.cost_usd = event.cost_usd
        row.warm = event.warm
        row.retry_at = None
        row.lines = event.lines
        if event.summary is not None:
            _take_summary(row, event.summary)
        self._stop_waiting(row)
        self._dependency_ended(row.id)

    def _stop_waiting(self, row: TaskRow) -> None:
        self._open.pop(row.key, None)
        row.waits_for = ()

    def _dependency_ended(self, task_id: str) -> None:
        for key in self._waiting.pop(task_id, ()):
            still_open = self._open.get(key)
            if still_open and task_id in still_open:
                del still_open[task_id]
                self._stale.add(key)
                self._note(key, False)


def _row_of(event: ev.TaskAdded) -> TaskRow:
    task = event.task
    row = TaskRow(
        key=event.key,
        id=event.task_id,
        title=task.title[:MAX_TITLE],
        category=task.category,
        kind=task.kind,
        priority=task.priority,
        manual=event.manual,
        generation=event.generation,
        state=event.state,
        cause=event.cause,
        score_base=event.score_base,
        attempt=event.attempt,
        retries_left=task.retries_allowed() if event.retries_left is None else event.retries_left,
        retry_at=event.retry_at,
        created_at=event.created_at,
        ready_at=event.time if event.state == "queued" else None,
        finished_at=event.finished_at,
        duration_s=event.duration_s or 0.0,
        cached=event.cached,
        already_done=event.restored and event.state == "succeeded",
        exit_code=event.exit_code,
        error=event.error,
        tokens=event.tokens,
        waits_for=event.waits_for,
        dependencies=task.dependencies,
    )
    if event.summary is not None:
        _take_summary(row, event.summary)
    return row


def _take_summary(row: TaskRow, summary: OutputSummary) -> None:
    row.lines = summary.lines
    row.bytes = summary.bytes
    row.progress = summary.progress
    row.last_line = summary.last_line


def _flag_of(row: TaskRow) -> str:
    """The one count beside its state that a final row is part of, or nothing."""
    if row.already_done:
        return "already_done"
    if row.cached and row.state == "succeeded":
        return "cached"
    if row.state == "skipped" and row.cause in _NOT_NEEDED:
        return "not_needed"
    return ""
