"""Every event of the engine: frozen, past tense, plain data.

An event is published only after what it says is true and durable. `seq` grows by one with each event of a run; `time` is seconds
since the epoch. The tag of each struct is its name in ``--json`` lines.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..tasks.model import OutputSummary, Task, Tokens


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="event", tag=True):
    """What all events have."""

    seq: int = 0
    """Set by the bus when it publishes."""
    time: float = 0.0


class TaskEvent(Event, frozen=True, kw_only=True):
    """An event about one task."""

    task_id: str
    key: int
    """Row key: one task id has a row for each generation."""


class TaskAdded(TaskEvent, frozen=True, kw_only=True, tag="task_added"):
    """A task was accepted and committed, or read back from the state folder when the engine started."""

    task: Task
    generation: int
    state: str
    cause: str = ""
    attempt: int = 0
    score_base: float = 0.0
    """Score at the epoch: the score at time t is ``score_base + age_rate * t`` (see `engine.scheduling.scoring`)."""
    created_at: float = 0.0
    finished_at: float | None = None
    duration_s: float | None = None
    error: str = ""
    exit_code: int | None = None
    cached: bool = False
    restored: bool = False
    """Whether it was read back from the state folder."""
    waits_for: tuple[str, ...] = ()
    summary: OutputSummary | None = None
    tokens: Tokens | None = None
    value: Any = None
    manual: float = 0.0
    """Manual term of the score, of a task that was read back."""
    retries_left: int | None = None
    """None: as many as the task allows."""
    retry_at: float | None = None
    """When the back-off of a task that was read back ends."""


class TaskQueued(TaskEvent, frozen=True, kw_only=True, tag="task_queued"):
    """The task became ready: added without open dependencies, its dependencies ended, its back-off is over, or it was released."""

    score: float
    reason: str = ""
    score_base: float | None = None
    """As in `TaskAdded`, where it changed: a retry was used up."""


class TaskLeased(TaskEvent, frozen=True, kw_only=True, tag="task_leased"):
    """A worker was chosen and the attempt is on disk."""

    worker: str
    """Slot name such as ``w3``."""
    attempt: int


class TaskStarted(TaskEvent, frozen=True, kw_only=True, tag="task_started"):
    """The worker began."""

    worker: str
    attempt: int


class TaskRecalled(TaskEvent, frozen=True, kw_only=True, tag="task_recalled"):
    """A lease was taken back before the worker began; the task is queued again."""

    reason: str = ""


class OutputSummarised(TaskEvent, frozen=True, kw_only=True, tag="output_summary"):
    """The task printed; at most ten a second for each task."""

    worker: str
    attempt: int
    summary: OutputSummary


class TaskRetryScheduled(TaskEvent, frozen=True, kw_only=True, tag="task_retry_scheduled"):
    """An attempt failed and another will follow."""

    attempt: int
    delay_s: float
    retries_left: int
    error: str = ""
    duration_s: float = 0.0
    cause: str = ""
    outcome: str = ""
    """How the attempt ended: ``failed`` or ``timed_out``; empty when nobody said."""
    tokens: Tokens | None = None
    """What the attempt spent."""


class TaskRequeued(TaskEvent, frozen=True, kw_only=True, tag="task_requeued"):
    """The worker was lost and the task goes back to the queue."""

    attempt: int
    crashes: int
    error: str = ""


class TaskHeld(TaskEvent, frozen=True, kw_only=True, tag="task_held"):
    """The task will not run until it is released."""

    cause: str


class TaskReleased(TaskEvent, frozen=True, kw_only=True, tag="task_released"):
    """A held task may run again."""

    state: str
    """`pending` or `queued`."""


class TaskCancelRequested(TaskEvent, frozen=True, kw_only=True, tag="task_cancelling"):
    """A running task was told to stop."""


class TaskReprioritised(TaskEvent, frozen=True, kw_only=True, tag="task_reprioritised"):
    """The user changed the order."""

    priority: float
    manual: float
    score_base: float
    score: float


class TaskFinished(TaskEvent, frozen=True, kw_only=True, tag="task_finished"):
    """The task reached its final state."""

    state: str
    cause: str = ""
    attempt: int = 0
    worker: str = ""
    cached: bool = False
    exit_code: int | None = None
    duration_s: float = 0.0
    """Run time of the last attempt; 0 for a task that did not run."""
    wait_s: float = 0.0
    """Seconds between becoming ready and the start of the last attempt."""
    lines: int = 0
    tokens: Tokens | None = None
    cost_usd: float | None = None
    error: str = ""
    summary: OutputSummary | None = None
    value: Any = None
    warm: bool = False
    """Whether the worker had already run a task."""


class LateResultIgnored(TaskEvent, frozen=True, kw_only=True, tag="late_result"):
    """A result came for an attempt that had already been settled."""

    attempt: int


class CacheLookedUp(TaskEvent, frozen=True, kw_only=True, tag="cache_looked_up"):
    """A task that declares caching was about to run."""

    hit: bool


class WorkerStarted(Event, frozen=True, kw_only=True, tag="worker_started"):
    """A worker process said hello."""

    worker: str
    pid: int
    reason: str = ""


class WorkerStopped(Event, frozen=True, kw_only=True, tag="worker_stopped"):
    """A worker process ended."""

    worker: str
    pid: int
    planned: bool
    """False for a crash."""
    reason: str = ""
    tasks_run: int = 0
    lifetime_s: float = 0.0


class WorkerBroken(Event, frozen=True, kw_only=True, tag="worker_broken"):
    """A slot gave up for a while: its worker died too often right after its start."""

    worker: str
    reason: str
    retry_in_s: float


class QueuePaused(Event, frozen=True, kw_only=True, tag="queue_paused"):
    """No new task starts, or none of one category."""

    reason: str = ""
    category: str = ""
    """Empty: all tasks."""


class QueueResumed(Event, frozen=True, kw_only=True, tag="queue_resumed"):
    """Tasks start again."""

    category: str = ""
    """Empty: the pause of all tasks ends; pauses of categories stay."""


class PoolResized(Event, frozen=True, kw_only=True, tag="pool_resized"):
    """The number of workers changed."""

    size: int
    reason: str = ""


class StorageTroubled(Event, frozen=True, kw_only=True, tag="storage_troubled"):
    """The state folder cannot be written; results wait in memory and nothing new starts."""

    error: str


class FindingsChanged(Event, frozen=True, kw_only=True, tag="findings_changed"):
    """The monitor names other bottlenecks than before."""

    findings: tuple[dict[str, Any], ...]
    """As in the report's ``bottlenecks``."""


class RunStarted(Event, frozen=True, kw_only=True, tag="run_started"):
    """An engine is up and works on this folder."""

    run_id: str
    pid: int
    workers: int


class RunFinished(Event, frozen=True, kw_only=True, tag="run_finished"):
    """Nothing is left to run, or the engine was told to stop."""

    succeeded: int = 0
    """With `cached`."""
    failed: int = 0
    timed_out: int = 0
    cancelled: int = 0
    skipped: int = 0
    """Because a dependency failed."""
    not_needed: int = 0
    """Done in the file, or ``run_if`` unmet."""
    held: int = 0
    already_done: int = 0
    cached: int = 0
    duration_s: float = 0.0
    """From the first dispatch to the last settlement."""


class ViewChanged(Event, frozen=True, kw_only=True, tag="view_changed"):
    """The projection behind a session changed; at most ten a second, only for viewers. Says where to look, not what is there."""

    keys: tuple[int, ...] = ()
    """Rows that changed, at most 2,000; more are told by `everything`."""
    parts: tuple[str, ...] = ()
    """Which of ``rows counts workers metrics findings run connection`` changed."""
    everything: bool = False


AnyEvent = (
    TaskAdded
    | TaskQueued
    | TaskLeased
    | TaskStarted
    | TaskRecalled
    | OutputSummarised
    | TaskRetryScheduled
    | TaskRequeued
    | TaskHeld
    | TaskReleased
    | TaskCancelRequested
    | TaskReprioritised
    | TaskFinished
    | LateResultIgnored
    | CacheLookedUp
    | WorkerStarted
    | WorkerStopped
    | WorkerBroken
    | QueuePaused
    | QueueResumed
    | PoolResized
    | StorageTroubled
    | FindingsChanged
    | RunStarted
    | RunFinished
)
"""Everything that the engine publishes (`ViewChanged` is local to a session)."""
