"""The engine's handle on one worker host: its socket, its pid, and how it ended.

Nothing here decides anything: frames go in and out, and an end is passed on once, after every frame that the host had sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from typing import Protocol

from ..errors import ProtocolError
from .protocol import FrameSplitter, FromHost, ToHost, decode_from_host, encode

_READ = 256 * 1024


class ProcessOwner(Protocol):
    """Who is told about a worker process."""

    def process_said(self, process: WorkerProcess, message: FromHost) -> None:
        """A frame came."""

    def process_broke(self, process: WorkerProcess, reason: str) -> None:
        """The host sent nonsense (the reason says what), or closed its socket (no reason): it is of no use any more."""

    def process_ended(self, process: WorkerProcess) -> None:
        """The host is dead and reaped; `ending` and `last_words` are set."""


class WorkerProcess:
    """One host. State, owned by the loop's thread: the socket, what is not sent yet, the pid once it is known."""

    def __init__(self, host_id: str, sock: socket.socket, owner: ProcessOwner, loop: asyncio.AbstractEventLoop) -> None:
        self.host_id = host_id
        """Slot and generation, such as ``w1.3``."""
        self.pid = 0
        """0 until the zygote has told it."""
        self.status: int | None = None
        """Wait status once it has ended; None while it lives, and for an end that nobody saw."""
        self.ended = False
        self.last_words = ""
        """The last lines of its stderr, once it has ended."""
        self._owner = owner
        self._loop = loop
        self._sock = sock
        self._splitter = FrameSplitter()
        self._unsent = bytearray()
        self._broken = False
        sock.setblocking(False)
        loop.add_reader(sock.fileno(), self._read)

    def __repr__(self) -> str:
        return f"<WorkerProcess {self.host_id} pid={self.pid} {'ended' if self.ended else 'alive'}>"

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        if self.status is None:
            return "ended unseen" if self.ended else "still runs"
        if os.WIFSIGNALED(self.status):
            number = os.WTERMSIG(self.status)
            return f"killed by signal {number} ({signal.strsignal(number)})"
        return f"exited with {os.waitstatus_to_exitcode(self.status)}"

    def send(self, message: ToHost) -> None:
        """Send a frame, now or as soon as the host takes it; a host that is gone is noticed elsewhere. Raises `ProtocolError`."""
        frame = encode(message)
        if self._broken or self.ended:
            return
        if not self._unsent:
            frame = frame[self._write(frame) :]
        if frame:
            if not self._unsent:
                self._loop.add_writer(self._sock.fileno(), self._flush)
            self._unsent += frame

    def _write(self, data: bytes | bytearray) -> int:
        """Bytes that went out; those for a host that is gone count as sent."""
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)

    def _flush(self) -> None:
        del self._unsent[: self._write(self._unsent)]
        if not self._unsent:
            self._loop.remove_writer(self._sock.fileno())

    def _read(self) -> None:
        """Take one helping of what came."""
        try:
            data = self._sock.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._take(data)
        else:
            self._break("")

    def _take(self, data: bytes) -> None:
        try:
            for body in self._splitter.feed(data):
                self._owner.process_said(self, decode_from_host(body))
        except ProtocolError as error:
            self._break(str(error))

    def _break(self, reason: str) -> None:
        """Stop to listen. The end itself is told by the parent of the process, for others may hold the socket."""
        if not self._broken:
            self._broken = True
            self._detach()
            if not self.ended:
                self._owner.process_broke(self, reason)

    def _detach(self) -> None:
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._unsent.clear()

    def finish(self, status: int | None, last_words: str = "") -> None:
        """Its parent has reaped it: pass on the frames that are still under way, then the end. A second call does nothing."""
        if self.ended:
            return
        self.ended, self.status, self.last_words = True, status, last_words
        while not self._broken:
            try:
                data = self._sock.recv(_READ)
            except OSError:
                break
            if not data:
                break
            self._take(data)
        self.close()
        self._owner.process_ended(self)

    def close(self) -> None:
        """Close the socket; a host that lives takes that as the order to end itself and its task. Idempotent."""
        if self._sock.fileno() >= 0:
            self._detach()
            self._broken = True
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
            self._sock.close()
