"""The test kit: a clock that is set by hand, a recorder of events, and an engine for viewers that does only what a test says.

Public, so that what is built on the engine can be tested without processes, files or waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from .events.bus import EventBus
from .events.events import (
    Event,
    RunStarted,
    TaskAdded,
    TaskEvent,
    TaskFinished,
    TaskLeased,
    TaskQueued,
    TaskStarted,
    WorkerStarted,
)
from .events.projection import Projection
from .session.local import LocalSession
from .session.protocol import AnyCommand, Reply
from .tasks.model import State, Task

__all__ = ["EPOCH", "EventRecorder", "FakeClock", "FakeSession", "life_of", "make_added", "make_task", "run_of"]

EPOCH = 1_700_000_000.0
"""Where a `FakeClock` starts (seconds since the epoch)."""

E = TypeVar("E", bound=Event)


class FakeClock:
    """A `Clock` that moves only when it is told to."""

    def __init__(self, time: float = EPOCH) -> None:
        self._time = time
        self._monotonic = 0.0

    def time(self) -> float:
        """Seconds since the epoch."""
        return self._time

    def monotonic(self) -> float:
        """Seconds since the clock was made, but for jumps."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._time += seconds
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an administrator might; monotonic time does not notice."""
        self._time += seconds


class EventRecorder:
    """Keeps every event that a bus carries."""

    def __init__(self, bus: EventBus) -> None:
        self.events: list[Event] = []
        """All of them, in order."""
        self.detach = bus.listen(self.events.extend, name="event recorder")
        """Ends the recording."""

    def names(self) -> list[str]:
        """The names of the events, as ``--json`` lines spell them."""
        return [str(type(event).__struct_config__.tag) for event in self.events]

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def about(self, task_id: str) -> list[str]:
        """The names of the events about one task."""
        return [name for name, event in zip(self.names(), self.events, strict=True) if _task_of(event) == task_id]

    def clear(self) -> None:
        """Forget what was recorded."""
        self.events.clear()


class FakeSession(LocalSession):
    """A `Session` without an engine: a test publishes what happens, and reads which commands were asked.

    ``publish`` tells subscribers at once, so no timer runs and nothing has to be waited for.
    """

    def __init__(self, *events: Event, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.bus = EventBus(self.clock)
        self.commands: list[AnyCommand] = []
        """Every command that was asked, oldest first."""
        self.replies: dict[type[Any], Reply | Callable[[Any], Reply]] = {}
        """What to answer to a kind of command; ``Reply()`` to the others. A function is given the command."""
        projection = Projection()
        self.bus.listen(projection.apply, name="projection")
        super().__init__(projection, self.bus, self._reply, self.clock)
        if events:
            self.publish(*events)

    def publish(self, *events: Event) -> None:
        """Let these things happen."""
        self.bus.publish(*events)
        self.tick()

    def show_metrics(self, **metrics: Any) -> None:
        """Let the monitor report these metrics."""
        self.projection.set_metrics(metrics)
        self.tick()

    def lose_engine(self) -> None:
        """Let the connection end: `connected` turns False, subscribers are told, commands raise `SessionLostError`."""
        self._lose()

    async def _reply(self, command: AnyCommand) -> Reply:
        self.commands.append(command)
        reply = self.replies.get(type(command), Reply())
        return reply(command) if callable(reply) else reply


def make_task(task_id: str = "task", **fields: Any) -> Task:
    """A task that needs nothing of the machine: simulated, unless `fields` say otherwise."""
    return Task(**{"id": task_id, "kind": "simulated", "title": f"Title of {task_id}", **fields})


def make_added(key: int, task: Task | str = "task", **fields: Any) -> TaskAdded:
    """The event that a task was accepted, queued unless it has dependencies or `fields` say otherwise."""
    task = make_task(task) if isinstance(task, str) else task
    state = State.PENDING if task.dependencies else State.QUEUED
    known: dict[str, Any] = {
        "task_id": task.id,
        "key": key,
        "task": task,
        "generation": 1,
        "state": state.value,
        "score_base": task.priority,
        "waits_for": task.dependencies,
        "created_at": EPOCH,
    }
    return TaskAdded(**{**known, **fields})


def life_of(key: int, task: Task | str = "task", *, worker: str = "w1", state: str = "succeeded") -> list[Event]:
    """The events of a task from acceptance to its end, with one attempt on `worker`."""
    added = make_added(key, task)
    about: dict[str, Any] = {"task_id": added.task_id, "key": key}
    return [
        added,
        TaskQueued(**about, score=added.score_base),
        TaskLeased(**about, worker=worker, attempt=1),
        TaskStarted(**about, worker=worker, attempt=1),
        TaskFinished(**about, worker=worker, attempt=1, state=state, duration_s=1.0, exit_code=0),
    ]


def run_of(*workers: str, run_id: str = "run-1") -> list[Event]:
    """The events of an engine that is up with these idle workers."""
    started = [WorkerStarted(worker=name, pid=1000 + number) for number, name in enumerate(workers, 1)]
    return [RunStarted(run_id=run_id, pid=1000, workers=len(workers)), *started]


def _task_of(event: Event) -> str | None:
    return event.task_id if isinstance(event, TaskEvent) else None
