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
import signal
import sys
import threading
import types
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


def own_descriptors(channel: int, output: int) -> int:
    """Only stdin, output and the channel stay open; returns where the channel is now."""
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        moved = fcntl.fcntl(channel, fcntl.F_DUPFD_CLOEXEC, _CHANNEL_AT)
    except OSError:
        moved = fcntl.fcntl(channel, fcntl.F_DUPFD_CLOEXEC, 10)  # a low limit on descriptors
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    for fd in _open_descriptors():
        if fd > 2 and fd != moved:
            with contextlib.suppress(OSError):
                os.close(fd)
    return moved


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


def what_is_left() -> str:
    """Threads or processes that a call left behind, in words; empty when there are none."""
    if _thread._count() > 0:  # noqa: SLF001 -- counts threads that the threading module does not know, too
        return "it left a thread running"
    try:
        while True:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return "it left a process running"
    except ChildProcessError:
        return ""


def identity(fd: int) -> tuple[int, int] | None:
    """Which file a descriptor is open on; None when it is closed."""
    try:
        found = os.fstat(fd)
    except OSError:
        return None
    return found.st_dev, found.st_ino
