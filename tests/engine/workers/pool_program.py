"""A small engine for tests that kill it: ``python pool_program.py STATE RUN_ID SIZE ENTRY SHAPE...`` runs one shell task per shape.

It prints the pids of the zygote and of the workers once all tasks have started, and waits to be killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from engine.clock import SYSTEM_CLOCK
from engine.events.bus import EventBus
from engine.storage.folder import StateFolder
from engine.workers.pool import PoolOptions, ProcessPool
from engine.workers.protocol import Work


class Listener:
    def __init__(self, pool: ProcessPool, works: list[Work]):
        self.pool, self.works, self.running = pool, works, len(works)
        self.all_run = asyncio.Event()

    def worker_ready(self):
        while self.works and (worker := self.pool.lend("shell", wanted=len(self.works))) is not None:
            self.pool.give(worker, [self.works.pop()])

    def work_started(self, *_):
        self.running -= 1
        if not self.running:
            self.all_run.set()

    def work_printed(self, *_):
        pass

    work_finished = work_recalled = worker_lost = work_printed


def make_work(number: int, shape: str) -> Work:
    """A shell command, or after ``python:`` a program that a callable runs."""
    same = {"key": number, "attempt": 1, "lease": number, "task_id": f"t{number}"}
    if shape.startswith("python:"):
        return Work(**same, kind="python", callable="subprocess:run", args=(shape.removeprefix("python:").split(),))
    return Work(**same, kind="shell", command=shape, shell=True)


async def main(state: str, run_id: str, size: int, entry: str, shapes: list[str]):
    folder = StateFolder.open(Path(state))
    pool = ProcessPool(
        size=size,
        run_id=run_id,
        folder=folder,
        environ=dict(os.environ),
        options=PoolOptions(entry=entry),
        bus=EventBus(SYSTEM_CLOCK),
        clock=SYSTEM_CLOCK,
    )
    works = [make_work(number, shape) for number, shape in enumerate(shapes, 1)]
    pool.listener = listener = Listener(pool, works)
    await pool.start()
    listener.worker_ready()
    await listener.all_run.wait()
    pids = {"zygote": pool.zygote_pid, "hosts": [worker.pid for worker in pool.workers]}
    sys.stdout.write(json.dumps(pids) + "\n")
    sys.stdout.flush()
    await asyncio.sleep(600)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5:]))
