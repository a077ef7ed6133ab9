"""The engine's side of the session socket: frames out, commands in.

Clients cannot slow or break the engine. A frame is built only for a client whose last one has left (what it missed is in the next);
equal frames are encoded once; a client that sends what does not fit the protocol is dropped; one that does not read its answers is no
longer read from. `SessionServer.tick` decides and sends without waiting; the timer around it is all that runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

from ..clock import Clock
from ..errors import ProtocolError
from ..events.projection import Frame, Projection, Viewer
from .local import Handler, answer
from .protocol import MAX_FRAMES_PER_SECOND, VERSION, Answer, Ask, Attach, Goodbye, Reply, SetView, Update, View
from .socket_path import Peer, is_ours, listen, peer_of, remove
from .wire import FrameSplitter, decode_from_client, encode

_log = logging.getLogger("mi4.engine.session.server")

MAX_CLIENTS = 64
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
FAREWELL = 1.0
"""Seconds that clients have to read the last frame when the engine ends."""

_SLACK = 0.01
"""Seconds by which a frame may come early, so that a timer's jitter does not cost a whole interval."""


class SessionServer:
    """Listens on a unix socket for as long as the engine runs."""

    # Mutable state, owned by the loop thread: the connections, the commands under way, and the listening socket.

    def __init__(self, *, socket_path: Path, projection: Projection, handle: Handler, clock: Clock) -> None:
        self.socket_path = socket_path
        self.projection = projection
        self.clock = clock
        self.on_clients_changed: Callable[[int], None] | None = None
        """Is called with the number of attached clients whenever it changes."""
        self.dropped = 0
        """Clients that were dropped for what they sent or because their process was gone."""
        self._handle = handle
        self._connections: set[_Connection] = set()
        self._commands: set[asyncio.Task[None]] = set()
        self._stirred = asyncio.Event()  # set when a connection comes or goes, and when a command ends
        self._stack = contextlib.AsyncExitStack()
        self._group: asyncio.TaskGroup | None = None
        self._listener: asyncio.Server | None = None
        self._inode = 0
        self._closing = False

    @property
    def clients(self) -> int:
        """How many clients are attached."""
        return sum(connection.attached for connection in self._connections)

    async def start(self) -> None:
        """Begin to listen; raises `StateFolderError`. `aclose` has to be called by the same task."""
        server_socket = listen(self.socket_path)
        self._inode = self.socket_path.lstat().st_ino
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_unix_server(lambda: _Connection(self), sock=server_socket)
        self._group = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._group.create_task(self._tick_until_closed(), name="session server")

    async def aclose(self, reason: str = "the engine ended") -> None:
        """Send every client what is left and the reason, then end. May be called twice.

        Commands under way have `FAREWELL` seconds to end before they are cancelled.
        """
        if self._closing:
            return
        self._closing = True
        self._stirred.set()
        if self._listener is not None:
            self._listener.close()
            remove(self.socket_path, self._inode)
        await self._wait_until(lambda: not self._commands)
        for task in self._commands:
            task.cancel()
        self._send_frames(self._connections, force=True)
        for connection in self._connections:
            connection.leave(reason)
        await self._wait_until(lambda: not self._connections)
        for connection in list(self._connections):
            connection.abort()
        await self._stack.aclose()

    def tick(self) -> None:
        """Send what is due to the clients that can take it, and let go of those that are gone."""
        now = self.clock.monotonic()
        for connection in list(self._connections):
            connection.check(now)
        self._send_frames(list(self._connections))

    def __repr__(self) -> str:
        return f"<SessionServer {self.socket_path}, {self.clients} clients>"

    # What connections ask of the server.

    def admit(self, connection: _Connection) -> str:
        """Take in a connection; returns the reason why it is to leave again, or nothing."""
        others = len(self._connections)
        self._connections.add(connection)
        self._stirred.set()
        if self._closing:
            return "the engine is ending"
        return f"{MAX_CLIENTS} clients are attached already" if others >= MAX_CLIENTS else ""

    def forget(self, connection: _Connection, *, was_attached: bool) -> None:
        """A connection is over."""
        self._connections.discard(connection)
        self._stirred.set()
        if was_attached:
            self.clients_changed()

    def attached(self, connection: _Connection) -> None:
        """A connection said what it looks at: it gets its first frame at once."""
        self._send_frames([connection])
        self.clients_changed()

    def clients_changed(self) -> None:
        """Tell whoever wants to know how many clients there are."""
        if self.on_clients_changed is not None:
            self.on_clients_changed(self.clients)

    def carry_out(self, connection: _Connection, ask: Ask) -> bool:
        """Begin a command of a client, which goes on if the client leaves; whether it was begun."""
        if self._group is None or self._closing:
            return False
        name = f"command {type(ask.command).__name__}"
        task = self._group.create_task(self._answer(connection, ask), name=name)
        self._commands.add(task)
        task.add_done_callback(self._command_ended)
        return True

    async def _answer(self, connection: _Connection, ask: Ask) -> None:
        connection.answer(ask.number, await answer(self._handle, ask.command))

    def _command_ended(self, task: asyncio.Task[None]) -> None:
        self._commands.discard(task)
        self._stirred.set()

    # Frames.

    def _send_frames(self, connections: Iterable[_Connection], *, force: bool = False) -> None:
        now, time = self.clock.monotonic(), self.clock.time()
        encoded: dict[tuple[object, ...], tuple[Viewer, bytes | None]] = {}
        for connection in connections:
            viewer = connection.viewer
            if viewer is None or not (force or connection.is_due(now)) or not connection.is_drained():
                continue
            body = self._frame_for(viewer, time, encoded)
            if body is not None:
                connection.send_frame(body, now)
            elif connection.wants_heartbeat(now):
                connection.send_frame(_encoded(Frame(seq=self.projection.seq, time=time)), now)

    def _frame_for(
        self, viewer: Viewer, time: float, encoded: dict[tuple[object, ...], tuple[Viewer, bytes | None]]
    ) -> bytes | None:
        """The bytes for this viewer; encoded once for all that stand where it stands."""
        mark = viewer.mark
        if mark in encoded:
            other, body = encoded[mark]
            viewer.catch_up(other)
            return body
        frame = viewer.take(time)
        body = None if frame is None else _encoded(frame)
        encoded[mark] = viewer, body
        return body

    async def _tick_until_closed(self) -> None:
        while not self._closing:
            if not self._connections:
                self._stirred.clear()
                await self._stirred.wait()
                continue
            try:
                self.tick()
            except Exception:  # noqa: BLE001 - what goes wrong for viewers must not reach the engine
                _log.exception("frames could not be sent")
            await asyncio.sleep(1 / MAX_FRAMES_PER_SECOND)

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                while not condition():
                    self._stirred.clear()
                    await self._stirred.wait()


class _Connection(asyncio.Protocol):
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
        if self._left:
            return
        try:
            self._inbox += self._splitter.feed(data)
        except ProtocolError as error:
            self._drop(str(error))
        self._regulate()

    def pause_writing(self) -> None:
        self._regulate()

    def resume_writing(self) -> None:
        self._regulate()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the reason makes no difference
        self._transport = None
        self.viewer = None
        was_attached, self.attached = self.attached, False
        self._server.forget(self, was_attached=was_attached)

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
            if now - self._since > FAREWELL:
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


def _encoded(frame: Frame) -> bytes:
    return encode(Update(frame=frame))
