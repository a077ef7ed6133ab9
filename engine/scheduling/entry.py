"""A task in the memory of the scheduler, and the work order that a worker gets for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..tasks.model import Cause, State, Task
from ..workers.protocol import Work
from .scoring import Scored

if TYPE_CHECKING:
    from ..caching.keys import CacheKey
    from ..workers.worker import Worker


@dataclass(slots=True, eq=False)
class Entry:
    """The newest generation of one task. Mutable state, owned by the scheduler; nobody else changes it."""

    key: int
    task: Task
    digest: str
    generation: int
    state: State
    created_at: float
    """Seconds since the epoch; never in the future."""
    priority: float
    cause: str = ""
    manual: float = 0.0
    attempt: int = 0
    retries_left: int = 0
    crashes: int = 0
    lease: int = 0
    worker: Worker | None = None
    ready_at: float | None = None
    """When it last became ready (seconds since the epoch)."""
    wake_at: float | None = None
    """When a back-off or ``not_before`` ends (monotonic seconds)."""
    announced: bool = False
    """Whether the start of the present attempt has been published."""
    cache_asked: bool = False
    """Whether the cache was asked and did not know the answer."""
    cache_key: CacheKey | None = None
    """Under which the result may be kept; None where the cache could not be asked."""
    asking_cache: bool = False
    joined_to: str = ""
    """Id of the identical task whose result it waits for; it is queued meanwhile."""
    cancel_cause: Cause = Cause.USER
    error: str = ""

    @property
    def id(self) -> str:
        """The id that the user gave."""
        return self.task.id

    def log_name(self, attempt: int) -> str:
        """Name below ``logs/`` of the file that an attempt writes once its output is too large to store inline."""
        return f"{self.key}-{attempt}.log"

    @property
    def scored(self) -> Scored:
        """What its score is made from."""
        return Scored(
            priority=self.priority,
            created_at=self.created_at,
            retries_left=self.retries_left,
            has_timeout=self.task.timeout_seconds is not None,
            dependencies=len(self.task.dependencies),
            manual=self.manual,
        )


def work_order(entry: Entry, *, lease: int, agent_timeout: float) -> Work:
    """What a worker needs to run the next attempt; `agent_timeout` (seconds) is for agents without a time-out of their own."""
    task = entry.task
    timeout = task.timeout_seconds
    if timeout is None and task.is_agent:
        timeout = agent_timeout
    return Work(
        key=entry.key,
        attempt=entry.attempt + 1,
        lease=lease,
        task_id=task.id,
        kind=task.kind,
        command=task.command,
        shell=task.shell,
        callable=task.callable,
        args=task.args,
        kwargs=task.kwargs,
        stdin=task.stdin,
        cwd=task.cwd,
        source_dir=task.source_dir,
        set_env=task.set_env,
        clean_env=task.clean_env,
        keep_env=task.env,
        timeout=timeout,
        stall=task.stall_seconds,
        verify=task.verify,
        prompt=(task.description or task.title) if task.is_agent else "",
        model=task.model,
        options=task.agent_options,
        log=entry.log_name(entry.attempt + 1),
        idempotency_key=f"{task.id}:{entry.generation}:{entry.digest[:16]}",
    )
