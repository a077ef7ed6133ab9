"""A cache over a real database, a clock that moves when told, and a folder where tasks work."""

import asyncio
from dataclasses import dataclass

import pytest

from engine.caching.result_cache import ResultCache
from engine.storage.database import Database
from engine.storage.folder import StateFolder
from engine.storage.task_store import Batch, TaskStore


class FakeClock:
    def __init__(self):
        self.now = 1000.0

    def time(self):
        return self.now

    def monotonic(self):
        return self.now


@dataclass
class Limits:
    ttl_seconds: float = 100.0
    max_bytes: int = 10_000_000


@pytest.fixture
def work(tmp_path):
    """Where the task runs."""
    path = tmp_path / "work"
    path.mkdir()
    return path


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def limits():
    return Limits()


@pytest.fixture
def folder(tmp_path):
    return StateFolder.open(tmp_path / ".mi4")


@pytest.fixture
async def database(folder):
    opened = Database.open(folder.database)
    opened.start(asyncio.get_running_loop())
    yield opened
    await opened.aclose()


@pytest.fixture
def cache(database, limits, clock):
    return ResultCache(database, limits, clock)


@pytest.fixture
def commit(database):
    """Store cache entries as the engine does: with a batch."""
    store = TaskStore(database)

    async def write(*entries):
        answer = asyncio.get_running_loop().create_future()
        batch = Batch(cache=[entry for entry in entries if entry is not None])
        store.submit(batch, lambda refused, error: answer.set_exception(error) if error else answer.set_result(refused))
        await answer

    return write
