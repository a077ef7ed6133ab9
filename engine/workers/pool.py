"""The pool: warm worker processes that are lent to the scheduler and given attempts to run.

It knows nothing about tasks but their keys: what workers say goes to the `PoolListener`. Processes themselves are the business of
`engine.workers.roster`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from ..clock import Clock
from ..errors import ProtocolError
from ..events.bus import EventBus
from ..events.events import PoolResized
from ..storage.folder import StateFolder
from ..tasks.model import AttemptResult, Cause
from .pool_contract import PoolListener, PoolOptions, progress_file
from .pool_statistics import PoolStatistics
from .protocol import Cancel, FromHost, Output, Recall, Recalled, Results, Run, Started, Work
from .roster import Roster
from .worker import Worker

__all__ = ["PoolListener", "PoolOptions", "PoolStatistics", "ProcessPool", "Worker", "progress_file"]


class ProcessPool:
    """Worker processes to run attempts on. All of it belongs to the loop's thread; the state is in the roster and its workers."""

    def __init__(
        self,
        *,
        size: int,
        run_id: str,
        folder: StateFolder,
        environ: dict[str, str],
        options: PoolOptions,
        bus: EventBus,
        clock: Clock,
    ) -> None:
        self.listener: PoolListener
        """Set it before `start`."""
        self.options = options
        self._bus = bus
        self._clock = clock
        self._roster = Roster(
            size=size,
            run_id=run_id,
            folders=(folder.logs, folder.progress),
            environ=environ,
            options=options,
            owner=self,
            bus=bus,
            clock=clock,
        )

    def __repr__(self) -> str:
        return f"<ProcessPool {len(self.workers)} of {self.size}: {', '.join(map(repr, self.workers))}>"

    @property
    def size(self) -> int:
        """Processes at most."""
        return self._roster.size

    @property
    def workers(self) -> Sequence[Worker]:
        """Every worker process that lives, in the order in which they were started."""
        return tuple(self._roster.live.values())

    @property
    def stats(self) -> PoolStatistics:
        """As `statistics()`."""
        return self.statistics()

    def statistics(self) -> PoolStatistics:
        """What the pool did so far."""
        return self._roster.counts.statistics(self._roster.live.values(), self._clock.monotonic())

    @property
    def zygote_pid(self) -> int | None:
        """Pid of the process that forks the workers; None where they are exec'ed."""
        spawner = self._roster.spawner
        return spawner.zygote_pid if spawner is not None else None

    async def start(self) -> None:
        """End what earlier runs left, start the zygote and the first workers; raises `WorkerStartError`."""
        await self._roster.start()

    async def aclose(self, *, force: bool = False) -> None:
        """Stop all workers and the zygote; when it returns nothing of this run is alive. Idempotent.

        Waits for what runs to end, or with `force` has it killed. A worker that does not leave is killed, also a frozen one.
        """
        await self._roster.aclose(force=force)

    # What the scheduler asks

    def lend(self, worker_key: str, *, wanted: int = 1) -> Worker | None:
        """A free worker, now reserved, preferably one that is warm for the key; follow with `give` or `give_back`.

        When none is free, processes are started, at most `wanted` and as far as there is room, and None is returned:
        `PoolListener.worker_ready` follows.
        """
        if self._roster.closing:
            return None
        free = [worker for worker in self._roster.live.values() if worker.is_free]
        if not free:
            starting = sum(not worker.ready for worker in self._roster.live.values())
            self._roster.start_workers(wanted - starting)
            return None
        # Warm for the key first, then one that is warm for nothing, then the one that was idle longest.
        worker = min(free, key=lambda each: (each.last_key != worker_key, each.last_key != "", each.idle_since))
        worker.reserved = True
        worker.last_key = worker_key
        return worker

    def give(self, worker: Worker, items: Sequence[Work]) -> None:
        """Have a lent worker run these, one after another, or a busy one after what it has.

        What it cannot take (it has died, is leaving, or has had its share of tasks) comes back by `work_recalled`.
        """
        room = min(len(items), self._room(worker))
        works, refused = tuple(items[:room]), tuple(items[room:])
        worker.reserved = False
        if refused:
            asyncio.get_running_loop().call_soon(self._refuse, worker, tuple(work.key for work in refused))
        if not works:
            return
        worker.take(works, self._clock.monotonic())
        self._roster.counts.gave(worker, len(works))
        if 0 < self.options.task_limit <= worker.given:
            if self.options.reuse:
                self._roster.recycle(worker, f"had {worker.given} tasks")
            else:
                self._roster.retire(worker, "processes are not reused")
        self._send(worker, works)

    def _room(self, worker: Worker) -> int:
        """How many tasks it may still be given."""
        if not worker.accepts:
            return 0
        return sys.maxsize if self.options.reuse else max(0, 1 - worker.given)

    def _refuse(self, worker: Worker, keys: tuple[int, ...]) -> None:
        self.listener.work_recalled(worker, keys)
        self._settle(worker)

    def _send(self, worker: Worker, works: tuple[Work, ...]) -> None:
        """Send all in one frame; a task that no frame can hold fails alone."""
        try:
            worker.process.send(Run(works))
        except ProtocolError as error:
            if len(works) > 1:
                for work in works:
                    self._send(worker, (work,))
            else:
                asyncio.get_running_loop().call_soon(self._finish, worker, (self._unsendable(works[0], error),))

    def _unsendable(self, work: Work, error: ProtocolError) -> AttemptResult:
        return AttemptResult(
            key=work.key,
            attempt=work.attempt,
            outcome="failed",
            cause=Cause.START_FAILED,
            error=f"the task cannot be sent to a worker: {error}",
            retryable=False,
            started_at=self._clock.time(),
        )

    def give_back(self, worker: Worker) -> None:
        """A lent worker is not needed after all."""
        worker.reserved = False
        self._settle(worker)

    def recall(self, worker: Worker, keys: Sequence[int]) -> None:
        """Ask for what has not begun; `work_recalled` follows with the part that had not."""
        worker.process.send(Recall(tuple(keys)))

    def cancel(self, worker: Worker, key: int, *, force: bool = False) -> None:
        """End an attempt: its kill ladder, or at once with `force`. Its result follows."""
        worker.process.send(Cancel(key, force))

    def resize(self, size: int) -> None:
        """Change the number of workers: too many idle ones leave at once, busy ones after their work. Raises ValueError below 0."""
        if size < 0:
            raise ValueError("a pool cannot have fewer than no workers")
        self._roster.size = size
        self._roster.shrink("the pool was made smaller")
        self._bus.publish(PoolResized(size=size))
        self.look_again()

    # What workers say: `RosterOwner`

    def worker_said(self, worker: Worker, message: FromHost) -> None:
        """Part of `RosterOwner`."""
        match message:
            case Results(items=items):
                self._finish(worker, items)
            case Started(key=key, attempt=attempt, time=at):
                self.listener.work_started(worker, key, attempt, at)
            case Output(key=key, attempt=attempt, summary=summary):
                self.listener.work_printed(worker, key, attempt, summary)
            case Recalled(keys=keys):
                self._take_back(worker, keys)

    def _finish(self, worker: Worker, results: tuple[AttemptResult, ...]) -> None:
        for result in results:
            worker.outstanding.pop(result.key, None)
        worker.tasks_run += len(results)
        worker.slot.worked()
        self.listener.work_finished(worker, results)
        self._settle(worker)

    def _take_back(self, worker: Worker, keys: tuple[int, ...]) -> None:
        back = tuple(key for key in keys if worker.outstanding.pop(key, None) is not None)
        self._roster.counts.took_back(worker, len(back))
        self.listener.work_recalled(worker, back)
        self._settle(worker)

    def _settle(self, worker: Worker) -> None:
        """If the worker has nothing left to do, it leaves where it should, or else the scheduler hears of it."""
        if worker.outstanding or worker.reserved or worker.process.ended:
            return
        worker.settle(self._clock.monotonic())
        if not worker.retiring:
            self.look_again()
        elif worker.ready and not worker.stopping:
            self._roster.stop(worker)

    def look_again(self) -> None:
        """Part of `RosterOwner`."""
        if not self._roster.closing:
            self.listener.worker_ready()

    def worker_gone(self, worker: Worker, begun: tuple[Work, ...], unbegun: tuple[Work, ...], reason: str) -> None:
        """Part of `RosterOwner`."""
        self.listener.worker_lost(worker, begun, unbegun, reason, worker.stopping)
