"""The session of a viewer in another process: a copy of the projection that frames keep up to date, and commands over a socket."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import msgspec

from ..clock import SYSTEM_CLOCK, Clock
from ..errors import ProtocolError, SessionLostError
from ..events.bus import EventBus, Subscription
from ..events.events import FindingsChanged, RunFinished, ViewChanged
from ..events.projection import Frame, Projection
from .lock import read_lock
from .protocol import Answer, AnyCommand, Ask, Attach, FromClient, Goodbye, Reply, SetView, Update, View
from .socket_path import Peer, is_ours, peer_of
from .wire import FrameSplitter, decode_from_server, encode

_log = logging.getLogger("mi4.engine.session.client")

ANSWERS_WITHIN = 10.0
"""Seconds that an engine may take to answer `attach`."""
_LOST = "the connection to the engine ended"


class Client:
    """A `Session` over a socket; made by `attach`.

    Its subscriptions carry `ViewChanged`, and `FindingsChanged` and `RunFinished` when a frame brings them. When the engine ends,
    `connected` turns False, `lost_because` says why, and the projection stays as it was.
    """

    # Mutable state, owned by the loop thread: the connection, the commands that wait for an answer, what the last frame told.

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self.projection = Projection()
        self.connected = False
        self.lost_because = ""
        """What the engine said when it left, or how the connection broke; empty while connected."""
        self._clock = clock
        self._bus = EventBus(clock)
        self._connection: _Connection | None = None
        self._closed = False
        self._settled = asyncio.Event()
        self._answers: dict[int, asyncio.Future[Reply]] = {}
        self._asked = 0
        self._finished: dict[str, Any] | None = None
        self._engine_time: float | None = None
        self._told_at = 0.0

    async def connect(self, path: Path, view: View | None) -> None:
        """Attach to the engine that listens at `path`; returns when the projection is complete. Raises `SessionLostError`.

        Without a view no projection is sent: the client is good for commands only.
        """
        loop = asyncio.get_running_loop()
        connection = _Connection(self)
        try:
            await loop.create_unix_connection(lambda: connection, str(path))
        except OSError as error:
            raise SessionLostError(f"no engine answers at {path}: {error.strerror or error}") from error
        if not is_ours(connection.peer):
            connection.abort()
            raise SessionLostError(f"the engine at {path} belongs to another user")
        self._connection = connection
        self.connected = True
        self._send(Attach(view=view))
        if view is None:
            self._settled.set()
        await self._settled.wait()
        if not self.connected:
            raise SessionLostError(self.lost_because)

    def now(self) -> float:
        """The engine's time: that of its last frame and what has passed here since; own time before the first frame."""
        if self._engine_time is None:
            return self._clock.time()
        return self._engine_time + self._clock.monotonic() - self._told_at

    def subscribe(self, *, maxsize: int = 1000) -> Subscription:
        """Events from now on; ended at once when the client is closed."""
        subscription = self._bus.subscribe(maxsize=maxsize)
        if self._closed:
            subscription.close()
        return subscription

    def look(self, view: View) -> None:
        """Say what is looked at; does nothing when the engine is gone."""
        self._send(SetView(view=view))

    async def ask(self, command: AnyCommand) -> Reply:
        """Carry out a command. Waits for as long as the engine takes; raises `SessionLostError` when the connection ends."""
        if not self.connected:
            raise SessionLostError(self.lost_because or _LOST)
        self._asked += 1
        number = self._asked
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            self._send(Ask(number=number, command=command))
            return await answer
        finally:
            self._answers.pop(number, None)

    async def aclose(self) -> None:
        """Leave the engine and end all subscriptions. May be called twice."""
        self._closed = True
        if self._connection is not None:
            self._connection.close()
        self.lose("this session is closed")
        self._bus.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<Client {'connected' if self.connected else 'lost'}, {self.projection!r}>"

    # What the connection tells.

    def receive(self, body: bytes) -> None:
        """Take in one message of the engine; raises `ProtocolError`."""
        message = decode_from_server(body)
        if isinstance(message, Update):
            self._show(message.frame)
        elif isinstance(message, Answer):
            answer = self._answers.get(message.number)
            if answer is not None and not answer.done():
                answer.set_result(message.reply)
        else:
            self._leave(message)

    def lose(self, reason: str) -> None:
        """The connection is over; only the first call counts."""
        if not self.connected:
            return
        self.connected = False
        self.lost_because = reason
        self._settled.set()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(SessionLostError(reason))
        self._bus.publish(ViewChanged(parts=("connection",)))

    def _leave(self, message: Goodbye) -> None:
        self.lose(message.reason)
        if self._connection is not None:
            self._connection.close()

    def _show(self, frame: Frame) -> None:
        self._engine_time = frame.time
        self._told_at = self._clock.monotonic()
        changed = self.projection.apply_frame(frame)
        if changed.parts or changed.everything:
            self._bus.publish(changed)
        if frame.findings is not None and (frame.findings or not frame.full):
            self._bus.publish(FindingsChanged(findings=tuple(frame.findings)))
        if frame.run is not None:
            self._follow_run(frame.run.finished)
        if not frame.more:
            self._settled.set()

    def _follow_run(self, finished: dict[str, Any] | None) -> None:
        before, self._finished = self._finished, finished
        if finished is not None and finished != before:
            self._bus.publish(msgspec.convert(finished, RunFinished))

    def _send(self, message: FromClient) -> None:
        if self.connected and self._connection is not None:
            self._connection.write(encode(message))


class _Connection(asyncio.Protocol):
    """The socket of a client. Everything here is called by the loop and returns at once."""

    # Mutable state, owned by the loop thread.

    def __init__(self, client: Client) -> None:
        self.peer: Peer | None = None
        self._client = client
        self._splitter = FrameSplitter()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.peer = peer_of(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        try:
            for body in self._splitter.feed(data):
                self._client.receive(body)
        except (ProtocolError, msgspec.ValidationError) as error:
            _log.warning("the engine is left: %s", error)
            self._client.lose(f"the engine and this program do not understand each other: {error}")
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._client.lose(_LOST if exc is None else f"{_LOST}: {exc}")

    def write(self, body: bytes) -> None:
        """Queue bytes for the engine."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(body)

    def close(self) -> None:
        """Close; what the engine does not take at once is not waited for."""
        if self._transport is not None:
            if self._transport.get_write_buffer_size():
                self._transport.abort()
            else:
                self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()


async def attach(folder: Path, view: View | None = View(), *, clock: Clock = SYSTEM_CLOCK) -> Client:  # noqa: B008 - frozen
    """Attach to the engine that runs on this state folder. Raises `SessionLostError` when none does, or none answers."""
    info = read_lock(folder)
    if info is None or not info.socket:
        raise SessionLostError(f"no engine runs on {folder}")
    client = Client(clock)
    try:
        async with asyncio.timeout(ANSWERS_WITHIN):
            await client.connect(Path(info.socket), view)
    except TimeoutError:
        await client.aclose()
        raise SessionLostError(f"the engine on {folder} (process {info.pid}) does not answer") from None
    return client
