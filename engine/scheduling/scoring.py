"""The score of a task, term by term.

``priority (100-400) + 10 per hour of age + 5 per retry left + 20 if it has its own time-out - 3 per declared dependency``, and a manual
term that holds what the user moved by hand. Age grows alike for all tasks, so the order of two tasks never changes by itself:
`score_base`, the score at the epoch, is a static key for a heap, and `score_at` turns it into the score that people see.
"""

from __future__ import annotations

import msgspec

AGE_PER_HOUR = 10.0
PER_RETRY_LEFT = 5.0
HAS_TIMEOUT = 20.0
PER_DEPENDENCY = -3.0
_AGE_PER_SECOND = AGE_PER_HOUR / 3600.0


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What each part adds to a score; `total` is the score."""

    priority: float
    age: float
    retries: float
    timeout: float
    dependencies: float
    manual: float

    @property
    def total(self) -> float:
        """The sum of all terms."""
        return self.priority + self.age + self.retries + self.timeout + self.dependencies + self.manual


class Scored(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the score is made from."""

    priority: float
    created_at: float
    """Seconds since the epoch."""
    retries_left: int = 0
    has_timeout: bool = False
    dependencies: int = 0
    """How many the task declares, whether they have ended or not."""
    manual: float = 0.0

    def terms(self, now: float) -> Terms:
        """Each term at the time `now`; age is never negative."""
        return Terms(
            priority=self.priority,
            age=max(0.0, now - self.created_at) * _AGE_PER_SECOND,
            retries=PER_RETRY_LEFT * self.retries_left,
            timeout=HAS_TIMEOUT if self.has_timeout else 0.0,
            dependencies=PER_DEPENDENCY * self.dependencies,
            manual=self.manual,
        )

    def base(self) -> float:
        """The score at the epoch."""
        return (
            self.priority
            - self.created_at * _AGE_PER_SECOND
            + PER_RETRY_LEFT * self.retries_left
            + (HAS_TIMEOUT if self.has_timeout else 0.0)
            + PER_DEPENDENCY * self.dependencies
            + self.manual
        )


def score_at(base: float, now: float) -> float:
    """The score at the time `now` (seconds since the epoch) of a task whose score at the epoch is `base`."""
    return base + now * _AGE_PER_SECOND
