"""Calls through huey on SQLite with fsync and two worker processes; run by the interpreter of `benchmarks/.peers`.

benchmarks/.peers/bin/python benchmarks/huey_peer.py COUNT
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from huey import SqliteHuey

WARM_UP = 20
queue = SqliteHuey(filename=os.environ.get("HUEY_PEER_DATABASE", ":memory:"), fsync=True)


@queue.task()
def negate(number):
    return -number


def wait_for_results(count: int) -> None:
    deadline = time.monotonic() + 300
    while queue.storage.result_store_size() < count:
        if time.monotonic() > deadline:
            raise SystemExit("huey did not end in time")
        time.sleep(0.005)


def measure(count: int) -> float:
    """Calls a second, from the first that is queued until all results are stored."""
    consumer = subprocess.Popen(
        [Path(sys.executable).parent / "huey_consumer", "huey_peer.queue", "-w", "2", "-k", "process", "-q"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for number in range(WARM_UP):
            negate(number)
        wait_for_results(WARM_UP)
        start = time.perf_counter()
        for number in range(count):
            negate(number)
        wait_for_results(WARM_UP + count)
        return count / (time.perf_counter() - start)
    finally:
        os.killpg(consumer.pid, signal.SIGKILL)
        consumer.wait()


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="mi4-bench-") as folder:
        os.environ["HUEY_PEER_DATABASE"] = str(Path(folder) / "huey.db")
        import huey_peer  # noqa: PLC0415 - this file again, under the name that the consumer knows its tasks by

        print(json.dumps({"rate": huey_peer.measure(int(sys.argv[1]))}))


if __name__ == "__main__":
    main()
