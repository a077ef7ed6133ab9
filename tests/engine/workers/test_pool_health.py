"""Health and memory of real hosts: what a task does must never look like a frozen host, and a frozen host never like a long task."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from engine.clock import SystemClock

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and sub-reapers")

REAL = "engine.workers.host:host_main"
TASKS = {
    "sleeps": {"command": "sleep 601", "shell": True},
    "ignores-signals": {"command": "trap '' TERM INT CONT; sleep 602 & wait", "shell": True},
    "floods": {"command": "yes", "shell": True},
    "is-stopped": {"command": "kill -STOP $$", "shell": True},
    "holds-the-interpreter": {"kind": "python", "callable": "hard_work:hold_the_interpreter"},
    "sleeps-in-python": {"kind": "python", "callable": "time:sleep", "args": (603,)},
}


class TurnedClock(SystemClock):
    """The real clock, put forward by a test."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
async def make_real(make_scene, clock, tmp_path):
    """A pool of one real host, and a folder with modules for callables."""
    (tmp_path / "hard_work.py").write_text(
        "import re\n"
        "def hold_the_interpreter():\n"
        "    re.match('(a+)+b', 'a' * 60)  # one call into C that takes years and never lets another thread run\n"
        "def hold(size):\n"
        "    import pathlib, time\n"
        "    block = b'x' * size\n"
        "    pathlib.Path('held').touch()\n"
        "    while not pathlib.Path('go').exists():\n"
        "        time.sleep(0.01)\n"
    )

    async def make(**options):
        return await make_scene(size=1, clock=clock, entry=REAL, **options)

    return make


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
async def test_a_busy_host_answers_however_long_its_task_takes(make_real, kit, clock, tmp_path, task):
    scene = await make_real(recycle_after_seconds=0)
    scene.submit(scene.work(**{"cwd": str(tmp_path), "source_dir": str(tmp_path), **task}))
    await kit.until(lambda: scene.listener.started, "the start")
    (worker,) = scene.pool.workers

    answers = 0
    while answers < 25:  # of 100 seconds
        clock.ahead += 1
        scene.pool._roster.check_times()
        answers += worker.health.waits
        await kit.until(lambda: not worker.health.waits, "an answer")

    assert (scene.listener.lost, worker.retiring, list(worker.outstanding)) == ([], False, [1])
    assert scene.pool.statistics().memory == worker.health.memory > 1 << 20


async def test_a_frozen_host_ends_with_all_that_its_task_started(make_real, kit, clock):
    scene = await make_real()
    scene.submit(scene.work(command="setsid sleep 604 & trap '' TERM; sleep 604 & wait", shell=True), scene.work())
    await kit.until(lambda: names(scene).count("sleep") == 2, "the task's processes")
    (worker,) = scene.pool.workers
    scene.pool._roster.spawner.wake = lambda process: None
    os.kill(worker.pid, signal.SIGSTOP)

    while not scene.listener.lost:
        clock.ahead += 1
        await kit.until(lambda: not worker.retiring or scene.listener.lost, "its end")
        scene.pool._roster.check_times()

    assert scene.listener.lost[0][1:] == ((1,), (), "did not answer for 30 s; killed by signal 9 (Killed)", False)
    assert names(scene).count("sleep") == 0


async def test_memory_counts_what_is_below_the_host(make_real, kit, clock, tmp_path):
    scene = await make_real(recycle_above_bytes=150 * 2**20)
    task = {"kind": "python", "callable": "hard_work:hold", "cwd": str(tmp_path), "source_dir": str(tmp_path)}
    scene.submit(scene.work(args=(200 * 2**20,), **task), scene.work(command=("true",)))
    await kit.until((tmp_path / "held").exists, "the memory")
    (worker,) = scene.pool.workers

    while not worker.retiring:
        clock.ahead += 1
        scene.pool._roster.check_times()
        await kit.until(lambda: not worker.health.waits, "an answer")
    assert scene.pool.statistics().memory > 200 * 2**20
    (tmp_path / "go").touch()
    await kit.until(lambda: len(scene.listener.results) == 2, "both results")

    assert [result.outcome for _, result in scene.listener.results] == ["succeeded"] * 2
    assert worker.reason.startswith("held 2")
    assert [each.host_id for each, _ in scene.listener.results] == ["w1.1", "w1.2"]


def names(scene) -> list[str]:
    found = []
    for pid in scene.left:
        try:
            found.append(Path(f"/proc/{pid}/comm").read_text().strip())
        except OSError:
            continue
    return found
