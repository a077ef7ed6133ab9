"""Moves of waiting tasks by hand: top, bottom, one place up or down.

A move is a persisted manual term in the score, so an explanation still adds up. Where equals stand in the way, their manual terms are
raised by `STEP` as well, no more of them than needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from .entry import Entry
from .scheduler import Scheduler

STEP = 0.01
"""Score points by which a moved task passes the next one."""
NOW = 1000.0
"""Score points above the best by which a task that is to run now passes all."""
Where = Literal["top", "bottom", "up", "down", "now"]
Previous = dict[str, tuple[float, float]]
"""Id -> (priority, manual) as they were before."""


def reprioritise(scheduler: Scheduler, entries: Iterable[Entry], priority: float | None, delta: float) -> Previous:
    """Set or change the priority, kept between 100 and 400."""
    previous: Previous = {}
    for entry in entries:
        target = (entry.priority if priority is None else priority) + delta
        target = min(400.0, max(100.0, target))
        previous[entry.id] = (entry.priority, entry.manual)
        scheduler.reorder(entry, target, entry.manual)
    return previous


def restore_order(scheduler: Scheduler, values: Previous) -> Previous:
    """Set priority and manual term as they were; ids that are unknown or have ended are left out."""
    previous: Previous = {}
    for task_id, (priority, manual) in values.items():
        entry = scheduler.ledger.by_id.get(task_id)
        if entry is not None and entry.worker is None:
            previous[task_id] = (entry.priority, entry.manual)
            scheduler.reorder(entry, priority, manual)
    return previous


def move(scheduler: Scheduler, entries: Sequence[Entry], where: Where) -> Previous:
    """Move tasks, together and in the order that they have among themselves."""
    previous: Previous = {}
    if not entries:
        return previous
    order = [scheduler.ledger.entries[key] for key in scheduler.queue.ordered()]
    if where in ("top", "now"):
        _to_top(scheduler, entries, order, NOW if where == "now" else STEP, previous)
    elif where == "bottom":
        _to_bottom(scheduler, entries, order, previous)
    else:
        _one_place(
            scheduler, [entry for entry in entries if entry.key in scheduler.queue], order, where == "up", previous
        )
    return previous


def _base(entry: Entry) -> float:
    return entry.scored.base()


def _set_base(scheduler: Scheduler, entry: Entry, base: float, previous: Previous) -> None:
    previous.setdefault(entry.id, (entry.priority, entry.manual))
    scheduler.reorder(entry, entry.priority, entry.manual + base - _base(entry))


def _to_top(
    scheduler: Scheduler, entries: Sequence[Entry], order: Sequence[Entry], margin: float, previous: Previous
) -> None:
    moved = {entry.key for entry in entries}
    others = [_base(entry) for entry in order if entry.key not in moved]
    base = max([*others, *(_base(entry) for entry in entries)]) + margin
    for entry in reversed(_in_order(entries)):
        _set_base(scheduler, entry, base, previous)
        base += STEP


def _to_bottom(scheduler: Scheduler, entries: Sequence[Entry], order: Sequence[Entry], previous: Previous) -> None:
    moved = {entry.key for entry in entries}
    others = [_base(entry) for entry in order if entry.key not in moved]
    base = min([*others, *(_base(entry) for entry in entries)])
    for entry in _in_order(entries):
        base -= STEP
        _set_base(scheduler, entry, base, previous)


def _one_place(
    scheduler: Scheduler, entries: Sequence[Entry], order: list[Entry], up: bool, previous: Previous
) -> None:
    """Swap each task with its neighbour; a block of them moves as one."""
    step = -1 if up else 1
    moved = {entry.key for entry in entries}
    places = [place for place, entry in enumerate(order) if entry.key in moved]
    for place in places if up else reversed(places):
        other = place + step
        if 0 <= other < len(order) and order[other].key not in moved:
            order[place], order[other] = order[other], order[place]
            _repair_upwards(scheduler, order, max(place, other), previous)


def _repair_upwards(scheduler: Scheduler, order: Sequence[Entry], start: int, previous: Previous) -> None:
    """Raise what stands above `start` until each task really ranks before the next."""
    for place in range(start - 1, -1, -1):
        above, below = order[place], order[place + 1]
        ahead = (-_base(above), above.key) < (-_base(below), below.key)
        if ahead:
            break
        _set_base(scheduler, above, _base(below) + STEP, previous)


def _in_order(entries: Iterable[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: (-_base(entry), entry.key))
