"""The engine's end of the connection to one zygote: orders out, reports in, and its death."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import tempfile
from pathlib import Path
from typing import Protocol

import msgspec

from .child_watch import ChildWatch
from .launch import PACKAGE, python_command, start_process
from .sweep import kill
from .zygote_protocol import CONTROL_FD, PACKET, Configure, FromZygote, Ready, ToZygote, decode_from_zygote, encode

ZYGOTE_MODULE = f"{PACKAGE}.workers.zygote"
_WORDS = 4096
_log = logging.getLogger("mi4.engine.workers.zygote_link")


class LinkOwner(Protocol):
    """Who is told about a zygote."""

    def zygote_said(self, link: ZygoteLink, message: FromZygote) -> None:
        """A report came."""

    def zygote_lost(self, link: ZygoteLink) -> None:
        """The zygote is dead and reaped; every report that it had sent was passed on."""


class ZygoteLink:
    """One zygote process. State, owned by the loop's thread: its socket, whether it is ready, its stderr."""

    def __init__(self, configure: Configure, environ: dict[str, str], owner: LinkOwner, scratch: Path) -> None:
        self._loop = asyncio.get_running_loop()
        self._owner = owner
        self.ready = False
        """Whether it forks already."""
        self.alive = True
        self._stderr = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 -- closed with the link
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        try:
            descriptors = {2: self._stderr.fileno(), CONTROL_FD: theirs.fileno()}
            self.pid = start_process(python_command(ZYGOTE_MODULE), environ, descriptors)
        except OSError:
            self._control.close()
            self._stderr.close()
            raise
        finally:
            theirs.close()
        self.send(configure)
        self._loop.add_reader(self._control.fileno(), self._read)
        self._watch = ChildWatch(self._loop, self.pid, self._exited)

    def send(self, message: ToZygote, sock: socket.socket | None = None) -> bool:
        """Send an order, with a socket to pass on; False when the zygote does not take it now."""
        if self._control.fileno() < 0:
            return False
        try:
            socket.send_fds(self._control, [encode(message)], [] if sock is None else [sock.fileno()])
        except OSError:
            return False
        return True

    def _read(self) -> None:
        while self._control.fileno() >= 0:
            try:
                packet = self._control.recv(PACKET)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:
                self.close()
                return
            self._pass_on(packet)

    def _pass_on(self, packet: bytes) -> None:
        try:
            message = decode_from_zygote(packet)
        except msgspec.MsgspecError as error:
            _log.error("bad packet from the zygote: %s", error)
            self.kill()
            return
        self.ready = self.ready or isinstance(message, Ready)
        self._owner.zygote_said(self, message)

    def _exited(self, status: int | None) -> None:
        self._read()
        self.close()
        self.alive = self.ready = False
        _log.debug("zygote %d ended with status %s", self.pid, status)
        self._owner.zygote_lost(self)
        self._stderr.close()

    def last_words(self) -> str:
        """The last lines of its stderr, or nothing once it is closed."""
        if self._stderr.closed:
            return ""
        size = os.fstat(self._stderr.fileno()).st_size
        return os.pread(self._stderr.fileno(), _WORDS, max(0, size - _WORDS)).decode(errors="replace").strip()

    def poll(self) -> None:
        """Look for its death by hand where the system does not tell."""
        self._watch.poll()

    def close(self) -> None:
        """Let it go: it ends its hosts and itself. Idempotent."""
        if self._control.fileno() >= 0:
            self._loop.remove_reader(self._control.fileno())
            self._control.close()

    def wake(self) -> None:
        """Continue it, should somebody have stopped it."""
        if self.alive:
            kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it at once; its hosts become ours."""
        if self.alive:
            kill(self.pid, signal.SIGKILL)
