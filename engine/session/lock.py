"""One engine for each state folder: an exclusive lock on a file that says who holds it.

The kernel gives the lock up when its holder dies, however it dies; the text in the file is only believed while the lock is held and
the process it names is the one that wrote it (boot, pid and start time).
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from ..errors import EngineRunningError, StateFolderError
from ..storage.folder import StateFolder, check_private
from ..workers.identity import Identity, boot_id, is_alive, start_time

_NAME = "engine.lock"
_MAX_BYTES = 4096
_TRIES = 50
_PAUSE = 0.01
"""Seconds between tries while the lock is taken but nobody alive says so: a reader that looks, or a holder that is leaving."""


class LockInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a folder."""

    pid: int
    start_time: int
    """Clock ticks since the machine started; 0 where the system does not tell."""
    boot_id: str
    run_id: str
    socket: str = ""
    """Path of the session socket; empty until there is one."""

    @property
    def is_alive(self) -> bool:
        """Whether the process that wrote this still exists, as far as the system tells."""
        return self.start_time == 0 or is_alive(Identity(self.boot_id, self.pid, self.start_time))


class FolderLock:
    """The lock of one folder, held until `release` or the end of the process. State: the descriptor, and what the file says."""

    def __init__(self, fd: int, info: LockInfo) -> None:
        self._fd: int | None = fd
        self.info = info
        """What the file says."""

    def __repr__(self) -> str:
        return f"<FolderLock {'held' if self._fd is not None else 'released'} run {self.info.run_id}>"

    @classmethod
    def acquire(cls, folder: StateFolder, run_id: str, socket: str = "") -> FolderLock:
        """Take the lock. Raises `EngineRunningError` with the holder's pid, or `StateFolderError`."""
        fd = _open(folder.lock)
        try:
            _take(fd, folder.path)
            pid = os.getpid()
            info = LockInfo(pid=pid, start_time=start_time(pid) or 0, boot_id=boot_id(), run_id=run_id, socket=socket)
            lock = cls(fd, info)
            lock._write()
        except BaseException:
            os.close(fd)
            raise
        return lock

    def announce(self, socket: str) -> None:
        """Say where the session socket is."""
        self.info = msgspec.structs.replace(self.info, socket=socket)
        self._write()

    def release(self) -> None:
        """Give the lock up; a second call does nothing. The file stays: removing it would let two engines lock two files."""
        if self._fd is None:
            return
        fd, self._fd = self._fd, None
        with suppress(OSError):
            os.ftruncate(fd, 0)
        os.close(fd)

    def _write(self) -> None:
        if self._fd is None:
            raise EngineRunningError("the lock was released")
        data = msgspec.json.encode(self.info)
        try:
            os.pwrite(self._fd, data, 0)
            os.ftruncate(self._fd, len(data))
        except OSError as error:
            raise StateFolderError(
                f"cannot write the lock file: {error.strerror}; free some space or check the disk"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def read_lock(folder: StateFolder | Path) -> LockInfo | None:
    """Who holds the folder now; None when nobody does. Never raises for what is in the folder."""
    path = (folder.path if isinstance(folder, StateFolder) else folder) / _NAME
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        info = _read(fd)
        return info if info is not None and info.is_alive else None
    except OSError:
        return None
    else:
        return None
    finally:
        os.close(fd)


def _open(path: Path) -> int:
    """A descriptor of the lock file, which is made if missing; nothing planted there is followed, waited for or changed."""
    try:
        check_private(path)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise StateFolderError(
            f"cannot open {path}: {error.strerror}; name another folder with --state-dir", path
        ) from error


def _take(fd: int, folder: Path) -> None:
    """Lock the descriptor, or say who has it."""
    for _ in range(_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            info = _read(fd)
            if info is not None and info.is_alive:
                raise EngineRunningError(
                    f"an engine (pid {info.pid}) works on {folder}; use 'mi4-tui attach', or end it with 'mi4-tui stop'",
                    info.pid,
                ) from None
            time.sleep(_PAUSE)
        except OSError as error:
            raise StateFolderError(
                f"cannot lock {folder}: {error.strerror}; use a local disk with --state-dir", folder
            ) from error
        else:
            return
    raise EngineRunningError(
        f"{folder} is locked, but the engine that locked it is gone: a process it started still holds the lock; end that process"
    )


def _read(fd: int) -> LockInfo | None:
    """What the file says, or None while it is empty or half written."""
    try:
        return msgspec.json.decode(os.pread(fd, _MAX_BYTES, 0), type=LockInfo)
    except (OSError, msgspec.MsgspecError):
        return None
