"""The bus: carries events from the engine to whoever watches, and cannot be slowed or broken by them.

Two ways to watch. `EventBus.listen` is for parts of the engine that must see everything: they are called at once, in order, and one
that raises is detached and logged. `EventBus.subscribe` is for viewers: a bounded queue that drops its oldest events and counts them.
All of it belongs to the thread of the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self

import msgspec

from ..clock import Clock
from .events import Event, ViewChanged

_log = logging.getLogger("mi4.engine.events.bus")
_stamp = msgspec.structs.force_setattr

Listener = Callable[[Sequence[Event]], None]
"""Is called with the events of one `EventBus.publish`, in order; must not block."""

MAX_KEYS = 2_000
"""Keys in one `ViewChanged`; more are told by ``everything``."""


def merge_views(first: ViewChanged, second: ViewChanged) -> ViewChanged:
    """One `ViewChanged` that says what both say, with the stamp of the second."""
    keys = tuple(dict.fromkeys((*first.keys, *second.keys)))
    everything = first.everything or second.everything or len(keys) > MAX_KEYS
    parts = tuple(dict.fromkeys((*first.parts, *second.parts)))
    return ViewChanged(
        seq=second.seq, time=second.time, keys=() if everything else keys, parts=parts, everything=everything
    )


class Subscription:
    """A bounded queue of events for one consumer: ``async for event in subscription``, until it is closed.

    When it is full the oldest event is dropped and counted, for a viewer wants the present. `ViewChanged` is never dropped:
    unread ones are merged into one, which is handed out before other events.
    """

    # Mutable state, owned by the loop thread: the queue, the unread ViewChanged, whether it is closed.

    def __init__(self, maxsize: int, on_close: Callable[[Subscription], None] | None = None) -> None:
        if maxsize < 1:
            raise ValueError("maxsize must be at least 1")
        self.dropped = 0
        """Events that were dropped because nobody read them in time."""
        self.closed = False
        self._maxsize = maxsize
        self._events: deque[Event] = deque()
        self._view: ViewChanged | None = None
        self._wake = asyncio.Event()
        self._on_close = on_close

    def offer(self, events: Iterable[Event]) -> None:
        """Queue these events; never blocks and never raises."""
        if self.closed:
            return
        for event in events:
            if isinstance(event, ViewChanged):
                self._view = event if self._view is None else merge_views(self._view, event)
            else:
                self._events.append(event)
        over = len(self._events) - self._maxsize
        for _ in range(over):
            self._events.popleft()
        self.dropped += max(over, 0)
        self._wake.set()

    def take(self) -> list[Event]:
        """All events that wait, without waiting for one."""
        waiting: list[Event] = [] if self._view is None else [self._view]
        waiting += self._events
        self._view = None
        self._events.clear()
        return waiting

    def close(self) -> None:
        """End the subscription: what waits can still be read, then the iteration ends. May be called twice."""
        if not self.closed:
            self.closed = True
            if self._on_close is not None:
                self._on_close(self)
        self._wake.set()

    def __len__(self) -> int:
        return len(self._events) + (self._view is not None)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<Subscription {state}, {len(self)} waiting, {self.dropped} dropped>"

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        while True:
            view, self._view = self._view, None
            if view is not None:
                return view
            if self._events:
                return self._events.popleft()
            if self.closed:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class EventBus:
    """Stamps events and hands them to listeners and subscriptions; removing all of these changes no result."""

    # Mutable state, owned by the loop thread: the last sequence number, who watches, and batches published from within a listener.

    def __init__(self, clock: Clock) -> None:
        self.seq = 0
        """Sequence number of the last event."""
        self._clock = clock
        self._listeners: dict[int, tuple[str, Listener]] = {}
        self._listener_ids = 0
        self._subscriptions: list[Subscription] = []
        self._batches: deque[tuple[Event, ...]] = deque()
        self._delivering = False

    def publish(self, *events: Event) -> None:
        """Stamp the events with `seq` (and with `time`, unless they bring one) and hand them out; never raises or blocks.

        What a listener publishes while it is called is handed out after the present batch, so that all see one order.
        """
        if not events:
            return
        now = self._clock.time()
        for event in events:
            self.seq += 1
            _stamp(event, "seq", self.seq)
            if not event.time:
                _stamp(event, "time", now)
        self._batches.append(events)
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._batches:
                self._deliver(self._batches.popleft())
        finally:
            self._delivering = False

    def listen(self, callback: Listener, *, name: str) -> Callable[[], None]:
        """Call `callback` with every batch from now on; returns what ends that. `name` is for the log."""
        self._listener_ids += 1
        number = self._listener_ids
        self._listeners[number] = (name, callback)
        return lambda: self._forget(number)

    def subscribe(self, *, maxsize: int = 10_000) -> Subscription:
        """A queue of at most `maxsize` events from now on."""
        subscription = Subscription(maxsize, self._subscriptions.remove)
        self._subscriptions.append(subscription)
        return subscription

    def close(self) -> None:
        """End all subscriptions."""
        for subscription in list(self._subscriptions):
            subscription.close()

    @property
    def listeners(self) -> tuple[str, ...]:
        """Names of those that listen, in the order in which they are called."""
        return tuple(name for name, _ in self._listeners.values())

    def __repr__(self) -> str:
        return f"<EventBus seq={self.seq}, {len(self._listeners)} listeners, {len(self._subscriptions)} subscriptions>"

    def _forget(self, number: int) -> None:
        self._listeners.pop(number, None)

    def _deliver(self, events: tuple[Event, ...]) -> None:
        for number, (name, callback) in list(self._listeners.items()):
            if number not in self._listeners:
                continue
            try:
                callback(events)
            except Exception:  # noqa: BLE001 - whatever an observer does wrong must not reach the engine
                self._forget(number)
                _log.exception("the observer %s failed and is detached", name)
        for subscription in list(self._subscriptions):
            subscription.offer(events)
