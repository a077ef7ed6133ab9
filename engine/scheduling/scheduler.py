"""The scheduler: which task runs next on which worker, and what each end of a task means for the others.

Every method decides synchronously: it takes arrows in the `Ledger`, whose outbox `engine.scheduling.dispatcher` carries out. So all rules
can be tested without a database, a process or a loop, and the same calls in the same order always give the same outbox.

A little longer than other modules: it is the one place where the parts beside it (queue, dependencies, limits, loads, retries) meet.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

import msgspec

from ..clock import Clock
from ..events import events as ev
from ..storage.task_store import CacheEntry
from ..tasks import lifecycle
from ..tasks.model import AttemptResult, Cause, OutputSummary, State
from ..workers.protocol import Work
from ..workers.worker import Worker
from .dependencies import Dependencies, Outcome, Verdict, outcome_of
from .entry import Entry, work_order
from .joining import InFlight
from .ledger import Ledger
from .limits import CategoryLimits
from .loads import Load, Loads
from .predictor import DurationPredictor
from .queue import TaskQueue
from .retry import RetryPolicy

if TYPE_CHECKING:
    from ..caching.keys import CacheKey


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


class Scheduler:
    """Decides; see the module."""

    def __init__(self, policy: Policy, clock: Clock, *, next_key: int = 1, next_lease: int = 1) -> None:
        self.policy = policy
        self.clock = clock
        # Mutable state, owned here: the parts below, who sleeps until when, and how many questions to the cache are open.
        self.ledger = Ledger(clock, next_key=next_key, next_lease=next_lease)
        self.queue = TaskQueue(policy.limits)
        self.dependencies = Dependencies()
        self.limits = CategoryLimits(policy.limits)
        self.predictor = DurationPredictor()
        self.loads = Loads()
        self.in_flight = InFlight()
        self.paused = False
        self.draining = False
        self.trouble = ""
        """A storage fault; nothing new starts while it lasts."""
        self._sleepers: list[tuple[float, int]] = []
        self._asking_cache = 0

    def __repr__(self) -> str:
        ledger = self.ledger
        return f"<Scheduler {len(ledger.entries)} tasks, {len(self.queue)} queued, {ledger.active} active>"

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing will start by itself."""
        if self.ledger.active or self._asking_cache:
            return False
        return self.draining or not (len(self.queue) or self._has_sleepers())

    def rank(self, entry: Entry) -> float:
        """The queue's rank of a task: its score at the epoch, or the same for all when the order is first come, first served."""
        return 0.0 if self.policy.fifo else entry.scored.base()

    def outcome(self, task_id: str) -> Outcome | None:
        """How the newest generation of a task ended, None while it is open or unknown."""
        entry = self.ledger.by_id.get(task_id)
        return outcome_of(entry.state, entry.cause) if entry else None

    def settle_in(self, entry: Entry) -> None:
        """Decide where an open task stands that has just come in: it waits, is ready, or is skipped."""
        self._act_on(entry, self._judge(entry))

    # Time.

    def next_wake(self) -> float | None:
        """When the next back-off or ``not_before`` ends (monotonic seconds)."""
        return self._sleepers[0][0] if self._has_sleepers() else None

    def wake(self) -> None:
        """End every back-off and ``not_before`` whose time has come."""
        now = self.clock.monotonic()
        while self._has_sleepers() and self._sleepers[0][0] <= now:
            entry = self.ledger.entries[heapq.heappop(self._sleepers)[1]]
            entry.wake_at = None
            self._enqueue(entry, "its back-off is over" if entry.state is State.BACKOFF else "its time has come")

    def sleep(self, entry: Entry, delay: float) -> None:
        """Let a task that waits for nothing else become ready after `delay` seconds."""
        entry.wake_at = self.clock.monotonic() + delay
        heapq.heappush(self._sleepers, (entry.wake_at, entry.key))

    def recall_overdue(self) -> None:
        """Take back what waits behind a task that runs longer than was expected."""
        for worker, keys in self.loads.overdue(self.clock.monotonic()):
            self._recall(worker, keys)

    # Dispatch.

    def dispatch(self, pool: Lender) -> list[Entry]:
        """Lease ready tasks, best first, to workers that are free; returns the tasks for which the cache must be asked first."""
        questions: list[Entry] = []
        if self.paused or self.draining or self.trouble:
            return questions
        while (entry := self._best()) is not None:
            if self._must_ask_cache(entry):
                self.queue.remove(entry.key)
                entry.asking_cache = True
                self._asking_cache += 1
                questions.append(entry)
                continue
            worker = pool.lend(entry.task.worker_key, wanted=len(self.queue))
            if worker is None:
                break
            self._lease(entry, worker)
            self._give_more(worker, self.loads[worker])
        for worker, load in self.loads.items():
            if worker.accepts and not load.overdue and len(load) * 2 <= self._depth(load):
                self._give_more(worker, load)
        return questions

    def cache_missed(self, entry: Entry, key: CacheKey | None) -> None:
        """The cache does not know this task (or could not be asked, without a key): it runs next, where it stood."""
        self._cache_answered(entry)
        entry.cache_key = key
        entry.cache_asked = True
        if entry.state is not State.QUEUED:
            return
        self.ledger.outbox.events.append(ev.CacheLookedUp(task_id=entry.id, key=entry.key, hit=False))
        if self.in_flight.join(entry) is None:
            self.queue.put(entry.key, self.rank(entry), entry.task.category)

    def cache_hit(self, entry: Entry, result: AttemptResult) -> None:
        """The cache knows the result of this task."""
        self._cache_answered(entry)
        if entry.state is State.QUEUED:
            self.queue.remove(entry.key)
            self.ledger.outbox.events.append(ev.CacheLookedUp(task_id=entry.id, key=entry.key, hit=True))
            result = msgspec.structs.replace(result, key=entry.key, attempt=entry.attempt)
            self._settle(entry, State.SUCCEEDED, result=result, cached=True)

    # What workers report.

    def started(self, worker: Worker, key: int, attempt: int, at: float) -> None:
        """The worker began an attempt at `at` (seconds since the epoch)."""
        entry = self.ledger.of_attempt(key, attempt)
        if entry is not None and entry.state is State.LEASED:
            self.ledger.start(entry, worker, at)

    def printed(self, worker: Worker, key: int, attempt: int, summary: OutputSummary) -> None:
        """The running attempt printed."""
        entry = self.ledger.of_attempt(key, attempt)
        if entry is not None and entry.state in lifecycle.ACTIVE:
            self.ledger.summarise(entry, worker, summary)

    def ended(self, worker: Worker, result: AttemptResult, keep: CacheEntry | None = None) -> None:
        """An attempt ended; `keep` is what the cache wants to store of it. The first result of an attempt wins."""
        entry = self.ledger.of_attempt(result.key, result.attempt)
        if entry is None or entry.state not in lifecycle.ACTIVE or entry.worker is None:
            self.ledger.ignore_late(result.key, result.attempt)
            return
        if not entry.announced:
            self.ledger.start(entry, worker, result.started_at or self.clock.time())
        self.loads.moved(entry.worker, self.clock.monotonic())
        self._let_go(entry)
        self.predictor.observe(entry.task.worker_key, result.duration)
        self.ledger.tally.durations[entry.id] = result.duration
        if keep is not None:
            self.ledger.outbox.batch.cache.append(keep)
        self._act_on_result(entry, worker, result)

    def recalled(self, worker: Worker, keys: Iterable[int]) -> None:
        """These had not begun and go back to the queue; they do not count as attempts."""
        for key in keys:
            entry = self.ledger.entries.get(key)
            if entry is not None and entry.worker is worker:
                self._take_back(entry, "recalled before it began")

    def lost(
        self, worker: Worker, begun: Iterable[Work], unbegun: Iterable[Work], reason: str, *, planned: bool
    ) -> None:
        """A worker died with work in its hands."""
        for work in unbegun:
            entry = self.ledger.of_attempt(work.key, work.attempt)
            if entry is not None and entry.worker is worker:
                self._take_back(entry, "its worker died before it began")
        for work in begun:
            entry = self.ledger.of_attempt(work.key, work.attempt)
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
        self.ledger.outbox.events.append(ev.QueuePaused(category=category))
        self.recall_unbegun(lambda entry: not category or entry.task.category == category)

    def resume(self, category: str = "") -> None:
        """The opposite of `pause`."""
        if category:
            self.limits.resume(category)
        else:
            self.paused = False
        self.ledger.outbox.events.append(ev.QueueResumed(category=category))

    def recall_unbegun(self, which: Callable[[Entry], bool]) -> None:
        """Ask back every lease that has not begun, of the tasks that `which` names."""
        for worker, load in self.loads.items():
            self._recall(worker, [key for key, entry in load.entries.items() if not entry.announced and which(entry)])

    def hold(self, entry: Entry) -> bool:
        """Keep a waiting task from starting; False when it does not wait."""
        if entry.state not in (State.PENDING, State.QUEUED, State.BACKOFF):
            return False
        self._withdraw(entry)
        self.ledger.hold(entry, Cause.USER, by_user=True)
        return True

    def release(self, entry: Entry) -> bool:
        """Let a held task run; False when it is not held."""
        if entry.state is not State.HELD:
            return False
        self.ledger.release(entry)
        self.settle_in(entry)
        return True

    def cancel(self, entry: Entry, *, force: bool = False, cause: Cause = Cause.USER) -> bool:
        """Cancel an open task; one that runs is stopped first. False when it has ended."""
        if entry.state in lifecycle.FINAL:
            return False
        if entry.worker is None:
            self._withdraw(entry)
            self._settle(entry, State.CANCELLED, cause=cause, by_user=True)
            return True
        if entry.state is not State.CANCELLING:
            self.ledger.ask_to_stop(entry, cause)
        self.ledger.outbox.cancels.append((entry.worker, entry.key, force))
        return True

    def reorder(self, entry: Entry, priority: float, manual: float) -> None:
        """Give an open task another priority and manual term."""
        self.ledger.reorder(entry, priority, manual)
        if entry.key in self.queue:
            self.queue.put(entry.key, self.rank(entry), entry.task.category)

    def skip_done(self, entry: Entry) -> None:
        """The task file now says that this waiting task is done."""
        self._withdraw(entry)
        self._settle(entry, State.SKIPPED, cause=Cause.DONE_IN_FILE)

    def supersede(self, entry: Entry) -> None:
        """A waiting task gets another content: its row ends unseen, and what waits for its id waits for the new one."""
        self._withdraw(entry)
        self.ledger.move(entry, State.CANCELLED, Cause.SUPERSEDED)

    def fail_interrupted(self, entry: Entry) -> None:
        """A task that was running when the last engine died is not to run again."""
        self._settle(entry, State.FAILED, cause=Cause.INTERRUPTED)

    def complete_cancel(self, entry: Entry) -> None:
        """A task that was being cancelled when the last engine died has ended with it."""
        self._settle(entry, State.CANCELLED, cause=Cause.USER)

    # Where a task stands.

    def _judge(self, entry: Entry) -> Verdict:
        return self.dependencies.add(entry.key, entry.task.dependencies, entry.task.run_if, self.outcome)

    def _act_on(self, entry: Entry, verdict: Verdict) -> None:
        """Carry out what the end of its dependencies means for a waiting task, and for all that wait for it in turn."""
        undecided = [(entry, verdict)]
        while undecided:
            current, decided = undecided.pop()
            if decided is Verdict.READY:
                self._ready(current)
            elif decided is not Verdict.WAIT:
                failed = decided is Verdict.SKIP_FAILED
                self.ledger.settle(
                    current, State.SKIPPED, cause=Cause.DEPENDENCY_FAILED if failed else Cause.RUN_IF_UNMET
                )
                undecided += self._followers(current)

    def _followers(self, entry: Entry) -> list[tuple[Entry, Verdict]]:
        """What the end of this task decides for those that wait for it."""
        outcome = outcome_of(entry.state, entry.cause) or Outcome.BAD
        return [(self.ledger.entries[key], verdict) for key, verdict in self.dependencies.ended(entry.id, outcome)]

    def _ready(self, entry: Entry) -> None:
        delay = (entry.task.not_before or 0.0) - self.clock.time()
        if delay > 0:
            self.sleep(entry, delay)
        else:
            self._enqueue(entry)

    def _enqueue(self, entry: Entry, reason: str = "") -> None:
        self.ledger.queue(entry, reason)
        self.queue.put(entry.key, self.rank(entry), entry.task.category)

    def _has_sleepers(self) -> bool:
        while self._sleepers:
            entry = self.ledger.entries.get(self._sleepers[0][1])
            if entry is not None and entry.wake_at == self._sleepers[0][0]:
                return True
            heapq.heappop(self._sleepers)
        return False

    def _withdraw(self, entry: Entry) -> None:
        """Take a waiting task out of everything in which it waits."""
        self.ledger.held -= entry.state is State.HELD
        self.queue.remove(entry.key)
        self.dependencies.forget(entry.key)
        self._part(entry)
        entry.cache_asked = False
        entry.wake_at = None

    def _settle(
        self, entry: Entry, target: State, *, cause: str = "", result: AttemptResult | None = None, worker: str = "",
        cached: bool = False, by_user: bool = False,
    ) -> None:  # fmt: skip
        """End a task for good, and let those that wait for it go on."""
        self.ledger.settle(entry, target, cause=cause, result=result, worker=worker, cached=cached, by_user=by_user)
        self._part(entry)
        for follower, verdict in self._followers(entry):
            self._act_on(follower, verdict)

    def _part(self, entry: Entry) -> None:
        """Nobody can wait for the result of this task any longer: its followers ask the cache again."""
        for follower in self.in_flight.leave(entry):
            follower.cache_asked = False
            if follower.state is State.QUEUED:
                self.queue.put(follower.key, self.rank(follower), follower.task.category)

    # Choosing.

    def _best(self) -> Entry | None:
        key = self.queue.peek(self.limits.blocked)
        return None if key is None else self.ledger.entries[key]

    def _must_ask_cache(self, entry: Entry) -> bool:
        return self.policy.caching and entry.task.is_cacheable and not entry.cache_asked

    def _cache_answered(self, entry: Entry) -> None:
        entry.asking_cache = False
        self._asking_cache -= 1

    def _lease(self, entry: Entry, worker: Worker) -> None:
        self.queue.remove(entry.key)
        self.limits.take(entry.task.category)
        self.loads.add(worker, entry, self.clock.monotonic())
        work = work_order(entry, lease=self.ledger.next_lease, agent_timeout=self.policy.agent_timeout)
        self.ledger.lease(entry, worker, work)

    def _give_more(self, worker: Worker, load: Load) -> None:
        """Let a worker have more of what it runs, where these are quick: never more than half of what waits."""
        depth = min(self._depth(load), len(load) + max(1, len(self.queue) // 2))
        first = load.first.task
        while len(load) < depth and (entry := self._best()) is not None:
            same = entry.task.worker_key == first.worker_key and entry.task.restart != "never"
            if not same or self._must_ask_cache(entry):
                break
            self._lease(entry, worker)

    def _depth(self, load: Load) -> int:
        """How many tasks like its first one a worker may have."""
        task = load.first.task
        if task.is_agent or task.restart == "never":
            return 1
        return self.predictor.depth(task.worker_key, self.policy.max_prefetch)

    # Ends of attempts.

    def _recall(self, worker: Worker, keys: list[int]) -> None:
        if keys:
            self.ledger.outbox.recalls.setdefault(worker, []).extend(keys)

    def _let_go(self, entry: Entry) -> None:
        if entry.worker is not None:
            self.loads.remove(entry.worker, entry)
        self.limits.give_back(entry.task.category)
        self.ledger.let_go(entry)

    def _take_back(self, entry: Entry, reason: str) -> None:
        self._let_go(entry)
        if entry.state is State.CANCELLING:
            self._settle(entry, State.CANCELLED, cause=entry.cancel_cause, by_user=True)
        else:
            self.ledger.take_back(entry, reason)
            self._enqueue(entry, reason)

    def _act_on_result(self, entry: Entry, worker: Worker, result: AttemptResult) -> None:
        cancelled = entry.state is State.CANCELLING and result.outcome == "cancelled"
        delay = self.policy.retry.delay(entry.task, result, entry.retries_left)
        if delay is not None and entry.state is not State.CANCELLING:
            self.ledger.back_off(entry, result, delay)
            self.sleep(entry, delay)
        else:
            cause = entry.cancel_cause if cancelled else ""
            target = State(result.outcome)
            self._settle(entry, target, cause=cause, result=result, worker=worker.name, by_user=cancelled)

    def _crashed(self, entry: Entry, worker: Worker, reason: str, *, planned: bool) -> None:
        """The worker died while it ran this task."""
        if not entry.announced:
            self.ledger.start(entry, worker, self.clock.time())
        self._let_go(entry)
        entry.crashes += 0 if planned else 1
        if entry.state is State.CANCELLING:
            self._settle(entry, State.CANCELLED, cause=entry.cancel_cause, worker=worker.name, by_user=True)
        elif entry.task.restart == "never":
            why = f"its worker was lost ({reason}) and 'restart: never' forbids another attempt"
            self._fail_lost(entry, worker, why)
        elif entry.crashes >= self.policy.crash_limit:
            self._fail_lost(entry, worker, f"its worker was lost {entry.crashes} times ({reason})")
        else:
            self.ledger.requeue(entry, Cause.WORKER_LOST, reason)
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
        self._settle(entry, State.FAILED, result=result, worker=worker.name)
