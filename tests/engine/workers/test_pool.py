"""The pool from the scheduler's side, with scripted hosts in real processes."""

from __future__ import annotations

import os

import pytest

from engine.events.events import PoolResized, WorkerStarted, WorkerStopped


async def test_work_goes_to_a_warm_worker_and_its_result_comes_back(make_scene, kit):
    scene = await make_scene(size=1)
    scene.submit(scene.work(), scene.work())

    await kit.until(lambda: len(scene.listener.results) == 2)

    first, second = (result.value for _, result in scene.listener.results)
    assert first["pid"] == second["pid"] == scene.pool.workers[0].pid
    assert (first["name"], first["mark"]) == ("w1.1", scene.run_id)
    assert first["options"]["run_id"] == scene.run_id
    assert [event.worker for event in scene.named(WorkerStarted)] == ["w1"]
    statistics = scene.pool.statistics()
    assert (statistics.created, statistics.dispatches, statistics.reused, statistics.active) == (1, 2, 1, 1)
    assert statistics.get_reuse_rate() == 50.0
    assert scene.pool.stats.idle == 1


async def test_nothing_is_started_before_it_is_needed(make_scene, kit):
    scene = await make_scene(size=3)
    assert scene.pool.workers == ()

    assert scene.pool.lend("shell") is None
    assert len(scene.pool.workers) == 1
    assert scene.pool.lend("shell") is None
    assert len(scene.pool.workers) == 1

    assert scene.pool.lend("shell", wanted=5) is None
    assert len(scene.pool.workers) == 3
    await kit.until(lambda: scene.listener.ready >= 3)


async def test_a_lent_worker_is_lent_once(make_scene, kit):
    scene = await make_scene(size=1)
    worker = await scene.lend()

    assert scene.pool.lend("shell") is None
    ready = scene.listener.ready
    scene.pool.give_back(worker)

    assert scene.listener.ready == ready + 1
    assert scene.pool.lend("shell") is worker


async def test_the_worker_that_is_warm_for_the_key_is_preferred(make_scene, kit):
    scene = await make_scene(size=2, min_size=2)
    await kit.until(lambda: all(worker.ready for worker in scene.pool.workers) and len(scene.pool.workers) == 2)
    a, b = scene.pool.lend("a"), scene.pool.lend("b")
    scene.pool.give_back(a)
    scene.pool.give_back(b)

    assert scene.pool.lend("b") is b
    assert scene.pool.lend("c") is a


async def test_several_are_run_in_order_and_a_busy_worker_can_be_topped_up(make_scene, kit, tmp_path):
    scene = await make_scene(size=1)
    worker = await scene.lend()
    scene.pool.give(worker, [scene.work("wait", options={"until": str(tmp_path / "go")}), scene.work()])
    scene.pool.give(worker, [scene.work()])
    assert list(worker.outstanding) == [1, 2, 3]

    (tmp_path / "go").touch()
    await kit.until(lambda: not worker.outstanding)

    assert [result.key for _, result in scene.listener.results] == [1, 2, 3]
    assert scene.listener.started == [(worker, 1, 1, 1.5)]
    assert worker.tasks_run == 3


async def test_what_has_not_begun_can_be_recalled(make_scene, kit):
    scene = await make_scene(size=1)
    worker = await scene.lend()
    scene.pool.give(worker, [scene.work("wait"), scene.work(), scene.work()])
    await kit.until(lambda: scene.listener.started)

    scene.pool.recall(worker, [1, 2, 3])
    await kit.until(lambda: scene.listener.recalled)

    assert scene.listener.recalled == [(worker, 2), (worker, 3)]
    assert list(worker.outstanding) == [1]
    assert scene.pool.statistics().dispatches == 1


async def test_a_running_attempt_can_be_cancelled(make_scene, kit):
    scene = await make_scene(size=1)
    worker = await scene.lend()
    scene.pool.give(worker, [scene.work("shapes")])
    await kit.until(lambda: len(scene.left) >= 12)

    scene.pool.cancel(worker, 1)
    await kit.until(lambda: scene.listener.results)

    assert scene.listener.results[0][1].outcome == "cancelled"
    assert sorted(scene.left) == sorted([worker.pid, scene.pool.zygote_pid])


async def test_without_reuse_every_task_has_a_process_of_its_own(make_scene, kit):
    scene = await make_scene(size=2, reuse=False)
    scene.submit(*(scene.work() for _ in range(6)))

    await kit.until(lambda: len(scene.listener.results) == 6)

    assert len({result.value["pid"] for _, result in scene.listener.results}) == 6
    assert scene.pool.statistics().get_reuse_rate() == 0.0
    assert scene.pool.statistics().created >= 6
    await kit.until(lambda: not scene.pool.workers)
    assert {event.planned for event in scene.named(WorkerStopped)} == {True}


async def test_without_reuse_a_worker_takes_one_task_and_the_rest_comes_back(make_scene, kit):
    scene = await make_scene(size=1, reuse=False)
    worker = await scene.lend()

    scene.pool.give(worker, [scene.work(), scene.work(), scene.work()])

    await kit.until(lambda: scene.listener.results and len(scene.listener.recalled) == 2)
    assert [key for _, key in scene.listener.recalled] == [2, 3]


async def test_a_worker_leaves_after_its_share_of_tasks(make_scene, kit):
    scene = await make_scene(size=1, recycle_after_tasks=3)
    scene.submit(*(scene.work() for _ in range(7)))

    await kit.until(lambda: len(scene.listener.results) == 7)

    names = [result.value["name"] for _, result in scene.listener.results]
    assert names == ["w1.1"] * 3 + ["w1.2"] * 3 + ["w1.3"]
    await kit.until(lambda: scene.pool.statistics().recycled == 2)
    assert [page.name for page in scene.folder.progress.glob("*.page")] == ["w1.3.page"]
    assert scene.named(WorkerStopped)[0].reason == "had 3 tasks"
    assert scene.named(WorkerStopped)[0].tasks_run == 3


async def test_what_a_dead_worker_is_given_comes_back(make_scene, kit):
    scene = await make_scene(size=1)
    worker = await scene.lend()
    os.kill(worker.pid, 9)
    await kit.until(lambda: scene.listener.lost)

    scene.pool.give(worker, [scene.work()])
    await kit.until(lambda: scene.listener.recalled)

    assert scene.listener.lost == [(worker, (), (), "killed by signal 9 (Killed)", False)]
    assert scene.listener.recalled == [(worker, 1)]


async def test_a_task_that_fits_in_no_frame_fails_alone(make_scene, kit, monkeypatch):
    monkeypatch.setattr("engine.workers.protocol.MAX_FRAME", 100_000)
    scene = await make_scene(size=1)
    worker = await scene.lend()

    scene.pool.give(
        worker, [scene.work(), scene.work(args=("x" * 200_000,)), scene.work(args=(object(),)), scene.work()]
    )
    await kit.until(lambda: not worker.outstanding)

    outcomes = {result.key: result for _, result in scene.listener.results}
    assert [outcomes[key].outcome for key in (1, 2, 3, 4)] == ["succeeded", "failed", "failed", "succeeded"]
    assert "over the limit" in outcomes[2].error
    assert not outcomes[2].retryable
    assert (outcomes[2].cause, scene.listener.lost) == ("start_failed", [])


async def test_growing_makes_room(make_scene, kit):
    scene = await make_scene(size=1)
    scene.submit(scene.work("wait"), scene.work("wait"))
    await kit.until(lambda: len(scene.listener.started) == 1)

    scene.pool.resize(2)

    await kit.until(lambda: len(scene.listener.started) == 2)
    assert [event.size for event in scene.named(PoolResized)] == [2]
    assert {worker.name for worker in scene.pool.workers} == {"w1", "w2"}


async def test_shrinking_lets_idle_workers_go_at_once_and_busy_ones_after_their_work(make_scene, kit, tmp_path):
    scene = await make_scene(size=3, min_size=3)
    await kit.until(lambda: sum(worker.ready for worker in scene.pool.workers) == 3)
    busy = [scene.pool.lend("shell") for _ in range(2)]
    for worker in busy:
        scene.pool.give(worker, [scene.work("wait", options={"until": str(tmp_path / "go")})])

    scene.pool.resize(1)

    await kit.until(lambda: len(scene.pool.workers) == 2)
    await kit.until(lambda: len(scene.listener.started) == 2)
    assert sum(worker.retiring for worker in busy) == 1
    (tmp_path / "go").touch()
    await kit.until(lambda: len(scene.pool.workers) == 1 and len(scene.listener.results) == 2)
    assert [result.outcome for _, result in scene.listener.results] == ["succeeded"] * 2
    assert [planned for *_, planned in scene.listener.lost] == [True, True]


async def test_a_pool_of_nothing_starts_nothing(make_scene):
    scene = await make_scene(size=1)
    scene.pool.resize(0)

    assert scene.pool.lend("shell") is None
    assert scene.pool.workers == ()
    with pytest.raises(ValueError, match="fewer than no workers"):
        scene.pool.resize(-1)


async def test_closing_waits_for_what_runs(make_scene, kit, tmp_path):
    scene = await make_scene(size=2)
    scene.submit(scene.work("wait", options={"until": str(tmp_path / "go")}), scene.work())
    await kit.until(lambda: scene.listener.started and scene.listener.results)
    (tmp_path / "go").touch()

    await scene.pool.aclose()

    assert [result.outcome for _, result in scene.listener.results] == ["succeeded"] * 2
    assert (scene.left, scene.pool.workers, scene.pool.lend("shell")) == ([], (), None)
    assert list(scene.folder.progress.iterdir()) == []


async def test_closing_by_force_ends_what_runs(make_scene, kit):
    scene = await make_scene(size=2)
    scene.submit(scene.work("shapes"), scene.work("shapes"))
    await kit.until(lambda: len(scene.left) >= 20)

    await scene.pool.aclose(force=True)

    assert scene.left == []
    assert [result.outcome for _, result in scene.listener.results] == ["cancelled"] * 2
    assert scene.pool.statistics().killed == 0


async def test_closing_twice_and_before_a_start_is_allowed(make_scene):
    scene = await make_scene(start=False)
    await scene.pool.aclose()
    await scene.pool.aclose(force=True)


async def test_it_describes_itself(make_scene):
    scene = await make_scene(size=2)
    assert repr(scene.pool) == "<ProcessPool 0 of 2: >"
