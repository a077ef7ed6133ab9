"""The backlog runner that one writes in an afternoon, to compare with: a new process for every task, first in first out by looking
through the whole list, output collected in memory until the end, state rewritten as one JSON file now and then.

    python benchmarks/naive.py calls|true|echo COUNT
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

COMMANDS = {
    "calls": [sys.executable, "-c", "import json, operator; print(json.dumps(operator.neg(1)))"],
    "true": ["true"],
    "echo": ["sh", "-c", "echo hi"],
}


class NaiveRunner:
    """Two threads that each look for the first task that is open and whose dependencies are done."""

    def __init__(self, tasks: list[dict[str, Any]], state: Path) -> None:
        self.tasks = tasks
        self.state = state
        self.lock = threading.Lock()
        self.ended = 0

    def next_task(self) -> dict[str, Any] | None:
        with self.lock:
            done = {task["id"] for task in self.tasks if task["state"] == "succeeded"}
            for task in self.tasks:
                if task["state"] == "queued" and all(other in done for other in task["dependencies"]):
                    task["state"] = "running"
                    return task
        return None

    def work(self) -> None:
        while (task := self.next_task()) is not None:
            done = subprocess.run(
                task["command"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
            with self.lock:
                task.update(state="failed" if done.returncode else "succeeded", output=done.stdout + done.stderr)
                self.ended += 1
                if self.ended % 100 == 0:
                    self.state.write_text(json.dumps(self.tasks))

    def run(self, workers: int = 2) -> None:
        threads = [threading.Thread(target=self.work) for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.state.write_text(json.dumps(self.tasks))


def main() -> None:
    kind, count = sys.argv[1], int(sys.argv[2])
    tasks: list[dict[str, Any]] = [
        {"id": f"t{number}", "command": COMMANDS[kind], "dependencies": [], "state": "queued"}
        for number in range(count)
    ]
    with tempfile.TemporaryDirectory(prefix="mi4-bench-") as folder:
        start = time.perf_counter()
        NaiveRunner(tasks, Path(folder) / "state.json").run()
        took = time.perf_counter() - start
    if any(task["state"] != "succeeded" for task in tasks):
        raise SystemExit("not all tasks succeeded")
    print(json.dumps({"rate": count / took}))


if __name__ == "__main__":
    main()
