"""What the pool promises to tell, and how it can be set up."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec

from ..tasks.model import AttemptResult, OutputSummary
from .launch import PACKAGE
from .protocol import Work
from .spawner import SpawnMode
from .worker import Worker

PAGE_SUFFIX = ".page"


def progress_file(progress: Path, host_id: str) -> Path:
    """The progress page of a host, by its id, in the folder of them."""
    return progress / f"{host_id}{PAGE_SUFFIX}"


class PoolListener(Protocol):
    """Who is told what workers do; called on the loop's thread, must not block."""

    def worker_ready(self) -> None:
        """A worker can take work, or a slot can take a worker: look at the queue."""

    def work_started(self, worker: Worker, key: int, attempt: int, at: float) -> None:
        """An attempt runs since `at` (seconds since the epoch); left out where its result comes at once."""

    def work_printed(self, worker: Worker, key: int, attempt: int, summary: OutputSummary) -> None:
        """An attempt printed something."""

    def work_finished(self, worker: Worker, results: tuple[AttemptResult, ...]) -> None:
        """Attempts ended."""

    def work_recalled(self, worker: Worker, keys: tuple[int, ...]) -> None:
        """These had not begun and never will: the answer to a recall, or given to a worker that could not take them any more."""

    def worker_lost(
        self, worker: Worker, begun: tuple[Work, ...], unbegun: tuple[Work, ...], reason: str, planned: bool
    ) -> None:
        """A worker is gone, also one that had nothing to do.

        At most one of `begun` ran just then; earlier ones lost their results.
        """


class PoolOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the pool behaves."""

    reuse: bool = True
    """False: every task gets a process of its own."""
    idle_seconds: float = 600.0
    """An idle process leaves after this; 0 keeps it for ever."""
    recycle_after_tasks: int = 10_000
    """A process leaves after so many tasks; 0 keeps it for ever."""
    recycle_after_seconds: float = 3600.0
    """A process leaves, with what it has to do done, at this age; 0 keeps it for ever."""
    recycle_above_bytes: int = 1024 * 1024 * 1024
    """So does one that holds more memory, with all below it; 0 keeps it."""
    silence_seconds: float = 30.0
    """A process that does not answer for so long is killed; after a third of it, it is sent SIGCONT. 0 asks none."""
    grace_seconds: float = 5.0
    """Between SIGTERM and SIGKILL of a task."""
    log_max_bytes: int = 64 * 1024 * 1024
    preload: tuple[str, ...] = ()
    """Modules that the zygote imports, so that all workers have them."""
    min_size: int = 0
    """So many processes are started at once and kept when idle."""
    spawn: SpawnMode = "auto"
    entry: str = f"{PACKAGE}.workers.host:host_main"
    """The main of a host, ``module:function``."""

    @property
    def task_limit(self) -> int:
        """Tasks that one process may be given; 0 for no limit."""
        return self.recycle_after_tasks if self.reuse else 1
