"""The scored queue: the best task first, first come first served among equals, O(log n) a step.

Tasks wait in *lanes*. A category that has a limit or was paused has a lane of its own, so that skipping it costs nothing however
many of its tasks wait; all other tasks share one. Heaps hold stale entries of tasks that were moved or removed; `_live` says which
entry of a task counts, and stale ones are dropped when they come to the top.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable

_SHARED = ""
_Entry = tuple[float, int]
"""(negated rank, key): the smallest is the best; keys grow with time, so equal ranks are first come, first served."""


class TaskQueue:
    """Ready tasks by rank. A rank is any number; higher runs first."""

    def __init__(self, own_lanes: Iterable[str] = ()) -> None:
        # Mutable state, owned by the scheduler: the lanes, and the entry of each waiting task that counts.
        self._lanes: dict[str, list[_Entry]] = {_SHARED: [], **{name: [] for name in own_lanes}}
        self._live: dict[int, tuple[_Entry, str]] = {}

    def __len__(self) -> int:
        return len(self._live)

    def __contains__(self, key: int) -> bool:
        return key in self._live

    def __repr__(self) -> str:
        return f"<TaskQueue {len(self._live)} waiting, {len(self._lanes)} lanes>"

    def put(self, key: int, rank: float, category: str = "") -> None:
        """Add a task, or move one that waits already to another rank."""
        entry = (-rank, key)
        self._live[key] = (entry, category)
        lane = self._lane(category)
        heapq.heappush(lane, entry)
        if len(lane) > 64 and len(lane) > 4 * len(self._live):
            self._compact()

    def remove(self, key: int) -> bool:
        """Take a task out; False when it was not there."""
        return self._live.pop(key, None) is not None

    def rank(self, key: int) -> float:
        """The rank of a waiting task; KeyError when it does not wait."""
        return -self._live[key][0][0]

    def peek(self, blocked: Collection[str] = ()) -> int | None:
        """The key of the best task whose category is not in `blocked`; None when there is none."""
        best: _Entry | None = None
        for name, lane in self._lanes.items():
            if name in blocked and name != _SHARED:
                continue
            head = self._head(lane)
            if head is not None and (best is None or head < best):
                best = head
        return None if best is None else best[1]

    def get_next_task(self, blocked: Collection[str] = ()) -> int | None:
        """Take out and return the key of the best task whose category is not in `blocked`; None when there is none.

        Only categories with a lane of their own can be blocked (see `give_lane`).
        """
        key = self.peek(blocked)
        if key is not None:
            del self._live[key]
        return key

    def give_lane(self, category: str) -> None:
        """Let `category` be blocked from now on. O(n) the first time."""
        if category and category not in self._lanes:
            self._lanes[category] = []
            self._compact()

    def ordered(self) -> list[int]:
        """All waiting keys, best first. O(n log n)."""
        return [key for _, key in sorted(entry for entry, _ in self._live.values())]

    def place(self, key: int) -> int:
        """How many tasks stand before this one. O(n); KeyError when it does not wait."""
        own = self._live[key][0]
        return sum(1 for entry, _ in self._live.values() if entry < own)

    def _lane(self, category: str) -> list[_Entry]:
        return self._lanes[category if category in self._lanes else _SHARED]

    def _head(self, lane: list[_Entry]) -> _Entry | None:
        while lane:
            live = self._live.get(lane[0][1])
            if live is not None and live[0] == lane[0]:
                return lane[0]
            heapq.heappop(lane)
        return None

    def _compact(self) -> None:
        """Rebuild the lanes without stale entries."""
        for lane in self._lanes.values():
            lane.clear()
        for entry, category in self._live.values():
            self._lane(category).append(entry)
        for lane in self._lanes.values():
            heapq.heapify(lane)
