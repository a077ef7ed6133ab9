"""How the warm child becomes a process like the user's own, and what it can tell about itself after a call."""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import fcntl
import gc
import importlib.machinery
import io
import os
import select
import signal
import sys
import termios
import threading
import types
from array import array
from collections.abc import Mapping
from typing import Any

from ..sweep import become_subreaper

SIGNALS = tuple(signal.Signals(n) for n in range(1, 32) if n not in {signal.SIGKILL, signal.SIGSTOP})
"""Signals whose handlers a function can change."""
_CHANNEL_AT = 500
"""The channel goes to a descriptor above those that functions close by counting."""
_PR_SET_PDEATHSIG = 1
_OUR_NAMES = (__name__.partition(".")[0], "mi4_tui")


def enter_process(host: int) -> ctypes.CDLL:
    """A session of its own, an end with the host's, default signals; gives the C library."""
    os.setsid()
    libc = ctypes.CDLL(None, use_errno=True)
    if sys.platform.startswith("linux"):
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != host:
        os._exit(71)
    become_subreaper()  # so that its own waitpid tells whether a call left processes behind
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN if number in {signal.SIGPIPE, signal.SIGXFSZ} else signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return libc


def own_descriptors(channel: int, lifeline: int, output: int) -> tuple[int, select.epoll]:
    """Only stdin, output, the channel and the lifeline stay open; returns where the last two are now."""
    null = os.open(os.devnull, os.O_RDONLY)
    moved, life = _move_up(channel), _move_up(lifeline)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    for fd in _open_descriptors():
        if fd > 2 and fd not in {moved, life}:
            with contextlib.suppress(OSError):
                os.close(fd)
    return moved, select.epoll.fromfd(life)


def _move_up(fd: int) -> int:
    """A copy of `fd` with a high number, where the limit on descriptors allows that."""
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _CHANNEL_AT)
    except OSError:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)


def _open_descriptors() -> list[int]:
    """Numbers of descriptors that may be open."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return [int(name) for name in os.listdir(folder)]  # noqa: PTH208 -- names only
        except OSError:
            continue
    return list(range(3, 4096))


class _UsersFirst:
    """Finds a user's package that has one of our names, also one without ``__init__.py``, which ours would hide."""

    def __init__(self, folders: list[str]) -> None:
        self._folders = folders

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """The user's package; None lets the interpreter look further."""
        del path, target
        return importlib.machinery.PathFinder.find_spec(name, self._folders) if name in _OUR_NAMES else None


def forget_our_modules(folders: list[str]) -> None:
    """Free the names of our packages for what is in the user's folders, and be nobody's ``__main__``."""
    for name in [name for name in sys.modules if name.partition(".")[0] in _OUR_NAMES]:
        del sys.modules[name]
    sys.meta_path.insert(0, _UsersFirst(folders))
    sys.modules["__main__"] = types.ModuleType("__main__")
    logging = sys.modules.get("logging")
    if logging is not None:
        logging.root.handlers.clear()
    numpy = sys.modules.get("numpy")
    if numpy is not None and hasattr(numpy, "random"):
        numpy.random.seed()  # forked children would all draw the same numbers
    threading.excepthook = threading.__excepthook__
    gc.freeze()


def user_folders(cwd: str, source_dir: str, environment: Mapping[bytes, bytes]) -> list[str]:
    """Where callables are looked up before what the interpreter has: working folder, the task file's folder, PYTHONPATH."""
    python_path = os.fsdecode(environment.get(b"PYTHONPATH", b""))
    wanted = [cwd, source_dir, *python_path.split(os.pathsep)]
    return [folder for folder in dict.fromkeys(wanted) if folder]


def standard_streams() -> tuple[io.TextIOBase, io.TextIOBase, io.TextIOBase]:
    """Fresh stdin, stdout and stderr on the first three descriptors, the last two flushed at every line."""

    def stream(fd: int, mode: str) -> Any:
        return open(fd, mode, encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)

    streams = stream(0, "r"), stream(1, "w"), stream(2, "w")
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = streams  # type: ignore[misc]
    sys.stdin, sys.stdout, sys.stderr = streams
    return streams


def raw_environment() -> dict[bytes, bytes]:
    """The environment as ``os`` keeps it; the public mapping would decode all of it on every call."""
    raw: dict[bytes, bytes] | None = getattr(os.environb, "_data", None)
    return raw if raw is not None else dict(os.environb)


class Leftovers:
    """Looks for threads and processes that a call left behind."""

    def __init__(self, libc: ctypes.CDLL) -> None:
        self._waitpid = (
            libc.waitpid
        )  # not that of `os`: it raises when there is no child, and this is in the way of every call

    def look(self) -> str:
        """What is left, in words; empty when there is nothing. Dead children are reaped."""
        if _thread._count() > 0:  # noqa: SLF001 -- counts threads that the threading module does not know, too
            return "it left a thread running"
        while (pid := self._waitpid(-1, None, os.WNOHANG)) > 0:
            pass
        return "it left a process running" if pid == 0 else ""


class Mark:
    """Tells whether a descriptor is still open on the file on which it was marked.

    The mark is the owner for signals that nobody asked for: it belongs to the open file, so copies of the descriptor have it and
    other files have not. Comparing ``fstat`` would say the same at several times the price; it does where owners are not kept.
    """

    def __init__(self, fd: int, owner: int) -> None:
        """`owner`: our pid, or minus our process group."""
        self._fd = fd
        self._owner = owner
        self._identity: tuple[int, int] | None = None
        try:
            fcntl.fcntl(fd, fcntl.F_SETOWN, owner)
            kept = fcntl.fcntl(fd, fcntl.F_GETOWN) == owner
        except OSError:
            kept = False
        if not kept:
            self._identity = _identity(fd)

    def holds(self) -> bool:
        """Whether the descriptor is open on that file now."""
        if self._identity is not None:
            return _identity(self._fd) == self._identity
        try:
            return fcntl.fcntl(self._fd, fcntl.F_GETOWN) == self._owner
        except OSError:
            return False


class Pipe:
    """Tells how much is in a pipe, from either end."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._count = array("i", [0])

    def pending(self) -> int:
        """Bytes that nobody has read; 0 when it is no pipe any more."""
        try:
            fcntl.ioctl(self._fd, termios.FIONREAD, self._count)
        except OSError:
            return 0
        return self._count[0]


def _identity(fd: int) -> tuple[int, int] | None:
    """Which file a descriptor is open on; None when it is closed."""
    try:
        found = os.fstat(fd)
    except OSError:
        return None
    return found.st_dev, found.st_ino
