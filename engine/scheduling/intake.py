"""How tasks come in: from a file or a command, and back from disk when an engine starts.

Running a file again: a task with the same id and content that already succeeded stays done; one that is still open stays where it is; one
that failed, was cancelled, was skipped, or has changed gets a new generation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import msgspec

from ..storage.task_store import Stored
from ..tasks import lifecycle
from ..tasks.model import Cause, State, Task
from .entry import Entry
from .scheduler import Scheduler

OnInterrupted = Literal["hold", "requeue", "fail"]


class Submission(msgspec.Struct, kw_only=True):
    """What became of submitted tasks; lists of ids, in file order."""

    accepted: list[str] = []
    """A row was committed, and the task will run (or waits to be released, where the file says that it is held)."""
    already_done: list[str] = []
    """It succeeded before with the same content."""
    not_needed: list[str] = []
    """The file says that it is done."""
    already_open: list[str] = []
    """The same content waits, is held, or runs already."""
    refused: dict[str, str] = {}
    """Id -> why: it runs now with other content."""


def submit(scheduler: Scheduler, tasks: Sequence[Task], *, rerun: bool = False) -> Submission:
    """Take these tasks in; with `rerun` those that succeeded run again. The graph must have been checked."""
    outcome = Submission()
    fresh: list[Entry] = []
    for task in tasks:
        entry = _take_in(scheduler, task, rerun, outcome)
        if entry is not None:
            fresh.append(entry)
    for entry in fresh:
        if entry.state is State.PENDING:
            scheduler.settle_in(entry)
    scheduler.ledger.tally.already_done += len(outcome.already_done)
    scheduler.ledger.tally.not_needed += len(outcome.not_needed)
    return outcome


def retry(scheduler: Scheduler, entries: Iterable[Entry]) -> list[str]:
    """A new generation of finished tasks, and of those that were skipped because of them; returns the ids."""
    wanted: dict[str, Entry] = {}
    for entry in entries:
        if entry.state in lifecycle.FINAL:
            wanted[entry.id] = entry
    wanted.update((entry.id, entry) for entry in _skipped_for(scheduler, set(wanted)))
    fresh = [_next_generation(scheduler, entry.task, entry) for entry in wanted.values()]
    for entry in fresh:
        scheduler.settle_in(entry)
    return [entry.id for entry in fresh]


def retryable(scheduler: Scheduler) -> list[Entry]:
    """Every task that failed, timed out or was cancelled, or was skipped because another did."""
    return [entry for entry in scheduler.ledger.by_id.values() if _went_wrong(entry)]


def restore(
    scheduler: Scheduler, stored: Sequence[Stored], begun: Callable[[Stored], bool], on_interrupted: OnInterrupted
) -> list[str]:
    """Take tasks back from disk; `begun` tells for a leased one whether its attempt had begun. Returns the ids interrupted."""
    pending: list[Entry] = []
    interrupted: list[str] = []
    for row in stored:
        entry = _entry_of(row)
        scheduler.ledger.adopt(entry, restored=True, extra=_history(row))
        if entry.state in (State.LEASED, State.RUNNING, State.CANCELLING):
            interrupted += _recover(scheduler, entry, begun(row), on_interrupted)
        elif row.state is State.BACKOFF:
            limit = scheduler.policy.retry
            left = min(max(0.0, (row.retry_at or 0.0) - scheduler.clock.time()), max(limit.agent_delay, 330.0))
            scheduler.sleep(entry, left)
        if entry.state in (State.PENDING, State.QUEUED):
            pending.append(entry)
    for entry in pending:
        scheduler.settle_in(entry)
    return interrupted


def _take_in(scheduler: Scheduler, task: Task, rerun: bool, outcome: Submission) -> Entry | None:
    known = scheduler.ledger.by_id.get(task.id)
    if known is None:
        return _add(scheduler, task, 1, outcome)
    same = known.digest == task.digest()
    if known.state in lifecycle.FINAL:
        if same and _stays(known, rerun):
            (outcome.already_done if known.state is State.SUCCEEDED else outcome.not_needed).append(task.id)
            return None
    elif same:
        outcome.already_open.append(task.id)
        return None
    elif known.worker is not None:
        outcome.refused[task.id] = "it runs now with other content; cancel it or wait for its end, then add it again"
        return None
    elif task.status == "done":
        scheduler.skip_done(known)
        outcome.not_needed.append(task.id)
        return None
    else:
        scheduler.supersede(known)
    return _add(scheduler, task, known.generation + 1, outcome)


def _stays(known: Entry, rerun: bool) -> bool:
    if known.state is State.SUCCEEDED:
        return not rerun
    return known.state is State.SKIPPED and known.cause == Cause.DONE_IN_FILE


def _add(scheduler: Scheduler, task: Task, generation: int, outcome: Submission) -> Entry:
    (outcome.not_needed if task.status == "done" else outcome.accepted).append(task.id)
    return _create(scheduler, task, generation, *_FIRST_STATES.get(task.status, _WAITS))


def _next_generation(scheduler: Scheduler, task: Task, known: Entry) -> Entry:
    return _create(scheduler, task, known.generation + 1, *_WAITS)


_WAITS = (State.PENDING, Cause.NONE)
_FIRST_STATES = {"done": (State.SKIPPED, Cause.DONE_IN_FILE), "held": (State.HELD, Cause.USER)}
"""Where a task begins whose file does not simply say that it is open."""


def _create(scheduler: Scheduler, task: Task, generation: int, state: State, cause: Cause) -> Entry:
    now = scheduler.clock.time()
    entry = Entry(
        key=scheduler.ledger.new_key(),
        task=task,
        digest=task.digest(),
        generation=generation,
        state=state,
        cause=cause,
        created_at=min(now, task.created_at) if task.created_at is not None else now,
        priority=task.priority,
        retries_left=scheduler.policy.retry.allowed(task),
    )
    scheduler.ledger.insert(entry)
    scheduler.ledger.adopt(entry, restored=False)
    return entry


def _entry_of(row: Stored) -> Entry:
    return Entry(
        key=row.key,
        task=row.task,
        digest=row.digest,
        generation=row.generation,
        state=row.state,
        cause=row.cause,
        created_at=row.created_at,
        priority=row.priority,
        manual=row.manual,
        attempt=row.attempt,
        retries_left=row.retries_left,
        crashes=row.crashes,
        lease=row.lease,
        error=row.error,
    )


def _history(row: Stored) -> dict[str, object]:
    return {
        "finished_at": row.finished_at,
        "retry_at": row.retry_at,
        "duration_s": row.duration,
        "error": row.error,
        "exit_code": row.exit_code,
        "cached": row.cached,
        "tokens": row.tokens,
        "value": row.value,
    }


def _recover(scheduler: Scheduler, entry: Entry, begun: bool, on_interrupted: OnInterrupted) -> list[str]:
    """Decide about a task that a worker had when the last engine died; returns its id if its attempt had begun."""
    if entry.state is State.CANCELLING:
        scheduler.complete_cancel(entry)
    elif not begun:
        scheduler.ledger.take_back(entry, "the engine died before it began")
    elif entry.task.idempotent or (on_interrupted == "requeue" and entry.task.restart != "never"):
        scheduler.ledger.requeue(entry, Cause.INTERRUPTED, "it was running when the engine died")
        return [entry.id]
    elif on_interrupted == "fail":
        scheduler.fail_interrupted(entry)
        return [entry.id]
    else:
        scheduler.ledger.hold(entry, Cause.INTERRUPTED)
        return [entry.id]
    return []


def _went_wrong(entry: Entry) -> bool:
    if entry.state is State.SKIPPED:
        return entry.cause == Cause.DEPENDENCY_FAILED
    return entry.state in (State.FAILED, State.TIMED_OUT, State.CANCELLED)


def _skipped_for(scheduler: Scheduler, ids: set[str]) -> list[Entry]:
    """The tasks that were skipped because one of `ids`, or one skipped for those, did not succeed; nearest first."""
    skipped = [
        entry
        for entry in scheduler.ledger.by_id.values()
        if entry.state is State.SKIPPED and entry.cause == Cause.DEPENDENCY_FAILED and entry.id not in ids
    ]
    by_dependency: dict[str, list[Entry]] = {}
    for entry in skipped:
        for dependency in entry.task.dependencies:
            by_dependency.setdefault(dependency, []).append(entry)
    found: dict[str, Entry] = {}
    frontier = list(ids)
    while frontier:
        for entry in by_dependency.get(frontier.pop(), ()):
            if entry.id not in found:
                found[entry.id] = entry
                frontier.append(entry.id)
    return list(found.values())
