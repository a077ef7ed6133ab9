"""What the pool did: counted as it happens, handed out as one frozen value."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from .worker import Worker


class PoolStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """The pool up to now. Every number is counted, none estimated."""

    created: int = 0
    """Processes that were started."""
    dispatches: int = 0
    """Tasks that were given to a worker, without those taken back."""
    reused: int = 0
    """Dispatches to a worker that had had a task before."""
    stopped: int = 0
    """Processes that ended because they were told to."""
    killed: int = 0
    """Of those, the ones that did not leave by themselves."""
    crashed: int = 0
    """Processes that ended without having been told to."""
    recycled: int = 0
    """Of the stopped ones, those that had done as many tasks as a process may, were too old or held too much memory."""
    active: int = 0
    """Processes that live now."""
    memory: int = 0
    """Resident bytes of those and all below them, as each told when it was last asked."""
    idle: int = 0
    busy: int = 0
    average_lifetime: float = 0.0
    """Seconds, over all processes; for one that lives, its age."""
    utilisation: float = 0.0
    """Percent of the life time of all processes in which they had something to do."""

    def get_reuse_rate(self) -> float:
        """Percent of dispatches that went to a process that had run a task before; 0 when there were none."""
        return 100.0 * self.reused / self.dispatches if self.dispatches else 0.0


class PoolCounts:
    """The counters behind `PoolStatistics`. State, owned by the pool."""

    def __init__(self) -> None:
        self.created = self.dispatches = self.stopped = self.killed = self.crashed = self.recycled = 0
        self._used = 0
        self._lifetime = self._busy = 0.0

    def gave(self, worker: Worker, number: int) -> None:
        """A worker was given so many tasks more; call it after `Worker.take`."""
        self.dispatches += number
        self._used += worker.given == number

    def took_back(self, worker: Worker, number: int) -> None:
        """A worker will not run so many of the tasks that it was given."""
        worker.given -= number
        self.dispatches -= number
        self._used -= number > 0 and worker.given == 0

    def ended(self, worker: Worker, now: float) -> None:
        """A process is gone."""
        self._lifetime += now - worker.started_at
        self._busy += worker.busy_time(now)
        self.stopped += worker.stopping
        self.crashed += not worker.stopping
        self.killed += worker.stopping and worker.force_stopped
        self.recycled += worker.stopping and worker.recycled

    def statistics(self, live: Iterable[Worker], now: float) -> PoolStatistics:
        """All of it, with the processes that live."""
        workers = list(live)
        lifetime = self._lifetime + sum(now - worker.started_at for worker in workers)
        busy_time = self._busy + sum(worker.busy_time(now) for worker in workers)
        busy = sum(bool(worker.outstanding) for worker in workers)
        return PoolStatistics(
            created=self.created,
            dispatches=self.dispatches,
            reused=self.dispatches - self._used,
            stopped=self.stopped,
            killed=self.killed,
            crashed=self.crashed,
            recycled=self.recycled,
            active=len(workers),
            memory=sum(worker.health.memory for worker in workers),
            idle=len(workers) - busy,
            busy=busy,
            average_lifetime=lifetime / self.created if self.created else 0.0,
            utilisation=100.0 * busy_time / lifetime if lifetime > 0 else 0.0,
        )
