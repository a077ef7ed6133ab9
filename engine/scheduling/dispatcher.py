"""Carries out what the scheduler decides: commits it, then announces it and hands work to the pool.

One turn of the loop collects whatever happened (results, commands, timers), asks the scheduler once, and submits one batch. When
that is durable its events are published and its work is sent, in the order in which it was decided. There is no asyncio task or
future for a unit of work, only for what must read files: questions to the cache and entries for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from ..caching.result_cache import ResultCache
from ..clock import Clock
from ..errors import EngineError
from ..events.bus import EventBus
from ..storage.task_store import CacheEntry, TaskStore
from ..tasks.model import AttemptResult, OutputSummary
from ..workers.pool import ProcessPool
from ..workers.protocol import Work
from ..workers.worker import Worker
from .entry import Entry
from .ledger import Outbox
from .loads import OVERDUE_SECONDS
from .scheduler import Scheduler

_log = logging.getLogger("mi4.engine.scheduling.dispatcher")


class Dispatcher:
    """The acting half of the scheduler, and what the pool reports to."""

    def __init__(
        self, scheduler: Scheduler, store: TaskStore, bus: EventBus, clock: Clock, *, environ: Mapping[str, str]
    ) -> None:
        self.scheduler = scheduler
        self.pool: ProcessPool | None = None
        """None where only stored state is worked on: then nothing starts."""
        self.cache: ResultCache | None = None
        self.on_idle: Callable[[], None] = lambda: None
        """Called after each turn that leaves nothing running and nothing that will start by itself, all of it durable."""
        self.on_fault: Callable[[Exception], None] = lambda error: _log.critical("%s", error)
        """Called when state could not be written for another reason than a full disk; the engine must end."""
        self._store = store
        self._bus = bus
        self._clock = clock
        self._environ = dict(environ)
        # Mutable state, owned by the loop thread.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._turn_due = False
        self._in_flight = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin; `tasks` owns the questions to the cache."""
        self._loop = asyncio.get_running_loop()
        self._tasks = tasks

    def close(self) -> None:
        """Start no further turn; what is in flight still becomes durable."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    @property
    def idle(self) -> bool:
        """Whether nothing runs, nothing will start by itself, and all of it is durable."""
        return self.scheduler.idle and not self._in_flight and not self.scheduler.ledger.outbox and not self._turn_due

    def wake(self) -> None:
        """Something changed: take a turn soon."""
        if not self._turn_due and not self._closed and self._loop is not None:
            self._turn_due = True
            self._loop.call_soon(self._turn)

    async def settled(self) -> None:
        """Wait until everything that was decided so far is durable and announced."""
        assert self._loop is not None
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(future)
        self._flush()
        await future

    # What the pool reports.

    def worker_ready(self) -> None:
        """A worker can take work."""
        self.wake()

    def work_started(self, worker: Worker, key: int, attempt: int, at: float) -> None:
        """An attempt began."""
        self.scheduler.started(worker, key, attempt, at)
        self.wake()

    def work_printed(self, worker: Worker, key: int, attempt: int, summary: OutputSummary) -> None:
        """A running attempt printed."""
        self.scheduler.printed(worker, key, attempt, summary)
        self.wake()

    def work_finished(self, worker: Worker, results: Iterable[AttemptResult]) -> None:
        """Attempts ended."""
        for result in results:
            entry = self.scheduler.ledger.entries.get(result.key)
            if entry is not None and entry.cache_key is not None and result.outcome == "succeeded":
                self._spawn(self._keep(entry, worker, result))
            else:
                self.scheduler.ended(worker, result)
        self.wake()

    def work_recalled(self, worker: Worker, keys: Iterable[int]) -> None:
        """A worker gave back what it had not begun."""
        self.scheduler.recalled(worker, keys)
        self.wake()

    def worker_lost(
        self, worker: Worker, begun: tuple[Work, ...], unbegun: tuple[Work, ...], reason: str, planned: bool
    ) -> None:
        """A worker died."""
        self.scheduler.lost(worker, begun, unbegun, reason, planned=planned)
        self.wake()

    # One turn.

    def _turn(self) -> None:
        self._turn_due = False
        self.scheduler.wake()
        if self.pool is not None and not self._closed:
            self.scheduler.recall_overdue()
            for entry in self.scheduler.dispatch(self.pool):
                self._spawn(self._ask(entry))
        self._flush()
        self._arm()
        if self.idle:
            self.on_idle()

    def _flush(self) -> None:
        """Submit what was decided; without anything to write, carry it out at once if nothing is before it."""
        ledger = self.scheduler.ledger
        outbox, ledger.outbox = ledger.outbox, Outbox()
        waiting, self._waiting = self._waiting, []
        if not outbox and not waiting:
            return
        if not outbox.batch and not self._in_flight:
            self._carry_out(outbox, frozenset())
            _resolve(waiting, None)
            return
        self._in_flight += 1
        self._store.submit(outbox.batch, lambda refused, error: self._committed(outbox, waiting, refused, error))

    def _committed(
        self, outbox: Outbox, waiting: list[asyncio.Future[None]], refused: frozenset[int], error: Exception | None
    ) -> None:
        self._in_flight -= 1
        if error is not None:
            _resolve(waiting, error)
            self.on_fault(error)
            return
        self._carry_out(outbox, refused)
        _resolve(waiting, None)
        self.wake()

    def _carry_out(self, outbox: Outbox, refused: frozenset[int]) -> None:
        if refused:
            # One engine holds the folder and decides in order, so a guard can only fail if somebody else wrote.
            _log.error("the state folder was changed by somebody else: %d transitions were refused", len(refused))
        self._bus.publish(*outbox.events)
        if self.pool is None:
            return
        for worker, work in outbox.gives.items():
            self.pool.give(worker, [item for item in work if item.key not in refused])
        for worker, keys in outbox.recalls.items():
            self.pool.recall(worker, keys)
        for worker, key, force in outbox.cancels:
            self.pool.cancel(worker, key, force=force)

    def _arm(self) -> None:
        """Set the timer for the next back-off that ends, or for the next look at workers that hold more than they run."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.scheduler.next_wake()
        delays = [] if due is None else [max(0.0, due - self._clock.monotonic())]
        if self.scheduler.loads.prefetched:
            delays.append(OVERDUE_SECONDS)
        if delays and self._loop is not None and not self._closed:
            self._timer = self._loop.call_later(min(delays), self.wake)

    # What reads files.

    def _spawn(self, work: object) -> None:
        assert self._tasks is not None
        self._tasks.create_task(work)  # type: ignore[arg-type]  # a coroutine of this class

    async def _ask(self, entry: Entry) -> None:
        """Ask the cache about a task; whatever goes wrong is a miss."""
        assert self.cache is not None
        try:
            # What it depends on may have ended in this very turn: the cache must see that result, so wait until it is stored.
            await self.settled()
            lookup = await self.cache.lookup(entry.task, self._environ)
        except (OSError, EngineError) as error:
            _log.warning("the cache could not be asked about %r: %s", entry.id, error)
            self.scheduler.cache_missed(entry, None)
            self.wake()
            return
        if lookup.hit is not None:
            self.scheduler.cache_hit(entry, lookup.hit)
        else:
            self.scheduler.cache_missed(entry, lookup.key)
        self.wake()

    async def _keep(self, entry: Entry, worker: Worker, result: AttemptResult) -> None:
        """Make the cache's copy of a result, then settle the task with both in one commit."""
        assert self.cache is not None
        kept: CacheEntry | None = None
        if entry.cache_key is not None:
            try:
                kept = await self.cache.entry(entry.task, entry.cache_key, result, self._environ)
            except (OSError, EngineError) as error:
                _log.warning("the result of %r is not kept: %s", entry.id, error)
        self.scheduler.ended(worker, result, kept)
        self.wake()


def _resolve(waiting: Iterable[asyncio.Future[None]], error: Exception | None) -> None:
    for future in waiting:
        if not future.done():
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
