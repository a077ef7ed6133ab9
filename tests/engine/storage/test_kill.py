"""kill -9 in the middle of a commit loop: what was acknowledged is there, and nothing is half there."""

import random
import subprocess
import sys
from contextlib import closing

import pytest

from engine.storage.database import Database
from engine.storage.task_store import TaskStore
from engine.tasks.model import State

WRITER = """
import asyncio, sys
from pathlib import Path
from engine.storage.database import Database
from engine.storage.task_store import Batch, Change, NewTask, TaskStore
from engine.tasks.model import AttemptResult, State, Task

OPEN = (State.LEASED, State.RUNNING)

async def main():
    database = Database.open(Path(sys.argv[1]))
    database.start(asyncio.get_running_loop())
    store = TaskStore(database)
    free = asyncio.Semaphore(6)

    def acknowledge(words):
        def done(refused, error):
            assert not refused and error is None, (refused, error)
            print(*words, flush=True)
            free.release()
        return done

    key = store.next_key()
    while True:
        keys = range(key, key + 5)
        key += 5
        await free.acquire()
        store.submit(Batch(inserts=[
            NewTask(key=k, task=Task(id=f"t{k}", title="x" * 50), digest="", generation=1, state=State.QUEUED, created_at=1.0,
                    retries_left=0) for k in keys]), acknowledge(("queued", *keys)))
        await free.acquire()
        store.submit(Batch(changes=[
            Change(key=k, attempt=0, sources=(State.QUEUED,), target=State.LEASED, at=2.0, next_attempt=1, lease=k) for k in keys
        ]), acknowledge(("leased", *keys)))
        await free.acquire()
        store.submit(Batch(changes=[
            Change(key=k, attempt=1, sources=OPEN, target=State.SUCCEEDED, at=3.0,
                   result=AttemptResult(key=k, attempt=1, outcome="succeeded", output=b"out %d" % k)) for k in keys
        ]), acknowledge(("succeeded", *keys)))

asyncio.run(main())
"""
ORDER = [State.QUEUED, State.LEASED, State.SUCCEEDED]


def write_until_killed(path, lines):
    """Run the writer, kill it after it has acknowledged this many batches; every batch it acknowledged."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as process:
        acknowledged = []
        for line in process.stdout:
            acknowledged.append(line.split())
            if len(acknowledged) == lines:
                process.kill()
    # A line that the kill cut off was not received.
    return [words for words in acknowledged if len(words) == 6]


@pytest.mark.parametrize("seed", range(3))
def test_nothing_acknowledged_is_lost(folder, seed):
    random_ = random.Random(seed)
    known = {}
    for _ in range(4):
        for state, *keys in write_until_killed(folder.database, random_.randint(1, 120)):
            known.update((int(key), State(state)) for key in keys)
        known = check(folder.database, known)
    assert State.SUCCEEDED in known.values()


def check(path, known):
    """Everything known is at least as far on disk; groups of five are together; rows, attempts and events agree."""
    database = Database.open(path)
    with closing(database._connection) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        store = TaskStore(database)
        rows = {row.key: row for row in store.load()}
        for key, state in known.items():
            assert ORDER.index(rows[key].state) >= ORDER.index(state), f"task {key} fell back from {state}"
        for first in range(1, max(rows) + 1, 5):
            assert len({rows[key].state for key in range(first, first + 5)}) == 1, "half a batch"
        done = [key for key, row in rows.items() if row.state is State.SUCCEEDED]
        assert [event.key for event in reversed(store.events(100_000))] == sorted(done)
        assert all(store.output(key).data == b"out %d" % key for key in done)
        assert connection.execute("SELECT count(*) FROM attempts").fetchone() == (len(done),)
    return {key: row.state for key, row in rows.items()}
