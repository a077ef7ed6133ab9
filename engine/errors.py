"""The errors of the engine: one root, one class per decision that a caller can take.

The class docstring is the message when no other is given, and every message is one line that says what to do. ``exit_code`` is
what ``mi4-tui`` exits with when the error ends it (the BSD ``sysexits`` numbers).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


class EngineError(Exception):
    """The engine met an error."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__class__.__doc__ or "").strip().splitlines()[0])


class SettingsError(EngineError):
    """A setting has a value that is not allowed."""

    exit_code = 64


class UsageError(EngineError):
    """The command was called in a way that it does not know."""

    exit_code = 64


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a task file."""

    path: str
    """The file, as the user named it."""
    line: int | None
    """Line number from 1, or None when the fault is about the whole file."""
    message: str
    """What is wrong and what would be right, without the place."""

    def __str__(self) -> str:
        where = self.path if self.line is None else f"{self.path}:{self.line}"
        return f"{where}: {self.message}"


class TaskFileError(EngineError):
    """A task file cannot be used."""

    exit_code = 65

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        """Every fault that was found, in file order; never empty."""
        super().__init__("\n".join(str(fault) for fault in faults))


class AgentMissingError(EngineError):
    """No agent that could run these tasks is installed."""

    exit_code = 69


class StateFolderError(EngineError):
    """The state folder cannot be used."""

    exit_code = 73

    def __init__(self, message: str, path: Path | None = None) -> None:
        self.path = path
        super().__init__(message)


class StorageFullError(EngineError):
    """The disk that holds the state folder is full."""

    exit_code = 74


class EngineRunningError(EngineError):
    """Another engine holds this state folder."""

    exit_code = 75

    def __init__(self, message: str, pid: int | None = None) -> None:
        self.pid = pid
        super().__init__(message)


class UnknownTaskError(EngineError):
    """No task has this id."""

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        super().__init__(f"no task has the id {task_id!r}; 'mi4-tui status --json' lists them all")


class IllegalTransitionError(EngineError):
    """A task cannot go from its state to the one asked for."""


class CommandRefusedError(EngineError):
    """The engine refused a command."""


class SessionLostError(EngineError):
    """The connection to the engine is gone."""


class ProtocolError(EngineError):
    """A peer sent a frame that does not fit the protocol."""


class WorkerStartError(EngineError):
    """A worker process could not be started."""
