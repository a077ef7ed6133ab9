"""The observer inside a real engine: what it tells the projection, and what it leaves alone."""

import asyncio
import gc
import json
from pathlib import Path

import pytest

from engine.config import Settings
from engine.errors import EngineError
from engine.events import events as ev
from engine.monitoring import observer
from engine.monitoring.observer import Observer, newest_observer
from engine.orchestrator import Orchestrator
from engine.performance_monitor import PerformanceMonitor
from engine.tasks.model import Task
from engine.testing import EventRecorder

TASKS = [
    Task(id="good", kind="shell", command=("true",)),
    *(Task(id=f"bad{i}", kind="shell", command=("false",)) for i in range(5)),
]


@pytest.fixture(autouse=True)
def _no_engine_of_another_test():
    gc.collect()
    observer._live.clear()


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "state"


def orchestrator(folder, **monitoring) -> Orchestrator:
    return Orchestrator(Settings(monitoring=monitoring), folder=folder)


async def until(condition) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def test_ticks_feed_the_projection_and_changes_are_events(folder):
    async with orchestrator(folder, interval_seconds=0.1) as engine:
        recorder = EventRecorder(engine.bus)
        await engine.run(TASKS)
        await until(lambda: engine.projection.findings)
        await until(lambda: engine.projection.metrics["cpu_usage"] is not None)

        assert [found["bottleneck_type"] for found in engine.projection.findings] == ["high_failure_rate"]
        assert len(recorder.of(ev.FindingsChanged)) == 1
        assert engine.projection.metrics["tasks_failed"] == 5
        assert engine.projection.metrics["memory_usage"] > engine.projection.metrics["engine_memory"] > 0


async def test_switched_off_metrics_are_not_counted_and_not_told(folder, tmp_path):
    async with orchestrator(folder, enable_metrics=False, interval_seconds=0.1) as engine:
        await engine.run(TASKS)
        engine._observer.tick()

        assert engine.projection.metrics is None
        assert engine._observer._collector is None
        with pytest.raises(EngineError, match="enable_metrics is off"):
            PerformanceMonitor(folder).get_current_metrics()
        report = json.loads(PerformanceMonitor(folder).export_report(tmp_path / "r.json").read_text())
        assert report["current_metrics"] is None
        assert report["bottlenecks"] == []
        assert len(report["tasks"]) == 6


async def test_an_engine_that_is_gone_is_not_remembered(folder):
    async with orchestrator(folder) as engine:
        await engine.run(TASKS[:1])
    del engine
    gc.collect()

    assert list(observer._live) == []


async def test_without_workers_the_last_run_is_told(folder):
    async with orchestrator(folder) as engine:
        await engine.run(TASKS)
    async with Orchestrator(Settings(), folder=folder, work=False) as idle:
        report = Observer(idle, None).report()

    assert report["current_metrics"]["tasks_failed"] == 5
    assert report["run"]["run_id"] == engine.run_id
    assert len(report["tasks"]) == 6


async def test_the_newest_engine_of_a_folder_is_found(folder):
    async with orchestrator(folder) as one, orchestrator(folder.parent / "other") as two:
        assert newest_observer(folder, or_any=False).report()["run"]["run_id"] == one.run_id
        assert newest_observer(folder.parent / "third", or_any=True).report()["run"]["run_id"] == two.run_id
        assert newest_observer(folder.parent / "third", or_any=False) is None
