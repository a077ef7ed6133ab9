"""The acting half, on a real database and with workers that are only names."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from engine.errors import StateFolderError
from engine.events import events as ev
from engine.events.bus import EventBus
from engine.scheduling import intake
from engine.scheduling.dispatcher import Dispatcher
from engine.scheduling.retry import RetryPolicy
from engine.scheduling.scheduler import Policy, Scheduler
from engine.storage.database import Database
from engine.storage.folder import StateFolder
from engine.storage.task_store import TaskStore
from engine.tasks.model import AttemptResult, State
from engine.testing import EventRecorder, FakeClock


class ScriptedPool:
    """Lends named workers and keeps what they are told."""

    def __init__(self, workers) -> None:
        self.free = list(workers)
        self.given: list[tuple[str, list[str]]] = []
        self.recalled: list[int] = []
        self.cancelled: list[tuple[int, bool]] = []
        self.on_give = lambda worker, items: None

    def lend(self, worker_key, *, wanted=1):
        return self.free.pop(0) if self.free else None

    def give(self, worker, items) -> None:
        self.given.append((worker.name, [item.task_id for item in items]))
        self.on_give(worker, items)

    def recall(self, worker, keys) -> None:
        self.recalled += keys

    def cancel(self, worker, key, *, force=False) -> None:
        self.cancelled.append((key, force))


class Rig:
    def __init__(self, path, workers) -> None:
        self.folder = StateFolder.open(path)
        self.database = Database.open(self.folder.database)
        self.store = TaskStore(self.database)
        self.clock = FakeClock()
        self.bus = EventBus(self.clock)
        self.record = EventRecorder(self.bus)
        self.scheduler = Scheduler(
            Policy(retry=RetryPolicy()), self.clock, next_key=self.store.next_key(), next_lease=self.store.next_lease()
        )
        self.dispatcher = Dispatcher(self.scheduler, self.store, self.bus, self.clock, environ={})
        self.pool = ScriptedPool(workers)
        self.dispatcher.pool = self.pool
        self.faults: list[Exception] = []
        self.dispatcher.on_fault = self.faults.append

    def on_disk(self) -> dict[str, State]:
        return {row.task.id: row.state for row in self.store.load()}

    async def until(self, condition) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.002)


@pytest.fixture
def named_worker(make_bench):
    return make_bench(workers=1).lender.workers[0]


@pytest.fixture
def rig(tmp_path, named_worker):
    @asynccontextmanager
    async def running():
        rig = Rig(tmp_path / "state", [named_worker])
        rig.database.start(asyncio.get_running_loop())
        async with asyncio.TaskGroup() as tasks:
            rig.dispatcher.start(tasks)
            try:
                yield rig
            finally:
                rig.dispatcher.close()
        await rig.database.aclose()

    return running


async def test_work_is_given_only_after_its_lease_is_on_disk(rig, task) -> None:
    async with rig() as r:
        seen = []
        r.pool.on_give = lambda worker, items: seen.append(r.on_disk()["a"])
        intake.submit(r.scheduler, [task("a")])
        r.dispatcher.wake()

        await r.until(lambda: r.pool.given)

        assert seen == [State.LEASED]
        assert r.pool.given == [("w1", ["a"])]


async def test_an_event_is_published_only_after_it_is_true_on_disk(rig, task) -> None:
    async with rig() as r:
        states = []

        def look(events) -> None:
            states.extend(r.on_disk()["a"] for event in events if isinstance(event, ev.TaskFinished))

        r.bus.listen(look, name="look")
        intake.submit(r.scheduler, [task("a")])
        r.dispatcher.wake()
        await r.until(lambda: r.pool.given)
        entry = r.scheduler.ledger.by_id["a"]

        r.dispatcher.work_finished(entry.worker, (AttemptResult(key=entry.key, attempt=1, outcome="succeeded"),))
        await r.until(lambda: states)

        assert states == [State.SUCCEEDED]


async def test_settled_returns_once_a_submission_is_durable(rig, task) -> None:
    async with rig() as r:
        intake.submit(r.scheduler, [task("a"), task("b", dependencies=("a",))])

        await r.dispatcher.settled()

        assert r.on_disk() == {"a": State.QUEUED, "b": State.PENDING}


async def test_idle_is_told_each_time_the_work_ends_and_never_before(rig, task, named_worker) -> None:
    async with rig() as r:
        told = []
        r.dispatcher.on_idle = lambda: told.append(r.scheduler.ledger.tally.succeeded)
        for name in ("a", "b"):
            intake.submit(r.scheduler, [task(name)])
            r.dispatcher.wake()
            await r.until(lambda name=name: ("w1", [name]) in r.pool.given)
            entry = r.scheduler.ledger.by_id[name]
            r.pool.free.append(named_worker)
            r.dispatcher.work_finished(entry.worker, (AttemptResult(key=entry.key, attempt=1, outcome="succeeded"),))
            await r.until(lambda: r.dispatcher.idle)
        await r.until(lambda: 2 in told)

        assert sorted(set(told)) == [1, 2]


async def test_cancels_and_recalls_reach_the_pool_after_the_work(rig, task) -> None:
    async with rig() as r:
        intake.submit(r.scheduler, [task("a")])
        r.dispatcher.wake()
        await r.until(lambda: r.scheduler.ledger.by_id["a"].worker is not None)
        entry = r.scheduler.ledger.by_id["a"]
        r.scheduler.cancel(entry, force=True)

        await r.dispatcher.settled()

        assert r.pool.given == [("w1", ["a"])]
        assert r.pool.cancelled == [(entry.key, True)]


async def test_a_store_that_cannot_write_is_a_fault_and_not_silence(rig, task) -> None:
    async with rig() as r:
        await r.database.aclose()
        intake.submit(r.scheduler, [task("a")])

        with pytest.raises(StateFolderError):
            await r.dispatcher.settled()

        assert len(r.faults) == 1
        assert not r.record.of(ev.TaskAdded), "nothing may be announced that is not on disk"
