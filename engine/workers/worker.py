"""A worker as the scheduler sees it, and the pool slot that it fills."""

from __future__ import annotations

from collections import deque

from .health import Health
from .process import WorkerProcess
from .protocol import Work

FAILURES, FAILURES_WITHIN = 5, 10.0
"""So many workers of one slot may die within so many seconds without having finished anything."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
"""Seconds that a broken slot rests: doubled each time until a worker of it finishes something."""


class Worker:
    """One worker process. State, owned by the pool (others only read): what it has to do and how it stands."""

    def __init__(self, slot: Slot, process: WorkerProcess, now: float) -> None:
        self.slot = slot
        self.process = process
        self.name = slot.name
        """Slot name such as ``w1``; the next process of the slot has the same."""
        self.host_id = process.host_id
        """Unique in a run: slot and generation, such as ``w1.3``."""
        self.outstanding: dict[int, Work] = {}
        """By row key, in the order in which the host does it."""
        self.reserved = False
        """Lent and not yet given anything."""
        self.ready = False
        """Whether the host has said hello."""
        self.retiring = False
        """Whether it gets no new work and leaves when it has done what it has."""
        self.stopping = False
        """Whether it was told to leave."""
        self.force_stopped = False
        """Whether it had to be killed because it did not leave."""
        self.recycled = False
        """Whether it leaves because of its tasks, its age or its memory."""
        self.health = Health(now)
        self.reason = ""
        """Why it leaves or is killed, once that is decided."""
        self.deadline: float | None = None
        """Monotonic time at which it is killed, or None."""
        self.given = 0
        """Tasks that it was given, without those taken back."""
        self.tasks_run = 0
        """Tasks whose results came back."""
        self.last_key = ""
        """Worker key of what it was last given; it is warm for that."""
        self.started_at = now
        """Monotonic."""
        self.idle_since = now
        """Monotonic; only means something while it is idle."""
        self.busy_since: float | None = None
        self.busy_seconds = 0.0

    def __repr__(self) -> str:
        doing = f"{len(self.outstanding)} outstanding" if self.outstanding else "idle"
        return f"<Worker {self.host_id} pid={self.pid} {doing}{' retiring' if self.retiring else ''}>"

    @property
    def pid(self) -> int:
        """Pid of the host; 0 before it is known."""
        return self.process.pid

    @property
    def accepts(self) -> bool:
        """Whether it may be given work."""
        return self.ready and not self.retiring and not self.process.ended

    @property
    def is_free(self) -> bool:
        """Whether it may be lent."""
        return self.accepts and not self.reserved and not self.outstanding

    def take(self, items: tuple[Work, ...], now: float) -> None:
        """Note that it was given these."""
        if self.busy_since is None:
            self.busy_since = now
        self.outstanding.update((work.key, work) for work in items)
        self.given += len(items)
        self.reserved = False

    def settle(self, now: float) -> None:
        """Note that nothing is outstanding any more."""
        self.idle_since = now
        if self.busy_since is not None:
            self.busy_seconds += now - self.busy_since
            self.busy_since = None

    def busy_time(self, now: float) -> float:
        """Seconds in which it had something to do."""
        return self.busy_seconds + (now - self.busy_since if self.busy_since is not None else 0.0)

    def split_outstanding(self, begun_lease: int | None) -> tuple[tuple[Work, ...], tuple[Work, ...]]:
        """What is outstanding, as (begun, unbegun) by the lease on its progress page; without a page all counts as begun."""
        works = tuple(self.outstanding.values())
        if begun_lease is None:
            return works, ()
        return (
            tuple(work for work in works if work.lease <= begun_lease),
            tuple(work for work in works if work.lease > begun_lease),
        )


class Slot:
    """A place for one worker process at a time. State, owned by the pool: the worker in it and the failures of late."""

    def __init__(self, number: int) -> None:
        self.name = f"w{number}"
        self.number = number
        self.generation = 0
        """Processes that it has had."""
        self.worker: Worker | None = None
        self.broken_until: float | None = None
        """Monotonic time at which it may start a worker again; None when it is well."""
        self._failures: deque[float] = deque(maxlen=FAILURES)
        self._pause = _FIRST_PAUSE

    def next_host_id(self) -> str:
        """The id of its next process."""
        self.generation += 1
        return f"{self.name}.{self.generation}"

    def failed(self, now: float) -> bool:
        """A worker died without having finished anything; returns whether that happens too often."""
        self._failures.append(now)
        return len(self._failures) == FAILURES and now - self._failures[0] <= FAILURES_WITHIN

    def rest(self, now: float) -> float:
        """Start no worker for a while; returns for how many seconds."""
        pause, self._pause = self._pause, min(self._pause * 2, _LONGEST_PAUSE)
        self._failures.clear()
        self.broken_until = now + pause
        return pause

    def worked(self) -> None:
        """A worker of it finished something: forget its failures."""
        self._failures.clear()
        self._pause = _FIRST_PAUSE
