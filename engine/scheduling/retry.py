"""Whether an attempt that failed is followed by another, and when: a decision, never a loop.

The delay before retry n is ``first * 2^(n-1)``, at most five minutes, times a factor between 0.9 and 1.1 that depends only on the
task and the attempt, so that a run can be repeated and tasks that failed together do not come back together.
"""

from __future__ import annotations

import random

import msgspec

from ..tasks.model import AGENT_RETRIES, AttemptResult, Task

MAX_DELAY = 300.0
"""Seconds."""
COMMAND_DELAY = 1.0
"""Seconds before the first retry of a shell or Python task; agents have a setting."""


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait before a retry."""

    agent_delay: float = 10.0
    """Seconds before the first retry of an agent's task."""
    command_delay: float = COMMAND_DELAY
    agent_retries: int = AGENT_RETRIES
    """Retries of an agent's task that names no limit of its own."""

    def allowed(self, task: Task) -> int:
        """How many attempts may follow a first one that failed."""
        return task.retries_allowed(self.agent_retries)

    def delay(self, task: Task, result: AttemptResult, retries_left: int) -> float | None:
        """Seconds to wait before the next attempt, or None when there is to be none."""
        if retries_left <= 0 or not result.retryable or result.outcome not in ("failed", "timed_out"):
            return None
        first = self.agent_delay if task.is_agent else self.command_delay
        retry = self.allowed(task) - retries_left + 1
        exponential: float = first * 2.0 ** min(retry - 1, 30)
        jitter = random.Random(f"{task.id}:{result.attempt}").uniform(0.9, 1.1)
        return min(MAX_DELAY, exponential) * jitter
