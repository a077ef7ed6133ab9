"""Whoever the parent of a host is: the zygote, we after its death, or we because there is none."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from engine.events.events import WorkerStopped
from engine.workers.sweep import read_entry

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and sub-reapers")


async def started(scene, kit, number, do="wait", **options):
    scene.submit(*(scene.work(do, options=options) for _ in range(number)))
    await kit.until(lambda: len(scene.listener.started) >= number)


async def kill_zygote(scene, kit) -> int:
    """Kill it and wait for the next one; returns the old pid."""
    old = scene.pool.zygote_pid
    os.kill(old, signal.SIGKILL)
    await kit.until(lambda: scene.pool.zygote_pid not in (None, old), "a new zygote")
    return old


def files_of(pid: int) -> dict[str, str]:
    return {fd.name: str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()}


async def test_hosts_are_children_of_the_zygote_in_sessions_of_their_own(make_scene, kit):
    scene = await make_scene(size=2, min_size=2)
    await kit.until(lambda: sum(worker.ready for worker in scene.pool.workers) == 2)

    zygote = scene.pool.zygote_pid
    entries = [read_entry(worker.pid) for worker in scene.pool.workers]
    assert read_entry(zygote).parent == os.getpid()
    assert {entry.parent for entry in entries} == {zygote}
    assert [entry.session for entry in entries] == [worker.pid for worker in scene.pool.workers]
    assert read_entry(zygote).session == zygote != os.getsid(0)


@pytest.fixture
def inheritable():
    """A descriptor that every child of ours would inherit, as a shell's ``9>lock`` is."""
    fd = os.open(os.devnull, os.O_WRONLY)
    os.set_inheritable(fd, True)
    yield fd
    os.close(fd)


@pytest.mark.parametrize("spawn", ["zygote", "exec"])
async def test_hosts_hold_nothing_of_the_zygotes_or_ours(make_scene, kit, inheritable, spawn):
    scene = await make_scene(size=2, min_size=2, spawn=spawn)
    await kit.until(lambda: sum(worker.ready for worker in scene.pool.workers) == 2)

    for worker in scene.pool.workers:
        open_files = files_of(worker.pid)
        assert open_files["0"] == open_files["1"] == "/dev/null"
        sockets = [target for target in open_files.values() if target.startswith("socket:")]
        pipes = [target for target in open_files.values() if target.startswith("pipe:")]
        assert (len(sockets), len(pipes)) == (1, 1 if spawn == "zygote" else 0), open_files
        assert list(open_files.values()).count("/dev/null") == 2, open_files


async def test_tasks_go_on_when_the_zygote_dies_and_new_hosts_come_from_a_new_one(make_scene, kit, tmp_path):
    scene = await make_scene(size=3)
    await started(scene, kit, 2, until=str(tmp_path / "go"))
    hosts = {worker.pid for worker in scene.pool.workers}

    await kill_zygote(scene, kit)

    assert {read_entry(pid).parent for pid in hosts} == {os.getpid()}
    scene.submit(scene.work())
    await kit.until(lambda: scene.listener.results)
    assert read_entry(scene.listener.results[0][1].value["pid"]).parent == scene.pool.zygote_pid
    (tmp_path / "go").touch()
    await kit.until(lambda: len(scene.listener.results) == 3)
    assert {result.outcome for _, result in scene.listener.results} == {"succeeded"}
    assert scene.listener.lost == []
    await scene.pool.aclose()
    assert {event.planned for event in scene.named(WorkerStopped)} == {True}


async def test_an_adopted_host_that_dies_is_noticed_and_swept(make_scene, kit):
    scene = await make_scene(size=1)
    await started(scene, kit, 1, "shapes")
    await kit.until(lambda: len(scene.left) >= 12)
    await kill_zygote(scene, kit)
    worker = scene.pool.workers[0]

    os.kill(worker.pid, signal.SIGKILL)
    await kit.until(lambda: scene.listener.lost)

    assert scene.listener.lost[0][3] == "killed by signal 9 (Killed)"
    assert scene.left == [scene.pool.zygote_pid]


async def test_zygote_and_all_hosts_die_at_once(make_scene, kit):
    scene = await make_scene(size=2)
    await started(scene, kit, 2, "shapes")
    await kit.until(lambda: len(scene.left) >= 22)

    for pid in [scene.pool.zygote_pid, *(worker.pid for worker in scene.pool.workers)]:
        os.kill(pid, signal.SIGKILL)

    await kit.until(lambda: len(scene.listener.lost) == 2)
    await kit.until(lambda: set(scene.left) == {scene.pool.zygote_pid})
    scene.submit(scene.work())
    await kit.until(lambda: scene.listener.results)


async def test_hosts_asked_for_while_there_is_no_zygote_come_later(make_scene, kit):
    scene = await make_scene(size=2)
    os.kill(scene.pool.zygote_pid, signal.SIGKILL)

    scene.submit(scene.work(), scene.work())

    await kit.until(lambda: len(scene.listener.results) == 2)


async def test_a_zygote_that_keeps_dying_is_done_without(make_scene, kit, caplog):
    scene = await make_scene(size=1)
    for _ in range(4):
        await kill_zygote(scene, kit)
    os.kill(scene.pool.zygote_pid, signal.SIGKILL)
    await kit.until(lambda: scene.pool.zygote_pid is None)

    scene.submit(scene.work())
    await kit.until(lambda: scene.listener.results)

    assert read_entry(scene.pool.workers[0].pid).parent == os.getpid()
    assert "started without it" in caplog.text


async def test_a_stopped_zygote_is_woken_when_a_worker_is_wanted(make_scene, kit):
    scene = await make_scene(size=1)
    zygote = scene.pool.zygote_pid
    os.kill(zygote, signal.SIGSTOP)
    scene.submit(scene.work())

    await kit.until(lambda: scene.listener.results)

    assert scene.pool.zygote_pid == zygote


async def test_a_zygote_that_cannot_be_woken_is_replaced_when_a_worker_does_not_start(make_scene, kit, monkeypatch):
    monkeypatch.setattr("engine.workers.zygote_link.ZygoteLink.wake", lambda link: None)
    scene = await make_scene(size=1)
    old = scene.pool.zygote_pid
    os.kill(old, signal.SIGSTOP)
    scene.submit(scene.work())
    (worker,) = scene.pool.workers

    worker.deadline = 0.0
    await kit.until(lambda: worker.force_stopped)
    worker.deadline = 0.0
    await kit.until(lambda: scene.listener.results, "work on the next zygote")

    assert not kit.alive(old)
    assert scene.pool.zygote_pid != old


async def test_a_stopped_zygote_does_not_save_a_worker_that_must_end(make_scene, kit):
    scene = await make_scene(size=1)
    await started(scene, kit, 1, "freeze")
    os.kill(scene.pool.zygote_pid, signal.SIGSTOP)

    scene.pool._roster.kill(scene.pool.workers[0])
    await kit.until(lambda: scene.listener.lost)

    assert scene.left == [scene.pool.zygote_pid]


# Without a zygote


async def test_exec_runs_work(make_scene, kit):
    scene = await make_scene(size=1, spawn="exec")
    scene.submit(scene.work(), scene.work())

    await kit.until(lambda: len(scene.listener.results) == 2)

    assert scene.pool.zygote_pid is None
    assert scene.listener.results[0][1].value["mark"] == scene.run_id
    assert read_entry(scene.pool.workers[0].pid).session == scene.pool.workers[0].pid


async def test_exec_notices_a_death_with_its_last_words_and_sweeps(make_scene, kit):
    scene = await make_scene(size=1, spawn="exec")
    scene.submit(scene.work("shapes"))
    await kit.until(lambda: len(scene.left) >= 10)
    os.kill(scene.pool.workers[0].pid, signal.SIGKILL)
    await kit.until(lambda: scene.listener.lost)
    assert scene.left == []

    scene.submit(scene.work("die"))
    await kit.until(lambda: len(scene.listener.lost) == 2)
    assert scene.listener.lost[1][3] == "exited with 7; boom of the host"


async def test_exec_ends_a_frozen_host(make_scene, kit):
    scene = await make_scene(size=1, spawn="exec")
    await started(scene, kit, 1, "freeze")
    scene.pool.workers[0].stopping = scene.pool.workers[0].retiring = True
    scene.pool.workers[0].deadline = 0.0

    await kit.until(lambda: scene.listener.lost)

    assert scene.left == []


async def test_exec_of_a_missing_interpreter_makes_the_slot_rest(make_scene, kit, monkeypatch):
    scene = await make_scene(size=1, spawn="exec")
    monkeypatch.setattr("engine.workers.launch.sys.executable", "/no/such/python")

    scene.pool.lend("shell")

    assert scene.pool.workers == ()
    assert "No such file" in str(scene.events[-1].reason)
