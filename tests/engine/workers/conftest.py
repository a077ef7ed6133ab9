"""A pool with scripted hosts, a listener that remembers, and a look at what is alive."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from pathlib import Path

import pytest

from engine.clock import SYSTEM_CLOCK
from engine.events.bus import EventBus
from engine.storage.folder import StateFolder
from engine.workers.identity import find_marked
from engine.workers.pool import PoolOptions, ProcessPool
from engine.workers.protocol import Work

HERE = Path(__file__).parent
ENTRY = "scripted_host:host_main"
DEADLINE = 20.0


def alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


async def until(condition, what: str = ""):
    """Wait until `condition()` is true and return what it gave."""
    end = time.monotonic() + DEADLINE
    while not (value := condition()):
        assert time.monotonic() < end, f"never happened: {what or condition}"
        await asyncio.sleep(0.005)
    return value


def until_now(condition, what: str = ""):
    """As `until`, for code without a loop."""
    end = time.monotonic() + DEADLINE
    while not (value := condition()):
        assert time.monotonic() < end, f"never happened: {what or condition}"
        time.sleep(0.005)
    return value


class Listener:
    """A `PoolListener` that remembers, and gives work to whoever is ready."""

    def __init__(self):
        self.pool: ProcessPool
        self.waiting: list[Work] = []
        self.started, self.results, self.recalled, self.lost, self.printed = [], [], [], [], []
        self.ready = 0

    def worker_ready(self):
        self.ready += 1
        self.pump()

    def pump(self):
        while self.waiting and (worker := self.pool.lend("shell", wanted=len(self.waiting))) is not None:
            self.pool.give(worker, [self.waiting.pop(0)])

    def work_started(self, worker, key, attempt, at):
        self.started.append((worker, key, attempt, at))

    def work_printed(self, worker, key, attempt, summary):
        self.printed.append((worker, key, summary))

    def work_finished(self, worker, results):
        self.results += [(worker, result) for result in results]

    def work_recalled(self, worker, keys):
        self.recalled += [(worker, key) for key in keys]

    def worker_lost(self, worker, begun, unbegun, reason, planned):
        self.lost.append((worker, tuple(w.key for w in begun), tuple(w.key for w in unbegun), reason, planned))


class Scene:
    """One pool with all around it."""

    def __init__(self, folder: StateFolder, size: int, environ: dict[str, str], clock, **options):
        self.folder, self.run_id = folder, uuid.uuid4().hex
        self.clock, self.bus, self.listener, self.events = clock, EventBus(clock), Listener(), []
        self.bus.listen(self.events.extend, name="test")
        env = {**os.environ, "PYTHONPATH": str(HERE), **environ}
        options.setdefault("entry", ENTRY)
        self.pool = ProcessPool(
            size=size,
            run_id=self.run_id,
            folder=folder,
            environ=env,
            options=PoolOptions(**options),
            bus=self.bus,
            clock=clock,
        )
        self.pool.listener = self.listener
        self.listener.pool = self.pool
        self.keys = 0

    def work(self, do: str = "ok", **more) -> Work:
        self.keys += 1
        options = {"do": do, **more.pop("options", {})}
        return Work(
            **{
                "key": self.keys,
                "attempt": 1,
                "lease": self.keys,
                "task_id": f"t{self.keys}",
                "kind": "shell",
                "options": options,
                **more,
            }
        )

    def submit(self, *works: Work):
        self.listener.waiting += works
        self.listener.pump()

    async def lend(self):
        return await until(lambda: self.pool.lend("shell"), "a worker")

    def named(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def left(self) -> list[int]:
        """Everything of the run that is alive."""
        return find_marked(self.run_id)


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    return StateFolder.open(tmp_path / "state")


@pytest.fixture
async def make_scene(folder: StateFolder):
    """Start a pool: ``await make_scene(size=2, reuse=False)``. Afterwards nothing of it may be left."""
    scenes: list[Scene] = []

    async def make(size: int = 2, *, environ=None, clock=SYSTEM_CLOCK, start: bool = True, **options) -> Scene:
        scene = Scene(folder, size, environ or {}, clock, **options)
        scenes.append(scene)
        if start:
            await scene.pool.start()
        return scene

    yield make
    for scene in scenes:
        await scene.pool.aclose(force=True)
        assert scene.left == []


@pytest.fixture
def kit():
    """`alive`, `until` and `until_now` for tests, which cannot import from here."""

    class Kit:
        pass

    kit = Kit()
    kit.alive, kit.until, kit.until_now, kit.HERE, kit.ENTRY = alive, until, until_now, HERE, ENTRY
    return kit
