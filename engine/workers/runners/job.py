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


class Job(Protocol):
    """One piece of work under way. The host polls its descriptors and calls `ready`."""

    output: int
    """Descriptor of the pipe with all it prints, not blocking; -1 when there is none."""
    watched: tuple[int, ...]
    """Descriptors that become readable when `ready` should be called."""
    group: int
    """Process group that the kill ladder signals; 0 when there is no process."""

    def ready(self, now: float) -> Outcome | None:
        """A watched descriptor is readable or `due` is reached: how it ended, or None when it goes on.

        `watched` may be shorter afterwards. Called until it gives an outcome.
        """
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
