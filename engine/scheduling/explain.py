"""Why a task has its place: each term of its score, what it waits for, and what stands before it."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from ..tasks import lifecycle
from ..tasks.model import Cause, State, Task
from .dependencies import Dependencies, Outcome, Verdict
from .entry import Entry
from .retry import RetryPolicy
from .scheduler import Scheduler
from .scoring import Scored, Terms


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides when a task starts."""

    id: str
    title: str
    state: str
    cause: str
    score: float
    terms: Terms
    place: int | None
    """How many queued tasks stand before it; None when it is not queued."""
    waits_for: tuple[str, ...]
    reason: str
    """One line: why it is not running, or what became of it."""
    attempt: int
    retries_left: int
    crashes: int
    error: str = ""


def explain(scheduler: Scheduler, entry: Entry) -> Explanation:
    """The explanation of one task at this moment."""
    terms = entry.scored.terms(scheduler.clock.time())
    place = scheduler.queue.place(entry.key) if entry.key in scheduler.queue else None
    return Explanation(
        id=entry.id,
        title=entry.task.title,
        state=entry.state,
        cause=entry.cause,
        score=round(terms.total, 4),
        terms=terms,
        place=place,
        waits_for=scheduler.dependencies.waits_for(entry.key),
        reason=reason(scheduler, entry, place),
        attempt=entry.attempt,
        retries_left=entry.retries_left,
        crashes=entry.crashes,
        error=entry.error,
    )


def reason(scheduler: Scheduler, entry: Entry, place: int | None = None) -> str:
    """Why a task is where it is, in one line."""
    if entry.state is State.QUEUED:
        return _why_queued(scheduler, entry, place)
    if entry.state in (State.PENDING, State.BACKOFF):
        return _why_waiting(scheduler, entry)
    if entry.state is State.HELD:
        return _WHY_HELD.get(entry.cause, "it is held; release it to let it run")
    if entry.worker is not None:
        return f"{entry.worker.name} has it, attempt {entry.attempt}"
    return _WHY_ENDED.get(entry.cause) or (
        f"it ended: {entry.error}" if entry.error else f"it ended: {entry.state.value}"
    )


_WHY_HELD: dict[str, str] = {
    Cause.INTERRUPTED: "it was running when the engine died; look at what it did, then release or cancel it",
    Cause.USER: "you hold it; release it to let it run",
}
_WHY_ENDED: dict[str, str] = {
    Cause.DONE_IN_FILE: "the task file says that it is done",
    Cause.RUN_IF_UNMET: "its 'run_if' was not met by how its dependencies ended",
    Cause.DEPENDENCY_FAILED: "a dependency did not succeed; retry that one and this follows",
}


def _why_queued(scheduler: Scheduler, entry: Entry, place: int | None) -> str:
    if scheduler.trouble:
        return f"nothing starts: {scheduler.trouble}"
    if scheduler.draining:
        return "the engine is ending and starts nothing new"
    if scheduler.paused:
        return "the queue is paused"
    if entry.joined_to:
        return f"an identical task, {entry.joined_to}, is under way; its result will be used"
    if entry.asking_cache:
        return "the cache is being asked"
    blocked = scheduler.limits.reason(entry.task.category)
    if blocked:
        return blocked
    return f"it waits for a free worker; {place or 0} before it" if place else "it is next; it waits for a free worker"


def _why_waiting(scheduler: Scheduler, entry: Entry) -> str:
    waits_for = scheduler.dependencies.waits_for(entry.key)
    if waits_for:
        more = f" and {len(waits_for) - 5} more" if len(waits_for) > 5 else ""
        return f"it waits for {', '.join(waits_for[:5])}{more}"
    left = (entry.wake_at or 0.0) - scheduler.clock.monotonic()
    what = "its next attempt starts" if entry.state is State.BACKOFF else "it may start"
    return f"{what} in {max(0.0, left):.0f} s"


def why_idle(scheduler: Scheduler) -> str:
    """Why a free worker has nothing to do, in one line."""
    if scheduler.trouble:
        return f"nothing starts: {scheduler.trouble}"
    if scheduler.draining:
        return "the engine is ending"
    if scheduler.paused:
        return "the queue is paused; p resumes it"
    if len(scheduler.queue):
        blocked = [reason for name in sorted(scheduler.limits.blocked) if (reason := scheduler.limits.reason(name))]
        return blocked[0] if blocked else "the next task is on its way"
    counts = Counter(entry.state for entry in scheduler.ledger.by_id.values() if entry.state in lifecycle.WAITING)
    if counts[State.PENDING]:
        return _waits_on(scheduler, counts[State.PENDING])
    if counts[State.BACKOFF]:
        return f"{_tasks(counts[State.BACKOFF])} in back-off"
    return f"{_tasks(counts[State.HELD])} held; release to run" if counts[State.HELD] else "nothing is left to run"


def _waits_on(scheduler: Scheduler, pending: int) -> str:
    """Which task most of the pending ones wait for."""
    task_id, waiting = scheduler.dependencies.most_awaited()
    if not waiting:
        return f"{_tasks(pending)} may not start yet"
    return f"{_tasks(waiting)} wait{'s' if waiting == 1 else ''} on {task_id}"


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count:,} tasks"


_DEFAULT_RETRIES = RetryPolicy()


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``--dry-run``."""

    id: str
    title: str
    score: float
    terms: Terms
    waits_for: tuple[str, ...]
    reason: str


def plan(
    tasks: Sequence[Task],
    now: float,
    done: Iterable[str] = (),
    *,
    fifo: bool = False,
    retry: RetryPolicy = _DEFAULT_RETRIES,
) -> list[Planned]:
    """The order in which tasks would start on one worker if each succeeded; `done` are ids that succeeded before.

    Tasks that would not run (``run_if: failure``, held or done in the file, succeeded before) come last, with the reason, after those
    that wait for a held one.
    """
    ended: dict[str, Outcome] = dict.fromkeys(done, Outcome.GOOD)
    waiting = Dependencies()
    ready: list[tuple[float, int]] = []
    lines: list[Planned] = []
    left_out: list[Planned] = []
    declared = [_scored(task, now, retry) for task in tasks]
    ended |= {task.id: Outcome.GOOD for task in tasks if task.status == "done"}
    before = frozenset(ended)

    def judge(index: int, verdict: Verdict) -> None:
        if verdict is Verdict.READY:
            heapq.heappush(ready, (0.0 if fifo else -declared[index].base(), index))
        elif verdict is Verdict.SKIP_NOT_NEEDED:
            left_out.append(line(index, "would not run: its 'run_if' is not met when its dependencies succeed"))
            skipped.append(tasks[index].id)

    def line(index: int, reason: str = "") -> Planned:
        task, scored = tasks[index], declared[index]
        open_ids = tuple(dependency for dependency in task.dependencies if dependency not in before)
        terms = scored.terms(now)
        return Planned(
            id=task.id, title=task.title, score=round(terms.total, 4), terms=terms, waits_for=open_ids,
            reason=reason or _plan_reason(open_ids),
        )  # fmt: skip

    skipped: list[str] = []
    for index, task in enumerate(tasks):
        if task.id in ended:
            why = "done in the file" if task.status == "done" else "already done"
            left_out.append(line(index, f"would not run: {why}"))
        elif task.status == "held":
            left_out.append(line(index, "would not run: held in the file until it is released"))
        else:
            judge(index, waiting.add(index, task.dependencies, task.run_if, ended.get))
    while ready or skipped:
        if skipped:
            over, outcome = skipped.pop(), Outcome.NOT_NEEDED
        else:
            index = heapq.heappop(ready)[1]
            over, outcome = tasks[index].id, Outcome.GOOD
            lines.append(line(index))
        ended[over] = outcome
        for key, verdict in waiting.ended(over, outcome):
            judge(key, verdict)
    listed = {planned.id for planned in lines + left_out}
    behind = [line(index) for index, task in enumerate(tasks) if task.id not in listed]
    return lines + behind + left_out


def _scored(task: Task, now: float, retry: RetryPolicy) -> Scored:
    return Scored(
        priority=task.priority,
        created_at=min(now, task.created_at) if task.created_at is not None else now,
        retries_left=retry.allowed(task),
        has_timeout=task.timeout_seconds is not None,
        dependencies=len(task.dependencies),
    )


def _plan_reason(waits_for: Sequence[str]) -> str:
    if not waits_for:
        return "ready now"
    more = f" and {len(waits_for) - 5} more" if len(waits_for) > 5 else ""
    return f"waits for {', '.join(waits_for[:5])}{more}"
