"""The ledger: every task in memory, and one method for each arrow of the state machine.

A method checks its arrow against `engine.tasks.lifecycle`, changes the entry, and writes into the `Outbox` what has to become durable
and what is to be announced after that. Whether an arrow is taken is decided in `engine.scheduling.scheduler`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..clock import Clock
from ..events import events as ev
from ..storage.task_store import Batch, Change, NewTask, Order
from ..tasks import lifecycle
from ..tasks.model import AttemptResult, Cause, OutputSummary, State
from ..workers.protocol import Work
from ..workers.worker import Worker
from .entry import Entry
from .scoring import score_at


@dataclass(slots=True)
class Outbox:
    """What was decided and not yet carried out, in order."""

    batch: Batch = field(default_factory=Batch)
    events: list[ev.Event] = field(default_factory=list)
    """Published once `batch` is durable."""
    gives: dict[Worker, list[Work]] = field(default_factory=dict)
    """Sent once `batch` is durable."""
    recalls: dict[Worker, list[int]] = field(default_factory=dict)
    cancels: list[tuple[Worker, int, bool]] = field(default_factory=list)
    """Worker, key, and whether to kill at once."""

    def __bool__(self) -> bool:
        return bool(self.events or self.gives or self.recalls or self.cancels or self.batch)


@dataclass(slots=True)
class Tally:
    """How the tasks of this run ended; `cached` ones are among the succeeded."""

    succeeded: int = 0
    failed: int = 0
    timed_out: int = 0
    cancelled: int = 0
    skipped: int = 0
    not_needed: int = 0
    cached: int = 0
    already_done: int = 0
    first_dispatch: float | None = None
    """Monotonic seconds."""
    last_settle: float | None = None
    durations: dict[str, float] = field(default_factory=dict)
    """Task id -> run time in seconds of its last attempt."""

    def count(self, entry: Entry, now: float, *, cached: bool) -> None:
        """A task reached its final state at `now` (monotonic)."""
        self.last_settle = now
        self.cached += cached
        if entry.state is State.SKIPPED and entry.cause != Cause.DEPENDENCY_FAILED:
            self.not_needed += 1
        else:
            name = entry.state.value
            setattr(self, name, getattr(self, name) + 1)


class Ledger:
    """All tasks of a folder, newest generation of each id."""

    def __init__(self, clock: Clock, *, next_key: int = 1, next_lease: int = 1) -> None:
        self.clock = clock
        # Mutable state, owned by the scheduler: the tasks, how many stand where, and what is decided but not yet carried out.
        self.entries: dict[int, Entry] = {}
        self.by_id: dict[str, Entry] = {}
        self.outbox = Outbox()
        self.tally = Tally()
        self.active = 0
        """Tasks that a worker has."""
        self.held = 0
        """Tasks that wait for the user."""
        self.late_results = 0
        self._next_key = next_key
        self._next_lease = next_lease

    def of_attempt(self, key: int, attempt: int) -> Entry | None:
        """The task with this row key, if this is its present attempt."""
        entry = self.entries.get(key)
        return entry if entry is not None and entry.attempt == attempt else None

    def new_key(self) -> int:
        """A row key that no task had."""
        self._next_key += 1
        return self._next_key - 1

    # Coming in.

    def adopt(self, entry: Entry, *, restored: bool, extra: dict[str, object] | None = None) -> None:
        """Take a task into memory and announce it; `extra` are further fields of `TaskAdded`."""
        self.entries[entry.key] = entry
        self.by_id[entry.id] = entry
        self.held += entry.state is State.HELD
        fields: dict[str, object] = extra or {}
        added = ev.TaskAdded(
            task_id=entry.id, key=entry.key, task=entry.task, generation=entry.generation, state=entry.state,
            cause=entry.cause, attempt=entry.attempt, score_base=entry.scored.base(), created_at=entry.created_at,
            manual=entry.manual, retries_left=entry.retries_left, restored=restored, **fields,  # type: ignore[arg-type]  # the caller names fields of TaskAdded
        )  # fmt: skip
        self.outbox.events.append(added)

    def insert(self, entry: Entry) -> None:
        """Make a new task durable."""
        row = NewTask(
            key=entry.key, task=entry.task, digest=entry.digest, generation=entry.generation, state=entry.state,
            cause=entry.cause, created_at=entry.created_at, retries_left=entry.retries_left,
        )  # fmt: skip
        self.outbox.batch.inserts.append(row)

    # Waiting.

    def move(self, entry: Entry, target: State, cause: str = "", *, by_user: bool = False) -> None:
        """Take an arrow that neither begins nor ends an attempt."""
        source = self._enter(entry, target, cause)
        self._write(
            entry, source, entry.attempt, retries_left=entry.retries_left, crashes=entry.crashes, by_user=by_user
        )

    def queue(self, entry: Entry, reason: str = "") -> None:
        """The task is ready."""
        if entry.state is not State.QUEUED:
            self.move(entry, State.QUEUED)
        entry.ready_at = self.clock.time()
        base = entry.scored.base()
        score = round(score_at(base, entry.ready_at), 4)
        self.outbox.events.append(
            ev.TaskQueued(task_id=entry.id, key=entry.key, score=score, score_base=base, reason=reason)
        )

    def hold(self, entry: Entry, cause: Cause, *, by_user: bool = False) -> None:
        """The task waits for the user."""
        self.held += 1
        self.move(entry, State.HELD, cause, by_user=by_user)
        self.outbox.events.append(ev.TaskHeld(task_id=entry.id, key=entry.key, cause=cause))

    def release(self, entry: Entry) -> None:
        """The user lets a held task go on; it stands where a new one would."""
        self.held -= 1
        self.move(entry, State.PENDING, by_user=True)
        self.outbox.events.append(ev.TaskReleased(task_id=entry.id, key=entry.key, state=State.PENDING))

    def reorder(self, entry: Entry, priority: float, manual: float) -> None:
        """Another priority and manual term."""
        entry.priority, entry.manual = priority, manual
        self.outbox.batch.orders.append(Order(key=entry.key, priority=priority, manual=manual))
        base = entry.scored.base()
        score = score_at(base, self.clock.time())
        self.outbox.events.append(
            ev.TaskReprioritised(
                task_id=entry.id, key=entry.key, priority=priority, manual=manual, score_base=base, score=score
            )
        )

    # An attempt.

    def lease(self, entry: Entry, worker: Worker, work: Work) -> None:
        """Give the next attempt, described by `work`, to a worker; see `next_attempt`."""
        before = entry.attempt
        source = self._enter(entry, State.LEASED)
        entry.attempt, entry.lease = work.attempt, work.lease
        entry.worker, entry.announced = worker, False
        self.active += 1
        self._next_lease = work.lease + 1
        if self.tally.first_dispatch is None:
            self.tally.first_dispatch = self.clock.monotonic()
        self._write(entry, source, before, next_attempt=entry.attempt, lease=entry.lease, worker=worker.host_id)
        self.outbox.gives.setdefault(worker, []).append(work)
        self.outbox.events.append(
            ev.TaskLeased(task_id=entry.id, key=entry.key, worker=worker.name, attempt=entry.attempt)
        )

    @property
    def next_lease(self) -> int:
        """The number of the next lease."""
        return self._next_lease

    def start(self, entry: Entry, worker: Worker, at: float) -> None:
        """The worker began at `at` (seconds since the epoch). Running is not a row: the progress page says it."""
        entry.announced = True
        if entry.state is State.LEASED:
            self._enter(entry, State.RUNNING)
        self.outbox.events.append(
            ev.TaskStarted(task_id=entry.id, key=entry.key, worker=worker.name, attempt=entry.attempt, time=at)
        )

    def summarise(self, entry: Entry, worker: Worker, summary: OutputSummary) -> None:
        """The running attempt printed."""
        self.outbox.events.append(
            ev.OutputSummarised(
                task_id=entry.id, key=entry.key, worker=worker.name, attempt=entry.attempt, summary=summary
            )
        )

    def let_go(self, entry: Entry) -> None:
        """The worker has the task no longer."""
        entry.worker = None
        self.active -= 1

    def take_back(self, entry: Entry, reason: str, *, cause: str = "") -> None:
        """A lease ended before its attempt began, so that attempt never was; the task is queued again."""
        before = entry.attempt
        source = self._enter(entry, State.QUEUED, cause)
        entry.attempt -= 1
        self._write(entry, source, before, next_attempt=entry.attempt)
        self.outbox.events.append(ev.TaskRecalled(task_id=entry.id, key=entry.key, reason=reason))

    def requeue(self, entry: Entry, cause: Cause, reason: str) -> None:
        """An attempt was lost with its worker, and counts; the task is queued again."""
        source = self._enter(entry, State.QUEUED, cause)
        self._write(entry, source, entry.attempt, crashes=entry.crashes)
        self.outbox.events.append(
            ev.TaskRequeued(task_id=entry.id, key=entry.key, attempt=entry.attempt, crashes=entry.crashes, error=reason)
        )

    def back_off(self, entry: Entry, result: AttemptResult, delay: float) -> None:
        """An attempt failed, and another follows after `delay` seconds."""
        entry.retries_left -= 1
        entry.error = result.error
        source = self._enter(entry, State.BACKOFF, result.cause)
        self._write(
            entry, source, entry.attempt, result=result, retries_left=entry.retries_left, crashes=entry.crashes,
            retry_at=self.clock.time() + delay,
        )  # fmt: skip
        self.outbox.events.append(
            ev.TaskRetryScheduled(
                task_id=entry.id, key=entry.key, attempt=entry.attempt, delay_s=round(delay, 3), error=result.error,
                retries_left=entry.retries_left, duration_s=result.duration, cause=result.cause,
                outcome=result.outcome, tokens=result.tokens,
            )
        )  # fmt: skip

    def ask_to_stop(self, entry: Entry, cause: Cause) -> None:
        """The user cancels what a worker has."""
        entry.cancel_cause = cause
        self.move(entry, State.CANCELLING, cause, by_user=True)
        self.outbox.events.append(ev.TaskCancelRequested(task_id=entry.id, key=entry.key))

    def ignore_late(self, key: int, attempt: int) -> None:
        """A result came for an attempt that was settled before."""
        self.late_results += 1
        entry = self.entries.get(key)
        self.outbox.events.append(ev.LateResultIgnored(task_id=entry.id if entry else "", key=key, attempt=attempt))

    # The end.

    def settle(
        self, entry: Entry, target: State, *, cause: str = "", result: AttemptResult | None = None, worker: str = "",
        cached: bool = False, by_user: bool = False,
    ) -> None:  # fmt: skip
        """The task reached its final state, by the `result` of its attempt if it had one."""
        source = self._enter(entry, target, cause or (result.cause if result else ""))
        entry.error = result.error if result else ""
        wait = _waited(entry, result)
        self._write(
            entry, source, entry.attempt, retries_left=entry.retries_left, crashes=entry.crashes, result=result,
            cached=cached, wait_s=wait, by_user=by_user,
        )  # fmt: skip
        self.outbox.events.append(_finished(entry, result, worker, cached=cached, wait_s=wait))
        self.tally.count(entry, self.clock.monotonic(), cached=cached)

    # The two steps of every arrow.

    def _enter(self, entry: Entry, target: State, cause: str = "") -> State:
        """Change the state, if that arrow exists; returns the state before."""
        source = entry.state
        lifecycle.check(source, target)
        entry.state, entry.cause = target, cause
        return source

    def _write(self, entry: Entry, source: State, attempt: int, **fields: object) -> None:
        change = Change(
            key=entry.key, attempt=attempt, sources=(source,), target=entry.state, cause=entry.cause, at=self.clock.time(),
            **fields,  # type: ignore[arg-type]  # the callers above name fields of Change
        )  # fmt: skip
        self.outbox.batch.changes.append(change)


def _waited(entry: Entry, result: AttemptResult | None) -> float:
    if entry.ready_at is None or result is None or not result.started_at:
        return 0.0
    return max(0.0, result.started_at - entry.ready_at)


def _finished(
    entry: Entry, result: AttemptResult | None, worker: str, *, cached: bool, wait_s: float
) -> ev.TaskFinished:
    """The announcement that a task reached its final state."""
    ended = ev.TaskFinished(
        task_id=entry.id, key=entry.key, state=entry.state, cause=entry.cause, attempt=entry.attempt, worker=worker,
        cached=cached, wait_s=wait_s,
    )  # fmt: skip
    if result is None:
        return ended
    return ev.TaskFinished(
        task_id=entry.id, key=entry.key, state=entry.state, cause=entry.cause, attempt=entry.attempt, worker=worker,
        cached=cached, wait_s=wait_s, exit_code=result.exit_code, duration_s=0.0 if cached else result.duration,
        lines=result.summary.lines, tokens=result.tokens, error=result.error, summary=result.summary, value=result.value,
        warm=result.warm,
    )  # fmt: skip
