"""A scheduler without anything around it: a clock that stands still and workers that are only names."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from engine.events import events as ev
from engine.scheduling import intake
from engine.scheduling.ledger import Outbox
from engine.scheduling.retry import RetryPolicy
from engine.scheduling.scheduler import Policy, Scheduler
from engine.tasks.model import AttemptResult, Task
from engine.testing import FakeClock


@dataclass(eq=False)
class NamedWorker:
    """As much of a worker as the scheduler looks at."""

    name: str
    accepts: bool = True

    @property
    def host_id(self) -> str:
        return f"{self.name}.1"


@dataclass
class Lender:
    """Lends its workers, each once until it is given back."""

    workers: list[NamedWorker]
    free: list[NamedWorker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.free = list(self.workers)

    def lend(self, worker_key: str, *, wanted: int = 1) -> NamedWorker | None:
        return self.free.pop(0) if self.free else None


class Bench:
    """A scheduler, its workers, and words for what happens to it."""

    def __init__(self, workers: int = 2, **policy) -> None:
        self.clock = FakeClock()
        policy.setdefault("retry", RetryPolicy(agent_delay=10.0, command_delay=1.0))
        self.scheduler = Scheduler(Policy(**policy), self.clock)
        self.lender = Lender([NamedWorker(f"w{n}") for n in range(1, workers + 1)])
        self.events: list[ev.Event] = []
        self.changes = []

    def submit(self, *tasks: Task, rerun: bool = False) -> intake.Submission:
        return intake.submit(self.scheduler, tasks, rerun=rerun)

    def entry(self, task_id: str):
        return self.scheduler.ledger.by_id[task_id]

    def state(self, task_id: str) -> str:
        return self.entry(task_id).state.value

    def flush(self) -> Outbox:
        """What was decided since the last time."""
        outbox, self.scheduler.ledger.outbox = self.scheduler.ledger.outbox, Outbox()
        self.events += outbox.events
        self.changes += outbox.batch.changes
        return outbox

    def dispatch(self) -> dict[str, str]:
        """Let the scheduler give work out; task id -> name of the worker."""
        self.scheduler.dispatch(self.lender)
        gives = self.flush().gives
        return {work.task_id: worker.name for worker, works in gives.items() for work in works}

    def end(self, task_id: str, outcome: str = "succeeded", duration: float = 1.0, **fields) -> None:
        """The worker of a task says how its attempt ended, and is free again if that was its last."""
        entry = self.entry(task_id)
        worker = entry.worker
        result = AttemptResult(
            key=entry.key,
            attempt=entry.attempt,
            outcome=outcome,
            duration=duration,
            started_at=self.clock.time(),
            **fields,
        )
        self.scheduler.ended(worker, result)
        if worker not in self.scheduler.loads:
            self.lender.free.append(worker)

    def named(self, kind: type) -> list[str]:
        self.flush()
        return [event.task_id for event in self.events if isinstance(event, kind)]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def shell(task_id: str, **fields) -> Task:
    fields.setdefault("command", ("true",))
    return Task(id=task_id, kind="shell", **fields)


@pytest.fixture
def make_bench():
    return Bench


@pytest.fixture
def task():
    return shell


@pytest.fixture(scope="session")
def make_bench_factory():
    """For property tests, which may not use fixtures of one test."""
    return lambda: (Bench(), shell)
