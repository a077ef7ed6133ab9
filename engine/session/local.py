"""The session of a viewer that lives in the engine's own process: no socket, no copy."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from ..clock import Clock
from ..errors import EngineError, SessionLostError
from ..events.bus import EventBus, Subscription
from ..events.events import Event, ViewChanged
from ..events.projection import Projection
from .protocol import MAX_FRAMES_PER_SECOND, AnyCommand, Reply, View

_log = logging.getLogger("mi4.engine.session.local")

Handler = Callable[[AnyCommand], Awaitable[Reply]]
"""Carries out a command; what it refuses it may raise as an `EngineError`."""


async def answer(handle: Handler, command: AnyCommand) -> Reply:
    """The reply of `handle`, also where it raises: a refusal keeps its sentence, a fault is logged and told in one line."""
    try:
        return await handle(command)
    except EngineError as error:
        return Reply(ok=False, message=str(error))
    except Exception:  # noqa: BLE001 - a fault in one command must not end the engine
        name = type(command).__name__
        _log.exception("the command %s failed", name)
        return Reply(ok=False, message=f"the engine could not carry out {name}; its log says why")


class LocalSession:
    """A `Session` on the projection itself.

    As an async context manager it tells its subscribers ten times a second what changed; `tick` does so at once. Beside `ViewChanged`
    its subscriptions carry every event of the engine.
    """

    # Mutable state, owned by the loop thread: the version that viewers were told of, their subscriptions, whether it is closed.

    def __init__(self, projection: Projection, bus: EventBus, handle: Handler, clock: Clock) -> None:
        self.projection = projection
        self.connected = True
        self.view = View()
        """What is looked at; nothing is copied here, so it bounds nothing."""
        self._bus = bus
        self._handle = handle
        self._clock = clock
        self._known = projection.version
        self._subscriptions: list[Subscription] = []
        self._stack = contextlib.AsyncExitStack()
        self._closed = asyncio.Event()

    def now(self) -> float:
        """The engine's time (seconds since the epoch)."""
        return self._clock.time()

    def subscribe(self, *, maxsize: int = 1000) -> Subscription:
        """Every event of the engine from now on, and what changed in the projection."""
        source = self._bus.subscribe(maxsize=maxsize)
        self._subscriptions.append(source)
        if self._closed.is_set():
            source.close()
        return source

    def look(self, view: View) -> None:
        """Note what is looked at."""
        self.view = view

    def tick(self) -> None:
        """Tell subscribers what changed since the last time; costs nothing where there are none."""
        self._subscriptions = [subscription for subscription in self._subscriptions if not subscription.closed]
        if not self._subscriptions:
            self._known = self.projection.version
            return
        changed, self._known = self.projection.changes(self._known, self.now())
        if changed is not None:
            self._tell(changed)

    async def ask(self, command: AnyCommand) -> Reply:
        """Carry out a command; raises `SessionLostError` once the session is closed."""
        if not self.connected:
            raise SessionLostError("this session is closed")
        return await answer(self._handle, command)

    async def aclose(self) -> None:
        """End all subscriptions. May be called twice."""
        if not self._closed.is_set():
            self.tick()
        self._lose()
        self._closed.set()
        for subscription in self._subscriptions:
            subscription.close()
        await self._stack.aclose()

    async def __aenter__(self) -> Self:
        group = await self._stack.enter_async_context(asyncio.TaskGroup())
        group.create_task(self._tick_until_closed(), name="session ticker")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _tell(self, event: Event) -> None:
        for subscription in self._subscriptions:
            subscription.offer((event,))

    def _lose(self) -> None:
        """From here on nothing can be asked."""
        if self.connected:
            self.connected = False
            self._tell(ViewChanged(seq=self.projection.seq, time=self.now(), parts=("connection",)))

    async def _tick_until_closed(self) -> None:
        while not self._closed.is_set():
            self.tick()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1 / MAX_FRAMES_PER_SECOND):
                    await self._closed.wait()
