"""Time is an argument: this is the only module that reads a clock.

Durations and deadlines use ``monotonic`` (it never jumps); ``time`` is for what people see and for what must survive a restart.
"""

from __future__ import annotations

import time as _time
from typing import Protocol


class Clock(Protocol):
    """What the engine asks of time."""

    def time(self) -> float:
        """Seconds since the epoch; may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary point; never goes back."""
        ...


class SystemClock:
    """The clocks of the machine."""

    def time(self) -> float:
        """Seconds since the epoch."""
        return _time.time()

    def monotonic(self) -> float:
        """Seconds since an arbitrary point."""
        return _time.monotonic()


SYSTEM_CLOCK = SystemClock()
"""The one real clock; pass another to test time."""
