"""What the host asks of any work under way, and how work ends."""

from __future__ import annotations

import signal
from typing import Any, Literal, Protocol

import msgspec

from ...tasks.model import Cause, Tokens


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended, before the host adds times and output; fields as in `AttemptResult`."""

    outcome: Literal["succeeded", "failed", "timed_out", "cancelled"]
    cause: str = ""
    error: str = ""
    retryable: bool = True
    exit_code: int | None = None
    value: Any = None
    tokens: Tokens | None = None
    began: float | None = None
    ended: float | None = None
    """Monotonic times, where somebody knows them better than the host."""


class Job(Protocol):
    """One piece of work under way. The host polls its descriptors and calls `ready`."""

    output: int
    """Descriptor of the pipe with all it prints, not blocking; -1 when there is none."""

    @property
    def watched(self) -> tuple[int, ...]:
        """Descriptors that become readable when `ready` should be called."""
        ...

    live: bool
    """Whether the output may be read while the job runs; it becomes true by `look`."""
    group: int
    """Process group that the kill ladder signals; 0 when there is no process."""

    def ready(self, now: float) -> Outcome | None:
        """A watched descriptor is readable or `due` is reached: how it ended, or None when it goes on.

        `watched` may be shorter afterwards. Called until it gives an outcome.
        """
        ...

    def read(self, limit: int) -> bytes:
        """Up to `limit` bytes of output; raises `BlockingIOError` when there are none now, and gives none at the end."""
        ...

    def look(self, now: float) -> Outcome | None:
        """It has run for a moment and is not `live`: how it ended, or None; then it is live."""
        ...

    def hold(self) -> None:
        """It will be stopped: what stands behind it in the same process must not begin."""
        ...

    def has_begun(self) -> bool:
        """Whether it has had an effect."""
        ...

    def due(self) -> float | None:
        """Monotonic time of the next call of `ready` that no descriptor announces."""
        ...

    def abort(self) -> Outcome | None:
        """Stop work that has no process at once; None when there is a process, which the ladder ends."""
        ...

    def close(self) -> None:
        """Give back what it holds; after its end."""
        ...


def start_failed(error: str, *, retryable: bool = False) -> Outcome:
    """The outcome of work that could not be started."""
    return Outcome(outcome="failed", cause=Cause.START_FAILED.value, error=error, retryable=retryable)


def exit_code(status: int) -> int:
    """A wait status as a shell reports it: the exit status, or 128 + n for signal n."""
    return 128 + (status & 0x7F) if status & 0x7F else status >> 8


def describe_status(status: int) -> str:
    """Words for a wait status."""
    number = status & 0x7F
    if number:
        return f"killed by {signal_name(number)}"
    code = status >> 8
    if 128 < code <= 128 + 64:
        return f"exit status {code} (a program that it ran was killed by {signal_name(code - 128)})"
    return f"exit status {code}"


def signal_name(number: int) -> str:
    """``SIGSEGV``; for SIGKILL with the usual reason."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    return f"{name} (perhaps out of memory)" if number == signal.SIGKILL else name
