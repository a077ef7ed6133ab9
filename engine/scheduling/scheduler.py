"""The scheduler: which task runs next on which worker, and what each end of a task means for the others.

Every method decides synchronously: it changes the memory at once and writes down in the `Outbox` what must become durable, what is
to be announced after that, and which worker gets what. `engine.scheduling.dispatcher` carries the outbox out. So all rules can be
tested without a database, a process or a loop, and the same calls in the same order always give the same outbox.

It is longer than other modules because it is the one place where a task changes its state; what only prepares or explains a decision
(the queue, dependencies, limits, retries, intake, ordering, explanations) is beside it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from ..clock import Clock
from ..events import events as ev
from ..storage.task_store import Batch, Change, NewTask, Order
from ..tasks import lifecycle
from ..tasks.model import AttemptResult, Cause, OutputSummary, State
from ..workers.protocol import Work
from ..workers.worker import Worker
from .dependencies import Dependencies, Outcome, Verdict, outcome_of
from .entry import Entry, work_order
from .limits import CategoryLimits
from .predictor import DurationPredictor
from .queue import TaskQueue
from .retry import RetryPolicy
from .scoring import score_at

OVERDUE_SECONDS = 0.1
"""A worker that holds more work and has not ended any for this long gives the rest back."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that decisions depend on."""

    fifo: bool = False
    """First come, first served, instead of by score."""
    limits: dict[str, int] = {}
    """Category -> most tasks at once."""
    crash_limit: int = 3
    """Lost workers after which a task has failed."""
    max_prefetch: int = 256
    """Tasks that one worker may hold; 1 = none ahead."""
    caching: bool = True
    agent_timeout: float = 3600.0
    """Seconds for an agent's task without a time-out of its own."""
    retry: RetryPolicy = RetryPolicy()


class Lender(Protocol):
    """What the scheduler needs of the pool."""

    def lend(self, worker_key: str, *, wanted: int = 1) -> Worker | None:
        """An idle worker, marked as reserved; None when there is none now, and then up to `wanted` are started."""
        ...


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
        return bool(
            self.events or self.gives or self.recalls or self.cancels or self.batch.inserts or self.batch.changes
            or self.batch.orders or self.batch.cache
        )  # fmt: skip


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


@dataclass(slots=True)
class _Load:
    """What one worker has: keys in the order in which it runs them, and when (monotonic) it last began or ended one."""

    keys: dict[int, None] = field(default_factory=dict)
    moved_at: float = 0.0
    overdue: bool = False
    """Whether what waits there was taken back because the first takes longer than was expected."""


class Scheduler:
    """Decides; see the module."""

    def __init__(self, policy: Policy, clock: Clock, *, next_key: int = 1, next_lease: int = 1) -> None:
        self.policy = policy
        self.clock = clock
        # Mutable state, owned here: the tasks, where each stands, and what is decided but not yet carried out.
        self.entries: dict[int, Entry] = {}
        self.by_id: dict[str, Entry] = {}
        self.queue = TaskQueue(policy.limits)
        self.dependencies = Dependencies()
        self.limits = CategoryLimits(policy.limits)
        self.predictor = DurationPredictor()
        self.outbox = Outbox()
        self.tally = Tally()
        self.paused = False
        self.draining = False
        self.trouble = ""
        """A storage fault; nothing new starts while it lasts."""
        self.late_results = 0
        self._sleepers: list[tuple[float, int]] = []
        self._loads: dict[Worker, _Load] = {}
        self._active = 0
        self._asking_cache = 0
        self._held = 0
        self._next_key = next_key
        self._next_lease = next_lease

    def __repr__(self) -> str:
        return f"<Scheduler {len(self.entries)} tasks, {len(self.queue)} queued, {self._active} active>"

    # What others ask.

    @property
    def active(self) -> int:
        """Tasks that a worker has."""
        return self._active

    @property
    def held(self) -> int:
        """Tasks that wait for the user."""
        return self._held

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing will start by itself."""
        if self._active or self._asking_cache:
            return False
        return self.draining or not (len(self.queue) or self._has_sleepers())

    def rank(self, entry: Entry) -> float:
        """The queue's rank of a task: its score at the epoch, or nothing when the order is first come, first served."""
        return 0.0 if self.policy.fifo else entry.scored.base()

    def next_wake(self) -> float | None:
        """When the next back-off or ``not_before`` ends (monotonic seconds)."""
        return self._sleepers[0][0] if self._has_sleepers() else None

    def outcome(self, task_id: str) -> Outcome | None:
        """How the newest generation of a task ended, None while it is open or unknown."""
        entry = self.by_id.get(task_id)
        return outcome_of(entry.state, entry.cause) if entry else None

    # Adding.

    def new_key(self) -> int:
        """A row key that no task had."""
        self._next_key += 1
        return self._next_key - 1

    def adopt(self, entry: Entry, *, restored: bool, extra: dict[str, object] | None = None) -> None:
        """Take a task into memory and announce it; `settle_in` must follow once all of a file are adopted."""
        self.entries[entry.key] = entry
        self.by_id[entry.id] = entry
        self._held += entry.state is State.HELD
        added = ev.TaskAdded(
            task_id=entry.id, key=entry.key, task=entry.task, generation=entry.generation, state=entry.state,
            cause=entry.cause, attempt=entry.attempt, score_base=entry.scored.base(), created_at=entry.created_at,
            restored=restored, **(extra or {}),  # type: ignore[arg-type]  # fields of TaskAdded, by the caller
        )  # fmt: skip
        self.outbox.events.append(added)

    def insert(self, entry: Entry) -> None:
        """Make a new task durable."""
        self.outbox.batch.inserts.append(
            NewTask(
                key=entry.key, task=entry.task, digest=entry.digest, generation=entry.generation, state=entry.state,
                cause=entry.cause, created_at=entry.created_at, retries_left=entry.retries_left,
            )
        )  # fmt: skip

    def settle_in(self, entry: Entry) -> None:
        """Decide where an open task that waits for nothing known stands: pending, queued or skipped."""
        verdict = self.dependencies.add(entry.key, entry.task.dependencies, entry.task.run_if, self.outcome)
        self._act_on(entry, verdict)

    # Time.

    def wake(self) -> None:
        """End every back-off and ``not_before`` whose time has come."""
        now = self.clock.monotonic()
        while self._has_sleepers() and self._sleepers[0][0] <= now:
            entry = self.entries[heapq.heappop(self._sleepers)[1]]
            entry.wake_at = None
            self._enqueue(entry, "its back-off is over" if entry.state is State.BACKOFF else "its time has come")

    def recall_overdue(self) -> None:
        """Take back what waits behind a task that runs longer than was expected."""
        now = self.clock.monotonic()
        for worker, load in self._loads.items():
            if len(load.keys) > 1 and now - load.moved_at > OVERDUE_SECONDS:
                load.overdue, load.moved_at = True, now
                self.recall(worker, list(load.keys)[1:])

    @property
    def prefetched(self) -> bool:
        """Whether a worker has more than it runs."""
        return any(len(load.keys) > 1 for load in self._loads.values())

    # Dispatch.

    def dispatch(self, pool: Lender) -> list[Entry]:
        """Lease ready tasks, best first, to workers that are free; returns the tasks for which the cache must be asked first."""
        questions: list[Entry] = []
        if self.paused or self.draining or self.trouble:
            return questions
        while (key := self.queue.peek(self.limits.blocked)) is not None:
            entry = self.entries[key]
            if self._must_ask_cache(entry):
                self.queue.remove(key)
                entry.asking_cache = True
                self._asking_cache += 1
                questions.append(entry)
                continue
            worker = pool.lend(entry.task.worker_key, wanted=len(self.queue))
            if worker is None:
                break
            self._lease(entry, worker)
            self._give_more(worker)
        for worker, load in self._loads.items():
            if worker.accepts and not load.overdue and len(load.keys) * 2 <= self._depth_at(load):
                self._give_more(worker)
        return questions

    def cache_missed(self, entry: Entry, key: object) -> None:
        """The cache does not know this task: it runs next, where it stood."""
        entry.asking_cache = False
        self._asking_cache -= 1
        entry.cache_key = key  # type: ignore[assignment]  # opaque here
        if entry.state is State.QUEUED:
            self.outbox.events.append(ev.CacheLookedUp(task_id=entry.id, key=entry.key, hit=False))
            self.queue.put(entry.key, self.rank(entry), entry.task.category)

    def cache_hit(self, entry: Entry, result: AttemptResult) -> None:
        """The cache knows the result of this task."""
        entry.asking_cache = False
        self._asking_cache -= 1
        if entry.state is State.QUEUED:
            self.queue.remove(entry.key)
            self.outbox.events.append(ev.CacheLookedUp(task_id=entry.id, key=entry.key, hit=True))
            result = msgspec.structs.replace(result, key=entry.key, attempt=entry.attempt)
            self._finish(entry, State.SUCCEEDED, result=result, cached=True)

    def recall(self, worker: Worker, keys: Iterable[int]) -> None:
        """Ask a worker to give back what it has not begun."""
        self.outbox.recalls.setdefault(worker, []).extend(keys)

    # What workers report.

    def started(self, worker: Worker, key: int, attempt: int, at: float) -> None:
        """The worker began an attempt at `at` (seconds since the epoch)."""
        entry = self._of_attempt(key, attempt)
        if entry is not None and entry.state is State.LEASED:
            entry.state = State.RUNNING
            self._announce_start(entry, worker.name, at)

    def printed(self, worker: Worker, key: int, attempt: int, summary: OutputSummary) -> None:
        """The running attempt printed."""
        entry = self._of_attempt(key, attempt)
        if entry is not None and entry.state in lifecycle.ACTIVE:
            self.outbox.events.append(
                ev.OutputSummarised(
                    task_id=entry.id, key=key, worker=worker.name, attempt=attempt, summary=summary, time=self.clock.time()
                )
            )  # fmt: skip

    def ended(self, worker: Worker, result: AttemptResult, cache_entry: object = None) -> None:
        """An attempt ended; `cache_entry` is what the cache wants to keep of it. The first result of an attempt wins."""
        entry = self._of_attempt(result.key, result.attempt)
        if entry is None or entry.state not in lifecycle.ACTIVE or entry.worker is None:
            self._ignore_late(result.key, result.attempt)
            return
        if not entry.announced:
            self._announce_start(entry, worker.name, result.started_at or self.clock.time())
        load = self._loads[entry.worker]
        load.moved_at, load.overdue = self.clock.monotonic(), False
        self._let_go(entry)
        self.predictor.observe(entry.task.worker_key, result.duration)
        self.tally.durations[entry.id] = result.duration
        if cache_entry is not None:
            self.outbox.batch.cache.append(cache_entry)  # type: ignore[arg-type]  # opaque here
        delay = self.policy.retry.delay(entry.task, result, entry.retries_left)
        if entry.state is State.CANCELLING:
            self._end_cancelling(entry, worker, result)
        elif delay is not None:
            self._back_off(entry, result, delay)
        else:
            self._finish(entry, State(result.outcome), result=result, worker=worker)

    def recalled(self, worker: Worker, keys: Iterable[int]) -> None:
        """These had not begun and go back to the queue; they do not count as attempts."""
        for key in keys:
            entry = self.entries.get(key)
            if entry is not None and entry.worker is worker and entry.state in (State.LEASED, State.CANCELLING):
                self._unlease(entry, "recalled before it began")

    def lost(
        self, worker: Worker, begun: Iterable[Work], unbegun: Iterable[Work], reason: str, *, planned: bool
    ) -> None:
        """A worker died with work in its hands."""
        for work in unbegun:
            entry = self._of_attempt(work.key, work.attempt)
            if entry is not None and entry.worker is worker:
                self._unlease(entry, "its worker died before it began")
        for work in begun:
            entry = self._of_attempt(work.key, work.attempt)
            if entry is not None and entry.worker is worker:
                self._crashed(entry, worker, reason, planned=planned)

    # What the user asks.

    def pause(self, category: str = "") -> None:
        """Start nothing new (of a category); what workers hold but have not begun comes back."""
        if category:
            self.queue.give_lane(category)
            self.limits.pause(category)
        else:
            self.paused = True
        self.outbox.events.append(ev.QueuePaused(category=category))
        self.recall_unbegun(lambda entry: not category or entry.task.category == category)

    def resume(self, category: str = "") -> None:
        """The opposite of `pause`."""
        if category:
            self.limits.resume(category)
        else:
            self.paused = False
        self.outbox.events.append(ev.QueueResumed(category=category))

    def recall_unbegun(self, which: Callable[[Entry], bool]) -> None:
        """Ask back every lease that has not begun, of the tasks that `which` names."""
        for entry in self.entries.values() if self._active else ():
            if entry.state is State.LEASED and entry.worker is not None and which(entry):
                self.recall(entry.worker, [entry.key])

    def hold(self, entry: Entry) -> bool:
        """Keep a waiting task from starting; False when it does not wait."""
        if entry.state not in (State.PENDING, State.QUEUED, State.BACKOFF):
            return False
        source = self._withdraw(entry)
        self._set_held(entry, source, Cause.USER, by_user=True)
        return True

    def release(self, entry: Entry) -> bool:
        """Let a held task run; False when it is not held."""
        if entry.state is not State.HELD:
            return False
        self._held -= 1
        verdict = self.dependencies.add(entry.key, entry.task.dependencies, entry.task.run_if, self.outcome)
        target = State.PENDING
        self._move(entry, State.HELD, target, "", by_user=True)
        self.outbox.events.append(ev.TaskReleased(task_id=entry.id, key=entry.key, state=target))
        self._act_on(entry, verdict)
        return True

    def cancel(self, entry: Entry, *, force: bool = False, cause: Cause = Cause.USER) -> bool:
        """Cancel an open task; one that runs is stopped first. False when it has ended."""
        if entry.state in lifecycle.FINAL:
            return False
        if entry.worker is None:
            self._withdraw(entry)
            self._finish(entry, State.CANCELLED, cause=cause, by_user=True)
            return True
        if entry.state is not State.CANCELLING:
            self._move(entry, entry.state, State.CANCELLING, cause, by_user=True)
            entry.cancel_cause = cause
            self.outbox.events.append(ev.TaskCancelRequested(task_id=entry.id, key=entry.key))
        self.outbox.cancels.append((entry.worker, entry.key, force))
        return True

    def reorder(self, entry: Entry, priority: float, manual: float) -> None:
        """Give an open task another priority and manual term."""
        entry.priority, entry.manual = priority, manual
        self.outbox.batch.orders.append(Order(key=entry.key, priority=priority, manual=manual))
        if entry.key in self.queue:
            self.queue.put(entry.key, self.rank(entry), entry.task.category)
        base = entry.scored.base()
        self.outbox.events.append(
            ev.TaskReprioritised(
                task_id=entry.id, key=entry.key, priority=priority, manual=manual, score_base=base,
                score=score_at(base, self.clock.time()),
            )
        )  # fmt: skip

    def skip_done(self, entry: Entry) -> None:
        """The task file now says that this waiting task is done."""
        self._withdraw(entry)
        self._finish(entry, State.SKIPPED, cause=Cause.DONE_IN_FILE)

    def supersede(self, entry: Entry) -> None:
        """A waiting task gets another content: its row ends unseen, and what waits for its id waits for the new one."""
        source = self._withdraw(entry)
        self._move(entry, source, State.CANCELLED, Cause.SUPERSEDED)

    def recover(self, entry: Entry, target: State, cause: Cause, *, counts: bool) -> None:
        """Settle what a worker had when the last engine died; `counts` says whether that attempt had begun."""
        if target is State.HELD:
            self._set_held(entry, entry.state, cause)
        elif target is State.QUEUED:
            before, source = entry.attempt, entry.state
            entry.attempt -= 0 if counts else 1
            lifecycle.check(source, target)
            entry.state, entry.cause = target, cause
            self.outbox.batch.changes.append(
                Change(
                    key=entry.key, attempt=before, sources=(source,), target=target, cause=cause, at=self.clock.time(),
                    next_attempt=entry.attempt,
                )
            )  # fmt: skip
        else:
            self._finish(entry, target, cause=cause)

    # State changes.

    def _move(
        self,
        entry: Entry,
        source: State,
        target: State,
        cause: str,
        *,
        by_user: bool = False,
        retry_at: float | None = None,
    ) -> None:
        lifecycle.check(source, target)
        entry.state, entry.cause = target, cause
        self.outbox.batch.changes.append(
            Change(
                key=entry.key, attempt=entry.attempt, sources=(source,), target=target, cause=cause, at=self.clock.time(),
                retries_left=entry.retries_left, crashes=entry.crashes, retry_at=retry_at, by_user=by_user,
            )
        )  # fmt: skip

    def _act_on(self, entry: Entry, verdict: Verdict) -> None:
        """Carry out what the end of its dependencies means for a task that is pending or queued."""
        pending = [(entry, verdict)]
        while pending:
            current, decided = pending.pop()
            if decided is Verdict.READY:
                self._ready(current)
            elif decided is Verdict.SKIP_FAILED:
                pending += self._finish_one(current, State.SKIPPED, cause=Cause.DEPENDENCY_FAILED)
            elif decided is Verdict.SKIP_NOT_NEEDED:
                pending += self._finish_one(current, State.SKIPPED, cause=Cause.RUN_IF_UNMET)

    def _ready(self, entry: Entry) -> None:
        delay = (entry.task.not_before or 0.0) - self.clock.time()
        if delay > 0:
            self._sleep(entry, delay)
        else:
            self._enqueue(entry)

    def _enqueue(self, entry: Entry, reason: str = "") -> None:
        if entry.state is not State.QUEUED:
            self._move(entry, entry.state, State.QUEUED, "")
        entry.ready_at = self.clock.time()
        self.queue.put(entry.key, self.rank(entry), entry.task.category)
        score = score_at(entry.scored.base(), entry.ready_at)
        self.outbox.events.append(ev.TaskQueued(task_id=entry.id, key=entry.key, score=round(score, 4), reason=reason))

    def _sleep(self, entry: Entry, delay: float) -> None:
        entry.wake_at = self.clock.monotonic() + delay
        heapq.heappush(self._sleepers, (entry.wake_at, entry.key))

    def sleep_restored(self, entry: Entry, delay: float) -> None:
        """A back-off that was read back from disk goes on for `delay` seconds."""
        self._sleep(entry, delay)

    def _has_sleepers(self) -> bool:
        while self._sleepers:
            entry = self.entries.get(self._sleepers[0][1])
            if entry is not None and entry.wake_at == self._sleepers[0][0]:
                return True
            heapq.heappop(self._sleepers)
        return False

    def _withdraw(self, entry: Entry) -> State:
        """Take a waiting task out of everything in which it waits; returns the state that it had."""
        self._held -= entry.state is State.HELD
        self.queue.remove(entry.key)
        self.dependencies.forget(entry.key)
        entry.wake_at = None
        return entry.state

    def _set_held(self, entry: Entry, source: State, cause: Cause, *, by_user: bool = False) -> None:
        self._held += 1
        self._move(entry, source, State.HELD, cause, by_user=by_user)
        self.outbox.events.append(ev.TaskHeld(task_id=entry.id, key=entry.key, cause=cause))

    def _must_ask_cache(self, entry: Entry) -> bool:
        return self.policy.caching and entry.task.is_cacheable and entry.cache_key is None

    def _give_more(self, worker: Worker) -> None:
        """Let a worker have more of what it runs, where these are quick: never more than half of what waits."""
        load = self._loads[worker]
        depth = min(self._depth_at(load), len(load.keys) + max(1, len(self.queue) // 2))
        first = self.entries[next(iter(load.keys))].task
        while len(load.keys) < depth and (key := self.queue.peek(self.limits.blocked)) is not None:
            entry = self.entries[key]
            same = entry.task.worker_key == first.worker_key and entry.task.restart != "never"
            if not same or self._must_ask_cache(entry):
                break
            self._lease(entry, worker)

    def _depth_at(self, load: _Load) -> int:
        """How many tasks like its first one a worker may have."""
        first = self.entries[next(iter(load.keys))].task
        if first.is_agent or first.restart == "never":
            return 1
        return self.predictor.depth(first.worker_key, self.policy.max_prefetch)

    def _lease(self, entry: Entry, worker: Worker) -> None:
        self.queue.remove(entry.key)
        before = entry.attempt
        entry.attempt += 1
        entry.lease = self._next_lease
        self._next_lease += 1
        entry.worker = worker
        entry.announced = False
        lifecycle.check(entry.state, State.LEASED)
        entry.state, entry.cause = State.LEASED, ""
        self._active += 1
        self.limits.take(entry.task.category)
        now = self.clock.monotonic()
        load = self._loads.setdefault(worker, _Load(moved_at=now))
        load.keys[entry.key] = None
        if self.tally.first_dispatch is None:
            self.tally.first_dispatch = now
        self.outbox.batch.changes.append(
            Change(
                key=entry.key, attempt=before, sources=(State.QUEUED,), target=State.LEASED, at=self.clock.time(),
                next_attempt=entry.attempt, lease=entry.lease, worker=worker.host_id,
            )
        )  # fmt: skip
        self.outbox.gives.setdefault(worker, []).append(work_order(entry, agent_timeout=self.policy.agent_timeout))
        self.outbox.events.append(
            ev.TaskLeased(task_id=entry.id, key=entry.key, worker=worker.name, attempt=entry.attempt)
        )

    def _let_go(self, entry: Entry) -> None:
        """The worker has the task no longer."""
        worker, entry.worker = entry.worker, None
        load = self._loads[worker] if worker is not None else _Load()
        load.keys.pop(entry.key, None)
        if worker is not None and not load.keys:
            del self._loads[worker]
        self._active -= 1
        self.limits.give_back(entry.task.category)

    def _unlease(self, entry: Entry, reason: str) -> None:
        """A lease ended before its attempt began; the attempt never was."""
        self._let_go(entry)
        before = entry.attempt
        entry.attempt -= 1
        if entry.state is State.CANCELLING:
            entry.attempt = before
            self._finish(entry, State.CANCELLED, cause=Cause(entry.cancel_cause or Cause.USER), by_user=True)
            return
        source, entry.state = entry.state, State.QUEUED
        self.outbox.batch.changes.append(
            Change(
                key=entry.key, attempt=before, sources=(source,), target=State.QUEUED, at=self.clock.time(),
                next_attempt=entry.attempt,
            )
        )  # fmt: skip
        self.outbox.events.append(ev.TaskRecalled(task_id=entry.id, key=entry.key, reason=reason))
        self._enqueue(entry, reason)

    def _of_attempt(self, key: int, attempt: int) -> Entry | None:
        entry = self.entries.get(key)
        return entry if entry is not None and entry.attempt == attempt else None

    def _ignore_late(self, key: int, attempt: int) -> None:
        self.late_results += 1
        entry = self.entries.get(key)
        self.outbox.events.append(ev.LateResultIgnored(task_id=entry.id if entry else "", key=key, attempt=attempt))

    def _announce_start(self, entry: Entry, worker: str, at: float) -> None:
        entry.announced = True
        self.outbox.events.append(
            ev.TaskStarted(task_id=entry.id, key=entry.key, worker=worker, attempt=entry.attempt, time=at)
        )

    def _end_cancelling(self, entry: Entry, worker: Worker, result: AttemptResult) -> None:
        """A cancelled task ended: as cancelled, unless its own end came first."""
        if result.outcome == "cancelled":
            self._finish(
                entry, State.CANCELLED, cause=Cause(entry.cancel_cause or Cause.USER), result=result, worker=worker, by_user=True
            )  # fmt: skip
        else:
            self._finish(entry, State(result.outcome), result=result, worker=worker)

    def _back_off(self, entry: Entry, result: AttemptResult, delay: float) -> None:
        source = entry.state
        entry.retries_left -= 1
        entry.error = result.error
        lifecycle.check(source, State.BACKOFF)
        entry.state, entry.cause = State.BACKOFF, result.cause
        now = self.clock.time()
        self.outbox.batch.changes.append(
            Change(
                key=entry.key, attempt=entry.attempt, sources=(source,), target=State.BACKOFF, cause=result.cause, at=now,
                retries_left=entry.retries_left, crashes=entry.crashes, retry_at=now + delay, result=result,
            )
        )  # fmt: skip
        self._sleep(entry, delay)
        self.outbox.events.append(
            ev.TaskRetryScheduled(
                task_id=entry.id, key=entry.key, attempt=entry.attempt, delay_s=round(delay, 3), error=result.error,
                retries_left=entry.retries_left, duration_s=result.duration, cause=result.cause,
            )
        )  # fmt: skip

    def _crashed(self, entry: Entry, worker: Worker, reason: str, *, planned: bool) -> None:
        """The worker died while it ran this task."""
        if not entry.announced:
            self._announce_start(entry, worker.name, self.clock.time())
        self._let_go(entry)
        if entry.state is State.CANCELLING:
            self._finish(
                entry, State.CANCELLED, cause=Cause(entry.cancel_cause or Cause.USER), worker=worker, by_user=True
            )
            return
        entry.crashes += 0 if planned else 1
        if entry.task.restart == "never":
            self._fail_lost(
                entry, worker, f"its worker was lost ({reason}) and 'restart: never' forbids another attempt"
            )
        elif entry.crashes >= self.policy.crash_limit:
            self._fail_lost(entry, worker, f"its worker was lost {entry.crashes} times ({reason})")
        else:
            source, entry.state = entry.state, State.QUEUED
            self.outbox.batch.changes.append(
                Change(
                    key=entry.key, attempt=entry.attempt, sources=(source,), target=State.QUEUED, cause=Cause.WORKER_LOST,
                    at=self.clock.time(), crashes=entry.crashes,
                )
            )  # fmt: skip
            self.outbox.events.append(
                ev.TaskRequeued(
                    task_id=entry.id, key=entry.key, attempt=entry.attempt, crashes=entry.crashes, error=reason
                )
            )
            self._enqueue(entry, f"its worker was lost ({reason})")

    def _fail_lost(self, entry: Entry, worker: Worker, error: str) -> None:
        result = AttemptResult(
            key=entry.key,
            attempt=entry.attempt,
            outcome="failed",
            cause=Cause.WORKER_LOST,
            error=error,
            retryable=False,
        )
        self._finish(entry, State.FAILED, cause=Cause.WORKER_LOST, result=result, worker=worker)

    def _finish(
        self, entry: Entry, target: State, *, cause: str = "", result: AttemptResult | None = None,
        worker: Worker | None = None, cached: bool = False, by_user: bool = False,
    ) -> None:  # fmt: skip
        """Settle a task for good and pass the consequence on to those that wait for it."""
        following = self._finish_one(
            entry, target, cause=cause, result=result, worker=worker, cached=cached, by_user=by_user
        )
        for other, verdict in following:
            self._act_on(other, verdict)

    def _finish_one(
        self, entry: Entry, target: State, *, cause: str = "", result: AttemptResult | None = None,
        worker: Worker | None = None, cached: bool = False, by_user: bool = False,
    ) -> list[tuple[Entry, Verdict]]:  # fmt: skip
        source = entry.state
        lifecycle.check(source, target)
        cause = cause or (result.cause if result else "")
        entry.state, entry.cause = target, cause
        entry.error = result.error if result else ""
        wait = self._waited(entry, result)
        self.outbox.batch.changes.append(
            Change(
                key=entry.key, attempt=entry.attempt, sources=(source,), target=target, cause=cause, at=self.clock.time(),
                retries_left=entry.retries_left, crashes=entry.crashes, result=result, cached=cached, wait_s=wait,
                by_user=by_user,
            )
        )  # fmt: skip
        self.outbox.events.append(finished_event(entry, result, worker, cached=cached, wait_s=wait))
        self._count(entry, cached=cached)
        return [
            (self.entries[key], verdict)
            for key, verdict in self.dependencies.ended(entry.id, outcome_of(target, cause) or Outcome.BAD)
        ]

    def _waited(self, entry: Entry, result: AttemptResult | None) -> float:
        if entry.ready_at is None or result is None or not result.started_at:
            return 0.0
        return max(0.0, result.started_at - entry.ready_at)

    def _count(self, entry: Entry, *, cached: bool) -> None:
        tally = self.tally
        tally.last_settle = self.clock.monotonic()
        tally.cached += cached
        if entry.state is State.SKIPPED and entry.cause != Cause.DEPENDENCY_FAILED:
            tally.not_needed += 1
        else:
            name = entry.state.value
            setattr(tally, name, getattr(tally, name) + 1)


def finished_event(
    entry: Entry, result: AttemptResult | None, worker: Worker | None, *, cached: bool, wait_s: float
) -> ev.TaskFinished:
    """The announcement that a task reached its final state."""
    summary = result.summary if result else None
    return ev.TaskFinished(
        task_id=entry.id,
        key=entry.key,
        state=entry.state,
        cause=entry.cause,
        attempt=entry.attempt,
        worker=worker.name if worker else "",
        cached=cached,
        exit_code=result.exit_code if result else None,
        duration_s=0.0 if cached or result is None else result.duration,
        wait_s=wait_s,
        lines=summary.lines if summary else 0,
        tokens=result.tokens if result else None,
        error=result.error if result else "",
        summary=summary,
        value=result.value if result else None,
        warm=bool(result and result.warm),
    )
