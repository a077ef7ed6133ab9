"""Whatever is killed, in whatever combination: nothing of a run stays alive. With the real host and tasks that escape."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.workers.identity import end_leftovers, find_marked
from engine.workers.launch import package_root

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
    def sleeping(self) -> int:
        return sum(name(pid) == "sleep" for pid in self.left)

    def kill(self, *pids: int, number: int = signal.SIGKILL):
        for pid in pids:
            os.kill(pid, number)

    def assert_gone(self):
        self.kit.until_now(
            lambda: not self.left and not any(map(self.kit.alive, [self.zygote, *self.hosts])), "the end"
        )


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


def test_hosts_killed(program, kit):
    program.kill(*program.hosts)
    kit.until_now(lambda: program.left == [program.zygote], "only the zygote")


def test_zygote_and_hosts_killed(program, kit):
    program.kill(program.zygote, *program.hosts)
    kit.until_now(lambda: program.sleeping == 0, "no task alive")


def test_zygote_killed_then_the_engine(program, kit):
    program.kill(program.zygote)
    kit.until_now(lambda: not kit.alive(program.zygote), "the zygote's death")
    assert (program.sleeping, all(map(kit.alive, program.hosts))) == (SLEEPS, True)

    program.kill(program.process.pid)
    program.assert_gone()


def test_everything_of_ours_killed_at_once_and_the_next_start(program, folder):
    program.kill(program.process.pid, program.zygote, *program.hosts)
    program.process.wait()

    ended = end_leftovers(folder.progress, but="another")

    assert ended >= SLEEPS
    program.assert_gone()
