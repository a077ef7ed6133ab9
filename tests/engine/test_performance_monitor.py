"""The monitor in its three ways: on an engine of this process, on one in another process, and on what a run left behind."""

import gc
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine import performance_monitor
from engine.config import Settings
from engine.errors import EngineError, SessionLostError
from engine.monitoring import observer
from engine.monitoring.metrics import PerformanceMetrics
from engine.orchestrator import Orchestrator
from engine.performance_monitor import PerformanceMonitor, main
from engine.tasks.model import Task

TASKS = [
    Task(id="good", kind="shell", command=("true",)),
    *(Task(id=f"bad{i}", kind="shell", command=("false",)) for i in range(5)),
]
OTHER_ENGINE = """
import asyncio, sys
from engine.config import Settings
from engine.orchestrator import Orchestrator
from engine.tasks.model import Task

async def run():
    settings = Settings(monitoring={"enable_metrics": sys.argv[2] == "on", "interval_seconds": 0.1})
    async with Orchestrator(settings, folder=sys.argv[1]) as orchestrator:
        tasks = [Task(id="good", kind="shell", command=("true",))]
        tasks += [Task(id=f"bad{i}", kind="shell", command=("false",)) for i in range(5)]
        await orchestrator.run(tasks)
        def measured():
            seen = orchestrator.projection.metrics or {}
            return (seen.get("tasks_completed"), seen.get("tasks_failed")) == (1, 5) and orchestrator.projection.findings
        while sys.argv[2] == "on" and not measured():
            await asyncio.sleep(0.01)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(run())
"""


@pytest.fixture(autouse=True)
def _no_engine_of_another_test():
    gc.collect()
    observer._live.clear()


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def other_engine(folder):
    processes = []

    def start(metrics="on") -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", OTHER_ENGINE, str(folder), metrics],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in processes:
        process.send_signal(signal.SIGCONT)
        process.communicate()


def orchestrator(folder, **monitoring) -> Orchestrator:
    return Orchestrator(Settings(monitoring=monitoring), folder=folder)


def check_numbers(metrics: PerformanceMetrics) -> None:
    assert (metrics.tasks_completed, metrics.tasks_failed, metrics.tasks_in_progress) == (1, 5, 0)
    assert metrics.average_task_time is not None


# In this process


async def test_a_live_engine_is_read_directly(folder):
    async with orchestrator(folder) as engine:
        await engine.run(TASKS)

        for monitor in (PerformanceMonitor(folder), PerformanceMonitor(), engine.monitor):
            metrics = monitor.get_current_metrics()
            check_numbers(metrics)
            assert metrics.dispatches == engine.process_pool.stats.dispatches
            assert metrics.process_pool_reuse_rate == engine.process_pool.stats.get_reuse_rate()
        assert [finding.bottleneck_type for finding in PerformanceMonitor().get_bottlenecks()] == ["high_failure_rate"]
        report = PerformanceMonitor().generate_report()
        assert report["run"]["run_id"] == engine.run_id
        assert len(report["tasks"]) == 6
        with pytest.raises(EngineError, match="nothing has run in"):
            PerformanceMonitor(folder.parent / "elsewhere").get_current_metrics()


# In another process


def test_an_engine_in_another_process_is_asked(folder, other_engine, tmp_path):
    process = other_engine()
    monitor = PerformanceMonitor(folder)

    metrics = monitor.get_current_metrics()
    check_numbers(metrics)
    assert metrics.memory_usage > 0
    assert [finding.bottleneck_type for finding in monitor.get_bottlenecks()] == ["high_failure_rate"]
    path = monitor.export_report(tmp_path / "report.json")
    report = json.loads(path.read_text())
    assert report["run"]["pid"] == process.pid
    assert report["current_metrics"]["tasks_failed"] == 5
    assert {task["id"] for task in report["tasks"]} == {task.id for task in TASKS}


def test_an_engine_without_metrics_says_so(folder, other_engine, monkeypatch):
    other_engine(metrics="off")
    monkeypatch.setattr(performance_monitor, "LOOK_TIMEOUT", 0.3)

    with pytest.raises(EngineError, match="enable_metrics is off"):
        PerformanceMonitor(folder).get_current_metrics()
    assert PerformanceMonitor(folder).generate_report()["current_metrics"] is None


def test_an_engine_that_does_not_answer_is_not_waited_for(folder, other_engine, monkeypatch):
    process = other_engine()
    os.kill(process.pid, signal.SIGSTOP)
    monkeypatch.setattr(performance_monitor, "LOOK_TIMEOUT", 0.3)

    with pytest.raises(SessionLostError, match="does not answer"):
        PerformanceMonitor(folder).get_current_metrics()


# What a run left behind


def test_a_run_that_is_over_is_told_from_its_folder(folder, other_engine, tmp_path):
    other_engine().communicate()
    monitor = PerformanceMonitor(folder)

    check_numbers(monitor.get_current_metrics())
    report = json.loads(monitor.export_report(tmp_path / "r.json").read_text())
    assert report["run"]["finished"]["failed"] == 5
    assert report["settings"]["monitoring"]["interval_seconds"] == 0.1
    assert [found["bottleneck_type"] for found in report["bottlenecks"]] == ["high_failure_rate"]


def test_a_killed_run_is_told_as_far_as_its_tasks_tell(folder, other_engine):
    process = other_engine()
    process.kill()
    process.wait()

    metrics = PerformanceMonitor(folder).get_current_metrics()

    assert (metrics.tasks_completed, metrics.tasks_failed) == (1, 5)
    assert (metrics.tasks_in_progress, metrics.cpu_usage, metrics.retry_count) == (None, None, None)
    assert PerformanceMonitor(folder).generate_report()["run"]["state"] == "interrupted"


@pytest.mark.parametrize("method", ["get_current_metrics", "get_bottlenecks", "generate_report"])
def test_where_nothing_has_run_there_is_one_line(folder, method):
    with pytest.raises(EngineError, match="nothing has run in ") as caught:
        getattr(PerformanceMonitor(folder), method)()

    assert "\n" not in str(caught.value)
    assert not folder.exists()


# The command


def test_the_command_prints_lines_or_json(folder, other_engine, capsys):
    other_engine()

    assert main(["--once", "--state-dir", str(folder)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "1 succeeded  5 failed  0 in progress" in first
    assert second.startswith("  high: 5 of 6 tasks failed (83 %).")
    assert main(["--once", "--json", "--state-dir", str(folder)]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["current_metrics"]["tasks_failed"] == 5
    assert line["bottlenecks"][0]["bottleneck_type"] == "high_failure_rate"


def test_the_command_ends_with_one_line_where_nothing_has_run(folder, capsys):
    assert main(["--once", "--state-dir", str(folder)]) == 1

    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--interval", "0"], ["--interval", "x"], ["--nonsense"]])
def test_wrong_use_ends_with_64(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == 64
    assert capsys.readouterr().err.count("\n") == 1


def test_the_command_follows_until_its_reader_leaves(folder, other_engine):
    other_engine()
    command = [
        sys.executable,
        "-m",
        "engine.performance_monitor",
        "--json",
        "--interval",
        "0.1",
        "--state-dir",
        str(folder),
    ]

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.stdout.close()
        assert process.wait(30) == 0
        assert process.stderr.read() == ""

    assert len({line["current_metrics"]["time"] for line in lines}) > 1


def test_an_interrupt_ends_the_command_without_a_traceback(folder, other_engine):
    other_engine()
    command = [sys.executable, "-m", "engine.performance_monitor", "--interval", "60", "--state-dir", str(folder)]

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr.read() == ""
