"""Dependencies as a graph: what is missing, and what waits for itself."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from .model import Task
from .records import show

MAX_SHOWN = 12
"""Tasks of a long cycle that a message names."""
_HINT_LIMIT = 2_000
"""Ids up to which a near one is looked for: comparing a wrong id with 100,000 others takes a second."""


@dataclass(frozen=True, slots=True)
class GraphFault:
    """A dependency that cannot be met."""

    task_id: str
    message: str


def check_graph(tasks: Sequence[Task], known: Collection[str] = ()) -> list[GraphFault]:
    """Unknown and self dependencies, and each cycle once as a path; `known` are ids that exist besides `tasks`.

    Takes time in proportion to tasks and dependencies.
    """
    graph = {task.id: task.dependencies for task in tasks}
    faults = [
        GraphFault(task_id, _unknown(dependency, graph) if dependency != task_id else "the task depends on itself")
        for task_id, dependencies in graph.items()
        for dependency in dependencies
        if dependency == task_id or (dependency not in graph and dependency not in known)
    ]
    faults += [GraphFault(cycle[0], f"the tasks wait for each other: {_path(cycle)}") for cycle in _cycles(graph)]
    return faults


def _unknown(dependency: str, graph: dict[str, tuple[str, ...]]) -> str:
    near = difflib.get_close_matches(dependency, graph, n=1) if len(graph) <= _HINT_LIMIT else []
    hint = f"; did you mean {show(near[0])}?" if near else ""
    return f"depends on {show(dependency)}, which does not exist{hint}"


def _path(cycle: list[str]) -> str:
    names = [_plain(task_id) for task_id in cycle]
    if len(names) > MAX_SHOWN:
        names = [*names[: MAX_SHOWN - 1], f"... ({len(cycle) - MAX_SHOWN + 1:,} more)"]
    return " -> ".join([*names, _plain(cycle[0])])


def _plain(task_id: str) -> str:
    """The id itself where that is safe to print."""
    return task_id if task_id.isprintable() and len(task_id) <= 60 else show(task_id)


def _cycles(graph: dict[str, tuple[str, ...]]) -> Iterator[list[str]]:
    """Cycles without a common task, found by a walk in depth without recursion; a found cycle is taken out, the walk goes on."""
    finished: set[str] = set()
    for start, dependencies in graph.items():
        if start in finished or not dependencies:
            continue
        path: dict[str, Iterator[str]] = {start: iter(dependencies)}
        while path:
            here = next(reversed(path))
            step = next(path[here], None)
            if step is None:
                finished.add(here)
                del path[here]
            elif step in path and step != here:
                trail = list(path)
                cycle = trail[trail.index(step) :]
                yield cycle
                finished.update(cycle)
                for task_id in cycle:
                    del path[task_id]
            elif step in graph and step not in finished and step != here:
                path[step] = iter(graph[step])


def circles(graph: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """The groups of tasks that can never run because each waits, by whatever way, for all of its group; ids outside `graph` do not count.

    Tarjan's strongly connected components, without recursion; each in the order of `graph`.
    """
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    trail: list[str] = []
    on_trail: set[str] = set()
    found: list[list[str]] = []
    for start in graph:
        if start in order:
            continue
        order[start] = low[start] = len(order)
        trail.append(start)
        on_trail.add(start)
        path: list[tuple[str, Iterator[str]]] = [(start, iter(graph[start]))]
        while path:
            here, steps = path[-1]
            step = next(steps, None)
            if step is None:
                path.pop()
                if path:
                    above = path[-1][0]
                    low[above] = min(low[above], low[here])
                if low[here] == order[here]:
                    found.append(_component(here, trail, on_trail))
            elif step in order:
                if step in on_trail:
                    low[here] = min(low[here], order[step])
            elif step in graph:
                order[step] = low[step] = len(order)
                trail.append(step)
                on_trail.add(step)
                path.append((step, iter(graph[step])))
    return [sorted(group, key=order.__getitem__) for group in found if len(group) > 1 or group[0] in graph[group[0]]]


def _component(last: str, trail: list[str], on_trail: set[str]) -> list[str]:
    group: list[str] = []
    while not group or group[-1] != last:
        group.append(trail.pop())
    on_trail.difference_update(group)
    return group


def circle_path(graph: Mapping[str, Sequence[str]], group: Collection[str]) -> str:
    """One way through a group of `circles`, as ``a -> b -> a``."""
    members = set(group)
    inside = {task_id: tuple(step for step in graph[task_id] if step in members) for task_id in group}
    return _path(next(_cycles(inside), [*group]))
