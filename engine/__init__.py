"""An asyncio engine that burns down a backlog of tasks on a pool of warm worker processes.

Where things are; an arrow of imports only ever points down this list:

- ``testing``: the public test kit (a clock that stands still, an event recorder, a scripted session)
- ``plain``, ``foreground``, ``background``: one engine from start to end in a process, with lines or JSON
- ``orchestrator``: builds the parts from `Settings` and owns their life; the door for Python users
- ``performance_monitor``: observes a run, in this process, another one, or one that is over
- ``session/``: a running engine seen from outside: lock, socket, commands, client
- ``scheduling/``: which task runs next and why: scores, queue, dependencies, limits, retries, the scheduler
- ``workers/``: the pool, the zygote that forks worker hosts, the host that runs one task at a time, the runners under it
- ``caching/`` exact results kept; ``monitoring/`` metrics, bottlenecks, report
- ``storage/``: everything that lasts: one SQLite file with one writer
- ``streaming/``: what tasks print: lines, sanitiser, redaction, summaries, log files
- ``events/``: what happened: typed facts, the bus, and the projection that every viewer reads
- ``tasks/``: what a task is, which states it passes through, and the files that tasks come from
- ``config``, ``errors``, ``clock``: settings, the errors, time

Commands go down as calls, results come back as values, facts rise as events. The names below are imported when they are first used,
because worker processes import this package and must stay small.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .clock import Clock, SystemClock
    from .config import LoadedSettings, Settings, load_settings
    from .errors import EngineError, SettingsError, TaskFileError
    from .events.bus import EventBus
    from .events.projection import Projection
    from .orchestrator import Orchestrator, RunResults, orchestrator_lifecycle
    from .performance_monitor import PerformanceMonitor
    from .scheduling.intake import Submission
    from .scheduling.queue import TaskQueue
    from .tasks.model import State, Task
    from .tasks.taskfile import read_task_files
    from .workers.pool import ProcessPool

_WHERE = {
    "Clock": "clock",
    "EngineError": "errors",
    "EventBus": "events.bus",
    "LoadedSettings": "config",
    "Orchestrator": "orchestrator",
    "PerformanceMonitor": "performance_monitor",
    "ProcessPool": "workers.pool",
    "Projection": "events.projection",
    "RunResults": "orchestrator",
    "Settings": "config",
    "SettingsError": "errors",
    "State": "tasks.model",
    "Submission": "scheduling.intake",
    "SystemClock": "clock",
    "Task": "tasks.model",
    "TaskFileError": "errors",
    "TaskQueue": "scheduling.queue",
    "load_settings": "config",
    "orchestrator_lifecycle": "orchestrator",
    "read_task_files": "tasks.taskfile",
}

__all__ = [
    "Clock",
    "EngineError",
    "EventBus",
    "LoadedSettings",
    "Orchestrator",
    "PerformanceMonitor",
    "ProcessPool",
    "Projection",
    "RunResults",
    "Settings",
    "SettingsError",
    "State",
    "Submission",
    "SystemClock",
    "Task",
    "TaskFileError",
    "TaskQueue",
    "load_settings",
    "orchestrator_lifecycle",
    "read_task_files",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f".{_WHERE[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
