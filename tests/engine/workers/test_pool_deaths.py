"""Whatever is killed, in whatever combination: two seconds later nothing of the run is alive. Real hosts, tasks that escape."""

from __future__ import annotations

import json
import os
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
from engine.workers.sweep import descendants, read_entry

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and sub-reapers")

REAL = "engine.workers.host:host_main"
SHAPES = {
    "sleep 301": 1,
    "sleep 302 & sleep 302": 2,
    "setsid sleep 303 & sleep 303": 2,
    "(setsid sh -c 'sleep 304 & sleep 304 &' &); sleep 304": 3,
    "trap '' TERM; sleep 305 & wait": 1,
}
SLEEPS = sum(SHAPES.values())
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
    """A run whose tasks have all started all their processes."""

    def __init__(self, folder, kit):
        self.kit, self.folder, self.run_id = kit, folder, uuid.uuid4().hex
        script = str(kit.HERE / "pool_program.py")
        environ = {**os.environ, "PYTHONPATH": f"{package_root()}:{kit.HERE}"}
        self.process = subprocess.Popen(
            [sys.executable, script, str(folder.path), self.run_id, str(len(SHAPES)), REAL, *SHAPES],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=None,
            text=True,
        )
        line = self.process.stdout.readline()
        assert line, "the program did not start"
        told = json.loads(line)
        self.zygote, self.hosts = told["zygote"], told["hosts"]
        kit.until_now(lambda: self.sleeping == SLEEPS, "all processes of all tasks")

    @property
    def left(self) -> list[int]:
        return find_marked(self.run_id)

    @property
    def adopted(self) -> bool:
        """Whether the hosts are the engine's own children now."""
        entries = [read_entry(pid) for pid in self.hosts]
        return all(entry is not None and entry.parent == self.process.pid for entry in entries)

    def sleepers_below(self, *hosts: int) -> set[int]:
        return {pid for host in hosts for pid in descendants(host) if name(pid) == "sleep"}

    @property
    def sleeping(self) -> int:
        return sum(name(pid) == "sleep" for pid in self.left)

    def kill(self, *pids: int, number: int = signal.SIGKILL):
        for pid in pids:
            os.kill(pid, number)

    def alive(self, *, but: int = 0) -> list[int]:
        """Whatever is left of the run, by its marks and by the pids that it told."""
        told = filter(self.kit.alive, [self.process.pid, self.zygote, *self.hosts])
        return sorted({*self.left, *told} - {self.process.pid, but})

    def assert_gone(self, gone=None):
        """Nothing is alive any more, or what `gone` says has come true, before the limit."""
        clock = PatientClock()
        while self.alive() if gone is None else not gone():
            clock.wait()
            assert clock.seconds <= LIMIT, f"still alive: {[name(pid) for pid in self.alive()]}"


def name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


@pytest.fixture
def program(folder, kit):
    program = Program(folder, kit)
    yield program
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
    program.assert_gone(lambda: not kit.alive(killed) and len(program.sleepers_below(*others)) == program.sleeping)


def test_zygote_and_hosts_killed(program):
    """The engine goes on, with a new zygote."""
    program.kill(program.zygote, *program.hosts)
    program.assert_gone(lambda: program.sleeping == 0 and not set(program.alive()) & {program.zygote, *program.hosts})


def test_zygote_killed_then_the_engine(program, kit):
    program.kill(program.zygote)
    kit.until_now(lambda: program.adopted, "the adoption of the hosts")
    assert (program.sleeping, all(map(kit.alive, program.hosts))) == (SLEEPS, True)

    program.kill(program.process.pid)
    program.assert_gone()


def test_everything_of_ours_killed_at_once_and_the_next_start(program, folder):
    program.kill(*program.hosts, number=signal.SIGSTOP)  # or one of them might see the engine's end before its own
    program.kill(program.process.pid, program.zygote, *program.hosts)
    program.process.wait()
    assert program.sleeping == SLEEPS, "nobody was left to end them"

    ended = end_leftovers(folder.progress, but="another")

    assert ended >= SLEEPS
    assert program.alive() == []


def test_engine_killed_while_everything_else_is_stopped_and_the_next_start(program, folder):
    program.kill(program.zygote, *program.hosts, number=signal.SIGSTOP)
    program.kill(program.process.pid)
    program.process.wait()

    end_leftovers(folder.progress, but="another")

    assert program.alive() == []
