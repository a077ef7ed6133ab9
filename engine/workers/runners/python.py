"""Runs a function in a warm child: forked from the host, kept between calls, ended when it cannot be trusted any more.

Calls share a child when they have the same folders, ``PYTHONPATH`` and environment; another set gets a new child, so that a module
of one project is never mistaken for another's.
"""

from __future__ import annotations

import mmap
import os
import signal
import socket
import struct
import sys
from collections.abc import Mapping

import msgspec

from ...errors import ProtocolError
from ..launch import package_root
from ..protocol import FrameSplitter, Run, Work, encode
from .job import Outcome, describe_status, exit_code, start_failed
from .python_child import PAGE_BYTES, Reply, Setup, read_page, serve_calls

_RECEIVE = 256 * 1024
_SEND_SECONDS = 10
"""A child that does not take a call for so long is replaced."""
_reply_decoder = msgspec.msgpack.Decoder(Reply)
_Key = tuple[object, ...]


class _WarmChild:
    """A child and the host's ends of its channels. State: open descriptors; the owner is the runner."""

    def __init__(self, pid: int, channel: socket.socket, output: int, page: mmap.mmap, key: _Key) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.channel = channel
        self.output = output
        self.page = page
        self.key = key
        self.splitter = FrameSplitter()
        self.alive = True

    def end(self) -> None:
        """Kill and reap it and what shares its group; its output can still be read."""
        if self.alive:
            self.alive = False
            _kill_group(self.pid)
            os.waitpid(self.pid, 0)

    def close(self) -> None:
        """`end`, and close all."""
        self.end()
        self.channel.close()
        os.close(self.pidfd)
        os.close(self.output)
        self.page.close()


class PythonRunner:
    """Starts calls. State: the warm child, if any; the owner is the host."""

    def __init__(self, base: Mapping[bytes, bytes], run_id: str, home: str) -> None:
        self._base = base
        self._run_id = run_id
        self._home = home
        self._child: _WarmChild | None = None

    @property
    def known(self) -> frozenset[int]:
        """The warm child, which a sweep spares."""
        return frozenset({self._child.pid}) if self._child is not None and self._child.alive else frozenset()

    def start(self, work: Work) -> PythonJob | Outcome:
        """Hand the call to the warm child, or to a new one."""
        try:
            frame = encode(Run((work,)))
        except ProtocolError as error:
            return start_failed(f"args or kwargs cannot be handed over: {error}")
        key = _key(work)
        if self._child is not None and (self._child.key != key or not self._child.alive):
            self.close()
        for _ in range(2):
            try:
                child = self._child or self._fork(work, key)
            except OSError as error:
                return start_failed(f"cannot start a process for callables: {error.strerror}", retryable=True)
            try:
                child.channel.sendall(frame)
            except OSError:
                self.close()  # it died while it was idle
                continue
            return PythonJob(self, child, work)
        return start_failed("the process for callables ends as soon as it is started", retryable=True)

    def close(self) -> None:
        """End the warm child."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def _fork(self, work: Work, key: _Key) -> _WarmChild:
        ours, theirs = socket.socketpair()
        output, inner = os.pipe2(os.O_CLOEXEC)
        page = mmap.mmap(-1, PAGE_BYTES)
        try:
            pid = self._fork_into(work, theirs, inner, page)
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
            self._child = _WarmChild(pid, ours, output, page, key)
        except OSError:  # no descriptor left for the pidfd
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(output)
            raise
        return self._child

    def _fork_into(self, work: Work, channel: socket.socket, output: int, page: mmap.mmap) -> int:
        host = os.getpid()
        pid = os.fork()
        if pid == 0:
            serve_calls(
                Setup(
                    host,
                    channel.fileno(),
                    output,
                    page,
                    self._base,
                    self._run_id,
                    self._home,
                    _interpreter_path(),
                    work,
                )
            )
        return pid


class PythonJob:
    """A call under way. State: which descriptors still matter; the owner is the attempt."""

    def __init__(self, runner: PythonRunner, child: _WarmChild, work: Work) -> None:
        self._runner = runner
        self._work = work
        self._adopt(child)

    def _adopt(self, child: _WarmChild) -> None:
        self.child = child
        """Who makes the call."""
        self.group = child.pid
        self.output = child.output
        self.watched: tuple[int, ...] = (child.channel.fileno(), child.pidfd)

    def ready(self, now: float) -> Outcome | None:  # noqa: ARG002 -- the interface of all jobs
        """The outcome once the child has answered or ended."""
        reply = self._receive()
        if reply is not None:
            return self._settle(reply)
        try:
            pid, status = os.waitpid(self.child.pid, os.WNOHANG)
        except ChildProcessError:
            pid, status = self.child.pid, 0
        if pid == 0:
            return None
        self.child.alive = False
        reply = self._receive() or read_page(self.child.page, self._work.lease)
        return _outcome(reply) if reply is not None else _ended(status)

    def due(self) -> float | None:
        """Never: descriptors tell."""
        return None

    def abort(self) -> Outcome | None:
        """Nothing: the ladder ends the process."""
        return None

    def close(self) -> None:
        """Keep the child when it may be used again, else close all of it."""
        if not self.child.alive:
            self._runner.close()

    def _receive(self) -> Reply | None:
        """The answer, when it is complete. A channel that ended is not watched any more: the exit will tell."""
        try:
            while data := self.child.channel.recv(_RECEIVE, socket.MSG_DONTWAIT):
                for body in self.child.splitter.feed(data):
                    reply = _reply_decoder.decode(body)
                    if reply.number == self._work.lease:
                        return reply
        except BlockingIOError:
            return None
        except (OSError, ProtocolError, msgspec.MsgspecError):
            self.child.end()  # user code wrote into our channel
        self.watched = (self.child.pidfd,)
        return None

    def _settle(self, reply: Reply) -> Outcome | None:
        if reply.stale:
            return self._again()
        if reply.distrust:
            self.child.end()
        return _outcome(reply)

    def _again(self) -> Outcome | None:
        """The user's files have changed: the same call in a new child."""
        self._runner.close()
        fresh = self._runner.start(self._work)
        if isinstance(fresh, Outcome):
            return fresh
        self._adopt(fresh.child)
        return None


def _outcome(reply: Reply) -> Outcome:
    return Outcome(
        outcome="succeeded" if reply.ok else "failed",
        cause=reply.cause,
        error=reply.error,
        retryable=reply.retryable,
        exit_code=reply.exit_code,
        value=reply.value,
    )


def _ended(status: int) -> Outcome:
    """The outcome of a call whose process ended before it returned."""
    return Outcome(
        outcome="failed",
        error=f"the callable's process ended before it returned: {describe_status(status)}",
        exit_code=exit_code(status),
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


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError:
        try:
            os.kill(pid, signal.SIGKILL)  # it is not the leader of its group yet, or the group is gone
        except OSError:
            return
