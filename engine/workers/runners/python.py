"""Runs a function in a warm child: forked from the host, kept between calls, ended when it cannot be trusted any more.

Calls share a child when they have the same folders, ``PYTHONPATH`` and environment; another set gets a new child, so that a module
of one project is never mistaken for another's.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
from collections.abc import Mapping, Sequence

from ...errors import ProtocolError
from ..launch import package_root
from ..progress import ProgressPage
from ..protocol import Work
from .environment import fault_in_set_env
from .job import Outcome, start_failed
from .python_child import Setup, serve_calls
from .python_job import CallBatch, WarmChild
from .slate import Calls, Slate, calls_frame

BATCH = 32
"""Calls that a child is given at once, at most."""
_SHORTEST_LIMIT = 0.05
"""Seconds; a call with a shorter time-out is made alone, so that the host looks at it from the start."""
_SEND_SECONDS = 10
"""A child that does not take a batch for so long is replaced."""
_Key = tuple[object, ...]


class PythonRunner:
    """Starts calls. State: the warm child, if any, and the number of the last batch; the owner is the host."""

    def __init__(
        self, base: Mapping[bytes, bytes], run_id: str, home: str, progress: ProgressPage, lifeline: int
    ) -> None:
        """`lifeline`: an epoll descriptor that has news when the engine is gone; children look at it before each call."""
        self._base = base
        self._run_id = run_id
        self._home = home
        self._progress = progress
        self._lifeline = lifeline
        self._child: WarmChild | None = None
        self._number = 0

    @property
    def known(self) -> frozenset[int]:
        """The warm child, which a sweep spares."""
        return frozenset({self._child.pid}) if self._child is not None and self._child.alive else frozenset()

    def start(self, works: Sequence[Work]) -> CallBatch | Outcome:
        """Hand the calls, which `may_share` a child, to the warm one or to a new one. An outcome is that of the first."""
        fault = fault_in_set_env(works[0].set_env)
        if fault:
            return start_failed(fault)
        self._number += 1
        try:
            frame = calls_frame(Calls(self._number, tuple(works)))
        except ProtocolError as error:
            if len(works) == 1:
                return start_failed(f"args or kwargs cannot be handed over: {error}")
            batch = self.start(works[:1])
            if isinstance(batch, CallBatch):
                batch.unbegun += works[1:]
            return batch
        key = _key(works[0])
        if self._child is not None and (self._child.key != key or not self._child.alive or self._child.stale):
            self.close()
        for _ in range(2):
            try:
                child = self._child or self._fork(works[0], key)
            except OSError as error:
                return start_failed(f"cannot start a process for callables: {error.strerror}", retryable=True)
            child.slate.begin(self._number, watched=len(works) == 1)
            try:
                child.channel.sendall(frame)
            except OSError:
                self.close()  # it died while it was idle
                continue
            return CallBatch(child, self._number, tuple(works), self._progress, self.close)
        return start_failed("the process for callables ends as soon as it is started", retryable=True)

    def close(self) -> None:
        """End the warm child."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def _fork(self, work: Work, key: _Key) -> WarmChild:
        ours, theirs = socket.socketpair()
        output, inner = os.pipe2(os.O_CLOEXEC)
        slate = Slate()
        try:
            pid = self._fork_into(work, theirs, inner, slate)
        except OSError:
            ours.close()
            os.close(output)
            raise
        finally:
            theirs.close()
            os.close(inner)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _SEND_SECONDS, 0))
        os.set_blocking(output, False)
        try:
            self._child = WarmChild(pid, ours, output, slate, key)
        except OSError:  # no descriptor left for the pidfd
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(output)
            raise
        return self._child

    def _fork_into(self, work: Work, channel: socket.socket, output: int, slate: Slate) -> int:
        host = os.getpid()
        pid = os.fork()
        if pid == 0:
            serve_calls(
                Setup(
                    host=host,
                    channel=channel.fileno(),
                    output=output,
                    lifeline=self._lifeline,
                    slate=slate,
                    progress=self._progress,
                    base=self._base,
                    run_id=self._run_id,
                    home=self._home,
                    path=_interpreter_path(),
                    work=work,
                )
            )
        return pid


def may_share(first: Work, last: Work, other: Work) -> bool:
    """Whether `other` can be in one batch with `first`, behind `last`."""
    return (
        can_wait(other)
        and other.lease > last.lease
        and other.cwd == first.cwd
        and other.source_dir == first.source_dir
        and other.set_env == first.set_env
        and other.clean_env == first.clean_env
        and other.keep_env == first.keep_env
    )


def can_wait(work: Work) -> bool:
    """Whether the work is a call that need not be watched from its first moment."""
    return (
        work.kind == "python"
        and not work.verify
        and (work.timeout is None or work.timeout >= _SHORTEST_LIMIT)
        and (work.stall is None or work.stall >= _SHORTEST_LIMIT)
    )


def _key(work: Work) -> _Key:
    """What calls must have in common to share a child."""
    return work.cwd, work.source_dir, work.clean_env, work.keep_env, tuple(sorted(work.set_env.items()))


def _interpreter_path() -> tuple[str, ...]:
    """``sys.path`` without our own root, unless the interpreter has it anyway."""
    path = list(sys.path)
    if path and path[0] == str(package_root()):
        del path[0]
    return tuple(path)
