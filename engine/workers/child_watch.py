"""Waits for the end of one child of this process without taking the end of any other child from anybody."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from .sweep import reap


class ChildWatch:
    """Calls `on_exit` with the wait status once the child has ended and is reaped: by pidfd, or by `poll` where there is none.

    The status is None when somebody else reaped it. State: the pidfd, until it closes.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, pid: int, on_exit: Callable[[int | None], None]) -> None:
        self.pid = pid
        self._loop = loop
        self._on_exit = on_exit
        self._open = True
        self._pidfd = -1
        try:
            self._pidfd = os.pidfd_open(pid)
        except (AttributeError, OSError):
            loop.call_soon(self.poll)
        else:
            loop.add_reader(self._pidfd, self._exited)

    def _exited(self) -> None:
        self._finish(reap(self.pid))

    def poll(self) -> None:
        """Look by hand; only needed (but never wrong) where the system has no pidfds."""
        if not self._open:
            return
        status = reap(self.pid)
        if status is not None or not self._exists():
            self._finish(status)

    def _exists(self) -> bool:
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:
            return False

    def _finish(self, status: int | None) -> None:
        if self._open:
            self.close()
            self._on_exit(status)

    def close(self) -> None:
        """Stop to watch. Idempotent."""
        self._open = False
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
