"""How a task is ended: TERM to its group, a grace time, CONT and KILL, and a sweep of whatever it left in other groups."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from pathlib import Path


def signal_group(group: int, number: int) -> None:
    """Send a signal to a process group, or to its leader while it has no group of its own yet; never raises."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        try:
            os.kill(group, number)
        except OSError:
            return
    except OSError:
        return


def terminate(group: int) -> None:
    """Ask the group to end; a stopped one hears it at once."""
    signal_group(group, signal.SIGTERM)
    signal_group(group, signal.SIGCONT)


def kill(group: int) -> None:
    """End the group."""
    signal_group(group, signal.SIGCONT)
    signal_group(group, signal.SIGKILL)


def anything_left(known: Collection[int]) -> bool:
    """Whether a process besides `known` hangs below this sub-reaper, after its task's leader has been reaped.

    With no known child that is one ``waitpid``: no child at all means no descendant at all. Dead children are reaped on the way.
    """
    if known:
        return bool(_children() - set(known))
    try:
        while True:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return True
    except ChildProcessError:
        return False


def _children() -> set[int]:
    """Pids of our own children, dead or alive; where the kernel does not list them, a pid that nobody has stands for 'perhaps'."""
    me = os.getpid()
    try:
        return {int(pid) for pid in Path(f"/proc/{me}/task/{me}/children").read_bytes().split()}
    except OSError:
        return {0}
