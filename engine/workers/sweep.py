"""One rule for every process of ours: end and reap each descendant that is not below a child we know.

It rests on the process being a *sub-reaper* (`become_subreaper`): whatever a task leaves behind, in whatever session, hangs below
us sooner or later. Light on purpose: worker hosts and the zygote import it.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

_PR_SET_CHILD_SUBREAPER = 36
_prctl = ctypes.CDLL(None).prctl if sys.platform.startswith("linux") else None
"""Looked up once, here, so that forked hosts have it."""
_PASSES = 400
"""Passes of a sweep before it gives up on processes that even SIGKILL does not end (they sit in the kernel)."""
_LONGEST_PAUSE = 10
"""Milliseconds between two passes; the first pauses are shorter."""


class Entry(NamedTuple):
    """A line of the process table."""

    parent: int
    zombie: bool
    session: int


def become_subreaper() -> bool:
    """Adopt orphaned descendants of this process from now on; False where the system cannot do that."""
    return _prctl is not None and bool(_prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def process_table() -> dict[int, Entry]:
    """All processes by pid, from ``/proc``, or from ``ps`` where there is none."""
    if not Path("/proc/self/stat").exists():
        return _table_of_ps()
    table: dict[int, Entry] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 -- twice as fast as iterdir here, and a sweep is in the way of the next task
        if name.isdecimal() and (entry := read_entry(int(name))) is not None:
            table[int(name)] = entry
    return table


def read_entry(pid: int) -> Entry | None:
    """What ``/proc`` says about one process; None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 -- as above
            line = file.read()
    except OSError:
        return None
    # The name of the program may hold blanks and parentheses: what follows the last one is safe to split.
    state, parent, _group, session = line[line.rindex(b")") + 2 :].split(None, 4)[:4]
    return Entry(int(parent), state in b"ZX", int(session))


def _table_of_ps() -> dict[int, Entry]:
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat=,sess="], capture_output=True, check=False).stdout
    table: dict[int, Entry] = {}
    for line in listing.splitlines():
        pid, parent, state = line.split()[:3]
        table[int(pid)] = Entry(int(parent), state.startswith(b"Z"), 0)
    return table


def descendants(pid: int) -> list[int]:
    """Every process below `pid`, parents before their children; zombies are among them.

    Costs what is below, not what the machine runs, where the system tells a process's children (``CONFIG_PROC_CHILDREN``). Those
    that start or end just now may be missing: good for counting memory, not for killing.
    """
    found = [pid]
    try:
        for parent in found:
            found += _children(parent, must_know=parent == pid)
    except OSError:
        return below(pid, process_table(), frozenset())
    return found[1:]


def _children(pid: int, *, must_know: bool) -> list[int]:
    """What ``/proc`` says; of a process that is gone nothing, unless that must be known: then OSError."""
    children: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 -- see `process_table`
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:  # noqa: PTH123
                children += map(int, file.read().split())
    except OSError:
        if must_know:
            raise
    return children


def below(pid: int, table: dict[int, Entry], known: Iterable[int]) -> list[int]:
    """As `descendants`, by a table that is at hand, without the processes of `known` and all below those."""
    children: dict[int, list[int]] = {}
    for child, entry in table.items():
        children.setdefault(entry.parent, []).append(child)
    spared = set(known) | {pid}
    found: list[int] = []
    waiting = [pid]
    for parent in waiting:
        fresh = [child for child in children.get(parent, ()) if child not in spared]
        found += fresh
        waiting += fresh
    return found


def has_children() -> bool:
    """Whether this process has any child at all, dead or alive; reaps nothing and costs microseconds."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def reap(pid: int) -> int | None:
    """The wait status of a child that ended, reaped; None when it is not (any more) a dead child of ours. Never raises or waits."""
    try:
        ended, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return status if ended == pid else None


def kill(pid: int, number: int = signal.SIGKILL) -> bool:
    """Send a signal; False when the process is gone or not ours to signal. Never raises."""
    try:
        os.kill(pid, number)
    except OSError:
        return False
    return True


def sweep(known: Iterable[int] = (), *, only: Callable[[int], bool] | None = None) -> int:
    """End and reap every descendant of this process that is not one of `known` nor below one of them.

    With `only`, a process that it refuses is left alone unless its parent goes. Returns how many were still alive. It is done when
    nothing of that kind is left; it gives up after about four seconds on processes that SIGKILL does not end.
    """
    spared = set(known)
    killed: set[int] = set()
    for turn in range(_PASSES):
        if not spared and only is None and not has_children():
            break
        if not _sweep_once(spared, only, killed):
            break
        select.select([], [], [], min(turn, _LONGEST_PAUSE) / 1000)
    return len(killed)


def _sweep_once(spared: set[int], only: Callable[[int], bool] | None, killed: set[int]) -> bool:
    """One pass over the process table; False when there was nothing to do."""
    me = os.getpid()
    table = process_table()
    doomed: set[int] = set()
    for pid in below(me, table, spared):
        if only is None or pid in killed or table[pid].parent in doomed or only(pid):
            doomed.add(pid)
            _end(pid, table[pid], me, killed)
    return bool(doomed)


def _end(pid: int, entry: Entry, me: int, killed: set[int]) -> None:
    if not entry.zombie and kill(pid):
        killed.add(pid)
    if entry.parent == me:
        reap(pid)
