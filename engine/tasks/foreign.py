"""What becomes of the tasks of other programs' files once all files are read: the rules that are faults for a file of ours.

An id that is taken leaves the later task out. A dependency that nobody knows is told and no longer waited for. Tasks that wait for each
other are left out together, and only they. What waits for a task that was left out is held, because nobody can say whether it may run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import msgspec

from .graph import circle_path, circles
from .model import Task
from .reading import Reading
from .records import show


def refuse_doubles(readings: list[Reading]) -> None:
    """Leave out the foreign tasks whose id another task has: one of ours, or an earlier one."""
    taken = {task.id: reading.name for reading in readings if not reading.records.foreign for task in reading.tasks}
    for reading in readings:
        if not reading.records.foreign:
            continue
        doubles: dict[int, str] = {}
        for place, task in enumerate(reading.tasks):
            if task.id in taken:
                doubles[place] = f"the id {show(task.id)} is taken by {taken[task.id]}"
            taken.setdefault(task.id, reading.name)
        _leave_out(reading, doubles)


def settle_foreign(readings: list[Reading], known: Callable[[], Collection[str]]) -> None:
    """Make the dependencies of foreign tasks such that each can be met; `known` are ids that exist besides."""
    foreign = [reading for reading in readings if reading.records.foreign]
    if not foreign:
        return
    _break_circles(readings, foreign)
    there = {task.id for reading in readings for task in reading.tasks}
    refused = {name for reading in foreign for name in reading.refused} - there
    for reading in foreign:
        for place, task in enumerate(reading.tasks):
            unknown = [name for name in task.dependencies if name not in there]
            if unknown:
                reading.tasks[place] = _without(reading, place, task, unknown, refused, known)


def _without(
    reading: Reading,
    place: int,
    task: Task,
    unknown: Iterable[str],
    refused: set[str],
    known: Callable[[], Collection[str]],
) -> Task:
    """The task without the dependencies that are not there, and held where one of them was left out."""
    line = reading.line(reading.numbers[place])
    gone: set[str] = set()
    held = False
    for name in unknown:
        if name in refused:
            gone.add(name)
            held = True
            reading.warn(line, f"{show(task.id)} is held: it waits for {show(name)}, which is left out")
        elif name not in known():
            gone.add(name)
            reading.unmet.append((task.id, name))
            reading.warn(line, f"{show(task.id)} depends on {show(name)}, which is in no file; it does not wait for it")
    rest = tuple(name for name in task.dependencies if name not in gone)
    return msgspec.structs.replace(task, dependencies=rest, status="held" if held else task.status)


def _break_circles(readings: list[Reading], foreign: list[Reading]) -> None:
    graph = {task.id: task.dependencies for reading in readings for task in reading.tasks}
    whose = {task.id: reading for reading in foreign for task in reading.tasks}
    doomed: dict[str, str] = {}
    for group in circles(graph):
        owners = [whose[name] for name in group if name in whose]
        if owners:
            path = circle_path(graph, group)
            owners[0].cycles.append(path)
            doomed |= {name: f"the tasks wait for each other: {path}" for name in group if name in whose}
    if doomed:
        for reading in foreign:
            _leave_out(
                reading,
                {place: doomed[task.id] for place, task in enumerate(reading.tasks) if task.id in doomed},
                refuse=True,
            )


def _leave_out(reading: Reading, places: dict[int, str], *, refuse: bool = False) -> None:
    """Skip the tasks at these positions, each with its reason; with `refuse` what waits for them is held."""
    if not places:
        return
    for place, reason in places.items():
        task = reading.tasks[place]
        reading.skip(reading.line(reading.numbers[place]), f"task {show(task.id)}: {reason}")
        if refuse:
            reading.refused.add(task.id)
    kept = [place for place in range(len(reading.tasks)) if place not in places]
    reading.tasks[:] = [reading.tasks[place] for place in kept]
    reading.numbers[:] = [reading.numbers[place] for place in kept]
