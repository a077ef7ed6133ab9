"""The run without the app: a progress bar on a terminal, plain lines or JSON everywhere else."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, TextIO, cast

from engine.clock import SYSTEM_CLOCK, Clock
from engine.events.events import Event, RunFinished
from engine.events.projection import Projection
from engine.foreground import plan_run, run_foreground
from engine.plain import JsonReporter, Outlet, PlainReporter, Write, plan_lines, seconds
from engine.session.launch import RunRequest
from engine.tasks.model import State

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

_BUSY = (State.LEASED, State.RUNNING, State.CANCELLING)
_FINAL = (State.SUCCEEDED, State.FAILED, State.TIMED_OUT, State.CANCELLED, State.SKIPPED)
_FAILED = (State.FAILED, State.TIMED_OUT)
_EARLY = 2.0
"""Seconds before a rate is worth showing."""
_REFRESH_HZ = 4.0


def run_headless(request: RunRequest, *, as_json: bool, quiet: bool, verbose: bool, implied: bool = False) -> int:
    """Run until nothing is left to run; returns the exit status, 74 where stdout could not take the results.

    `implied` is whether nobody asked for it: then a line on stderr says so. Raises the `EngineError` that keeps it from starting.
    """
    write, tell = Outlet(sys.stdout), Outlet(sys.stderr)
    greeting = "not on a terminal, so running without the app, as with --no-ui" if implied else ""
    reporter: PlainReporter
    if as_json:
        reporter = JsonReporter(write, tell, quiet=quiet, verbose=verbose)
    elif sys.stderr.isatty() and not quiet:
        with BarReporter(write, verbose=verbose, greeting=greeting, same_terminal=sys.stdout.isatty()) as bar:
            code = asyncio.run(run_foreground(request, bar))
            return _with_trouble(code, write, bar.tell)
    else:
        reporter = PlainReporter(write, tell, quiet=quiet, verbose=verbose, greeting=greeting)
    return _with_trouble(asyncio.run(run_foreground(request, reporter)), write, tell)


def _with_trouble(code: int, write: Outlet, tell: Write) -> int:
    """The exit status, given what became of stdout."""
    if not write.trouble:
        return code
    tell(f"mi4-tui: {write.trouble}")
    return max(code, 74)


def say_plan(request: RunRequest, *, as_json: bool) -> int:
    """Print what ``--dry-run`` prints; returns the exit status."""
    write = Outlet(sys.stdout)
    for line in plan_lines(plan_run(request), as_json=as_json):
        write(line)
    return 0


class Pace:
    """How fast tasks end, and when the rest will have. State, owned by this object: when the first look was, and at how many."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._first: tuple[float, int] | None = None

    def look(self, done: int, total: int) -> str:
        """A few words about rate and remaining time; the latter is a guess and is marked as one."""
        now = self._clock.monotonic()
        if self._first is None:
            self._first = (now, done)
        since, before = self._first
        elapsed, ended = now - since, done - before
        if elapsed < _EARLY or ended < 1:
            return ""
        rate = ended / elapsed
        speed = f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min"
        return f"{speed}  ETA ~{seconds((total - done) / rate)}" if total > done else speed


def progress_words(counts: dict[str, int], pace: Pace) -> tuple[int, int, str]:
    """Tasks that ended, all tasks, and the words beside the bar."""
    done = sum(counts.get(state, 0) for state in _FINAL)
    total = counts.get("total", 0)
    running = sum(counts.get(state, 0) for state in _BUSY)
    failed = sum(counts.get(state, 0) for state in _FAILED)
    words = [f"{done}/{total}", f"{running} running"]
    words += [f"{failed} failed"] if failed else []
    words += [speed] if (speed := pace.look(done, total)) else []
    return done, total, "  ".join(words)


class _Vanishing:
    """A terminal that may be closed at any time: what is written then goes nowhere, and the run goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write if somebody is there."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush if somebody is there."""
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class BarReporter(PlainReporter):
    """A progress bar on stderr with the result lines above it. State, owned by this object: the bar and the projection."""

    def __init__(
        self,
        write: Write,
        *,
        verbose: bool = False,
        greeting: str = "",
        same_terminal: bool = True,
        console: Console | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        from rich.console import Console as RichConsole  # noqa: PLC0415 - slow, and useless without a terminal
        from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415

        terminal = cast("TextIO", _Vanishing(sys.stderr))
        console = console or RichConsole(file=terminal, highlight=False, markup=False, emoji=False)
        self.tell = self._above(console)
        super().__init__(self.tell if same_terminal else write, self.tell, verbose=verbose, greeting=greeting)
        self._bar: Progress = Progress(
            BarColumn(bar_width=30),
            TextColumn("{task.description}", markup=False),
            console=console,
            transient=True,
            refresh_per_second=_REFRESH_HZ,
        )
        self._task = self._bar.add_task("starting", total=None)
        self._pace = Pace(clock)
        self._projection: Projection | None = None

    @staticmethod
    def _above(console: Console) -> Callable[[str], None]:
        """Writes lines above the bar, as they are: they have been sanitised and hold no markup."""

        def tell(line: str) -> None:
            console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)

        return tell

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begins(self, projection: Projection) -> None:
        """From here on there is something to count."""
        self._projection = projection
        super().begins(projection)

    def saw(self, events: Sequence[Event]) -> None:
        """Lines as without a bar, then the bar."""
        super().saw(events)
        self._move()

    def ends(self, finished: RunFinished) -> None:
        """Take the bar away, then the summary."""
        self._bar.stop()
        super().ends(finished)

    def _move(self) -> None:
        if self._projection is not None:
            done, total, words = progress_words(self._projection.counts, self._pace)
            self._bar.update(self._task, completed=done, total=total or None, description=words)
