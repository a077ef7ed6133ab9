"""The run of the projection as a whole: its state, its pauses, its beginning and its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from . import events as ev
from .rows import RunRow, TaskRow

_NEW_WORK = frozenset({ev.TaskAdded, ev.TaskQueued, ev.TaskLeased, ev.TaskReleased})


class RunBoard:
    """The row of the run. `note()` is called whenever it changes."""

    # Mutable state, owned by the Projection: the row, and two facts from which, among others, its state is derived.

    def __init__(self, note: Callable[[], None]) -> None:
        self.row = RunRow()
        self._note = note
        self._draining = False
        self._paused = False
        self._handlers: dict[type[ev.Event], Callable[[Any], None]] = {
            ev.RunStarted: self._started,
            ev.RunFinished: self._finished,
            ev.QueuePaused: self._queue_paused,
            ev.QueueResumed: self._queue_resumed,
            ev.StorageTroubled: self._storage_troubled,
            ev.PoolResized: self._pool_resized,
        }

    def apply(self, event: ev.Event) -> None:
        """Take in an event about the run, its queue or its pool; others are ignored."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def apply_task(self, event: ev.TaskEvent, task: TaskRow | None) -> None:
        """Take in when work began, ended or came again; `task` is its row, after the event."""
        kind, row = type(event), self.row
        if kind is ev.TaskFinished:
            row.last_settled_at = event.time
            self._note()
        elif kind is ev.TaskLeased and row.first_dispatch_at is None:
            row.first_dispatch_at = event.time
            self._note()
        if row.finished is not None and kind in _NEW_WORK and task is not None:
            self._reopen(task)

    def set_draining(self, draining: bool) -> None:
        """The engine ends once what runs has ended, or that was called off."""
        self._draining = draining
        self._settle()

    def _reopen(self, task: TaskRow) -> None:
        if task.state in {"pending", "queued", "leased"}:
            self.row.finished = None
            self._settle()

    def _settle(self) -> None:
        """Derive the state of the run from what is known of it."""
        row = self.row
        if row.finished is not None:
            row.state = "finished"
        elif self._draining:
            row.state = "draining"
        elif self._paused:
            row.state = "paused"
        else:
            row.state = "running" if row.run_id else "starting"
        self._note()

    def _started(self, event: ev.RunStarted) -> None:
        self.row.run_id = event.run_id
        self.row.pid = event.pid
        self.row.workers = event.workers
        self.row.started_at = event.time
        self._settle()

    def _finished(self, event: ev.RunFinished) -> None:
        fields: dict[str, Any] = msgspec.structs.asdict(event)
        self.row.finished = {name: value for name, value in fields.items() if name not in {"seq", "time"}}
        self._settle()

    def _queue_paused(self, event: ev.QueuePaused) -> None:
        if event.category:
            self.row.paused_categories = (*self._categories_but(event.category), event.category)
        else:
            self._paused = True
            self.row.paused_reason = event.reason
        self._settle()

    def _queue_resumed(self, event: ev.QueueResumed) -> None:
        if event.category:
            self.row.paused_categories = self._categories_but(event.category)
        else:
            self._paused = False
            self.row.paused_reason = ""
        self._settle()

    def _categories_but(self, category: str) -> tuple[str, ...]:
        return tuple(name for name in self.row.paused_categories if name != category)

    def _storage_troubled(self, event: ev.StorageTroubled) -> None:
        self.row.trouble = event.error
        self._note()

    def _pool_resized(self, event: ev.PoolResized) -> None:
        self.row.workers = event.size
        self._note()
