"""One client of the session server: what it sent, what it is owed, and when it is let go of."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from typing import TYPE_CHECKING, cast

from ..errors import ProtocolError
from ..events.projection import Viewer
from .protocol import MAX_FRAMES_PER_SECOND, VERSION, Answer, Ask, Attach, Goodbye, Reply, SetView, View
from .socket_path import Peer, is_ours, peer_of
from .wire import FrameSplitter, decode_from_client, encode

if TYPE_CHECKING:
    from .server import SessionServer

_log = logging.getLogger("mi4.engine.session.connection")

MAX_COMMANDS = 64
"""Commands of one client that may be under way; more wait in its socket."""
MAX_UNREAD = 1 << 20
"""Bytes of answers that may wait for a client before its commands are no longer read."""
HEARTBEAT = 5.0
"""Seconds after which a frame is sent even if nothing changed, so that clients know the engine's time."""
ATTACH_WITHIN = 10.0
"""Seconds that a connection may stay silent before its `Attach`."""
STUCK_AFTER = 30.0
"""Seconds without a byte read after which it is looked whether the client's process still exists."""
_SLACK = 0.01
"""Seconds by which a frame may come early, so that a timer's jitter does not cost a whole interval."""


class Connection(asyncio.Protocol):
    """One client. Everything here is called by the loop and returns at once."""

    # Mutable state, owned by the loop thread; the server reads the two public names.

    def __init__(self, server: SessionServer) -> None:
        self.attached = False
        self.viewer: Viewer | None = None
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._peer: Peer | None = None
        self._splitter = FrameSplitter()
        self._interval = 1 / MAX_FRAMES_PER_SECOND
        self._since = server.clock.monotonic()
        self._last_frame: float | None = None
        self._stuck_since: float | None = None
        self._inbox: deque[bytes] = deque()
        self._under_way = 0
        self._reading = True
        self._left = False

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody connected: look who it is."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=MAX_UNREAD)
        self._peer = peer_of(transport.get_extra_info("socket"))
        if not is_ours(self._peer):
            _log.warning("a connection of another user is refused")
            self._transport.abort()
            return
        refusal = self._server.admit(self)
        if refusal:
            self.leave(refusal)

    def data_received(self, data: bytes) -> None:
        """Bytes of the client came."""
        if self._left:
            return
        try:
            self._inbox += self._splitter.feed(data)
        except ProtocolError as error:
            self._drop(str(error))
        self._regulate()

    def pause_writing(self) -> None:
        """More answers wait than the client takes."""
        self._regulate()

    def resume_writing(self) -> None:
        """The client has taken answers."""
        self._regulate()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the reason makes no difference
        """The client is gone."""
        self._transport = None
        self._server.forget(self)
        self._detach()

    # Called by the server.

    def is_due(self, now: float) -> bool:
        """Whether its interval is over."""
        return self._last_frame is None or now - self._last_frame >= self._interval - _SLACK

    def is_drained(self) -> bool:
        """Whether all that was written has left this process."""
        return self._transport is not None and not self._left and not self._unread()

    def wants_heartbeat(self, now: float) -> bool:
        """Whether it has not heard of the engine for long."""
        return self._last_frame is not None and now - self._last_frame >= HEARTBEAT

    def send_frame(self, body: bytes, now: float) -> None:
        """Write the bytes of one frame."""
        self._last_frame = now
        self._write(body)

    def answer(self, number: int, reply: Reply) -> None:
        """Write the answer to a command that it asked."""
        self._under_way -= 1
        try:
            body = encode(Answer(number=number, reply=reply))
        except ProtocolError as error:
            body = encode(Answer(number=number, reply=Reply(ok=False, message=str(error))))
        self._write(body)
        self._regulate()

    def check(self, now: float) -> None:
        """Let go of the client if it was told good-bye, or drop it if it never attached, or does not read and its process is gone."""
        if self._left:
            if now - self._since > self._server.farewell:
                self.abort()
            return
        if not self.attached and now - self._since > ATTACH_WITHIN:
            self._drop("no attach message came")
            return
        if self.is_drained():
            self._stuck_since = None
        elif self._stuck_since is None:
            self._stuck_since = now
        elif now - self._stuck_since > STUCK_AFTER and self._is_gone():
            self._server.dropped += 1
            self.abort()

    def leave(self, reason: str) -> None:
        """Say good-bye. The client closes when it has read that; closing first could take it from under its eyes."""
        self._write(encode(Goodbye(reason=reason)))
        self._left = True
        self._since = self._server.clock.monotonic()
        self._inbox.clear()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()
        self._regulate()
        self._detach()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    # Messages.

    def _receive(self, body: bytes) -> None:
        message = decode_from_client(body)
        if isinstance(message, Attach):
            self._attach(message)
        elif not self.attached:
            raise ProtocolError("the first message of a client is attach")
        elif isinstance(message, SetView):
            self._look(message.view)
        else:
            self._begin(message)

    def _attach(self, message: Attach) -> None:
        if message.version != VERSION:
            self.leave(
                f"the engine speaks version {VERSION} of the session protocol and this program {message.version};"
                " stop the engine with the program that started it"
            )
            return
        if self.attached:
            raise ProtocolError("attach came twice")
        self.attached = True
        if message.view is not None:
            self._look(message.view)
        self._server.attached(self)

    def _detach(self) -> None:
        self.viewer = None
        if self.attached:
            self.attached = False
            self._server.clients_changed()

    def _look(self, view: View) -> None:
        self._interval = max(1 / MAX_FRAMES_PER_SECOND, view.interval)  # in this order it takes NaN for the least, too
        if self.viewer is None:
            self.viewer = self._server.projection.viewer(view)
        else:
            self.viewer.lens = view

    def _begin(self, ask: Ask) -> None:
        if self._server.carry_out(self, ask):
            self._under_way += 1

    def _regulate(self) -> None:
        """Take in messages, and read more of them, only while the client takes its answers."""
        try:
            while self._inbox and self._takes_more():
                self._receive(self._inbox.popleft())
        except ProtocolError as error:
            self._drop(str(error))
        if self._transport is None or self._transport.is_closing():
            return
        wanted = self._left or self._takes_more()
        if wanted != self._reading:
            self._reading = wanted
            (self._transport.resume_reading if wanted else self._transport.pause_reading)()

    def _takes_more(self) -> bool:
        return self._under_way < MAX_COMMANDS and self._unread() < MAX_UNREAD

    def _write(self, body: bytes) -> None:
        if self._transport is not None and not self._left and not self._transport.is_closing():
            self._transport.write(body)

    def _unread(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def _drop(self, reason: str) -> None:
        _log.warning("a client is dropped: %s", reason)
        self._server.dropped += 1
        self.leave(reason)

    def _is_gone(self) -> bool:
        if self._peer is None or not self._peer.pid:
            return False
        try:
            os.kill(self._peer.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False
