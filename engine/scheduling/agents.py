"""Which agent runs a task that names none: the one asked for, never a silent fall-back."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence

import msgspec

from ..errors import AgentMissingError
from ..tasks.model import AGENT_KINDS, Task

KNOWN_AGENTS = ("codex", "claude", "gemini", "opencode")
"""Commands that are looked for on the PATH."""
RUNNABLE = frozenset({"shell", "python", "simulated"})
"""Kinds that a worker host has a runner for."""


def with_kinds(tasks: Sequence[Task], agent: str | None, environ: Mapping[str, str]) -> list[Task]:
    """The tasks with every kind filled in; `agent` (or None for the setting ``auto``) is for those without one.

    Raises `AgentMissingError` when a task needs an agent that cannot be run here.
    """
    filled = [task if task.kind else _with_agent(task, agent) for task in tasks]
    missing = [task for task in filled if task.kind not in RUNNABLE and task.status != "done"]
    if missing:
        raise AgentMissingError(_missing(missing, environ))
    return filled


def _with_agent(task: Task, agent: str | None) -> Task:
    return msgspec.structs.replace(task, kind=agent or "") if agent in AGENT_KINDS else task


def _missing(tasks: Sequence[Task], environ: Mapping[str, str]) -> str:
    names = ", ".join(task.id for task in tasks[:3]) + (f" and {len(tasks) - 3} more" if len(tasks) > 3 else "")
    found = [name for name in KNOWN_AGENTS if shutil.which(name, path=environ.get("PATH", ""))]
    seen = f"found {', '.join(found)}, which this version cannot drive yet" if found else "found none"
    return (
        f"task {names} needs a coding agent; looked for {', '.join(KNOWN_AGENTS)} on the PATH and {seen}. "
        "Give the task a 'command' or 'callable', or choose '--agent simulated' to try the file without an agent"
    )
