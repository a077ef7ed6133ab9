"""What needs the machine for itself: much output. Run by .ci/run after the other tests."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.load
MB = 1_000_000


def memory(pid: int, field: str) -> int:
    """Bytes: `VmRSS` now or `VmHWM` at most."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise AssertionError(field)


def test_300_mb_of_output_stay_in_the_worker(program, processes):
    """3,000,000 lines are counted by the worker; the engine, which never sees them, does not grow."""
    line = "x" * 99
    command = f"while [ ! -e go ]; do sleep 0.05; done; yes {line} | head -n 3000000; touch ended; sleep 1"
    warm = {"id": "warm", "kind": "shell", "command": ["echo", "hello"], "priority": 400}
    task = {"id": "flood", "kind": "shell", "shell": True, "command": command, "dependencies": ["warm"]}
    run = program.start(program.write([warm, task]), "-j", "1")
    (started,) = run.until("task_started", task_id="flood")
    hosts = {event["worker"]: event["pid"] for event in run.named("worker_started")}
    before = memory(run.pid, "VmRSS")

    (program.folder / "go").touch()
    processes.eventually((program.folder / "ended").exists, "the end of the output", 300)
    engine, host = memory(run.pid, "VmHWM"), memory(hosts[started["worker"]], "VmHWM")

    assert run.join(60) == 0
    (finished,) = run.named("task_finished", "flood")
    assert finished["lines"] == 3_000_000
    stored = sum(path.stat().st_size for path in (program.state / "logs").iterdir())
    assert 60 * MB < stored < 70 * MB, "the log keeps its head and its tail up to the cap"
    print(f"engine grew by {(engine - before) / MB:.1f} MB; worker at most {host / MB:.1f} MB")  # noqa: T201 - shown with -rP
    assert engine - before < 10 * MB
    assert host < 60 * MB
