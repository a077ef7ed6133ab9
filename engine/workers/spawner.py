"""Starts worker hosts and learns of their deaths, whoever their parent is: the zygote, or after its death (or without one) we.

A host's end is told by its parent, never by the end of its connection: a task may hold that open. When the zygote dies, its hosts
become our children (this process is a sub-reaper), work on undisturbed, and later hosts come from a new zygote.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import tempfile
from collections import deque
from pathlib import Path
from typing import IO, Literal

import msgspec

from ..clock import Clock
from ..errors import WorkerStartError
from .child_watch import ChildWatch
from .identity import ProcessRecord, is_marked
from .launch import python_command, start_process
from .process import ProcessOwner, WorkerProcess
from .sweep import become_subreaper, kill, read_entry, sweep
from .zygote_link import ZYGOTE_MODULE, ZygoteLink
from .zygote_protocol import CONTROL_FD, ORDER_FD, Configure, Died, Fork, Forked, FromZygote, Kill, Ready, Refused

SpawnMode = Literal["auto", "zygote", "exec"]
"""How hosts are made: `auto` forks from a zygote where the system has sub-reapers (Linux) and execs elsewhere."""

_START_LIMIT = 30.0
"""Seconds that a zygote has to start, with its preloads."""
_LEAVE_LIMIT = 4.0
"""Seconds that a zygote has to leave, more than it gives its hosts."""
_DEATHS, _DEATHS_WITHIN = 5, 10.0
"""So many deaths of zygotes in so many seconds, and hosts are exec'ed from then on."""
_WORDS = 4096
_log = logging.getLogger("mi4.engine.workers.spawner")


class Spawner:
    """State, owned by the loop's thread: the zygote, requests on their way to it, hosts by pid, watches on those that are ours."""

    def __init__(
        self,
        configure: Configure,
        environ: dict[str, str],
        *,
        owner: ProcessOwner,
        record: ProcessRecord,
        scratch: Path,
        clock: Clock,
        mode: SpawnMode = "auto",
    ) -> None:
        self._configure = configure
        self._environ = environ
        self._owner = owner
        self._record = record
        self._scratch = scratch
        self._clock = clock
        self._mode: SpawnMode = mode
        self._loop = asyncio.get_running_loop()
        self._link: ZygoteLink | None = None
        self._waiting: list[tuple[Fork, socket.socket, WorkerProcess]] = []
        self._asked: dict[int, WorkerProcess] = {}
        self._hosts: dict[int, WorkerProcess] = {}
        self._watches: dict[int, ChildWatch] = {}
        self._stderrs: dict[int, IO[bytes]] = {}
        self._deaths: deque[float] = deque(maxlen=_DEATHS)
        self._number = 0
        self._started = False
        self.closing = False
        """Set when the pool closes: a zygote that dies is not replaced any more."""
        self._failure = ""
        self._changed = asyncio.Event()

    @property
    def zygote_pid(self) -> int | None:
        """Pid of the zygote that new hosts come from; None when hosts are exec'ed."""
        return self._link.pid if self._link is not None else None

    async def start(self) -> None:
        """Start the zygote and wait until it can fork; raises `WorkerStartError` with its last line."""
        can_adopt = become_subreaper()
        if self._mode == "auto":
            self._mode = "zygote" if can_adopt and hasattr(os, "pidfd_open") else "exec"
        if self._mode == "exec":
            return
        try:
            link = self._link = self._start_zygote()
            async with asyncio.timeout(_START_LIMIT):
                while link.alive and not link.ready:
                    self._changed.clear()
                    await self._changed.wait()
        except OSError as error:
            raise WorkerStartError(f"the worker processes cannot be started: {error}") from error
        if not link.alive:
            raise WorkerStartError(f"the worker processes cannot be started: {_last_line(self._failure)}")
        self._started = True

    def _start_zygote(self) -> ZygoteLink:
        link = ZygoteLink(self._configure, self._environ, self, self._scratch)
        self._record.add(link.pid)
        return link

    # New hosts

    def spawn(self, host_id: str, progress: Path) -> WorkerProcess:
        """A new host; it says `Hello` when it is ready, or its end is told to the owner. Raises `WorkerStartError`."""
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise WorkerStartError(f"a worker cannot be started: {error}") from error
        process = WorkerProcess(host_id, ours, self._owner, self._loop)
        self._number += 1
        order = Fork(self._number, host_id, os.fsencode(progress))
        if self._mode == "exec":
            self._exec(order, theirs, process)
        else:
            self._waiting.append((order, theirs, process))
            self._ask()
        return process

    def _ask(self) -> None:
        """Send the zygote what it has not been asked yet, as far as it takes it."""
        link = self._link
        while link is not None and link.ready and self._waiting:
            order, theirs, process = self._waiting[0]
            if not link.send(order, theirs):
                return
            theirs.close()
            self._asked[order.number] = process
            del self._waiting[0]

    def _exec(self, order: Fork, theirs: socket.socket, process: WorkerProcess) -> None:
        stderr = tempfile.TemporaryFile(dir=self._scratch)  # noqa: SIM115 -- read and closed when the host has ended
        source, sink = os.pipe2(os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
        try:
            os.write(sink, msgspec.msgpack.encode((self._configure, order)))
            descriptors = {2: stderr.fileno(), CONTROL_FD: theirs.fileno(), ORDER_FD: source}
            pid = start_process(python_command(ZYGOTE_MODULE, "host"), self._environ, descriptors)
        except OSError as error:
            stderr.close()
            process.close()
            raise WorkerStartError(f"a worker cannot be started: {error}") from error
        finally:
            theirs.close()
            os.close(source)
            os.close(sink)
        self._stderrs[pid] = stderr
        self._born(process, pid)
        self._watch(pid)

    def _born(self, process: WorkerProcess, pid: int) -> None:
        process.pid = pid
        self._hosts[pid] = process
        self._record.add(pid)

    def _watch(self, pid: int) -> None:
        self._watches[pid] = ChildWatch(self._loop, pid, lambda status: self._own_child_ended(pid, status))

    # What the zygote says

    def zygote_said(self, link: ZygoteLink, message: FromZygote) -> None:
        """Part of `LinkOwner`."""
        if link is not self._link:
            return
        match message:
            case Ready(warnings=warnings):
                for warning in warnings:
                    _log.warning("%s", warning)
                self._changed.set()
                self._ask()
            case Forked(number=number, pid=pid) if number in self._asked:
                self._born(self._asked.pop(number), pid)
            case Refused(number=number, error=error) if number in self._asked:
                self._asked.pop(number).finish(None, error)
            case Died(pid=pid, status=status, last_words=words) if pid in self._hosts:
                self._hosts.pop(pid).finish(status, words)

    def zygote_lost(self, link: ZygoteLink) -> None:
        """Part of `LinkOwner`: adopt its hosts, start the next."""
        self._failure = link.last_words()
        self._changed.set()
        if link is not self._link:
            return
        self._link = None
        for pid in [pid for pid in self._hosts if pid not in self._watches]:
            self._adopt(pid)
        self._sweep()
        lost, self._asked = self._asked, {}
        if self._started and not self.closing:
            self._replace_zygote()
        for process in lost.values():
            process.finish(None, "the zygote died before it had started")

    def _adopt(self, pid: int) -> None:
        entry = read_entry(pid)
        if entry is not None and entry.parent == os.getpid():
            self._watch(pid)
        else:  # it had died just before, and the report died with the zygote
            self._hosts.pop(pid).finish(None)

    def _replace_zygote(self) -> None:
        now = self._clock.monotonic()
        self._deaths.append(now)
        often = len(self._deaths) == _DEATHS and now - self._deaths[0] <= _DEATHS_WITHIN
        try:
            if not often:
                self._link = self._start_zygote()
        except OSError as error:
            _log.warning("no new zygote: %s", error)
        if self._link is None:
            _log.warning("the zygote died %d times; workers are started without it from now on", len(self._deaths))
            self._mode = "exec"
            waiting, self._waiting = self._waiting, []
            for order, theirs, process in waiting:
                self._exec_or_fail(order, theirs, process)

    def _exec_or_fail(self, order: Fork, theirs: socket.socket, process: WorkerProcess) -> None:
        try:
            self._exec(order, theirs, process)
        except WorkerStartError as error:
            process.finish(None, str(error))

    # Ends

    def _own_child_ended(self, pid: int, status: int | None) -> None:
        """A host whose parent we are has ended: what it left behind has become ours too."""
        del self._watches[pid]
        process = self._hosts.pop(pid, None)
        self._sweep()
        words = self._read_stderr(pid)
        if process is not None:
            process.finish(status, words)

    def _read_stderr(self, pid: int) -> str:
        stderr = self._stderrs.pop(pid, None)
        if stderr is None:
            return ""
        with stderr:
            stderr.seek(max(0, os.fstat(stderr.fileno()).st_size - _WORDS))
            return stderr.read().decode(errors="replace").strip()

    def _sweep(self) -> None:
        """End what dead hosts of this run left to us. By mark, for this process may have children that are none of our business."""
        known = [*self._hosts, *([self._link.pid] if self._link is not None else [])]
        sweep(known, only=lambda pid: is_marked(pid, self._configure.run_id))

    def end(self, process: WorkerProcess, *, insist: bool) -> None:
        """Kill a host, without ever hitting another process of the same pid.

        With `insist`, when that did not help before: a zygote that did not do it does not answer, so it ends too. It is replaced,
        and the host is ours to kill the next time.
        """
        process.close()
        own = process.pid in self._watches
        for position, (_, theirs, waiting) in enumerate(self._waiting):
            if waiting is process:
                del self._waiting[position]
                theirs.close()
                process.finish(None, "it was not started any more")
                return
        if own:
            kill(process.pid, signal.SIGKILL)
        elif self._link is not None and insist:
            self._link.kill()
        elif self._link is not None:
            self._link.wake()
            if process.pid:
                self._link.send(Kill(process.pid, signal.SIGKILL))

    def wake(self, process: WorkerProcess) -> None:
        """Continue a host that somebody may have stopped; does nothing to one that runs."""
        if process.pid in self._watches:
            kill(process.pid, signal.SIGCONT)
        elif self._link is not None and process.pid:
            self._link.wake()
            self._link.send(Kill(process.pid, signal.SIGCONT))

    def poll(self) -> None:
        """Whatever has to be looked at from time to time; call it a few times a second."""
        self._ask()
        if self._asked and self._link is not None:
            self._link.wake()  # it answers within milliseconds, unless somebody has stopped it
        for watch in list(self._watches.values()):
            watch.poll()
        if self._link is not None:
            self._link.poll()

    async def aclose(self) -> None:
        """End the zygote and whatever is left; when it returns, nothing that this run started is alive."""
        self.closing = True
        for _, theirs, process in self._waiting:
            theirs.close()
            process.finish(None, "the pool was closed")
        self._waiting.clear()
        link = self._link
        if link is not None:
            await self._let_go(link)
        for pid in list(self._hosts):
            kill(pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_LIMIT):
                while self._watches:
                    self.poll()
                    await asyncio.sleep(0.005)
        self._sweep()

    async def _let_go(self, link: ZygoteLink) -> None:
        link.close()
        try:
            async with asyncio.timeout(_LEAVE_LIMIT):
                await self._gone(link)
        except TimeoutError:
            link.kill()
            await self._gone(link)

    async def _gone(self, link: ZygoteLink) -> None:
        while link.alive:
            self._changed.clear()
            link.poll()
            if link.alive:
                await self._changed.wait()


def _last_line(words: str) -> str:
    return words.splitlines()[-1] if words else "the zygote ended without a word"
