"""Runs a command: ``posix_spawn`` into a session of its own, one pipe for all it prints, its exit seen by a pidfd.

stdout and stderr share the pipe, so that lines stay in the order in which they were printed. stdin is ``/dev/null`` or a file with
the given text, never the terminal.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from functools import cache

from ...clock import Clock
from .job import Outcome, describe_status, exit_code, start_failed

_TEMPORARY = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETXTBSY})
"""Errors of a start that another attempt may not meet."""
_RESET = tuple(
    getattr(signal, name)
    for name in (
        "SIGPIPE",
        "SIGXFSZ",
        "SIGXFZ",
        "SIGINT",
        "SIGQUIT",
        "SIGTERM",
        "SIGHUP",
        "SIGCHLD",
        "SIGUSR1",
        "SIGUSR2",
    )
    if hasattr(signal, name)
)
"""Signals that the task gets with their default action: Python ignores some, and the host others."""
_LOOKUP_SECONDS = 2.0
"""For how long the place of a program on PATH is remembered."""
_NO_COMMAND = "there is no command to run"


class ProgramPaths:
    """Remembers where programs are, by name and PATH. State: the memory; its owner is the host."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[str, float]] = {}

    def find(self, name: str, path: str) -> str | None:
        """File to execute for `name`; None when PATH has none. Names with a slash are files already."""
        if "/" in name:
            return name
        now = self._clock.monotonic()
        found, until = self._known.get((name, path), ("", 0.0))
        if now < until:
            return found
        fresh = shutil.which(name, path=path)
        if fresh is not None and fresh.startswith("/"):
            self._known[name, path] = fresh, now + _LOOKUP_SECONDS
        return fresh


class ShellJob:
    """A command that runs. State: its descriptors; the owner is the attempt."""

    live = True

    def __init__(self, pid: int, output: int, pidfd: int) -> None:
        self.group = pid
        self.output = output
        self.watched: tuple[int, ...] = (pidfd,)
        self._pidfd = pidfd

    def ready(self, now: float) -> Outcome | None:  # noqa: ARG002 -- the interface of all jobs
        """The outcome once the leader has ended; it is reaped then."""
        pid, status = os.waitpid(self.group, os.WNOHANG)
        if pid == 0:
            return None
        if status == 0:
            return Outcome(outcome="succeeded", exit_code=0)
        return Outcome(outcome="failed", error=describe_status(status), exit_code=exit_code(status))

    def read(self, limit: int) -> bytes:
        """What the pipe holds."""
        return os.read(self.output, limit)

    def look(self, now: float) -> Outcome | None:
        """It is live from the start."""
        return self.ready(now)

    def hold(self) -> None:
        """Nothing stands behind it."""

    def has_begun(self) -> bool:
        """It has, since it was made."""
        return True

    def due(self) -> float | None:
        """Never: the pidfd tells."""
        return None

    def abort(self) -> Outcome | None:
        """Nothing: the ladder ends the process."""
        return None

    def close(self) -> None:
        """Close the pipe and the pidfd."""
        os.close(self._pidfd)
        os.close(self.output)


def command_line(command: tuple[str, ...] | str | None, *, shell: bool) -> tuple[str, ...]:
    """The argument list of a task's ``command`` or ``verify``; empty when there is none."""
    if not command:
        return ()
    if isinstance(command, str):
        return ("/bin/sh", "-c", command) if shell else (command,)
    return tuple(command)


def start_command(
    argv: tuple[str, ...], *, cwd: str, environment: Mapping[bytes, bytes], stdin: str | None, paths: ProgramPaths
) -> ShellJob | Outcome:
    """Start `argv` in `cwd`; an `Outcome` with cause ``start_failed`` says why it could not be started. Changes our own folder."""
    if not argv:
        return start_failed(_NO_COMMAND)
    try:
        os.chdir(cwd)
    except OSError as error:
        return start_failed(f"cannot work in the folder {cwd!r}: {error.strerror}")
    except ValueError:
        return start_failed("the folder has a NUL character in its name")
    program = paths.find(argv[0], os.fsdecode(environment.get(b"PATH", os.fsencode(os.defpath))))
    if program is None:
        return start_failed(f"the program {argv[0]!r} was not found on PATH; install it or give its full path")
    try:
        return _spawn(program, argv, environment, stdin)
    except OSError as error:
        return _not_started(argv[0], error)
    except ValueError as error:
        return start_failed(f"cannot start {argv[0]!r}: {error}")


def _spawn(program: str, argv: tuple[str, ...], environment: Mapping[bytes, bytes], stdin: str | None) -> ShellJob:
    opened: list[int] = []
    try:
        source = _nothing() if stdin is None else _input_file(stdin)
        if stdin is not None:
            opened.append(source)
        output, inner = os.pipe2(os.O_CLOEXEC)
        opened += [inner, output]
        pid = os.posix_spawn(
            program,
            argv,
            environment,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, source, 0),
                (os.POSIX_SPAWN_DUP2, inner, 1),
                (os.POSIX_SPAWN_DUP2, inner, 2),
            ],
            setsid=True,
            setsigdef=_RESET,
            setsigmask=(),
        )
        os.set_blocking(output, False)
        job = ShellJob(pid, output, _open_pidfd(pid))
        opened.remove(output)
        return job
    finally:
        for fd in opened:
            os.close(fd)


def _open_pidfd(pid: int) -> int:
    """A descriptor for the child; when there is none to be had the child is ended, since nobody would see its exit."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


@cache
def _nothing() -> int:
    """A descriptor that gives end of file; it stays open as long as the host lives."""
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def _input_file(text: str) -> int:
    """A descriptor that gives `text` and then end of file."""
    with tempfile.TemporaryFile() as file:
        file.write(text.encode("utf-8", "surrogateescape"))
        file.seek(0)
        return os.dup(file.fileno())


def _not_started(name: str, error: OSError) -> Outcome:
    """The outcome for an error of the start, in words that say what to do."""
    if error.errno in _TEMPORARY:
        return start_failed(f"cannot start {name!r} now: {error.strerror}", retryable=True)
    hints = {
        errno.ENOENT: "no such file (or the interpreter in its first line is missing)",
        errno.EACCES: "it may not be executed; check its mode with 'ls -l'",
        errno.ENOEXEC: "it is neither a program nor a script with a '#!' line",
        errno.E2BIG: "arguments and environment are too long; hand long text over by stdin or a file",
    }
    return start_failed(f"cannot start {name!r}: {hints.get(error.errno or 0, error.strerror or 'unknown error')}")
