"""What process reuse saves: the same tasks with warm workers and with a new process for every task.

Rounds are interleaved (on, off, off, on, ...), so that a machine that is slow for a minute slows both. Printed are medians of the
start-up overhead of one task (the wall time of the run, less the engine's own start, by tasks) and their ratio.

    python benchmarks/reuse.py [--tasks N] [--rounds N]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PROGRAM = Path(sys.executable).parent / "mi4-tui"

WORK: dict[str, dict[str, Any]] = {
    "python callable": {"kind": "python", "callable": "bench_job:nothing"},
    "shell command": {"kind": "shell", "command": ["true"]},
}
JOB = "import json, decimal, email.message  # what a small real module imports\n\n\ndef nothing():\n    return None\n"


def one_run(folder: Path, tasks: list[dict[str, Any]], *, reuse: bool) -> tuple[float, float]:
    """Milliseconds between first dispatch and last settlement for each task, and the share of dispatches to a warm worker."""
    with tempfile.TemporaryDirectory(dir=folder) as state:
        file = Path(state) / "tasks.json"
        file.write_text(json.dumps(tasks))
        (Path(state) / "bench_job.py").write_text(JOB)
        done = subprocess.run(
            [PROGRAM, file, "--json", "-j", "2", "--state-dir", Path(state) / "state"],
            env={**os.environ, "CODEX__ENABLE_PROCESS_REUSE": str(reuse).lower()},
            cwd=state, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True,
        )  # fmt: skip
    events = [json.loads(line) for line in done.stdout.splitlines()]
    finished = [event for event in events if event["event"] == "task_finished"]
    if events[-1]["succeeded"] != len(tasks):
        raise SystemExit(f"not all tasks succeeded: {events[-1]}")
    return events[-1]["duration_s"] * 1000 / len(tasks), sum(event["warm"] for event in finished) / len(finished)


def compare(name: str, record: dict[str, Any], count: int, rounds: int) -> None:
    """Print one line of the table."""
    tasks = [{"id": f"t{number}", **record} for number in range(count)]
    times: dict[bool, list[float]] = {True: [], False: []}
    warm: dict[bool, list[float]] = {True: [], False: []}
    with tempfile.TemporaryDirectory(prefix="mi4-bench-") as folder:
        one_run(Path(folder), tasks[:4], reuse=True)  # byte code and page cache
        for number in range(rounds):
            for reuse in (True, False) if number % 2 == 0 else (False, True):
                took, share = one_run(Path(folder), tasks, reuse=reuse)
                times[reuse].append(took)
                warm[reuse].append(share)
    on, off = statistics.median(times[True]), statistics.median(times[False])
    ratios = sorted(a / b for a, b in zip(times[True], times[False], strict=True))
    saved = 100 * (1 - statistics.median(ratios))
    print(
        f"{name:16} {on:9.2f} {off:9.2f} {statistics.median(ratios):7.3f} ({ratios[0]:.3f}-{ratios[-1]:.3f})"
        f" {saved:6.0f} % {100 * statistics.median(warm[True]):7.1f} % {100 * statistics.median(warm[False]):7.1f} %"
    )


def main() -> None:
    """Measure each kind of work."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tasks", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(
        f"{options.tasks} tasks that do nothing, 2 workers, {options.rounds} interleaved rounds, medians; ms for each task"
    )
    print(f"{'':16} {'reuse on':>9} {'off':>9} {'ratio (lowest-highest)':>22} {'saved':>8} {'warm on':>9} {'off':>9}")
    for name, record in WORK.items():
        compare(name, record, options.tasks, options.rounds)


if __name__ == "__main__":
    main()
