"""What a viewer may ask of a running engine, whichever side of the socket it is on."""

from __future__ import annotations

from typing import Protocol

from ..events.bus import Subscription
from ..events.projection import Projection
from .protocol import AnyCommand, Reply, View


class Session(Protocol):
    """A running engine, seen by one viewer: `LocalSession` in the engine's own process, `Client` in any other."""

    @property
    def projection(self) -> Projection:
        """The picture of the run; read it, never change it."""
        ...

    @property
    def connected(self) -> bool:
        """Whether the engine can be reached. Once False it stays so, and the projection stands still."""
        ...

    def now(self) -> float:
        """The engine's time (seconds since the epoch), to reckon ages of what the projection shows."""
        ...

    def subscribe(self, *, maxsize: int = 1000) -> Subscription:
        """Events from now on: `ViewChanged` at most ten times a second, `FindingsChanged` and `RunFinished` in any case."""
        ...

    def look(self, view: View) -> None:
        """Say what is looked at, which bounds what is sent."""
        ...

    async def ask(self, command: AnyCommand) -> Reply:
        """Carry out a command; returns once its effect is durable. Raises `SessionLostError` when the engine cannot be reached."""
        ...

    async def aclose(self) -> None:
        """Leave; the engine goes on. Ends all subscriptions."""
        ...
