"""Every switch is reachable from the running program, and turning it changes what happens."""

from __future__ import annotations

import json
import os

import pytest

WAIT = "while [ ! -e go ]; do sleep 0.05; done"


def shell(task_id: str, command: str, **extra):
    return {"id": task_id, "kind": "shell", "shell": True, "command": command, **extra}


def switched(**settings: str) -> dict[str, str]:
    """The environment with these settings."""
    return {**os.environ, **settings}


def test_process_reuse(program):
    file = program.write([shell(f"t{i}", "true") for i in range(6)])
    warm = program.start(file, "-j", "1")
    assert warm.join() == 0, warm.complaints
    cold = program.start(file, "-j", "1", "--rerun", env=switched(CODEX__ENABLE_PROCESS_REUSE="false"))
    assert cold.join() == 0, cold.complaints

    assert [event["warm"] for event in warm.named("task_finished")] == [False, *[True] * 5]
    assert [event["warm"] for event in cold.named("task_finished")] == [False] * 6
    assert len(warm.named("worker_started")) == 1
    assert len(cold.named("worker_started")) == 6


@pytest.mark.parametrize("how", ["environment", "option"])
def test_caching(program, how: str):
    file = program.write([shell("t", "date +%N", cache=True)])
    assert program.start(file).join() == 0
    hit = program.start(file, "--rerun")
    assert hit.join() == 0
    if how == "environment":
        off = program.start(file, "--rerun", env=switched(CODEX__ENABLE_CACHING="false"))
    else:
        off = program.start(file, "--rerun", "--no-cache")
    assert off.join() == 0

    assert [event["cached"] for event in hit.named("task_finished")] == [True]
    assert [event["cached"] for event in off.named("task_finished")] == [False]


def test_a_cached_result_prints_what_it_printed(program):
    file = program.write([shell("t", "echo first; date +%N", cache=True)])
    assert program.start(file).join() == 0
    printed = program.run("logs", "t").stdout
    assert program.start(file, "--rerun").join() == 0

    assert program.run("logs", "t").stdout == printed
    assert printed.startswith("first\n")


def test_cache_forgets_after_its_time(program):
    file = program.write([shell("t", "true", cache=True)])
    assert program.start(file).join() == 0
    late = program.start(file, "--rerun", env=switched(CACHE__TTL_SECONDS="0.001"))
    assert late.join() == 0

    assert [event["cached"] for event in late.named("task_finished")] == [False]


def test_schedule(program):
    records = [shell("low", "true", priority="low"), shell("high", "true", priority="high")]
    gate = shell("gate", WAIT, priority="critical")

    def order(*options: str) -> list[str]:
        (program.folder / "go").unlink(missing_ok=True)
        run = program.start(program.write([gate, *records]), "-j", "1", "--rerun", *options)
        run.until("task_started", task_id="gate")
        (program.folder / "go").touch()
        assert run.join() == 0, run.complaints
        return [event["task_id"] for event in run.named("task_started")]

    assert order() == ["gate", "high", "low"]
    assert order("--set", "orchestration.schedule=fifo") == ["gate", "low", "high"]


def test_limits_of_categories(program):
    (program.folder / "mi4.toml").write_text("[orchestration]\nmax_agents = 4\nlimits = {slow = 1}\n")
    records = [shell(f"s{i}", "sleep 0.2", category="slow") for i in range(3)]
    run = program.start(program.write([*records, shell("other", "sleep 0.2")]))
    assert run.join() == 0, run.complaints

    together, most = set(), 0
    for event in run.events:
        if event["event"] == "task_started" and event["task_id"].startswith("s"):
            together.add(event["task_id"])
        if event["event"] == "task_finished":
            together.discard(event["task_id"])
        most = max(most, len(together))
    assert most == 1


def test_number_of_workers_is_obeyed(program):
    run = program.start(program.write([shell(f"t{i}", WAIT) for i in range(6)]), "-j", "4")
    run.until("task_started", count=4)
    (program.folder / "go").touch()
    assert run.join() == 0

    assert {event["worker"] for event in run.named("worker_started")} == {"w1", "w2", "w3", "w4"}


def test_workers_are_recycled(program):
    file = program.write([shell(f"t{i}", "true") for i in range(6)])
    run = program.start(
        file, "-j", "1", env=switched(ORCHESTRATION__RECYCLE_AFTER_TASKS="2", ORCHESTRATION__MAX_PREFETCH="1")
    )
    assert run.join() == 0, run.complaints

    assert len(run.named("worker_started")) == 3
    assert all(event["planned"] for event in run.named("worker_stopped"))


def test_metrics(program):
    file = program.write([shell("t", "true")])
    report = program.folder / "report.json"

    def metrics(**settings: str) -> dict[str, object] | None:
        assert program.start(file, "--rerun", "--report", report, env=switched(**settings)).join() == 0
        return json.loads(report.read_text())["current_metrics"]

    measured = metrics()
    assert measured is not None
    assert measured["tasks_completed"] == 1
    assert metrics(MONITORING__ENABLE_METRICS="false") is None
