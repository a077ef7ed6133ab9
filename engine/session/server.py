"""The engine's side of the session socket: frames out, commands in.

Clients cannot slow or break the engine. A frame is built only for a client whose last one has left (what it missed is in the next);
equal frames are encoded once; a client that sends what does not fit the protocol is dropped; one that does not read its answers is no
longer read from. `SessionServer.tick` decides and sends without waiting; the timer around it is all that runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from ..clock import Clock
from ..events.projection import Frame, Projection, Viewer
from .connection import Connection
from .local import Handler, answer
from .protocol import MAX_FRAMES_PER_SECOND, Ask, Update
from .socket_path import listen, remove
from .wire import encode

_log = logging.getLogger("mi4.engine.session.server")

MAX_CLIENTS = 64
FAREWELL = 1.0
"""Seconds that clients have to read the last frame when the engine ends."""


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
        self.farewell = FAREWELL
        """Seconds that a client has to leave after it was told good-bye."""
        self._handle = handle
        self._connections: set[Connection] = set()
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
        self._listener = await loop.create_unix_server(lambda: Connection(self), sock=server_socket)
        self._group = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._group.create_task(self._tick_until_closed(), name="session server")

    async def aclose(self, reason: str = "the engine ended") -> None:
        """Send every client what is left and the reason, then end. May be called twice.

        Commands under way have `farewell` seconds to end before they are cancelled.
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

    def admit(self, connection: Connection) -> str:
        """Take in a connection; returns the reason why it is to leave again, or nothing."""
        others = len(self._connections)
        self._connections.add(connection)
        self._stirred.set()
        if self._closing:
            return "the engine is ending"
        return f"{MAX_CLIENTS} clients are attached already" if others >= MAX_CLIENTS else ""

    def forget(self, connection: Connection) -> None:
        """A connection is over."""
        self._connections.discard(connection)
        self._stirred.set()

    def attached(self, connection: Connection) -> None:
        """A connection said what it looks at: it gets its first frame at once."""
        self._send_frames([connection])
        self.clients_changed()

    def clients_changed(self) -> None:
        """Tell whoever wants to know how many clients there are."""
        if self.on_clients_changed is None:
            return
        try:
            self.on_clients_changed(self.clients)
        except Exception:  # noqa: BLE001 - the listener's fault must not cost the client its connection
            _log.exception("the number of clients could not be told")

    def carry_out(self, connection: Connection, ask: Ask) -> bool:
        """Begin a command of a client, which goes on if the client leaves; whether it was begun."""
        if self._group is None or self._closing:
            return False
        name = f"command {type(ask.command).__name__}"
        task = self._group.create_task(self._answer(connection, ask), name=name)
        self._commands.add(task)
        task.add_done_callback(self._command_ended)
        return True

    async def _answer(self, connection: Connection, ask: Ask) -> None:
        reply = await answer(self._handle, ask.command)
        try:
            connection.answer(ask.number, reply)
        except Exception:  # noqa: BLE001 - as in the timer: this task belongs to the engine's group
            _log.exception("an answer could not be sent")
            connection.abort()

    def _command_ended(self, task: asyncio.Task[None]) -> None:
        self._commands.discard(task)
        self._stirred.set()

    # Frames.

    def _send_frames(self, connections: Iterable[Connection], *, force: bool = False) -> None:
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
            async with asyncio.timeout(self.farewell):
                while not condition():
                    self._stirred.clear()
                    await self._stirred.wait()


def _encoded(frame: Frame) -> bytes:
    return encode(Update(frame=frame))
