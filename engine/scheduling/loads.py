"""What each worker has in its hands: the task that it runs and those that were given to it ahead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..workers.worker import Worker
from .entry import Entry

OVERDUE_SECONDS = 0.1
"""A worker that holds more work and has not ended any for this long gives the rest back."""


@dataclass(slots=True)
class Load:
    """The tasks of one worker, in the order in which it runs them."""

    entries: dict[int, Entry] = field(default_factory=dict)
    moved_at: float = 0.0
    """When (monotonic) it last got its first task or ended one."""
    overdue: bool = False
    """Whether what waits there was asked back because the first takes longer than was expected."""

    @property
    def first(self) -> Entry:
        """The task that it runs, or is about to."""
        return next(iter(self.entries.values()))

    def __len__(self) -> int:
        return len(self.entries)


class Loads:
    """The loads of all workers that have any."""

    def __init__(self) -> None:
        # Mutable state, owned by the scheduler.
        self._loads: dict[Worker, Load] = {}

    def __contains__(self, worker: object) -> bool:
        return worker in self._loads

    def __getitem__(self, worker: Worker) -> Load:
        return self._loads[worker]

    def items(self) -> Iterator[tuple[Worker, Load]]:
        """Worker and load of each; the loads may change meanwhile."""
        return iter(list(self._loads.items()))

    @property
    def prefetched(self) -> bool:
        """Whether a worker has more than it runs."""
        return any(len(load) > 1 for load in self._loads.values())

    def add(self, worker: Worker, entry: Entry, now: float) -> None:
        """The worker gets this task after what it has."""
        self._loads.setdefault(worker, Load(moved_at=now)).entries[entry.key] = entry

    def remove(self, worker: Worker, entry: Entry) -> None:
        """The worker has this task no longer."""
        load = self._loads[worker]
        load.entries.pop(entry.key, None)
        if not load.entries:
            del self._loads[worker]

    def moved(self, worker: Worker, now: float) -> None:
        """The worker ended a task."""
        self._loads[worker].moved_at = now
        self._loads[worker].overdue = False

    def overdue(self, now: float) -> list[tuple[Worker, list[int]]]:
        """Workers whose first task takes too long, each with the keys behind it; told again only after another such time."""
        found: list[tuple[Worker, list[int]]] = []
        for worker, load in self._loads.items():
            if len(load) > 1 and now - load.moved_at > OVERDUE_SECONDS:
                load.overdue, load.moved_at = True, now
                found.append((worker, list(load.entries)[1:]))
        return found
