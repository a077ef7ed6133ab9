"""The lives of engines on a folder."""

from pathlib import Path

from engine.storage.rows import RunRecord


async def test_a_run_is_open_until_it_is_finished(store):
    await store.runs.begin("r1", 10.0, {"max_agents": 3, "folder": Path("/x")})
    await store.runs.begin("r2", 20.0, {})
    await store.runs.finish("r1", 15.0, {"succeeded": 4})
    assert store.runs.latest() == [
        RunRecord(run_id="r2", started_at=20.0),
        RunRecord(
            run_id="r1",
            started_at=10.0,
            finished_at=15.0,
            summary={"succeeded": 4},
            settings={"max_agents": 3, "folder": "/x"},
        ),
    ]
    assert [run.run_id for run in store.runs.latest(1)] == ["r2"]


async def test_only_the_newest_runs_are_kept(store):
    for number in range(5):
        await store.runs.begin(f"r{number}", float(number), {})
    await store.runs.prune(2)
    assert [run.run_id for run in store.runs.latest()] == ["r4", "r3"]
