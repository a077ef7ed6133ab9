"""The one read model: events in, the picture of a run out.

The engine feeds it with events (`Projection.apply`); a client feeds its own copy with frames (`Projection.apply_frame`). The app,
headless output, status and the report all read this and nothing else, so they show the same numbers. Pure: no clock, no I/O.

`TaskBoard` (tasks and counts) and `WorkerBoard` (slots) each turn their events into rows; `Projection` joins them with the run as a
whole and hands changes to viewers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from . import events as ev
from .bus import MAX_KEYS
from .changes import ChangeLog
from .rows import MAX_ROWS, Frame, RunRow, TaskRow, WorkerRow
from .run_board import RunBoard
from .task_board import TaskBoard, empty_counts
from .worker_board import WorkerBoard

__all__ = ["MAX_ROWS", "Frame", "Lens", "Projection", "RunRow", "TaskRow", "Viewer", "WorkerRow", "empty_counts"]

_NEVER = -1
"""What a viewer knows before its first frame."""


class Lens(Protocol):
    """What a viewer looks at; `engine.session.protocol.View` is one."""

    @property
    def workers(self) -> tuple[str, ...] | None:
        """Slots whose output tails are wanted; None for all."""
        ...

    @property
    def rows(self) -> bool:
        """Whether task rows are wanted."""
        ...


class Viewer:
    """One reader of a projection and how far it has read. Costs nothing while it does not take."""

    # Mutable state, owned by whoever asked for the viewer: the lens, the version it knows, slots that just came into its view.

    def __init__(self, projection: Projection, lens: Lens) -> None:
        self._projection = projection
        self._lens = lens
        self._known = _NEVER
        self._fresh: frozenset[str] = frozenset()

    @property
    def lens(self) -> Lens:
        """What it looks at. Setting it brings what comes into view with the next frame."""
        return self._lens

    @lens.setter
    def lens(self, lens: Lens) -> None:
        old, self._lens = self._lens, lens
        if lens.rows and not old.rows:
            self._known = _NEVER
        if old.workers is not None:
            wanted = self._projection.workers if lens.workers is None else lens.workers
            self._fresh |= frozenset(wanted) - frozenset(old.workers)

    @property
    def mark(self) -> tuple[object, ...]:
        """Two viewers with equal marks are given equal frames, which therefore need to be encoded only once."""
        return (self._known, self._lens.rows, self._lens.workers, self._fresh)

    def take(self, now: float) -> Frame | None:
        """What changed since the last call, None for nothing; the first one is full. `now` is the engine's time.

        The frame refers to live rows: encode it before the projection changes again.
        """
        frame, self._known = self._projection.frame(self._known, self._lens, now, fresh=self._fresh)
        self._fresh = frozenset()
        return frame

    def catch_up(self, other: Viewer) -> None:
        """Note that this viewer was given the frame that `other`, which had an equal mark, has just taken."""
        self._known = other._known
        self._fresh = frozenset()


class Projection:
    """Tasks, counts, workers, metrics, findings and the run, as of event `seq`."""

    # Mutable state, owned by the thread of the event loop. Only `apply`, `apply_frame` and the setters below change it.

    def __init__(self) -> None:
        self.seq = 0
        """Sequence number of the last event that is in it."""
        self._version = 0
        self._parts: dict[str, int] = {}
        self._row_log: ChangeLog[int] = ChangeLog()
        self._worker_log: ChangeLog[str] = ChangeLog()
        self._tasks = TaskBoard(self._note_row, self._note_row_removed)
        self._slots = WorkerBoard(self._note_worker, self._note_worker_removed)
        self._run = RunBoard(lambda: self._touch("run"))
        self.rows: dict[int, TaskRow] = self._tasks.rows
        """The newest generation of every task, by key. Callers only read it, as all that follows."""
        self.by_id: dict[str, int] = self._tasks.by_id
        """Key of the newest generation of each id."""
        self.counts: dict[str, int] = self._tasks.counts
        """See `Frame.counts`."""
        self.workers: dict[str, WorkerRow] = self._slots.rows
        """Slots by name."""
        self.metrics: dict[str, Any] | None = None
        self.findings: list[dict[str, Any]] = []

    def apply(self, events: Sequence[ev.Event]) -> None:
        """Take in events in the order in which they were published; O(1) each. Events about rows that are gone are ignored."""
        tasks, slots, run, rows = self._tasks, self._slots, self._run, self.rows
        for event in events:
            if isinstance(event, ev.TaskEvent):
                tasks.apply(event)
                row = rows.get(event.key)
                slots.apply_task(event, row)
                run.apply_task(event, row)
            else:
                self._apply_other(event)
            if event.seq:
                self.seq = event.seq

    def _apply_other(self, event: ev.Event) -> None:
        if isinstance(event, ev.FindingsChanged):
            self.set_findings(event.findings)
            return
        self._slots.apply(event)
        self._run.apply(event)

    @property
    def run(self) -> RunRow:
        """The run as a whole."""
        return self._run.row

    @property
    def version(self) -> int:
        """Grows with every change; what `changes` is asked from."""
        return self._version

    def row(self, task_id: str) -> TaskRow | None:
        """The newest generation of a task, or None when there is none with this id."""
        key = self.by_id.get(task_id)
        return None if key is None else self.rows.get(key)

    def refresh(self) -> None:
        """Bring `TaskRow.waits_for` up to date (viewers do it by themselves)."""
        self._tasks.refresh()

    def set_metrics(self, metrics: dict[str, Any] | None) -> None:
        """Replace the metrics."""
        self.metrics = metrics
        self._touch("metrics")

    def set_findings(self, findings: Sequence[dict[str, Any]]) -> None:
        """Replace the findings, which `FindingsChanged` does too."""
        self.findings = list(findings)
        self._touch("findings")

    def set_worker_note(self, name: str, note: str) -> None:
        """Say why a slot idles."""
        self._slots.set_note(name, note)

    def set_draining(self, draining: bool = True) -> None:
        """Say that the engine ends once what runs has ended."""
        self._run.set_draining(draining)

    def viewer(self, lens: Lens) -> Viewer:
        """A reader that has seen nothing yet."""
        return Viewer(self, lens)

    def frame(
        self, known: int, lens: Lens, now: float, *, fresh: frozenset[str] = frozenset()
    ) -> tuple[Frame | None, int]:
        """What changed after version `known` (-1: everything), and the version that the frame brings its reader to.

        None stands for no change. `fresh` are slots to send although they did not change.
        """
        self.refresh()
        full = known < max(self._row_log.horizon, self._worker_log.horizon)
        if full:
            known = _NEVER
        elif known == self._version and not fresh:
            return None, known
        frame = Frame(seq=self.seq, time=now, full=full)
        known_after = self._fill_rows(frame, known) if lens.rows else self._version
        self._fill_workers(frame, known, lens, fresh)
        self._fill_parts(frame, known)
        if _is_empty(frame):
            return None, known_after
        return frame, known_after

    def changes(self, known: int, now: float) -> tuple[ev.ViewChanged | None, int]:
        """What a viewer in this process should look at again, as `frame` but without building one."""
        self.refresh()
        if known == self._version:
            return None, known
        keys = (*self._row_log.changed(known), *self._row_log.removed(known))
        parts = [part for part, version in self._parts.items() if version > known]
        if keys:
            parts.insert(0, "rows")
        if self._worker_log.changed(known) or self._worker_log.removed(known):
            parts.append("workers")
        everything = len(keys) > MAX_KEYS or known < self._row_log.horizon
        shown = () if everything else keys
        event = ev.ViewChanged(seq=self.seq, time=now, keys=shown, parts=tuple(parts), everything=everything)
        return event, self._version

    def apply_frame(self, frame: Frame) -> ev.ViewChanged:
        """Take in what the engine's projection sent; says what to look at again. Keeps the rows of the frame."""
        parts: list[str] = []
        if frame.full:
            self._tasks.clear()
            self._slots.clear()
        keys = self._tasks.take_over(frame.rows or (), frame.removed or ())
        if keys or frame.full:
            parts.append("rows")
        if self._slots.take_over(frame.workers or (), frame.removed_workers or ()) or frame.full:
            parts.append("workers")
        parts += self._take_over_parts(frame)
        self.seq = frame.seq
        everything = frame.full or len(keys) > MAX_KEYS
        return ev.ViewChanged(
            seq=frame.seq,
            time=frame.time,
            keys=() if everything else tuple(keys),
            parts=tuple(parts),
            everything=everything,
        )

    def __repr__(self) -> str:
        return f"<Projection seq={self.seq}, {len(self.rows)} tasks, {len(self.workers)} workers, {self.run.state}>"

    # Frames.

    def _fill_rows(self, frame: Frame, known: int) -> int:
        keys = self._row_log.changed(known)
        removed = self._row_log.removed(known) if known != _NEVER else []
        frame.removed = removed or None
        reached = self._version
        if len(keys) > MAX_ROWS:
            frame.more = True
            del keys[MAX_ROWS:]
            reached = self._row_log.version_of(keys[-1])
        if keys or frame.full:
            rows = self.rows
            frame.rows = [rows[key] for key in keys]
        return reached

    def _fill_workers(self, frame: Frame, known: int, lens: Lens, fresh: frozenset[str]) -> None:
        names = self._worker_log.changed(known)
        names += [name for name in self.workers if name in fresh and name not in names]
        if names or frame.full:
            frame.workers = [_seen_through(self.workers[name], lens) for name in names]
        removed = self._worker_log.removed(known) if known != _NEVER else []
        frame.removed_workers = removed or None

    def _fill_parts(self, frame: Frame, known: int) -> None:
        changed = self._parts
        if frame.full or changed.get("counts", 0) > known:
            frame.counts = dict(self.counts)
        if frame.full or changed.get("run", 0) > known:
            frame.run = self.run
        if self.metrics is not None and (frame.full or changed.get("metrics", 0) > known):
            frame.metrics = self.metrics
        if frame.full or changed.get("findings", 0) > known:
            frame.findings = self.findings

    def _take_over_parts(self, frame: Frame) -> list[str]:
        parts: list[str] = []
        if frame.counts is not None:
            self.counts.update(frame.counts)
            parts.append("counts")
        if frame.metrics is not None:
            self.metrics = frame.metrics
            parts.append("metrics")
        if frame.findings is not None:
            self.findings = frame.findings
            parts.append("findings")
        if frame.run is not None:
            self._run.row = frame.run
            parts.append("run")
        return parts

    # Notes of change.

    def _touch(self, part: str) -> None:
        self._version += 1
        self._parts[part] = self._version

    def _note_row(self, key: int, counts_changed: bool) -> None:
        self._version += 1
        self._row_log.note(key, self._version)
        if counts_changed:
            self._parts["counts"] = self._version

    def _note_row_removed(self, key: int) -> None:
        self._version += 1
        self._row_log.note_removed(key, self._version)

    def _note_worker(self, name: str) -> None:
        self._version += 1
        self._worker_log.note(name, self._version)

    def _note_worker_removed(self, name: str) -> None:
        self._version += 1
        self._worker_log.note_removed(name, self._version)


def _seen_through(worker: WorkerRow, lens: Lens) -> WorkerRow:
    """The row, without the output tail if the lens does not look at it."""
    summary = worker.summary
    if summary is None or not summary.tail or lens.workers is None or worker.name in lens.workers:
        return worker
    return msgspec.structs.replace(worker, summary=msgspec.structs.replace(summary, tail=()))


def _is_empty(frame: Frame) -> bool:
    parts = (
        frame.rows,
        frame.removed,
        frame.counts,
        frame.workers,
        frame.removed_workers,
        frame.metrics,
        frame.findings,
        frame.run,
    )
    return not frame.full and all(part is None for part in parts)
