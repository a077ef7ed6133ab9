"""Tasks on disk: what was written is what is read, through closing and opening."""

import asyncio
import gc
import sqlite3

import msgspec
import pytest

from engine.errors import StateFolderError
from engine.storage.database import Database
from engine.storage.task_store import Batch, Change, NewTask, Order, TaskStore
from engine.tasks.model import AttemptResult, OutputSummary, State, Task, Tokens

FULL = Task(
    id="full",
    title="Täsk 🧨",
    kind="python",
    callable="m:f",
    args=(1, "two", [3.5, None], 10**30),
    kwargs={"deep": {"er": True}},
    set_env={"A": "b"},
    priority=300.0,
    dependencies=("other",),
    timeout_seconds=1.5,
    meta={"x": [1]},
)


def new(key, task=None, **more):
    task = task or Task(id=f"t{key}")
    values = {"digest": task.digest(), "generation": 1, "state": State.QUEUED, "created_at": 5.0, "retries_left": 3}
    return NewTask(key=key, task=task, **{**values, **more})


def lease(key, number=None):
    return Change(
        key=key,
        attempt=0,
        sources=(State.QUEUED,),
        target=State.LEASED,
        at=10.0,
        next_attempt=1,
        lease=number or key,
        worker="w1.3",
    )


def settle(key, target=State.SUCCEEDED, **more):
    result = AttemptResult(
        key=key,
        attempt=1,
        outcome="succeeded" if target is State.SUCCEEDED else "failed",
        error="" if target is State.SUCCEEDED else "exit 2",
        exit_code=0 if target is State.SUCCEEDED else 2,
        started_at=11.0,
        duration=2.5,
        **more,
    )
    return Change(
        key=key, attempt=1, sources=(State.LEASED, State.RUNNING), target=target, at=13.5, result=result, wait_s=1.0
    )


async def write(store, **parts):
    """Commit a batch; the refused keys, or raises its error."""
    answer = asyncio.get_running_loop().create_future()
    store.submit(
        Batch(**parts), lambda refused, error: answer.set_exception(error) if error else answer.set_result(refused)
    )
    return await answer


async def reopen(store):
    """The store of the same folder after a clean close."""
    await store.database.aclose()
    database = Database.open(store.database.path)
    database.start(asyncio.get_running_loop())
    return TaskStore(database)


async def test_a_task_comes_back_as_it_was(store):
    await write(store, inserts=[new(1, FULL, manual=4.0, cause="x"), new(2, state=State.PENDING)])
    again = await reopen(store)
    first, second = again.load()
    assert first.task == FULL
    assert (first.key, first.digest, first.generation, first.state, first.cause) == (
        1,
        FULL.digest(),
        1,
        State.QUEUED,
        "x",
    )
    assert (first.priority, first.manual, first.created_at, first.retries_left) == (300.0, 4.0, 5.0, 3)
    assert (first.attempt, first.crashes, first.retry_at, first.lease, first.worker) == (0, 0, None, 0, "")
    assert (first.finished_at, first.duration, first.exit_code, first.error) == (None, 0.0, None, "")
    assert (first.cached, first.lines, first.tokens, first.value) == (False, 0, None, None)
    assert second.state is State.PENDING
    await again.database.aclose()


async def test_a_lease_is_on_disk_with_its_attempt_worker_and_number(store):
    await write(store, inserts=[new(1)])
    assert await write(store, changes=[lease(1, 41)]) == frozenset()
    (row,) = store.load()
    assert (row.state, row.attempt, row.lease, row.worker) == (State.LEASED, 1, 41, "w1.3")
    assert store.next_lease() == 42


async def test_a_settlement_fills_the_row_and_the_attempt(store):
    tokens = Tokens(input=10, output=5, cached=3)
    summary = OutputSummary(lines=7, bytes=70, error_lines=1, last_line="bye", tail=("hi", "bye"))
    await write(store, inserts=[new(1)], changes=[lease(1)])
    await write(
        store, changes=[settle(1, tokens=tokens, summary=summary, value={"a": [1]}, output=b"hi\nbye\n", warm=True)]
    )
    (row,) = store.load()
    assert (row.state, row.finished_at, row.duration, row.exit_code, row.lines) == (State.SUCCEEDED, 13.5, 2.5, 0, 7)
    assert (row.tokens, row.value, row.cached) == (tokens, {"a": [1]}, False)
    (attempt,) = store.attempts("t1")
    assert (attempt.key, attempt.attempt, attempt.generation, attempt.outcome) == (1, 1, 1, "succeeded")
    assert (attempt.started_at, attempt.finished_at, attempt.duration, attempt.wait_s) == (11.0, 13.5, 2.5, 1.0)
    assert (attempt.worker, attempt.warm, attempt.cached, attempt.log) == ("w1.3", True, False, "")
    assert (attempt.tokens, attempt.summary) == (tokens, summary)
    output = store.output(1)
    assert (output.attempt, output.log, output.data) == (1, "", b"hi\nbye\n")


async def test_refused_keys_are_told_and_the_rest_stands(store):
    await write(store, inserts=[new(1), new(2)])
    assert await write(store, changes=[lease(1), settle(2)]) == {2}
    assert [row.state for row in store.load()] == [State.LEASED, State.QUEUED]
    assert store.attempts("t2") == []


async def test_a_repeated_insert_undoes_its_batch_and_says_so(store):
    await write(store, inserts=[new(1)])
    with pytest.raises(sqlite3.IntegrityError):
        await write(store, inserts=[new(2), new(3, Task(id="t1"))], changes=[lease(1)])
    assert [(row.key, row.state) for row in store.load()] == [(1, State.QUEUED)]


async def test_retry_and_back_off_are_kept_until_they_are_over(store):
    await write(store, inserts=[new(1)], changes=[lease(1)])
    failed = msgspec.structs.replace(
        settle(1, State.FAILED), target=State.BACKOFF, retries_left=2, crashes=1, retry_at=99.0
    )
    await write(store, changes=[failed])
    (row,) = store.load()
    assert (row.state, row.retries_left, row.crashes, row.retry_at) == (State.BACKOFF, 2, 1, 99.0)
    assert (row.error, row.exit_code, row.finished_at) == ("exit 2", 2, None)
    await write(store, changes=[Change(key=1, attempt=1, sources=(State.BACKOFF,), target=State.QUEUED, at=99.0)])
    (row,) = store.load()
    assert (row.state, row.retries_left, row.crashes, row.retry_at) == (State.QUEUED, 2, 1, None)
    assert len(store.attempts("t1")) == 1


async def test_only_the_newest_generation_is_loaded_in_the_order_of_keys(store):
    await write(store, inserts=[new(1, Task(id="b")), new(2, Task(id="a"))])
    await write(store, inserts=[new(3, Task(id="b", title="again"), generation=2)])
    assert [(row.task.id, row.generation, row.task.title) for row in store.load()] == [("a", 1, ""), ("b", 2, "again")]
    assert store.next_key() == 4


async def test_attempts_of_all_generations_or_of_one(store):
    await write(store, inserts=[new(1)], changes=[lease(1), settle(1, State.FAILED)])
    await write(store, inserts=[new(2, Task(id="t1"), generation=2)], changes=[lease(2), settle(2)])
    assert [(row.generation, row.outcome) for row in store.attempts("t1")] == [(1, "failed"), (2, "succeeded")]
    assert [row.key for row in store.attempts("t1", 2)] == [2]
    assert store.attempts("unknown") == []


async def test_a_cached_result_is_attempt_0_and_its_output_counts(store):
    await write(store, inserts=[new(1)], changes=[lease(1)])
    back = msgspec.structs.replace(settle(1, State.FAILED, output=b"first"), target=State.QUEUED)
    hit = AttemptResult(key=0, attempt=0, outcome="succeeded", output=b"from the cache")
    cached = Change(key=1, attempt=1, sources=(State.QUEUED,), target=State.SUCCEEDED, at=20.0, cached=True, result=hit)
    await write(store, changes=[back, cached])
    assert [(row.attempt, row.cached, row.outcome) for row in store.attempts("t1")] == [
        (1, False, "failed"),
        (0, True, "succeeded"),
    ]
    assert store.output(1).data == b"from the cache"
    assert store.output(1, 1).data == b"first"
    assert store.load()[0].cached


async def test_output_is_compressed_when_long_and_whole_when_read(store):
    long = b"0123456789" * 800
    await write(store, inserts=[new(1), new(2), new(3)], changes=[lease(1), lease(2), lease(3)])
    await write(store, changes=[settle(1, output=long), settle(2, output=b"x" * 512), settle(3, log="t3.log")])
    sizes = store.database.read(
        lambda c: c.execute("SELECT compressed, length(output) FROM attempts ORDER BY key").fetchall()
    )
    assert sizes[0][0] == 1
    assert sizes[0][1] < 200
    assert sizes[1:] == [(0, 512), (0, 0)]
    assert store.output(1).data == long
    assert store.output(2).data == b"x" * 512
    assert store.output(3).log == "t3.log"
    assert store.output(4) is None
    assert store.output(1, 9) is None


async def test_events_are_final_states_and_what_the_user_did(store):
    await write(store, inserts=[new(1), new(2), new(3, state=State.SKIPPED, cause="done_in_file")])
    held = Change(key=2, attempt=0, sources=(State.QUEUED,), target=State.HELD, at=11.0, cause="user", by_user=True)
    await write(store, changes=[lease(1)])
    await write(store, changes=[settle(1), held], orders=[Order(key=2, priority=100.0, manual=0.0)])
    told = [(event.task_id, event.attempt, event.state, event.cause, event.by_user) for event in store.events()]
    assert told == [
        ("t2", 0, "", "priority 100 manual 0", True),
        ("t2", 0, "held", "user", True),
        ("t1", 1, "succeeded", "", False),
        ("t3", 0, "skipped", "done_in_file", False),
    ], "newest first, in the order of the batch"
    assert [event.seq for event in store.events(2)] == [4, 3]


async def test_a_task_that_was_skipped_on_arrival_is_finished(store):
    await write(store, inserts=[new(1, state=State.SKIPPED)])
    assert store.load()[0].finished_at == 5.0


async def test_named_values(store):
    assert store.get_meta("x") is None
    await store.set_meta("x", "1")
    await store.set_meta("x", "2")
    again = await reopen(store)
    assert again.get_meta("x") == "2"
    await again.database.aclose()


async def test_an_empty_store_begins_at_1(store):
    assert (store.next_key(), store.next_lease(), store.load()) == (1, 1, [])


async def test_a_row_that_cannot_be_read_is_one_line(store):
    await write(store, inserts=[new(1)])
    await store.database.run(lambda connection: connection.execute("UPDATE tasks SET task = x'00'") and None)
    with pytest.raises(StateFolderError, match="holds a task that cannot be read"):
        store.load()
    assert gc.isenabled()


async def test_fields_of_a_later_version_are_ignored(store):
    await write(store, inserts=[new(1)])
    await store.database.run(
        lambda c: c.execute("""UPDATE tasks SET task = '{"id": "t1", "colour": "red"}'""") and None
    )
    assert store.load()[0].task == Task(id="t1")


def test_an_empty_batch_is_false():
    assert not Batch()
    assert Batch(orders=[Order(key=1, priority=1.0, manual=0.0)])
