"""Starts an engine in the background and learns, before anything else happens, whether it is up.

The new process has its own session, so that neither Ctrl-C nor a closed terminal reaches it. It reads its `RunRequest` from stdin
and writes one JSON line to a pipe: that it works on the folder now, or why not. Its own output goes to ``engine.log``.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ..errors import (
    AgentMissingError,
    EngineError,
    EngineRunningError,
    Fault,
    SettingsError,
    StateFolderError,
    StorageFullError,
    TaskFileError,
    UsageError,
)
from ..workers.launch import python_command

_ENTRY = f"{__name__.partition('.')[0]}.background"
"""The module whose ``main`` is a background engine; named, not imported, because it lies above this room."""
_BY_EXIT_CODE: dict[int, type[EngineError]] = {
    UsageError.exit_code: UsageError,
    AgentMissingError.exit_code: AgentMissingError,
    StateFolderError.exit_code: StateFolderError,
    StorageFullError.exit_code: StorageFullError,
    EngineRunningError.exit_code: EngineRunningError,
}
_ERROR_TAIL = 2000
"""Bytes of what a dying interpreter printed that are looked at for its last line."""


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine is asked to do, in the foreground or in the background; plain data, so that it can be handed over."""

    folder: str
    """The state folder."""
    cwd: str
    """The working folder: settings files, relative task files and the report are looked up here."""
    files: tuple[str, ...] = ()
    """Task files as the user named them; none resumes what the folder holds."""
    agent: str = ""
    """Who runs tasks without a kind; empty for the setting."""
    rerun: bool = False
    """Whether tasks that already succeeded get a new generation."""
    fail_fast: bool = False
    """Whether the first failure cancels the rest."""
    report: str = ""
    """Where the JSON report is written at the end; empty for nowhere."""
    config_file: str = ""
    """Stands in for ``mi4.toml``."""
    overrides: dict[str, Any] = {}
    """Settings of the command line by full name."""
    linger: float = 30.0
    """Seconds that a background engine stays once nothing is left to run and nobody is attached."""


class LaunchReply(msgspec.Struct, frozen=True, kw_only=True):
    """What a starting engine says of itself."""

    pid: int = 0
    error: str = ""
    """Why it did not start; empty when it did."""
    exit_code: int = 0
    faults: tuple[tuple[str, int | None, str], ...] = ()
    """Of a `TaskFileError`: path, line and message of each."""
    accepted: int = 0
    already_done: int = 0
    warnings: tuple[str, ...] = ()

    @classmethod
    def of_error(cls, error: EngineError) -> LaunchReply:
        """The reply that tells of `error`."""
        faults = error.faults if isinstance(error, TaskFileError) else []
        return cls(
            pid=getattr(error, "pid", None) or 0,
            error=str(error),
            exit_code=error.exit_code,
            faults=tuple((fault.path, fault.line, fault.message) for fault in faults),
        )

    def as_error(self) -> EngineError:
        """The error as the caller would have met it in its own process."""
        if self.faults:
            return TaskFileError([Fault(*fault) for fault in self.faults])
        if self.exit_code == SettingsError.exit_code:
            return SettingsError(self.error)
        if self.exit_code == EngineRunningError.exit_code:
            return EngineRunningError(self.error, pid=self.pid or None)
        return _BY_EXIT_CODE.get(self.exit_code, EngineError)(self.error)


@dataclass(frozen=True)
class Launched:
    """A background engine that is up."""

    reply: LaunchReply
    process: subprocess.Popen[bytes]
    """Of those who wait for it; the others `disown` it."""

    def disown(self) -> None:
        """Let it outlive this process: nobody here will wait for it."""
        self.process.returncode = 0  # or Popen warns of a child that was forgotten


def launch_engine(request: RunRequest, *, entry: Sequence[str] = ()) -> Launched:
    """Start an engine and wait until it works on the folder.

    Blocks until the engine has said so or why not; raises that error (`SettingsError`, `TaskFileError`, `EngineRunningError`, ...),
    or `EngineError` when it died without a word. `entry` is another command to start, for tests.
    """
    reader, writer = os.pipe()
    command = [*(entry or python_command(_ENTRY)), "--reply-fd", str(writer)]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(writer,),
            start_new_session=True,
            cwd=request.cwd,
        )
    except OSError as error:
        os.close(reader)
        raise EngineError(f"the engine cannot be started: {error.strerror}") from error
    finally:
        os.close(writer)
    try:
        return Launched(_converse(process, request, reader), process)
    except BaseException:
        _give_up(process)
        raise


def _converse(process: subprocess.Popen[bytes], request: RunRequest, reader: int) -> LaunchReply:
    """Hand the request over and return a reply that is no error."""
    assert process.stdin is not None
    with open(reader, "rb") as replies:
        try:
            process.stdin.write(msgspec.json.encode(request))
            process.stdin.close()
        except BrokenPipeError:
            pass  # it died: the missing reply tells
        line = replies.readline()
    if not line.endswith(b"\n"):
        raise EngineError(f"the engine died while it started: {_last_words(process)}")
    assert process.stderr is not None
    process.stderr.close()
    reply = msgspec.json.decode(line, type=LaunchReply)
    if reply.error:
        raise reply.as_error()
    return reply


def _last_words(process: subprocess.Popen[bytes]) -> str:
    """The last line that it printed, or how it ended."""
    assert process.stderr is not None
    printed = process.stderr.read()[-_ERROR_TAIL:].decode(errors="replace").split("\n")
    lines = [line.strip() for line in printed if line.strip()]
    code = process.wait()
    return lines[-1] if lines else f"exit status {code}"


def _give_up(process: subprocess.Popen[bytes]) -> None:
    """Nobody will attach to it: let it end what it began, and leave no pipe open."""
    if process.poll() is None:
        process.terminate()
    for pipe in (process.stdin, process.stderr):
        if pipe is not None and not pipe.closed:
            try:
                pipe.close()
            except BrokenPipeError:
                continue
    process.wait()
