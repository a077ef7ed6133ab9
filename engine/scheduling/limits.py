"""How many tasks of a category may have a worker at once, and which categories are paused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping


class CategoryLimits:
    """Counts leases per category. `blocked` is what the queue must skip now."""

    def __init__(self, limits: Mapping[str, int]) -> None:
        # Mutable state, owned by the scheduler.
        self.limits = dict(limits)
        """Category -> most tasks at once; a category that is not in it has no limit."""
        self.paused: set[str] = set()
        self.blocked: set[str] = set()
        self._active: Counter[str] = Counter()

    def active(self, category: str) -> int:
        """How many tasks of this category have a worker."""
        return self._active[category]

    def take(self, category: str) -> None:
        """A task of this category gets a worker."""
        self._active[category] += 1
        self._judge(category)

    def give_back(self, category: str) -> None:
        """A task of this category no longer has a worker."""
        self._active[category] -= 1
        self._judge(category)

    def pause(self, category: str) -> None:
        """Let nothing more of this category start."""
        self.paused.add(category)
        self._judge(category)

    def resume(self, category: str) -> None:
        """The opposite of `pause`."""
        self.paused.discard(category)
        self._judge(category)

    def reason(self, category: str) -> str:
        """Why nothing of this category starts now; empty when it may."""
        if category in self.paused:
            return f"category {category!r} is paused"
        limit = self.limits.get(category)
        if limit is not None and self._active[category] >= limit:
            return f"category {category!r} is at its limit of {limit}"
        return ""

    def _judge(self, category: str) -> None:
        if category in self.limits or category in self.paused or category in self.blocked:
            (self.blocked.add if self.reason(category) else self.blocked.discard)(category)
