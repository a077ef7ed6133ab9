"""How long a task will probably run, from those of its kind that ran before; so far only good enough to size the prefetch.

An exponentially weighted mean per worker key that believes a longer run at once and a shorter one slowly, since taking a slow task
for a quick one is the expensive mistake.
"""

from __future__ import annotations

PREFETCH_SECONDS = 0.04
"""Work that a worker may hold beyond what it runs: long enough to hide a commit, short enough that order stays true."""


class DurationPredictor:
    """Mean seconds per worker key."""

    def __init__(self) -> None:
        # Mutable state, owned by the scheduler.
        self._mean: dict[str, float] = {}

    def observe(self, worker_key: str, duration: float) -> None:
        """An attempt took this many seconds."""
        mean = self._mean.get(worker_key)
        if mean is None or duration > mean:
            self._mean[worker_key] = duration
        else:
            self._mean[worker_key] = mean + 0.2 * (duration - mean)

    def expected(self, worker_key: str) -> float | None:
        """Seconds, or None when none of its kind has run."""
        return self._mean.get(worker_key)

    def depth(self, worker_key: str, most: int) -> int:
        """How many such tasks one worker may hold: 40 ms of work, at least 1, at most `most`; 1 when nothing is known."""
        mean = self._mean.get(worker_key)
        if mean is None:
            return 1
        return max(1, min(most, int(PREFETCH_SECONDS / max(mean, 1e-6))))
