"""``logs``: what a task has printed."""

from __future__ import annotations

import asyncio

import click

from engine.errors import CommandRefusedError
from engine.foreground import reach
from engine.session.interface import Session
from engine.session.log_text import LogFollower, printed_lines
from engine.session.protocol import FindLog, View
from engine.tasks.lifecycle import FINAL

from .asking import say, say_aside
from .options import Place, place_options

_FOLLOW_SECONDS = 0.25
_FINAL = frozenset(state.value for state in FINAL)


@click.command()
@click.argument("task_id", metavar="ID")
@click.option("-f", "--follow", is_flag=True, help="Go on while the task runs.")
@click.option("--attempt", type=click.IntRange(min=1), help="An earlier attempt (default: the last one).")
@place_options
def logs(task_id: str, follow: bool, attempt: int | None, place: Place) -> int:
    r"""Print what a task has printed, with everything removed that could drive a terminal.

    \b
      mi4-tui logs build
      mi4-tui logs build --attempt 1
      mi4-tui logs -f build
    """
    return asyncio.run(_logs(place, task_id, attempt, follow=follow))


async def _logs(place: Place, task_id: str, attempt: int | None, *, follow: bool) -> int:
    view = View(workers=None) if follow else None
    async with reach(place.request(), view=view) as reached:
        reply = await reached.session.ask(FindLog(id=task_id, attempt=attempt))
        if not reply.ok:
            raise CommandRefusedError(reply.message or None)
        if follow and reached.live and reply.data.get("state") not in _FINAL:
            return await _follow(reached.session, task_id, attempt)
        found = False
        async for lines in printed_lines(reply):
            found = found or bool(lines)
            say(lines)
        if not found and reached.live and reply.data.get("state") not in _FINAL:
            say_aside(f"nothing is stored yet; 'mi4-tui logs -f {task_id}' follows what it prints")
    return 0


async def _follow(session: Session, task_id: str, attempt: int | None) -> int:
    """Print what comes until the task has ended. Small output is only in the worker until then: its tail is shown meanwhile."""
    follower, printer, shown = LogFollower(), _Printer(), attempt
    while True:
        reply = await session.ask(FindLog(id=task_id, attempt=attempt))
        if reply.data.get("attempt") != shown:  # a retry has begun: its output is another file
            follower, printer, shown = LogFollower(), _Printer(), reply.data.get("attempt")
        over = not reply.ok or reply.data.get("state") in _FINAL
        path = reply.data.get("path") or ""
        async for lines in follower.read(path) if path else printed_lines(reply):
            printer.stored(lines)
        if over:
            printer.stored(follower.cutter.end())
            return 0
        if not printer.seen:
            printer.tail(session, task_id)
        await asyncio.sleep(_FOLLOW_SECONDS)


class _Printer:
    """Prints each line once, whether it was first seen in a worker's tail or in the stored output.

    State: lines that were printed, and lines of the stored output that were seen.
    """

    def __init__(self) -> None:
        self.seen = 0
        self._printed = 0

    def stored(self, lines: list[str]) -> None:
        """The next lines of the stored output."""
        fresh = lines[max(0, self._printed - self.seen) :]
        self.seen += len(lines)
        self._printed = max(self._printed, self.seen)
        say(fresh)

    def tail(self, session: Session, task_id: str) -> None:
        """What the worker's summary shows of the output so far."""
        for worker in session.projection.workers.values():
            if worker.task_id != task_id or worker.summary is None:
                continue
            fresh = worker.summary.lines - self._printed
            if fresh > 0:
                say(worker.summary.tail[-fresh:])
                self._printed = worker.summary.lines
