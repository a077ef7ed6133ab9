"""How worker processes start, die and leave: with scripted hosts in real processes, and a clock that a test can turn."""

# ruff: noqa: ASYNC220 -- the children of these tests end at once, or are killed

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.clock import SystemClock
from engine.errors import WorkerStartError
from engine.events.events import WorkerBroken, WorkerStarted, WorkerStopped

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and sub-reapers")


class TurnedClock(SystemClock):
    """The real clock, put forward by a test."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


async def hang(scene, kit, number=1, do="wait"):
    """So many workers, each with a hanging attempt."""
    scene.submit(*(scene.work(do) for _ in range(number)))
    await kit.until(lambda: len(scene.listener.started) == number)
    if do == "shapes":
        await kit.until(lambda: sleeping(scene) == 9 * number, "all shapes")
    if do == "freeze":
        await kit.until(lambda: all(map(is_frozen, scene.pool.workers)), "all frozen")


def is_frozen(worker) -> bool:
    return Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def sleeping(scene) -> int:
    count = 0
    for pid in scene.left:
        with contextlib.suppress(OSError):
            count += Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sleep\x0030")
    return count


# A worker dies


async def test_a_lost_worker_tells_what_had_begun(make_scene, kit):
    scene = await make_scene(size=1)
    worker = await scene.lend()
    scene.pool.give(worker, [scene.work("wait"), scene.work(), scene.work()])
    await kit.until(lambda: scene.listener.started)

    os.kill(worker.pid, signal.SIGKILL)
    await kit.until(lambda: scene.listener.lost)

    assert scene.listener.lost == [(worker, (1,), (2, 3), "killed by signal 9 (Killed)", False)]
    assert scene.pool.statistics().dispatches == 1
    assert (scene.pool.statistics().crashed, scene.pool.statistics().stopped) == (1, 0)
    (stopped,) = scene.named(WorkerStopped)
    assert (stopped.planned, stopped.pid) == (False, worker.pid)


async def test_a_worker_whose_page_is_gone_may_have_begun_everything(make_scene, kit):
    scene = await make_scene(size=1)
    worker = await scene.lend()
    scene.pool.give(worker, [scene.work("wait"), scene.work()])
    await kit.until(lambda: scene.listener.started)
    (scene.folder.progress / "w1.1.page").unlink()

    os.kill(worker.pid, signal.SIGKILL)
    await kit.until(lambda: scene.listener.lost)

    assert scene.listener.lost[0][1:3] == ((1, 2), ())


async def test_results_sent_just_before_the_death_count(make_scene, kit):
    scene = await make_scene(size=1)
    worker = await scene.lend()
    scene.pool.give(worker, [scene.work(), scene.work(), scene.work("die"), scene.work()])

    await kit.until(lambda: scene.listener.lost)

    assert [result.key for _, result in scene.listener.results] == [1, 2]
    assert scene.listener.lost[0][1:] == ((3,), (4,), "exited with 7; boom of the host", False)


async def test_the_next_worker_takes_the_slot(make_scene, kit):
    scene = await make_scene(size=1)
    scene.submit(scene.work("die"), scene.work())

    await kit.until(lambda: scene.listener.results)

    assert [event.worker for event in scene.named(WorkerStarted)] == ["w1", "w1"]
    assert scene.listener.results[0][1].value["name"] == "w1.2"


async def test_what_a_killed_worker_leaves_is_gone_before_its_loss_is_told(make_scene, kit):
    scene = await make_scene(size=1)
    await hang(scene, kit, do="shapes")
    left = []
    scene.listener.worker_lost = lambda *_: left.append(set(scene.left) - {scene.pool.zygote_pid})

    os.kill(scene.pool.workers[0].pid, signal.SIGKILL)
    await kit.until(lambda: left)

    assert left == [set()]


async def test_all_workers_die_at_once(make_scene, kit):
    scene = await make_scene(size=2)
    await hang(scene, kit, 2, "shapes")

    for worker in scene.pool.workers:
        os.kill(worker.pid, signal.SIGKILL)

    await kit.until(lambda: len(scene.listener.lost) == 2)
    assert scene.left == [scene.pool.zygote_pid]


async def test_nonsense_from_a_worker_is_its_end(make_scene, kit):
    scene = await make_scene(size=1)
    scene.submit(scene.work("garbage"), scene.work())

    await kit.until(lambda: scene.listener.lost)

    assert "over the limit" in scene.listener.lost[0][3]
    assert scene.listener.lost[0][1] == (1,)
    await kit.until(lambda: scene.listener.results)


async def test_a_worker_that_closes_its_connection_but_stays_is_killed(make_scene, kit, clock):
    scene = await make_scene(size=1, clock=clock)
    scene.submit(scene.work("close"))
    worker = await kit.until(lambda: next((w for w in scene.pool.workers if w.retiring), None))
    assert kit.alive(worker.pid)
    assert scene.pool.workers == (worker,)

    clock.ahead += 1
    await kit.until(lambda: scene.listener.lost)

    assert scene.listener.lost[0][3] == "it did not go on; killed by signal 9 (Killed)"


# Starting goes wrong


async def test_a_zygote_that_cannot_start_is_one_clear_error(make_scene):
    scene = await make_scene(start=False, entry="no_such_module_at_all:main")

    with pytest.raises(WorkerStartError, match="No module named 'no_such_module_at_all'") as caught:
        await scene.pool.start()

    assert "\n" not in str(caught.value)
    assert scene.left == []


@pytest.mark.parametrize(("script", "words"), [("die", "the host cannot start today"), ("leave", "exited with 5")])
async def test_a_slot_whose_workers_do_not_start_rests_and_then_tries_again(make_scene, kit, clock, script, words):
    scene = await make_scene(size=1, clock=clock, environ={"SCRIPT": script})
    scene.submit(scene.work())

    await kit.until(lambda: scene.named(WorkerBroken))

    (broken,) = scene.named(WorkerBroken)
    assert (broken.worker, broken.retry_in_s) == ("w1", 1.0)
    assert words in broken.reason
    assert scene.pool.statistics().created == scene.pool.statistics().crashed == 5
    assert scene.pool.lend("shell") is None
    assert scene.pool.workers == ()
    assert scene.named(WorkerStopped) == []

    clock.ahead += 1
    await kit.until(lambda: len(scene.named(WorkerBroken)) == 2)
    assert scene.named(WorkerBroken)[1].retry_in_s == 2.0
    assert scene.pool.statistics().created == 10


async def test_a_worker_of_another_version_is_refused(make_scene, kit):
    scene = await make_scene(size=1, environ={"SCRIPT": "old"})
    scene.submit(scene.work())

    await kit.until(lambda: scene.named(WorkerBroken))

    assert "speaks version 0" in scene.named(WorkerBroken)[0].reason


async def test_a_worker_that_never_says_hello_is_killed(make_scene, kit, clock):
    scene = await make_scene(size=1, clock=clock, environ={"SCRIPT": "silent"})
    scene.pool.lend("shell")
    pid = await kit.until(lambda: scene.pool.workers[0].pid)

    clock.ahead += 31
    await kit.until(lambda: not kit.alive(pid))
    await kit.until(lambda: scene.pool.statistics().crashed)


async def test_a_failed_preload_is_a_warning(make_scene, kit, caplog):
    scene = await make_scene(size=1, preload=("no_such_preload", "colorsys"))
    scene.submit(scene.work())

    await kit.until(lambda: scene.listener.results)

    assert "cannot preload no_such_preload" in caplog.text


async def test_no_room_for_processes_makes_the_slot_rest(make_scene, kit, monkeypatch):
    scene = await make_scene(size=1)

    def refuse(*_):
        raise WorkerStartError("a worker cannot be started: Too many open files")

    monkeypatch.setattr("engine.workers.spawner.Spawner.spawn", refuse)
    scene.pool.lend("shell")

    assert scene.named(WorkerBroken)[0].reason == "a worker cannot be started: Too many open files"
    assert scene.pool.workers == ()


# Leaving


async def test_an_idle_worker_leaves_after_a_while(make_scene, kit, clock):
    scene = await make_scene(size=3, clock=clock, min_size=1, idle_seconds=60)
    scene.submit(scene.work("wait"))
    await kit.until(lambda: scene.listener.started)
    scene.pool.resize(3)
    scene.pool.lend("shell", wanted=2)
    await kit.until(lambda: sum(worker.is_free for worker in scene.pool.workers) == 2)
    busy = scene.listener.started[0][0]

    clock.ahead += 61
    await kit.until(lambda: len(scene.pool.workers) == 1)

    assert scene.pool.workers == (busy,)
    assert {event.reason for event in scene.named(WorkerStopped)} == {"idle for 60 s"}
    assert {event.planned for event in scene.named(WorkerStopped)} == {True}


async def test_the_least_number_of_workers_stays(make_scene, kit, clock):
    scene = await make_scene(size=3, clock=clock, min_size=2, idle_seconds=60, recycle_after_seconds=0)
    await kit.until(lambda: sum(worker.is_free for worker in scene.pool.workers) == 2)
    kept = scene.pool.workers

    clock.ahead += 3600
    scene.pool._roster.check_times()
    scene.pool._roster.check_times()

    assert scene.pool.workers == kept
    assert not any(worker.retiring for worker in kept)


async def test_a_frozen_idle_worker_cannot_hold_up_the_end(make_scene, kit):
    scene = await make_scene(size=1, min_size=1)
    await kit.until(lambda: scene.pool.workers[0].is_free)
    os.kill(scene.pool.workers[0].pid, signal.SIGSTOP)
    scene.pool._roster._clock = SteppingClock()

    await scene.pool.aclose()

    assert scene.left == []
    assert scene.pool.statistics().killed == 1


# Frozen, stuck, old, fat


async def pass_time(scene, kit, clock, seconds: int, *, answering=True):
    """Let so much time go by in small steps, with everybody's answers in between."""
    for _ in range(seconds):
        clock.ahead += 1
        scene.pool._roster.check_times()
        if answering:
            await kit.until(lambda: not any(worker.health.waits for worker in scene.pool.workers), "all answers")


@pytest.mark.parametrize("spawn", ["zygote", "exec"])
async def test_a_frozen_busy_worker_is_woken_then_killed_and_its_work_split(make_scene, kit, clock, spawn):
    scene = await make_scene(size=1, clock=clock, spawn=spawn)
    worker = await scene.lend()
    scene.pool.give(worker, [scene.work("freeze"), scene.work()])
    await kit.until(lambda: scene.listener.started and is_frozen(worker))
    woken = []
    scene.pool._roster.spawner.wake = lambda process: woken.append((process, clock.ahead))  # else it would go on

    await pass_time(scene, kit, clock, 32, answering=False)
    assert [process for process, _ in woken] == [worker.process]
    assert scene.listener.lost == []
    await pass_time(scene, kit, clock, 4, answering=False)
    await kit.until(lambda: scene.listener.lost)

    reason = "did not answer for 30 s; killed by signal 9 (Killed)"
    assert scene.listener.lost == [(worker, (1,), (2,), reason, False)]
    assert scene.named(WorkerStopped)[0].reason == reason
    statistics = scene.pool.statistics()
    assert (statistics.crashed, statistics.stopped, statistics.killed) == (1, 0, 0)
    assert not kit.alive(worker.pid)


@pytest.mark.parametrize("spawn", ["zygote", "exec"])
async def test_a_frozen_worker_that_can_be_woken_goes_on(make_scene, kit, clock, tmp_path, spawn):
    scene = await make_scene(size=1, clock=clock, spawn=spawn)
    scene.submit(scene.work("freeze", options={"until": str(tmp_path / "go")}))
    await kit.until(lambda: scene.listener.started and is_frozen(scene.pool.workers[0]))
    (tmp_path / "go").touch()

    await pass_time(scene, kit, clock, 15, answering=False)
    await kit.until(lambda: scene.listener.results)

    assert scene.listener.results[0][1].outcome == "succeeded"
    await pass_time(scene, kit, clock, 60)
    assert (scene.listener.lost, scene.pool.statistics().crashed) == ([], 0)


async def test_a_frozen_idle_worker_is_replaced(make_scene, kit, clock):
    scene = await make_scene(size=1, clock=clock, min_size=1)
    worker = await scene.lend()
    scene.pool.give_back(worker)
    scene.pool._roster.spawner.wake = lambda process: None
    os.kill(worker.pid, signal.SIGSTOP)

    await pass_time(scene, kit, clock, 36, answering=False)
    await kit.until(lambda: scene.listener.lost)

    assert scene.listener.lost[0][1:] == ((), (), "did not answer for 30 s; killed by signal 9 (Killed)", False)
    await kit.until(lambda: [w.host_id for w in scene.pool.workers if w.ready] == ["w1.2"])


async def test_closing_does_not_wait_for_a_frozen_worker(make_scene, kit, clock):
    scene = await make_scene(size=1, clock=clock)
    await hang(scene, kit, do="freeze")
    scene.pool._roster.spawner.wake = lambda process: None

    async with asyncio.TaskGroup() as group:
        group.create_task(scene.pool.aclose())
        await asyncio.sleep(0)
        await pass_time(scene, kit, clock, 36, answering=False)

    assert scene.left == []
    assert scene.listener.lost[0][1] == (1,)


async def test_a_silence_while_the_engine_was_held_up_is_no_fault_of_the_worker(make_scene, kit, clock):
    scene = await make_scene(size=1, clock=clock, recycle_after_seconds=0)
    await hang(scene, kit, do="freeze")
    (worker,) = scene.pool.workers
    await pass_time(scene, kit, clock, 5, answering=False)
    assert worker.health.waits

    clock.ahead += 3600
    scene.pool._roster.check_times()

    assert not worker.retiring
    assert kit.alive(worker.pid)
    os.kill(worker.pid, signal.SIGCONT)


async def test_health_checks_can_be_switched_off(make_scene, kit, clock):
    scene = await make_scene(size=1, clock=clock, silence_seconds=0)
    await hang(scene, kit, do="freeze")

    await pass_time(scene, kit, clock, 100, answering=False)

    assert (scene.pool.workers[0].health.token, scene.pool.workers[0].retiring) == (0, False)
    os.kill(scene.pool.workers[0].pid, signal.SIGCONT)


async def test_a_worker_leaves_at_its_age_a_busy_one_after_its_work(make_scene, kit, clock, tmp_path):
    scene = await make_scene(size=2, clock=clock, min_size=2, recycle_after_seconds=20, idle_seconds=0)
    await kit.until(lambda: sum(worker.ready for worker in scene.pool.workers) == 2)
    scene.submit(scene.work("wait", options={"until": str(tmp_path / "go")}))
    await kit.until(lambda: scene.listener.started)
    busy = scene.listener.started[0][0]

    await pass_time(scene, kit, clock, 15)
    assert not any(worker.retiring for worker in scene.pool.workers)
    await pass_time(scene, kit, clock, 6)

    await kit.until(lambda: [event.reason for event in scene.named(WorkerStopped)] == ["was 20 s old"])
    assert (busy.retiring, busy.stopping) == (True, False)
    (tmp_path / "go").touch()
    await kit.until(lambda: len(scene.named(WorkerStopped)) == 2)
    assert [result.outcome for _, result in scene.listener.results] == ["succeeded"]
    assert [planned for *_, planned in scene.listener.lost] == [True, True]
    assert scene.pool.statistics().recycled == 2
    await kit.until(lambda: sorted(w.host_id for w in scene.pool.workers if w.ready) == ["w1.2", "w2.2"])


async def test_a_worker_that_is_lent_is_not_recycled_under_the_borrowers_hands(make_scene, kit, clock):
    scene = await make_scene(size=1, clock=clock, recycle_after_seconds=20, recycle_above_bytes=1000)
    worker = await scene.lend()
    scene.pool.give(worker, [scene.work(options={"memory": 5000})])
    await kit.until(lambda: scene.listener.results)
    assert scene.pool.lend("shell") is worker

    await pass_time(scene, kit, clock, 30)
    assert (worker.health.memory, worker.retiring) == (5000, False)
    scene.pool.give_back(worker)
    scene.pool._roster.check_times()

    assert worker.retiring


async def test_a_worker_that_holds_much_memory_is_replaced_after_its_work(make_scene, kit, clock, tmp_path):
    scene = await make_scene(size=1, clock=clock, recycle_above_bytes=64 * 2**20)
    go = {"until": str(tmp_path / "go")}
    scene.submit(scene.work("wait", options={"memory": 64 * 2**20, **go}))
    await kit.until(lambda: scene.listener.started)
    (worker,) = scene.pool.workers
    await pass_time(scene, kit, clock, 10)
    assert (scene.pool.statistics().memory, worker.retiring) == (64 * 2**20, False)
    (tmp_path / "go").touch()
    await kit.until(lambda: scene.listener.results)
    (tmp_path / "go").unlink()

    scene.submit(scene.work("wait", options={"memory": 65 * 2**20, **go}), scene.work())
    await kit.until(lambda: len(scene.listener.started) == 2)
    await pass_time(scene, kit, clock, 10)
    assert (worker.retiring, worker.stopping) == (True, False)
    (tmp_path / "go").touch()
    await kit.until(lambda: len(scene.listener.results) == 3)

    assert [result.outcome for _, result in scene.listener.results] == ["succeeded"] * 3
    assert scene.listener.results[2][1].value["name"] == "w1.2"
    assert scene.named(WorkerStopped)[0].reason == "held 65 MiB of memory"
    assert (scene.pool.statistics().recycled, scene.pool.statistics().crashed) == (1, 0)


async def test_memory_that_a_worker_has_from_its_birth_does_not_end_it(make_scene, kit, clock):
    """It would be replaced by one that has as much."""
    scene = await make_scene(size=1, clock=clock, min_size=1, recycle_above_bytes=1000, environ={"MEMORY": "5000"})
    await kit.until(lambda: scene.pool.workers[0].ready)

    await pass_time(scene, kit, clock, 10)

    assert scene.pool.statistics().memory == 5000
    assert not scene.pool.workers[0].retiring


class SteppingClock(SystemClock):
    """Runs a hundred times as fast."""

    def monotonic(self) -> float:
        return super().monotonic() * 100


async def test_a_frozen_busy_worker_and_its_tree_end_by_force(make_scene, kit):
    scene = await make_scene(size=1)
    await hang(scene, kit, do="freeze")
    scene.pool._roster._clock = SteppingClock()

    await scene.pool.aclose(force=True)

    assert scene.left == []
    assert scene.listener.lost[0][1] == (1,)
    assert scene.pool.statistics().killed == 1


async def test_a_frozen_zygote_cannot_hold_up_the_end(make_scene, kit):
    scene = await make_scene(size=2)
    await hang(scene, kit, 2, "shapes")
    for worker in scene.pool.workers:
        os.kill(worker.pid, signal.SIGSTOP)
    os.kill(scene.pool.zygote_pid, signal.SIGSTOP)
    scene.pool._roster._clock = SteppingClock()

    await scene.pool.aclose(force=True)

    assert scene.left == []


async def test_processes_of_an_earlier_run_are_ended_at_the_start(make_scene, kit, folder):
    orphan = subprocess.Popen(["sleep", "306"], env={**os.environ, "MI4_RUN": "earlier"}, start_new_session=True)
    (folder.progress / "earlier.processes").write_text("{not json\n")

    await make_scene(size=1)

    assert orphan.wait(10) == -signal.SIGKILL
    assert not (folder.progress / "earlier.processes").exists()


async def test_what_is_not_ours_is_left_alone(make_scene, kit):
    mine = subprocess.Popen(["sleep", "307"], start_new_session=True)
    try:
        scene = await make_scene(size=1)
        await hang(scene, kit)
        os.kill(scene.pool.zygote_pid, signal.SIGKILL)
        await scene.pool.aclose(force=True)

        assert mine.poll() is None
    finally:
        mine.kill()
        mine.wait()
