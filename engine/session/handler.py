"""Carries out the commands of viewers and users: each is a call down to the scheduler, answered once its effect is durable."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import msgspec

from ..errors import CommandRefusedError, Fault, TaskFileError, UnknownTaskError
from ..scheduling import intake, ordering
from ..scheduling.dispatcher import Dispatcher
from ..scheduling.entry import Entry
from ..scheduling.explain import explain
from ..storage.folder import StateFolder
from ..storage.task_store import StoredOutput, TaskStore
from ..tasks import lifecycle
from ..tasks.graph import check_graph
from ..tasks.model import State, Task
from . import protocol as ask

MakeReport = Callable[[str], Awaitable[dict[str, Any]]]
"""Takes the path to write to (empty: nowhere) and returns the report."""


class CommandHandler:
    """The one place where commands become calls; has no rules of its own."""

    def __init__(
        self, dispatcher: Dispatcher, store: TaskStore, folder: StateFolder, *,
        with_kinds: Callable[[Sequence[Task]], list[Task]], make_report: MakeReport, stop: Callable[[bool], None],
    ) -> None:  # fmt: skip
        self._dispatcher = dispatcher
        self._scheduler = dispatcher.scheduler
        self._ledger = dispatcher.scheduler.ledger
        self._store = store
        self._folder = folder
        self._with_kinds = with_kinds
        self._make_report = make_report
        self._stop = stop
        self._calls: dict[type[ask.Command], Callable[[Any], Awaitable[ask.Reply]]] = {
            ask.AddTasks: self._add,
            ask.Reprioritise: self._reprioritise,
            ask.Move: self._move,
            ask.RestoreOrder: self._restore_order,
            ask.Hold: self._hold,
            ask.Release: self._release,
            ask.Cancel: self._cancel,
            ask.Retry: self._retry,
            ask.Pause: self._pause,
            ask.Resume: self._resume,
            ask.Resize: self._resize,
            ask.Explain: self._explain,
            ask.WriteReport: self._report,
            ask.FindLog: self._log,
            ask.StopEngine: self._stop_engine,
        }

    async def handle(self, command: ask.AnyCommand) -> ask.Reply:
        """Carry out a command. What it refuses is raised as an `EngineError`."""
        return await self._calls[type(command)](command)

    async def submit(self, tasks: Sequence[Task], *, rerun: bool = False) -> intake.Submission:
        """Accept tasks whose kinds are filled in; returns after COMMIT. Raises `TaskFileError` for an impossible graph."""
        faults = check_graph(tasks, known=self._ledger.by_id.keys())
        if faults:
            raise TaskFileError([Fault("added tasks", None, fault.message) for fault in faults])
        outcome = intake.submit(self._scheduler, tasks, rerun=rerun)
        await self._done()
        return outcome

    async def _done(self) -> None:
        """Wait until the effect is durable, then let the scheduler look at the queue."""
        await self._dispatcher.settled()
        self._dispatcher.wake()

    def _find(self, ids: Iterable[str]) -> list[Entry]:
        return [self._one(task_id) for task_id in dict.fromkeys(ids)]

    def _one(self, task_id: str) -> Entry:
        entry = self._ledger.by_id.get(task_id)
        if entry is None:
            raise UnknownTaskError(task_id)
        return entry

    def _waiting(self, ids: Iterable[str]) -> list[Entry]:
        """Tasks whose order can still matter; raises when none of them waits."""
        entries = self._find(ids)
        waiting = [entry for entry in entries if entry.state in lifecycle.WAITING]
        if entries and not waiting:
            states = ", ".join(sorted({entry.state.value for entry in entries}))
            raise CommandRefusedError(f"only waiting tasks have a place in the queue; this is {states}")
        return waiting

    async def _add(self, command: ask.AddTasks) -> ask.Reply:
        outcome = await self.submit(self._with_kinds(command.tasks), rerun=command.rerun)
        said = [f"{len(outcome.accepted)} added"]
        said += [f"{len(outcome.already_done)} already done"] if outcome.already_done else []
        said += [f"{len(outcome.already_open)} already open"] if outcome.already_open else []
        said += [f"{task_id}: {why}" for task_id, why in outcome.refused.items()]
        return ask.Reply(ok=not outcome.refused, message=", ".join(said), data=msgspec.to_builtins(outcome))

    async def _reprioritise(self, command: ask.Reprioritise) -> ask.Reply:
        entries = self._waiting(command.ids)
        previous = ordering.reprioritise(self._scheduler, entries, command.priority, command.delta)
        await self._done()
        return ask.Reply(message=_where(self._scheduler.queue, entries), data={"previous": previous})

    async def _move(self, command: ask.Move) -> ask.Reply:
        entries = self._waiting(command.ids)
        previous = ordering.move(self._scheduler, entries, command.where)
        await self._done()
        return ask.Reply(message=_where(self._scheduler.queue, entries), data={"previous": previous})

    async def _restore_order(self, command: ask.RestoreOrder) -> ask.Reply:
        previous = ordering.restore_order(self._scheduler, command.values)
        await self._done()
        return ask.Reply(message=f"the order of {_many(len(previous))} is as it was", data={"previous": previous})

    async def _hold(self, command: ask.Hold) -> ask.Reply:
        entries = self._find(command.ids)
        held = [entry for entry in entries if self._scheduler.hold(entry)]
        self._scheduler.recall_unbegun(lambda entry: entry in entries)
        await self._done()
        return _reply("held", held, entries, "only waiting tasks can be held")

    async def _release(self, command: ask.Release) -> ask.Reply:
        everything = [entry for entry in self._ledger.by_id.values() if entry.state is State.HELD]
        entries = self._find(command.ids) if command.ids else everything
        released = [entry for entry in entries if self._scheduler.release(entry)]
        await self._done()
        return _reply("released", released, entries, "only held tasks can be released")

    async def _cancel(self, command: ask.Cancel) -> ask.Reply:
        entries = self._find(command.ids)
        cancelled = [entry for entry in entries if self._scheduler.cancel(entry, force=command.force)]
        await self._done()
        return _reply("cancelled", cancelled, entries, "tasks that have ended cannot be cancelled")

    async def _retry(self, command: ask.Retry) -> ask.Reply:
        entries = self._find(command.ids) if command.ids else intake.retryable(self._scheduler)
        ids = intake.retry(self._scheduler, entries)
        await self._done()
        if not ids:
            return ask.Reply(ok=not command.ids, message="nothing to retry: only tasks that have ended can be")
        return ask.Reply(message=f"{_many(len(ids))} will run again", data={"ids": ids})

    async def _pause(self, command: ask.Pause) -> ask.Reply:
        self._scheduler.pause(command.category)
        await self._done()
        return ask.Reply(message=f"paused{_of(command.category)}: what runs goes on, nothing new starts")

    async def _resume(self, command: ask.Resume) -> ask.Reply:
        self._scheduler.resume(command.category)
        await self._done()
        return ask.Reply(message=f"resumed{_of(command.category)}")

    async def _resize(self, command: ask.Resize) -> ask.Reply:
        if self._dispatcher.pool is None:
            raise CommandRefusedError("no engine runs here, so there are no workers; start one with 'mi4-tui FILE'")
        if not 1 <= command.size <= 1024:
            raise CommandRefusedError("the number of workers must be between 1 and 1024")
        self._dispatcher.pool.resize(command.size)
        await self._done()
        return ask.Reply(message=f"{command.size} workers")

    async def _explain(self, command: ask.Explain) -> ask.Reply:
        explanation = explain(self._scheduler, self._one(command.id))
        data = msgspec.to_builtins(explanation)
        data["attempts"] = [msgspec.to_builtins(attempt) for attempt in self._store.attempts(command.id)]
        return ask.Reply(message=explanation.reason, data=data)

    async def _report(self, command: ask.WriteReport) -> ask.Reply:
        report = await self._make_report(command.path)
        path = _absolute(command.path) if command.path else ""
        return ask.Reply(message=f"report written to {path}" if path else "", data={"path": path, "report": report})

    async def _log(self, command: ask.FindLog) -> ask.Reply:
        entry = self._one(command.id)
        attempt = entry.attempt if command.attempt is None else command.attempt
        stored = self._store.output(entry.key, command.attempt)
        if stored is None and entry.worker is not None and attempt == entry.attempt:
            stored = StoredOutput(attempt=attempt, log=entry.log_name(attempt))
        if stored is None:
            return ask.Reply(message="it has printed nothing yet", data=_no_output(entry, attempt))
        path = str(self._folder.logs / stored.log) if stored.log else ""
        data = {"path": path, "output": stored.data, "attempt": stored.attempt, "state": entry.state.value}
        return ask.Reply(data=data)

    async def _stop_engine(self, command: ask.StopEngine) -> ask.Reply:
        self._stop(command.now)
        self._dispatcher.wake()
        message = "the engine cancels what runs and ends" if command.now else "the engine ends once what runs has ended"
        return ask.Reply(message=message)


def _absolute(path: str) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - as text, without following links


def _no_output(entry: Entry, attempt: int) -> dict[str, Any]:
    return {"path": "", "output": b"", "attempt": attempt, "state": entry.state.value}


def _where(queue: Any, entries: Sequence[Entry]) -> str:
    if len(entries) != 1:
        return f"{_many(len(entries))} moved"
    entry = entries[0]
    place = f", {queue.place(entry.key)} before it" if entry.key in queue else ""
    return f"{entry.id} has priority {entry.priority:g}{place}"


def _many(count: int) -> str:
    return "1 task" if count == 1 else f"{count:,} tasks"


def _of(category: str) -> str:
    return f" category {category!r}" if category else ""


def _reply(done: str, changed: Sequence[Entry], asked: Sequence[Entry], otherwise: str) -> ask.Reply:
    ids = [entry.id for entry in changed]
    if asked and not changed:
        return ask.Reply(ok=False, message=otherwise, data={"ids": []})
    return ask.Reply(message=f"{done} {_many(len(ids))}", data={"ids": ids})
