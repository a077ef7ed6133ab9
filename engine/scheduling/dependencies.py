"""What waits for what: a task becomes ready, or is skipped, when the tasks that it depends on have ended.

``run_if: success`` (the default) wants every dependency to have succeeded and gives up with the first that did not;
``failure`` wants at least one that failed; ``always`` only wants them all to have ended.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import Enum

from ..tasks.model import Cause, RunIf, State


class Outcome(Enum):
    """What the end of a task means to those that depend on it."""

    GOOD = "good"
    BAD = "bad"
    NOT_NEEDED = "not_needed"
    """It did not have to run, because its own ``run_if`` was not met."""


class Verdict(Enum):
    """What the end of its dependencies means for a task."""

    WAIT = "wait"
    READY = "ready"
    SKIP_FAILED = "skip_failed"
    SKIP_NOT_NEEDED = "skip_not_needed"


def outcome_of(state: State, cause: str) -> Outcome | None:
    """The outcome that a task in this state has for its dependants; None while it has not ended."""
    if state is State.SUCCEEDED:
        return Outcome.GOOD
    if state is State.SKIPPED:
        by_cause = {Cause.DONE_IN_FILE: Outcome.GOOD, Cause.RUN_IF_UNMET: Outcome.NOT_NEEDED}
        return by_cause.get(Cause(cause), Outcome.BAD)
    if state in (State.FAILED, State.TIMED_OUT, State.CANCELLED):
        return Outcome.BAD
    return None


class _Waiting:
    """One task that waits: which ids are open, and what the ended ones were."""

    __slots__ = ("bad", "not_needed", "open", "run_if")

    def __init__(self, run_if: RunIf) -> None:
        self.run_if = run_if
        self.open: set[str] = set()
        self.bad = False
        self.not_needed = False

    def count(self, outcome: Outcome) -> None:
        self.bad = self.bad or outcome is Outcome.BAD
        self.not_needed = self.not_needed or outcome is Outcome.NOT_NEEDED

    def verdict(self) -> Verdict:
        if self.run_if == "success" and self.bad:
            return Verdict.SKIP_FAILED
        if self.open:
            return Verdict.WAIT
        if self.run_if == "failure":
            return Verdict.READY if self.bad else Verdict.SKIP_NOT_NEEDED
        if self.run_if == "success" and self.not_needed:
            return Verdict.SKIP_NOT_NEEDED
        return Verdict.READY


class Dependencies:
    """Who waits for whom. Each step costs the number of direct dependants; nothing is recursive."""

    def __init__(self) -> None:
        # Mutable state, owned by the scheduler: the waiting tasks, and for each id the keys that wait for it.
        self._waiting: dict[int, _Waiting] = {}
        self._dependants: dict[str, dict[int, None]] = {}

    def add(
        self, key: int, dependencies: Collection[str], run_if: RunIf, outcome: Callable[[str], Outcome | None]
    ) -> Verdict:
        """Register a task; `outcome` tells how a dependency ended, or None while it has not."""
        if not dependencies:
            return Verdict.SKIP_NOT_NEEDED if run_if == "failure" else Verdict.READY
        waiting = _Waiting(run_if)
        for dependency in dependencies:
            ended = outcome(dependency)
            if ended is None:
                waiting.open.add(dependency)
            else:
                waiting.count(ended)
        verdict = waiting.verdict()
        if verdict is Verdict.WAIT:
            self._waiting[key] = waiting
            for dependency in waiting.open:
                self._dependants.setdefault(dependency, {})[key] = None
        return verdict

    def forget(self, key: int) -> None:
        """The task no longer waits: it was cancelled or skipped another way."""
        waiting = self._waiting.pop(key, None)
        if waiting is not None:
            for dependency in waiting.open:
                self._dependants.get(dependency, {}).pop(key, None)

    def ended(self, task_id: str, outcome: Outcome) -> list[tuple[int, Verdict]]:
        """The tasks that need not wait any longer because `task_id` ended, in the order in which they were added."""
        decided: list[tuple[int, Verdict]] = []
        for key in self._dependants.pop(task_id, {}):
            waiting = self._waiting[key]
            waiting.open.discard(task_id)
            waiting.count(outcome)
            verdict = waiting.verdict()
            if verdict is not Verdict.WAIT:
                self.forget(key)
                decided.append((key, verdict))
        return decided

    def waits_for(self, key: int) -> tuple[str, ...]:
        """Ids of the open dependencies of a task, sorted; empty when it does not wait."""
        waiting = self._waiting.get(key)
        return tuple(sorted(waiting.open)) if waiting else ()

    def most_awaited(self) -> tuple[str, int]:
        """The id that most tasks wait for directly, and how many; ("", 0) when none waits."""
        counted = ((len(keys), task_id) for task_id, keys in self._dependants.items())
        number, task_id = max(counted, default=(0, ""))
        return task_id, number

    def dependants(self, task_id: str) -> tuple[int, ...]:
        """Keys of the tasks that wait for this one."""
        return tuple(self._dependants.get(task_id, ()))
