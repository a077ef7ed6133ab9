"""The worker slots of the projection: what each one does, kept by events in O(1) each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from . import events as ev
from .rows import TaskRow, WorkerRow

_ENDS_LEASE = (ev.TaskFinished, ev.TaskRetryScheduled, ev.TaskRequeued, ev.TaskRecalled, ev.TaskHeld)
_ENDS_ATTEMPT = (ev.TaskFinished, ev.TaskRetryScheduled)


class WorkerBoard:
    """Rows by slot name. `note(name)` is called for every row that is new or changed, `note_removed(name)` for those that went."""

    # Mutable state, owned by the Projection: the rows; the tasks that each slot has, in the order in which it got them; which slot
    # has a task; how many slots the pool is to have (0: not known).

    def __init__(self, note: Callable[[str], None], note_removed: Callable[[str], None]) -> None:
        self.rows: dict[str, WorkerRow] = {}
        self._note = note
        self._note_removed = note_removed
        self._tasks: dict[str, dict[int, str]] = {}
        self._slot_of: dict[int, str] = {}
        self._size = 0
        self._handlers: dict[type[ev.TaskEvent], Callable[[Any, TaskRow | None], None]] = {
            ev.TaskLeased: self._leased,
            ev.TaskStarted: self._started,
            ev.OutputSummarised: self._printed,
            **dict.fromkeys(_ENDS_LEASE, self._let_go),
        }

    def apply(self, event: ev.Event) -> None:
        """Take in an event about a worker process or the size of the pool; others are ignored."""
        if isinstance(event, ev.WorkerStarted):
            row = self._row(event.worker)
            row.pid = event.pid
            row.starts += 1
            self._enter(row, "idle", event.time)
        elif isinstance(event, ev.WorkerStopped):
            self._stopped(event)
        elif isinstance(event, ev.WorkerBroken):
            row = self._row(event.worker)
            self._enter(row, "broken", event.time)
            row.note = event.reason
            self._note(row.name)
        elif isinstance(event, ev.PoolResized):
            self._resize(event.size)

    def apply_task(self, event: ev.TaskEvent, task: TaskRow | None) -> None:
        """Take in an event about a task that a slot may have; `task` is its row, after the event."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event, task)

    def _resize(self, size: int) -> None:
        """The pool is to have `size` slots: those that have stopped and are too many go."""
        self._size = size
        for name in [name for name, row in self.rows.items() if row.state == "stopped"]:
            if len(self.rows) > size:
                self._remove(name)

    def set_note(self, name: str, note: str) -> None:
        """Say something about a slot; ignored for one that is not there."""
        row = self.rows.get(name)
        if row is not None and row.note != note:
            row.note = note
            self._note(name)

    def clear(self) -> None:
        """Forget all slots (before a full frame)."""
        self.rows.clear()
        self._tasks.clear()
        self._slot_of.clear()

    def take_over(self, rows: Iterable[WorkerRow], removed: Iterable[str]) -> bool:
        """Replace rows by those of a frame; whether that changed anything."""
        changed = False
        for name in removed:
            changed = self.rows.pop(name, None) is not None or changed
        for row in rows:
            self.rows[row.name] = row
            changed = True
        return changed

    def _row(self, name: str) -> WorkerRow:
        row = self.rows.get(name)
        if row is None:
            row = self.rows[name] = WorkerRow(name=name)
        return row

    def _remove(self, name: str) -> None:
        del self.rows[name]
        self._forget_tasks(name)
        self._note_removed(name)

    def _forget_tasks(self, name: str) -> None:
        for key in self._tasks.pop(name, ()):
            self._slot_of.pop(key, None)

    def _enter(self, row: WorkerRow, state: str, time: float) -> None:
        if row.state != state:
            row.state = state
            row.since = time
        row.note = ""
        self._note(row.name)

    def _stopped(self, event: ev.WorkerStopped) -> None:
        row = self.rows.get(event.worker)
        if row is None or row.pid not in {0, event.pid}:
            return
        self._forget_tasks(row.name)
        self._enter(row, "stopped", event.time)
        row.pid = 0
        row.note = event.reason
        if self._size and len(self.rows) > self._size:
            self._remove(row.name)

    def _leased(self, event: ev.TaskLeased, _: TaskRow | None) -> None:
        self._given(event.worker, event)

    def _started(self, event: ev.TaskStarted, _: TaskRow | None) -> None:
        self._given(event.worker, event)
        self._works_on(self._row(event.worker), event.key, event.task_id, event.time)

    def _given(self, name: str, event: ev.TaskEvent) -> None:
        holder = self._slot_of.get(event.key)
        if holder == name:
            return
        if holder is not None:
            self._release(holder, event)
        self._slot_of[event.key] = name
        self._tasks.setdefault(name, {})[event.key] = event.task_id
        row = self._row(name)
        if row.state != "busy":
            self._works_on(row, event.key, event.task_id, event.time)

    def _works_on(self, row: WorkerRow, key: int, task_id: str, time: float) -> None:
        if row.task_key != key:
            row.task_key = key
            row.task_id = task_id
            row.summary = None
            row.since = time
        self._enter(row, "busy", time)

    def _printed(self, event: ev.OutputSummarised, task: TaskRow | None) -> None:
        row = self.rows.get(event.worker)
        if row is not None and task is not None and row.task_key == event.key and task.attempt == event.attempt:
            row.summary = event.summary
            self._note(row.name)

    def _let_go(self, event: ev.TaskEvent, _: TaskRow | None) -> None:
        name = self._slot_of.pop(event.key, None)
        if name is None:
            return
        row = self._row(name)
        if isinstance(event, _ENDS_ATTEMPT):
            row.tasks_run += 1
        if isinstance(event, ev.TaskFinished) and event.summary is not None and row.task_key == event.key:
            row.summary = event.summary
        self._release(name, event)
        self._note(name)

    def _release(self, name: str, event: ev.TaskEvent) -> None:
        """The slot no longer has the task; it goes on with the next that it has, if any."""
        tasks, row = self._tasks[name], self._row(name)
        tasks.pop(event.key, None)
        if row.task_key != event.key:
            return
        following = next(iter(tasks.items()), None)
        if following is None:
            self._enter(row, "idle", event.time)
        else:
            self._works_on(row, *following, event.time)
