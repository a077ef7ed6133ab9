"""Every file in sample_tasks/ is run, and does what its comments say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

TESTED = {"tour.yaml", "benchmark_tasks.json"}
NOT_TASK_FILES = {"tour_jobs.py", "demo.sh"}


@pytest.fixture(scope="session")
def samples(repository: Path) -> Path:
    return repository / "sample_tasks"


def test_every_sample_has_a_test_here(samples: Path):
    assert {path.name for path in samples.iterdir() if path.is_file()} == TESTED | NOT_TASK_FILES


def test_tour_three_times(program, samples: Path):
    first = program.start(samples / "tour.yaml")

    assert first.join() == 0, first.complaints
    total = first.summary
    assert (total["succeeded"], total["failed"], total["held"], total["not_needed"]) == (16, 0, 0, 2)
    assert Counter(first.states().values()) == {"succeeded": 16, "skipped": 1}
    finished = {event["task_id"]: event for event in first.named("task_finished")}
    assert finished["flood"]["lines"] == 100_000
    assert (finished["publish"]["attempt"], finished["long-haul"]["attempt"]) == (2, 1)
    assert finished["fingerprint-again"]["cached"]
    assert not finished["fingerprint"]["cached"]
    progress = [event["progress"] for event in first.named("output_summary", "long-haul")]
    assert len(progress) > 5
    assert progress[-1] in {"98%", "100%"}
    assert finished["farewell"] == first.named("task_finished")[-1]

    second = program.start(samples / "tour.yaml")

    assert second.join() == 0, second.complaints
    assert (second.summary["already_done"], second.summary["succeeded"]) == (16, 0)
    assert second.named("task_started") == []

    third = program.start(samples / "tour.yaml", "--rerun")

    assert third.join() == 0, third.complaints
    cached = {event["task_id"] for event in third.named("task_finished") if event["cached"]}
    assert cached == {"fingerprint", "fingerprint-again"}
    assert (third.summary["cached"], third.summary["succeeded"], third.summary["already_done"]) == (2, 16, 0)


def test_benchmark_tasks_are_the_well_known_two(samples: Path):
    tasks = json.loads((samples / "benchmark_tasks.json").read_text())

    assert tasks == [
        {"id": "bench-1", "title": "Simple task", "description": "Quick fix", "status": "open"},
        {
            "id": "bench-2",
            "title": "Complex task",
            "description": "Comprehensive refactoring of entire module",
            "status": "open",
        },
    ]


def test_benchmark_tasks_with_the_simulated_agent(program, samples: Path):
    run = program.start(samples / "benchmark_tasks.json", "--agent", "simulated")

    assert run.join() == 0, run.complaints
    assert run.states() == {"bench-1": "succeeded", "bench-2": "succeeded"}
    for event in run.named("task_finished"):
        assert event["tokens"]["total"] == event["tokens"]["input"] + event["tokens"]["output"] > 0
        assert event["cost_usd"] is None


def test_demo_script_runs_headless_and_leaves_nothing(samples: Path, tmp_path: Path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    program = Path(sys.executable).parent / "mi4-tui"
    done = subprocess.run(
        ["sh", samples / "demo.sh", program],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=110,
        env={**os.environ, "TMPDIR": str(scratch)},
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert list(scratch.iterdir()) == []
    assert not (tmp_path / ".mi4").exists()
