"""``logs``: what a task has printed."""

from __future__ import annotations

import asyncio

import click

from engine.errors import CommandRefusedError
from engine.foreground import reach
from engine.session.interface import Session
from engine.session.log_text import printed_lines
from engine.session.protocol import FindLog, Reply, View
from engine.tasks.lifecycle import FINAL

from .asking import say, say_aside
from .options import Place, place_options

_FOLLOW_SECONDS = 0.25


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
        if follow and reached.live and reply.data.get("state") not in _final():
            return await _follow(reached.session, task_id, attempt)
        if reply.message:
            say_aside(reply.message)
        await _say_from(reply, 0)
    return 0


async def _follow(session: Session, task_id: str, attempt: int | None) -> int:
    """Print what comes until the task has ended; the beginning of small output is only in the worker, so its tail is shown first."""
    shown = 0
    while True:
        reply = await session.ask(FindLog(id=task_id, attempt=attempt))
        over = not reply.ok or reply.data.get("state") in _final() or not session.connected
        if reply.data.get("output") or reply.data.get("path"):
            shown = await _say_from(reply, shown)
        if not reply.data.get("path") or not shown:
            shown = _say_tail(session, task_id, shown)
        if over:
            return 0
        await asyncio.sleep(_FOLLOW_SECONDS)


def _say_tail(session: Session, task_id: str, shown: int) -> int:
    """Lines of the worker's tail that were not shown yet; returns how many lines have been."""
    for worker in session.projection.workers.values():
        if worker.task_id != task_id or worker.summary is None:
            continue
        fresh = worker.summary.lines - shown
        if fresh > 0:
            say(worker.summary.tail[-fresh:])
            return worker.summary.lines
    return shown


async def _say_from(reply: Reply, skip: int) -> int:
    """Print the lines behind the first `skip`; returns how many lines there are."""
    count = 0
    async for lines in printed_lines(reply):
        fresh = lines[max(0, skip - count) :]
        count += len(lines)
        say(fresh)
    return max(count, skip)


def _final() -> frozenset[str]:
    return frozenset(state.value for state in FINAL)
