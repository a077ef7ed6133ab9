"""Which process is which, across runs: a pid alone may be someone else's by now.

A process is (boot id, pid, start time). All that we start, and all that tasks start, carries the mark ``MI4_RUN=<run id>`` in its
environment, so that what outlived an engine, its zygote and its hosts is found at the next start.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import signal
from pathlib import Path

import msgspec

from .sweep import below, kill, process_table

MARK = "MI4_RUN"
"""Environment variable that holds the run id."""
_PASSES = 100
_PAUSE = 0.01
"""Seconds between two looks at what was killed."""
_SUFFIX = ".processes"


class Identity(msgspec.Struct, frozen=True):
    """One process, never to be confused with a later one of the same pid."""

    boot_id: str
    pid: int
    start_time: int
    """Clock ticks since the machine started."""


@functools.cache
def boot_id() -> str:
    """Identifies this start of the machine; empty where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip().decode()
    except OSError:
        return ""


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since the machine did; None when it is gone or the system does not tell."""
    try:
        line = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    return int(line[line.rindex(b")") + 2 :].split()[19])


def identity(pid: int) -> Identity | None:
    """The full identity of a process that lives now; None when it is gone or the system does not tell."""
    started = start_time(pid)
    return None if started is None else Identity(boot_id(), pid, started)


def is_alive(process: Identity) -> bool:
    """Whether exactly this process still exists (a zombie does)."""
    return process.boot_id == boot_id() and start_time(process.pid) == process.start_time


def is_marked(pid: int, run_id: str) -> bool:
    """Whether the process was started by the run: by the environment that it was exec'ed with."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"{MARK}={run_id}".encode() in environment.split(b"\0")


def find_marked(run_id: str) -> list[int]:
    """Every live process that carries the mark of the run, and everything below those; never this process or its ancestors."""
    return _with_descendants([pid for pid in process_table() if is_marked(pid, run_id)])


def _with_descendants(pids: list[int]) -> list[int]:
    table = process_table()
    spared = {os.getpid()}
    ancestor = os.getppid()
    while ancestor in table and ancestor not in spared:
        spared.add(ancestor)
        ancestor = table[ancestor].parent
    found = dict.fromkeys(pids)
    for pid in pids:
        found.update(dict.fromkeys(below(pid, table, spared)))
    return [pid for pid in found if pid not in spared and pid in table and not table[pid].zombie]


class ProcessRecord:
    """The file in the state folder that names the processes of a run, so that the next start can look for them.

    State: the open file; its lines are `Identity` as JSON, first the engine's own.
    """

    def __init__(self, folder: Path, run_id: str) -> None:
        self.path = folder / f"{run_id}{_SUFFIX}"
        """Where the record is."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(self.path, flags, 0o600)

    def add(self, pid: int) -> None:
        """Write a process down; one that is gone already is left out. Never raises: a record less is no reason to stop."""
        process = identity(pid)
        if process is not None:
            with contextlib.suppress(OSError):
                os.write(self._file, msgspec.json.encode(process) + b"\n")

    def close(self, *, forget: bool) -> None:
        """Close the file; with `forget`, when nothing of the run is left, remove it."""
        os.close(self._file)
        if forget:
            self.path.unlink(missing_ok=True)


def end_leftovers(folder: Path, *, but: str) -> int:
    """Kill what runs other than `but` left alive, by their records in `folder`; returns how many. Only under the folder's lock."""
    ended = 0
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        if path.stem != but:
            ended += end_run(path.stem, _read_record(path))
            path.unlink(missing_ok=True)
    return ended


def end_run(run_id: str, processes: list[Identity]) -> int:
    """Kill every process that carries the mark of a run or is one of `processes`, and all below them; returns how many."""
    killed: set[int] = set()
    for _ in range(_PASSES):
        recorded = [process.pid for process in processes if is_alive(process)]
        alive = dict.fromkeys(find_marked(run_id) + _with_descendants(recorded))
        if not alive:
            break
        killed.update(pid for pid in alive if kill(pid, signal.SIGKILL))
        select.select([], [], [], _PAUSE)
    return len(killed)


def _read_record(path: Path) -> list[Identity]:
    """What the record names; a line that was not written to its end is left out."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return []
    processes: list[Identity] = []
    for line in lines:
        with contextlib.suppress(msgspec.MsgspecError):
            processes.append(msgspec.json.decode(line, type=Identity))
    return processes
