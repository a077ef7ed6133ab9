"""The worker processes that live: which slot has one, when it starts, when and how it leaves, what happens when it dies.

What they work on is the business of `engine.workers.pool`. Everything happens in callbacks of the loop's thread; there is one timer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from pathlib import Path
from typing import Protocol

from ..clock import Clock
from ..errors import WorkerStartError
from ..events.bus import EventBus
from ..events.events import WorkerBroken, WorkerStarted, WorkerStopped
from .health import Step
from .identity import MARK, ProcessRecord, end_leftovers
from .pool_contract import PAGE_SUFFIX, PoolOptions, progress_file
from .pool_statistics import PoolCounts
from .process import WorkerProcess
from .progress import read_progress
from .protocol import VERSION, FromHost, Hello, Ping, Pong, Stop, Work
from .spawner import Spawner
from .worker import FAILURES, Slot, Worker
from .zygote_protocol import Configure

_TICK = 0.25
"""Seconds between two looks at time limits."""
_START_LIMIT = 30.0
"""Seconds that a process has to say hello; the zygote may be importing its preloads."""
_LEAVE_LIMIT = 2.0
"""Seconds that an idle process has to leave, and a killed one to be gone."""
_EOF_LIMIT = 0.5
"""Seconds between the end of a host's connection, which it did not announce, and its SIGKILL."""
_STALL = 2.0
"""Seconds between two looks at time limits from which on this process was held up itself."""
_log = logging.getLogger("mi4.engine.workers.roster")


class RosterOwner(Protocol):
    """Who is told about workers."""

    def worker_said(self, worker: Worker, message: FromHost) -> None:
        """A frame came, other than `Hello`."""

    def look_again(self) -> None:
        """A worker is ready, or a slot can take one."""

    def worker_gone(self, worker: Worker, begun: tuple[Work, ...], unbegun: tuple[Work, ...], reason: str) -> None:
        """A worker that had been ready is dead."""


class Roster:
    """State, owned by the loop's thread: slots by number, live workers by host id, counters, the timer, the spawner."""

    def __init__(
        self,
        *,
        size: int,
        run_id: str,
        folders: tuple[Path, Path],
        environ: dict[str, str],
        options: PoolOptions,
        owner: RosterOwner,
        bus: EventBus,
        clock: Clock,
    ) -> None:
        self.size = size
        self.live: dict[str, Worker] = {}
        self.counts = PoolCounts()
        self.closing = False
        self.spawner: Spawner | None = None
        self._run_id = run_id
        self._logs, self._progress = folders
        self._environ = {**environ, MARK: run_id}
        self._options = options
        self._owner = owner
        self._bus = bus
        self._clock = clock
        self._slots: dict[int, Slot] = {}
        self._emptied = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._looked_at = clock.monotonic()
        self._record: ProcessRecord | None = None

    # Start

    async def start(self) -> None:
        """End what earlier runs left, start the zygote and the first workers; raises `WorkerStartError`."""
        ended = end_leftovers(self._progress, but=self._run_id)
        if ended:
            _log.warning("ended %d processes that an earlier run had left behind", ended)
        self._record = ProcessRecord(self._progress, self._run_id)
        self.spawner = self._make_spawner(self._record)
        try:
            await self.spawner.start()
        except BaseException:
            await self.aclose(force=True)
            raise
        self._tick()
        self._fill()

    def _make_spawner(self, record: ProcessRecord) -> Spawner:
        options = self._options
        for_hosts = {
            "grace_seconds": options.grace_seconds,
            "log_max_bytes": options.log_max_bytes,
            "run_id": self._run_id,
        }
        configure = Configure(
            os.getpid(), self._run_id, options.entry, bytes(self._logs), options=for_hosts, preload=options.preload
        )
        return Spawner(
            configure,
            self._environ,
            owner=self,
            record=record,
            scratch=self._progress,
            clock=self._clock,
            mode=options.spawn,
        )

    def start_workers(self, number: int) -> None:
        """Start so many more workers, as far as there is room."""
        for slot in self._free_slots()[: max(0, number)]:
            self._start_worker(slot)

    def _fill(self) -> None:
        """Start what is missing to the least number of workers."""
        self.start_workers(min(self._options.min_size, self.size) - len(self.live))

    def _free_slots(self) -> list[Slot]:
        """Slots that can take a worker now, lowest first."""
        slots = [self._slots.setdefault(number, Slot(number)) for number in range(1, self.size + 1)]
        empty = [slot for slot in slots if slot.worker is None]
        well = [slot for slot in empty if slot.broken_until is None]
        # After a shrink workers may sit in slots above `size`: they count too. A broken slot keeps its place free.
        room = self.size - len(self.live) - (len(empty) - len(well))
        return well[: max(0, room)]

    def _start_worker(self, slot: Slot) -> None:
        if self.spawner is None or self.closing:
            return
        host_id = slot.next_host_id()
        page = progress_file(self._progress, host_id)
        page.unlink(missing_ok=True)
        now = self._clock.monotonic()
        try:
            process = self.spawner.spawn(host_id, page)
        except WorkerStartError as error:
            self._rest(slot, slot.rest(now), str(error))
            return
        worker = slot.worker = self.live[host_id] = Worker(slot, process, now)
        worker.deadline = now + _START_LIMIT
        self.counts.created += 1

    # What processes say: `ProcessOwner`

    def process_said(self, process: WorkerProcess, message: FromHost) -> None:
        """Part of `ProcessOwner`."""
        worker = self.live.get(process.host_id)
        if worker is None:
            return
        worker.health.heard(message, self._clock.monotonic())
        match message:
            case Hello():
                self._welcome(worker, message)
            case Pong():
                self._weigh(worker)
            case _:
                self._owner.worker_said(worker, message)

    def _welcome(self, worker: Worker, hello: Hello) -> None:
        if hello.version != VERSION:
            worker.reason = f"it speaks version {hello.version} of the protocol, not {VERSION}: restart the engine"
            self.kill(worker)
            return
        worker.ready = True
        worker.idle_since = self._clock.monotonic()
        self._bus.publish(WorkerStarted(worker=worker.name, pid=hello.pid))
        if worker.stopping:
            return
        worker.deadline = None
        if worker.retiring:
            self.stop(worker)
        else:
            self._owner.look_again()

    def _weigh(self, worker: Worker) -> None:
        """It told how much memory it holds. What it has before its first task is not its fault, and the next would have it too."""
        memory, limit = worker.health.memory, self._options.recycle_above_bytes
        if 0 < limit < memory and worker.given and not worker.reserved:
            self.recycle(worker, f"held {memory / 2**20:,.0f} MiB of memory")

    def process_broke(self, process: WorkerProcess, reason: str) -> None:
        """Part of `ProcessOwner`: its end should follow by itself; if not, it is made."""
        worker = self.live.get(process.host_id)
        if worker is not None and not worker.stopping:
            worker.retiring = True
            worker.reason = worker.reason or reason
            worker.deadline = self._clock.monotonic() + _EOF_LIMIT

    def process_ended(self, process: WorkerProcess) -> None:
        """Part of `ProcessOwner`."""
        worker = self.live.pop(process.host_id, None)
        if worker is None:
            return
        worker.slot.worker = None
        page = progress_file(self._progress, worker.host_id)
        progress = read_progress(page)
        begun, unbegun = worker.split_outstanding(progress.lease if progress is not None else None)
        if (
            not worker.outstanding
        ):  # else it is needed until what follows from it is on disk: should we die now, it still tells
            page.unlink(missing_ok=True)
        worker.outstanding.clear()
        reason = _reason(worker)
        self._count_end(worker, len(unbegun), reason)
        if worker.ready:
            self._owner.worker_gone(worker, begun, unbegun, reason)
        self._after_end(worker, reason)

    def _count_end(self, worker: Worker, unbegun: int, reason: str) -> None:
        now = self._clock.monotonic()
        self.counts.took_back(worker, unbegun)
        self.counts.ended(worker, now)
        if not worker.stopping:
            _log.warning("worker %s: %s", worker.host_id, reason)
        if worker.ready:
            stopped = WorkerStopped(
                worker=worker.name,
                pid=worker.pid,
                planned=worker.stopping,
                reason=reason,
                tasks_run=worker.tasks_run,
                lifetime_s=now - worker.started_at,
            )
            self._bus.publish(stopped)

    def _after_end(self, worker: Worker, reason: str) -> None:
        if self.closing:
            self._emptied.set()
            return
        slot = worker.slot
        if not worker.stopping and not worker.tasks_run and slot.failed(self._clock.monotonic()):
            pause = slot.rest(self._clock.monotonic())
            self._rest(slot, pause, f"died {FAILURES} times right after its start, last: {reason}")
        self._fill()
        self._owner.look_again()

    def _rest(self, slot: Slot, pause: float, reason: str) -> None:
        _log.error("worker %s rests for %g s: %s", slot.name, pause, reason)
        self._bus.publish(WorkerBroken(worker=slot.name, reason=reason, retry_in_s=pause))

    # How processes leave

    def shrink(self, reason: str) -> None:
        """Retire as many workers as there are too many: idle ones first, of those the highest slots."""
        staying = [worker for worker in self.live.values() if not worker.retiring]
        staying.sort(
            key=lambda worker: (not worker.outstanding and not worker.reserved, worker.slot.number), reverse=True
        )
        for worker in staying[: max(0, len(staying) - self.size)]:
            self.retire(worker, reason)

    def retire(self, worker: Worker, reason: str) -> None:
        """No new work for it; it leaves as soon as it has none."""
        worker.retiring = True
        worker.reason = worker.reason or reason
        if worker.ready and not worker.outstanding and not worker.reserved:
            self.stop(worker)

    def recycle(self, worker: Worker, reason: str) -> None:
        """As `retire`, and another may take its place."""
        if not worker.retiring:
            worker.recycled = True
            self.retire(worker, reason)

    def stop(self, worker: Worker, *, force: bool = False) -> None:
        """Tell it to leave, with a time limit."""
        worker.retiring = worker.stopping = True
        limit = self._options.grace_seconds + _LEAVE_LIMIT if force and worker.outstanding else _LEAVE_LIMIT
        worker.deadline = self._clock.monotonic() + limit
        worker.process.send(Stop(force))

    def kill(self, worker: Worker) -> None:
        """End it now, frozen or not; its parent sweeps what it leaves."""
        insist, worker.force_stopped = worker.force_stopped, True
        worker.retiring = True
        worker.deadline = self._clock.monotonic() + _LEAVE_LIMIT
        if self.spawner is not None:
            self.spawner.end(worker.process, insist=insist)

    # Time

    def _tick(self) -> None:
        """The only timer: time limits, idle processes, slots that have rested."""
        self._timer = asyncio.get_running_loop().call_later(_TICK, self._tick)
        if self.spawner is not None:
            self.spawner.poll()
        self.check_times()

    def check_times(self) -> None:
        """Act on everything whose time has come by the clock."""
        now = self._clock.monotonic()
        stalled, self._looked_at = now - self._looked_at > _STALL, now
        for worker in list(self.live.values()):
            if stalled:
                worker.health.excuse(now)
            self._check_time(worker, now)
        rested = [slot for slot in self._slots.values() if slot.broken_until is not None and slot.broken_until <= now]
        for slot in rested:
            slot.broken_until = None
        if rested and not self.closing:
            self._fill()
            self._owner.look_again()

    def _check_time(self, worker: Worker, now: float) -> None:
        if worker.deadline is not None and worker.deadline <= now:
            worker.reason = worker.reason or ("it did not go on" if worker.ready else "it did not start in time")
            self.kill(worker)
            return
        if worker.deadline is None and self._options.silence_seconds:
            self._check_health(worker, now)
        if worker.is_free and 0 < self._options.idle_seconds <= now - worker.idle_since and self._has_spare():
            self.retire(worker, f"idle for {self._options.idle_seconds:g} s")
        elif worker.accepts and not worker.reserved:
            self._check_age(worker, now - worker.started_at)

    def _check_age(self, worker: Worker, age: float) -> None:
        if 0 < self._options.recycle_after_seconds <= age:
            self.recycle(worker, f"was {age:,.0f} s old")

    def _check_health(self, worker: Worker, now: float) -> None:
        """Ask whether it lives, at times; wake or kill one that does not answer."""
        limit = self._options.silence_seconds
        match worker.health.step(now, limit):
            case Step.PING:
                worker.process.send(Ping(worker.health.token))
            case Step.WAKE if self.spawner is not None:
                _log.warning("worker %s does not answer; waking it in case it was stopped", worker.host_id)
                self.spawner.wake(worker.process)
            case Step.KILL:
                worker.reason = f"did not answer for {limit:g} s"
                self.kill(worker)
            case _:
                pass

    def _has_spare(self) -> bool:
        """Whether there are more workers than must be kept."""
        return sum(not worker.retiring for worker in self.live.values()) > self._options.min_size

    # End

    async def aclose(self, *, force: bool) -> None:
        """As `ProcessPool.aclose`."""
        self.closing = True
        if self.spawner is not None:
            self.spawner.closing = True
        for worker in list(self.live.values()):
            worker.retiring = True
            worker.reason = worker.reason or "the pool was closed"
            if force or not worker.outstanding:
                self.stop(worker, force=force)
        while self.live:
            self._emptied.clear()
            await self._emptied.wait()
        if self._timer is not None:
            self._timer.cancel()
        spawner, self.spawner = self.spawner, None
        if spawner is not None:
            await spawner.aclose()
        if self._record is not None:
            self._record.close(forget=True)
            self._record = None
            self._forget_pages()

    def _forget_pages(self) -> None:
        """What was begun is settled now, of this run and of all before it."""
        with contextlib.suppress(OSError):
            for page in self._progress.glob(f"*{PAGE_SUFFIX}"):
                page.unlink(missing_ok=True)


def _reason(worker: Worker) -> str:
    """Why a worker ended, in one line."""
    if worker.stopping:
        return worker.reason
    words = worker.process.last_words.splitlines()
    parts = (worker.reason, worker.process.ending, words[-1] if words else "")
    return "; ".join(part for part in parts if part)
