"""CPU time and memory of a process and everything below it."""

from __future__ import annotations

from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Usage:
    """One measurement of a tree of processes."""

    cpu_seconds: float
    """User and system time of the living ones and of all that they have reaped: never goes back while the root lives."""
    rss: int
    """Resident bytes, added up."""
    root_rss: int
    processes: int


def measure_tree(pid: int) -> Usage | None:
    """The present use of the tree below `pid`, itself included; None when it is gone or may not be looked at."""
    try:
        root = psutil.Process(pid)
        tree = [root, *root.children(recursive=True)]
    except psutil.Error:
        return None
    cpu, rss, root_rss, processes = 0.0, 0, 0, 0
    for process in tree:
        try:
            with process.oneshot():
                times, memory = process.cpu_times(), process.memory_info().rss
        except psutil.Error:
            continue  # it ended in between; whoever reaps it inherits its times
        cpu += times.user + times.system + times.children_user + times.children_system
        rss += memory
        processes += 1
        if process is root:
            root_rss = memory
    return Usage(cpu, rss, root_rss, processes)
