"""What Ctrl-C, ``kill`` and a hang-up do to an engine."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class Stoppable(Protocol):
    """An engine, as far as signals care."""

    def drain(self) -> None:
        """Start nothing new; end once what runs has ended."""
        ...

    def cancel_all(self) -> None:
        """Stop what runs, too."""
        ...


class StopSignals:
    """Three signals, three steps: drain, cancel, leave at once.

    State, owned by this object: how many signals came, the exit status of the last, and the engine that they are for.
    """

    def __init__(self, note: Callable[[str], None], *, leave: Callable[[int], None] = os._exit) -> None:
        self._note = note
        self._leave = leave
        self._engine: Stoppable | None = None
        self._count = 0
        self.code: int | None = None
        """Exit status that the last signal asks for: 130 for INT, 143 for TERM and HUP; None without one."""

    def aim_at(self, engine: Stoppable) -> None:
        """From now on signals stop this engine; those that came while it started do so now."""
        self._engine = engine
        if self._count:
            engine.drain()
        if self._count > 1:
            engine.cancel_all()

    def receive(self, number: signal.Signals) -> None:
        """Take the next step."""
        self._count += 1
        self.code = 130 if number == signal.SIGINT else 143
        again = "Ctrl-C" if number == signal.SIGINT else number.name
        if self._count == 1:
            self._note(f"finishing what runs, starting nothing new; {again} again cancels it")
            if self._engine is not None:
                self._engine.drain()
        elif self._count == 2:
            self._note(f"cancelling what runs; {again} again leaves at once")
            if self._engine is not None:
                self._engine.cancel_all()
        else:
            self._leave(self.code)

    @contextmanager
    def installed(self) -> Iterator[StopSignals]:
        """Receive INT, TERM and HUP of this process; a signal that it was told to ignore (``nohup``, ``&``) stays ignored."""
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        heard = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
        for number in heard:
            loop.add_signal_handler(number, self.receive, number)
        try:
            yield self
        finally:
            for number in heard:
                loop.remove_signal_handler(number)
