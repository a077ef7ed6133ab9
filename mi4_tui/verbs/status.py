"""``status``: what runs, waits and has ended, once or again and again."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from typing import Any

import click

from engine.events.projection import Projection, TaskRow
from engine.foreground import Reached, reach
from engine.plain import seconds
from engine.session.protocol import View
from engine.tasks.model import State

from .asking import say, say_json
from .options import Place, json_option, place_options

_WATCH_SECONDS = 1.0
_MOST_ROWS = 20
"""Tasks that the short form lists in each group."""
_SHOWN = ("running", "cancelling", "leased", "failed", "timed_out", "held", "backoff", "queued", "pending")
"""States whose tasks the short form lists, in that order; the others are only counted."""
_CLEAR = "\x1b[H\x1b[J"


@click.command()
@click.option("--watch", is_flag=True, help="Again every second, until the engine ends or Ctrl-C.")
@click.option("--plain", is_flag=True, help="All tasks, one a line, separated by tabs, for other programs.")
@json_option
@place_options
def status(watch: bool, plain: bool, place: Place, as_json: bool) -> int:
    r"""Show what runs, waits and has ended; of a running engine, else of the stored state.

    Columns of --plain: id, state, attempt, seconds, worker, error.

    \b
      mi4-tui status
      mi4-tui status --json | jq .counts
    """
    return asyncio.run(_status(place, watch=watch, plain=plain, as_json=as_json))


async def _status(place: Place, *, watch: bool, plain: bool, as_json: bool) -> int:
    async with reach(place.request(), view=View(workers=None if as_json else ())) as reached:
        session = reached.session
        clear = watch and not (plain or as_json) and sys.stdout.isatty()
        _show(reached, plain=plain, as_json=as_json, clear=clear)
        while watch and reached.live and session.connected:
            await asyncio.sleep(_WATCH_SECONDS)
            _show(reached, plain=plain, as_json=as_json, clear=clear)
    return 0


def _show(reached: Reached, *, plain: bool, as_json: bool, clear: bool) -> None:
    projection, now = reached.session.projection, reached.session.now()
    if clear:
        sys.stdout.write(_CLEAR)
    if as_json:
        say_json(status_record(projection, live=reached.live, now=now))
    elif plain:
        say([plain_line(row, now) for row in projection.rows.values()])
    else:
        say(status_lines(projection, live=reached.live, now=now))


def status_record(projection: Projection, *, live: bool, now: float) -> dict[str, Any]:
    """Everything, as ``--json`` has it."""
    return {
        "live": live,
        "time": now,
        "run": projection.run,
        "counts": projection.counts,
        "workers": list(projection.workers.values()),
        "tasks": list(projection.rows.values()),
    }


def plain_line(row: TaskRow, now: float) -> str:
    """One task for other programs."""
    took = f"{age(row, now):.3f}"
    cells = (row.id, row.state, str(row.attempt), took, row.worker, row.error)
    return "\t".join(cell.replace("\t", " ") for cell in cells)


def age(row: TaskRow, now: float) -> float:
    """Seconds that the task has run, or ran."""
    running = row.started_at is not None and row.finished_at is None and row.state in ("running", "cancelling")
    return max(0.0, now - (row.started_at or now)) if running else row.duration_s


def status_lines(projection: Projection, *, live: bool, now: float) -> list[str]:
    """The short form."""
    return [_run_line(projection, live=live), _counts_line(projection.counts), *_task_lines(projection, now)]


def _run_line(projection: Projection, *, live: bool) -> str:
    run = projection.run
    if not live:
        return "no engine works here; this is the stored state"
    paused = f" ({run.paused_reason})" if run.paused_reason else ""
    trouble = f"; {run.trouble}" if run.trouble else ""
    return f"engine {run.pid} {run.state}{paused}, {run.workers} worker{'s' if run.workers != 1 else ''}{trouble}"


def _counts_line(counts: dict[str, int]) -> str:
    parts = [f"{counts[state]} {state.value.replace('_', ' ')}" for state in State if counts.get(state)]
    cached = f" ({counts['cached']} cached)" if counts.get("cached") else ""
    return f"{counts.get('total', 0)} tasks: {', '.join(parts) or 'none'}{cached}"


def _task_lines(projection: Projection, now: float) -> Iterable[str]:
    groups: dict[str, list[TaskRow]] = {state: [] for state in _SHOWN}
    for row in projection.rows.values():
        if row.state in groups:
            groups[row.state].append(row)
    for state, rows in groups.items():
        rows.sort(key=lambda row: -row.score_base)
        yield from (_task_line(row, now) for row in rows[:_MOST_ROWS])
        if len(rows) > _MOST_ROWS:
            yield f"  ... and {len(rows) - _MOST_ROWS} more {state}; --plain lists all"


def _task_line(row: TaskRow, now: float) -> str:
    took = age(row, now)
    detail = row.error or row.progress or row.last_line or row.title
    waits = f"waits for {', '.join(row.waits_for[:5])}" if row.waits_for else ""
    cells = (f"  {row.state:<10} {row.id}", row.worker, seconds(took) if took else "", waits or detail[:100])
    return "  ".join(cell for cell in cells if cell)
