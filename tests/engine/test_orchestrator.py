"""The whole engine in this process, with real worker processes and a real state folder."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from engine.config import Settings
from engine.errors import AgentMissingError, EngineError, EngineRunningError, TaskFileError
from engine.events import events as ev
from engine.orchestrator import Orchestrator, orchestrator_lifecycle
from engine.session import protocol as ask
from engine.tasks.model import Cause, Task
from engine.testing import EventRecorder
from engine.workers.identity import find_marked


def shell(task_id: str, script: str = "true", **fields) -> Task:
    return Task(id=task_id, kind="shell", command=("sh", "-c", script), **fields)


@pytest.fixture
def make(tmp_path):
    def make(*, work: bool = True, **sections) -> Orchestrator:
        settings = Settings(
            orchestration={"max_agents": 2, "kill_grace_seconds": 0.5, **sections.pop("orchestration", {})}, **sections
        )
        return Orchestrator(settings, folder=tmp_path / "state", work=work)

    return make


async def until(condition, seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


async def test_tasks_run_in_the_order_of_their_dependencies_and_every_number_agrees(make, tmp_path) -> None:
    out = tmp_path / "out"
    async with make() as orchestrator:
        results = await orchestrator.run(
            [
                shell("b", f"echo b >> {out}", dependencies=("a",)),
                shell("a", f"echo a >> {out}"),
                shell("bad", "exit 3"),
            ]
        )

        assert out.read_text() == "a\nb\n"
        assert (results.finished.succeeded, results.finished.failed) == (2, 1)
        assert results.tasks["bad"].exit_code == 3
        assert orchestrator.projection.counts["succeeded"] == 2
        assert set(orchestrator.task_execution_times) == {"a", "b", "bad"}
        assert orchestrator.process_pool.stats.dispatches == 3


async def test_the_lifecycle_reads_a_task_file_and_reuses_its_workers(tmp_path) -> None:
    file = tmp_path / "tasks.json"
    file.write_text(json.dumps([{"id": n, "title": "t", "command": ["true"]} for n in range(12)]))
    async with orchestrator_lifecycle(
        Settings(orchestration={"max_agents": 1}), folder=tmp_path / "state"
    ) as orchestrator:
        results = await orchestrator.run(str(file))

        assert results.finished.succeeded == 12
        assert orchestrator.process_pool.stats.get_reuse_rate() == pytest.approx(100 * 11 / 12)


async def test_without_reuse_every_task_has_a_new_process(make) -> None:
    async with make(codex={"enable_process_reuse": False}) as orchestrator:
        await orchestrator.run([shell(f"t{n}") for n in range(5)])

        assert orchestrator.process_pool.stats.created == 5
        assert orchestrator.process_pool.stats.get_reuse_rate() == 0


async def test_running_again_knows_what_is_done(make) -> None:
    async with make() as first:
        await first.run([shell("a"), shell("bad", "exit 1")])
    async with make() as second:
        submission = await second.submit([shell("a"), shell("bad", "exit 1")])
        finished = await second.wait_idle()

    assert (submission.already_done, submission.accepted) == (["a"], ["bad"])
    assert (finished.already_done, finished.succeeded, finished.failed) == (1, 0, 1)


async def test_a_cached_result_stands_in_and_is_switched_off_by_the_setting(make) -> None:
    task = shell("a", "echo $$", cache=True)
    async with make() as orchestrator:
        await orchestrator.run([task])
        again = await orchestrator.run([task], rerun=True)

        assert again.tasks["a"].cached
        assert (orchestrator.cache_hits, orchestrator.cache_misses) == (1, 1)
        assert again.finished.cached == 1
    async with make(codex={"enable_caching": False}) as orchestrator:
        off = await orchestrator.run([task], rerun=True)

        assert not off.tasks["a"].cached


async def test_a_task_that_prints_is_summarised_and_its_output_found(make) -> None:
    async with make() as orchestrator:
        await orchestrator.run([shell("a", "seq 1 1000; echo done 100%")])
        reply = await orchestrator.handle(ask.FindLog(id="a"))
        row = orchestrator.projection.row("a")

        assert row.lines == 1001
        text = reply.data["output"] or Path(reply.data["path"]).read_bytes()
        assert text.startswith(b"1\n2\n")
        assert text.endswith(b"done 100%\n")


async def test_a_worker_that_is_killed_loses_no_task(make, tmp_path) -> None:
    mark = tmp_path / "mark"
    script = f"test -e {mark} && exit 0; touch {mark}; kill -9 $PPID; sleep 30"
    async with make() as orchestrator:
        results = await orchestrator.run([shell("a", script), shell("b")])

        assert results.finished.succeeded == 2
        assert results.tasks["a"].attempt == 2
        assert orchestrator.process_pool.stats.crashed == 1


async def test_a_poison_task_fails_and_the_queue_goes_on(make) -> None:
    async with make(orchestration={"crash_limit": 2}) as orchestrator:
        results = await orchestrator.run([shell("poison", "kill -9 $PPID; sleep 30"), shell("b")])

        assert (results.tasks["poison"].state, results.tasks["poison"].cause) == ("failed", Cause.WORKER_LOST)
        assert "lost 2 times" in results.tasks["poison"].error
        assert results.tasks["b"].state == "succeeded"


async def test_what_ran_when_the_engine_died_is_held_and_the_rest_goes_on(make, tmp_path) -> None:
    program = f"""
import asyncio
from engine.orchestrator import Orchestrator
from engine.config import Settings
from engine.tasks.model import Task
async def main():
    async with Orchestrator(Settings(orchestration=dict(max_agents=1)), folder={str(tmp_path / "state")!r}) as o:
        o.bus.listen(lambda events: [print(type(e).__name__, flush=True) for e in events], name="print")
        await o.submit([Task(id="done", kind="shell", command=("true",)),
                        Task(id="runs", kind="shell", command=("sleep", "100"), dependencies=("done",)),
                        Task(id="waits", kind="shell", command=("true",), dependencies=("done",), priority=100.0)])
        await o.wait_idle()
asyncio.run(main())
"""
    engine = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    started = 0
    while started < 2:
        line = await engine.stdout.readline()
        assert line, "the engine ended early"
        started += b"TaskStarted" in line
    os.kill(engine.pid, signal.SIGKILL)
    await engine.communicate()

    async with make() as orchestrator:
        assert orchestrator.projection.row("runs").state == "held"
        assert orchestrator.projection.row("done").state == "succeeded"
        finished = await orchestrator.wait_idle()
        assert (finished.succeeded, finished.held) == (1, 1)
        assert orchestrator.projection.row("waits").state == "succeeded"
        await orchestrator.handle(ask.Cancel(ids=("runs",)))


async def test_leaving_cancels_what_runs_and_leaves_no_process(make) -> None:
    async with make() as orchestrator:
        await orchestrator.submit([shell("a", "sleep 100")])
        await until(lambda: orchestrator.projection.row("a").state == "running")
        run_id = orchestrator.run_id

    assert find_marked(run_id) == []
    async with make(work=False) as after:
        assert after.projection.row("a").state == "cancelled"


async def test_drain_finishes_what_runs_and_keeps_the_rest_queued(make, tmp_path) -> None:
    go = tmp_path / "go"
    async with make() as orchestrator:
        await orchestrator.submit([shell(n, f"while ! test -e {go}; do sleep 0.02; done") for n in "abc"])
        await until(lambda: orchestrator.projection.counts["running"] == 2)
        orchestrator.drain()
        go.touch()
        finished = await orchestrator.wait_idle()

        assert finished.succeeded == 2
        assert orchestrator.projection.counts["queued"] == 1
        assert orchestrator.stopping


async def test_a_second_engine_on_the_folder_is_refused_and_names_the_first(make) -> None:
    async with make():
        with pytest.raises(EngineRunningError) as caught:
            await make().__aenter__()

    assert caught.value.pid == os.getpid()


async def test_stored_state_can_be_worked_on_without_workers(make) -> None:
    async with make() as orchestrator:
        await orchestrator.run([shell("a", "exit 1")])
    async with make(work=False) as offline:
        assert (await offline.handle(ask.Retry(ids=("a",)))).ok
        assert (await offline.handle(ask.AddTasks(tasks=(shell("b"),)))).data["accepted"] == ["b"]
        assert (await offline.handle(ask.Hold(ids=("b",)))).ok
        with pytest.raises(EngineError):
            offline.process_pool  # noqa: B018
    async with make() as orchestrator:
        finished = await orchestrator.wait_idle()
        assert (finished.failed, finished.held) == (1, 1)


async def test_an_agent_task_without_an_agent_takes_nothing_in(make) -> None:
    async with make() as orchestrator:
        with pytest.raises(AgentMissingError):
            await orchestrator.submit([shell("a"), Task(id="b", description="fix it")])

        assert not orchestrator.projection.rows


async def test_an_impossible_graph_is_refused_whole(make) -> None:
    async with make() as orchestrator:
        with pytest.raises(TaskFileError, match="a -> b -> a"):
            await orchestrator.submit([shell("a", dependencies=("b",)), shell("b", dependencies=("a",))])

        assert not orchestrator.projection.rows


async def test_results_are_the_same_without_any_subscriber_and_with_a_failing_one(make, tmp_path) -> None:
    def fail(events) -> None:
        raise RuntimeError("an observer fails")

    async with make() as orchestrator:
        orchestrator.bus.listen(fail, name="failing")
        with orchestrator.bus.subscribe(maxsize=1):
            results = await orchestrator.run([shell("a"), shell("b", dependencies=("a",))])

    assert results.finished.succeeded == 2


async def test_a_priority_change_moves_a_waiting_task_ahead(make, tmp_path) -> None:
    go, out = tmp_path / "go", tmp_path / "out"
    async with make(orchestration={"max_agents": 1}) as orchestrator:
        gate = shell("gate", f"while ! test -e {go}; do sleep 0.02; done", priority=400.0)
        await orchestrator.submit([gate, *(shell(n, f"echo {n} >> {out}") for n in "abc")])
        await until(lambda: orchestrator.projection.row("gate").state == "running")
        moved = await orchestrator.handle(ask.Move(ids=("c",), where="top"))
        await orchestrator.handle(ask.Reprioritise(ids=("b",), delta=100))
        go.touch()
        await orchestrator.wait_idle()

    assert moved.data["previous"] == {"c": (200.0, 0.0)}
    assert out.read_text().split() == ["b", "c", "a"]


async def test_the_run_is_announced_from_start_to_end_in_order(make) -> None:
    orchestrator = make()
    record = EventRecorder(orchestrator.bus)
    async with orchestrator:
        await orchestrator.run([shell("a")])

    about = record.about("a")
    assert about == ["task_added", "task_queued", "task_leased", "task_started", "task_finished"]
    assert record.names()[0] == "run_started"
    assert isinstance(record.of(ev.RunFinished)[0], ev.RunFinished)
    seqs = [event.seq for event in record.events]
    assert seqs == sorted(set(seqs))


async def test_running_what_is_all_done_ends_at_once_and_is_announced(make) -> None:
    async with make() as first:
        await first.run([shell("a")])
    orchestrator = make()
    record = EventRecorder(orchestrator.bus)
    async with orchestrator, asyncio.timeout(20):
        finished = (await orchestrator.run([shell("a")])).finished

    assert (finished.already_done, finished.succeeded) == (1, 0)
    assert record.of(ev.RunFinished)[-1].already_done == 1


async def test_draining_before_anything_started_ends_at_once(make) -> None:
    async with make() as orchestrator, asyncio.timeout(20):
        await orchestrator.submit([shell("a", "sleep 100")])
        orchestrator.drain()
        await orchestrator.wait_idle()


async def test_what_the_body_raises_comes_out_as_it_is(make) -> None:
    with pytest.raises(ZeroDivisionError):
        async with make():
            raise ZeroDivisionError


async def test_a_failing_monitor_does_not_stop_the_work(make, monkeypatch) -> None:
    async with make(monitoring={"interval_seconds": 0.1}) as orchestrator:
        monkeypatch.setattr(orchestrator._observer, "tick", lambda: 1 / 0)
        results = await orchestrator.run([shell("a", "sleep 0.3")])

    assert results.finished.succeeded == 1


async def test_the_switch_for_metrics_reaches_the_report(make) -> None:
    async with make(monitoring={"enable_metrics": False}) as orchestrator:
        await orchestrator.run([shell("a")])
        report = (await orchestrator.handle(ask.WriteReport())).data["report"]

    assert report["current_metrics"] is None
