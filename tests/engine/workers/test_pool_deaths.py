"""Whatever is killed, in whatever combination: two seconds later nothing of the run is alive. Real hosts, tasks that escape."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.workers.identity import end_leftovers, find_marked
from engine.workers.launch import package_root
from engine.workers.sweep import descendants, process_table, read_entry

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and sub-reapers")

REAL = "engine.workers.host:host_main"
SHAPES = {
    "plain": ("{sleep}", 1),
    "background": ("{sleep} & {sleep}", 2),
    "setsid": ("setsid {sleep} & {sleep}", 2),
    "double-fork": ("(setsid sh -c '{sleep} & {sleep} &' &); {sleep}", 3),
    "ignores-term": ("trap '' TERM; {sleep} & wait", 1),
    "python": ("python:{sleep}", 1),
    "cleared-environment": ("env -i setsid {sleep} & {sleep}", 2),
}
"""Ways to escape from whoever started a process, each with the number of sleeps in it."""
MARKED = {key: shape for key, shape in SHAPES.items() if key != "cleared-environment"}
"""Those that are found without anybody who knew them."""
DIGITS = str.maketrans("abcdef", "012345")
LIMIT = 2.0
"""Seconds from the kill until nothing is alive."""


class PatientClock:
    """Counts seconds in which this process got to look about every 10 ms: on a machine with no time for us, none go by for anybody."""

    def __init__(self):
        self.seconds, self._last = 0.0, time.monotonic()

    def wait(self):
        time.sleep(0.01)
        now = time.monotonic()
        self.seconds += min(now - self._last, 0.02)
        self._last = now


class Program:
    """A run whose tasks have all started all their processes. Their command lines tell them, independently of our own marks."""

    def __init__(self, folder, kit, shapes=SHAPES):
        self.kit, self.run_id = kit, uuid.uuid4().hex
        command = ["sleep", f"600.{self.run_id.translate(DIGITS)}"]
        self._line = b"".join(word.encode() + bytes(1) for word in command)
        self.sleeps = sum(number for _, number in shapes.values())
        commands = [text.format(sleep=" ".join(command)) for text, _ in shapes.values()]
        script = str(kit.HERE / "pool_program.py")
        self.process = subprocess.Popen(
            [sys.executable, script, str(folder.path), self.run_id, str(len(shapes)), REAL, *commands],
            env={**os.environ, "PYTHONPATH": f"{package_root()}:{kit.HERE}"},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.zygote, self.hosts = 0, []

    def begin(self):
        """Wait until everything runs."""
        assert select.select([self.process.stdout], [], [], 30)[0], "not all tasks have started"
        line = self.process.stdout.readline()
        assert line, "the program did not start"
        told = json.loads(line)
        self.zygote, self.hosts = told["zygote"], told["hosts"]
        self.kit.until_now(lambda: len(self.sleeping) == self.sleeps, "all processes of all tasks")

    @property
    def adopted(self) -> bool:
        """Whether the hosts are the engine's own children now."""
        entries = [read_entry(pid) for pid in self.hosts]
        return all(entry is not None and entry.parent == self.process.pid for entry in entries)

    def sleeping_below(self, *hosts: int) -> set[int]:
        return self.sleeping & {pid for host in hosts for pid in descendants(host)}

    @property
    def sleeping(self) -> set[int]:
        return {pid for pid in process_table() if read(pid, "cmdline") == self._line}

    def kill(self, *pids: int, number: int = signal.SIGKILL):
        """Send a signal to each; one may be gone already, by the death of the one before it."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def alive(self, *, but: int = 0) -> set[int]:
        """Whatever is left of the run, but the engine: by its command line, its mark, and the pids that were told."""
        told = filter(self.kit.alive, [self.zygote, *self.hosts])
        return {*self.sleeping, *find_marked(self.run_id), *told} - {self.process.pid, but}

    def assert_gone(self, gone=None) -> float:
        """Nothing is alive any more, or what `gone` says has come true, before the limit; returns the seconds that it took."""
        clock = PatientClock()
        while self.alive() if gone is None else not gone():
            clock.wait()
            assert clock.seconds <= LIMIT, f"still alive: {[read(pid, 'comm') for pid in self.alive()]}"
        return clock.seconds


def read(pid: int, what: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:
        return b""


@pytest.fixture
def program(folder, kit, request):
    program = Program(folder, kit, getattr(request, "param", SHAPES))
    try:
        program.begin()
        yield program
    finally:
        program.process.kill()
        program.process.wait()
        program.process.stdout.close()
    program.assert_gone()


KILLS: dict[str, Callable[[Program], list[int]]] = {
    "engine": lambda p: [p.process.pid],
    "engine-and-zygote": lambda p: [p.process.pid, p.zygote],
    "engine-and-hosts": lambda p: [p.process.pid, *p.hosts],
}


@pytest.mark.parametrize("who", KILLS.values(), ids=KILLS)
def test_engine_killed(program, who):
    program.kill(*who(program))
    program.assert_gone()


def test_engine_killed_while_the_hosts_are_stopped(program):
    program.kill(*program.hosts, number=signal.SIGSTOP)
    program.kill(program.process.pid)
    program.assert_gone()


def test_hosts_killed(program):
    program.kill(*program.hosts)
    program.assert_gone(lambda: not program.alive(but=program.zygote))


def test_one_host_killed(program, kit):
    """Only its own task ends with it."""
    killed, *others = program.hosts
    program.kill(killed)
    program.assert_gone(lambda: not kit.alive(killed) and program.sleeping_below(*others) == program.sleeping)
    assert len(program.sleeping) >= program.sleeps - max(number for _, number in SHAPES.values())
    assert all(map(kit.alive, [*others, program.zygote]))


def test_zygote_and_hosts_killed(program):
    """The engine goes on, with a new zygote."""
    program.kill(program.zygote, *program.hosts)
    program.assert_gone(lambda: not program.sleeping and not program.alive() & {program.zygote, *program.hosts})


def test_zygote_killed_then_the_engine(program, kit):
    program.kill(program.zygote)
    kit.until_now(lambda: program.adopted, "the adoption of the hosts")
    assert (len(program.sleeping), all(map(kit.alive, program.hosts))) == (program.sleeps, True)

    program.kill(program.process.pid)
    program.assert_gone()


@pytest.mark.parametrize("program", [MARKED], indirect=True, ids=["marked"])
def test_everything_of_ours_killed_at_once_and_the_next_start(program, folder):
    program.kill(*program.hosts, number=signal.SIGSTOP)  # or one of them might see the engine's end before its own
    program.kill(program.process.pid, program.zygote, *program.hosts)
    program.process.wait()
    assert len(program.sleeping) == program.sleeps, "nobody was left to end them"

    ended = end_leftovers(folder.progress, but="another")

    assert ended >= program.sleeps
    assert program.alive() == set()


@pytest.mark.parametrize("program", [SHAPES], indirect=True, ids=["all"])
def test_engine_killed_while_everything_else_is_stopped_and_the_next_start(program, folder):
    program.kill(program.zygote, *program.hosts, number=signal.SIGSTOP)
    program.kill(program.process.pid)
    program.process.wait()

    end_leftovers(folder.progress, but="another")

    assert program.alive() == set()
