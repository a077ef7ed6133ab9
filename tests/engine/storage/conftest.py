"""A database in a folder of its own, and a connection whose disk fails when a test says so."""

import asyncio
import sqlite3

import pytest

from engine.storage.database import Database
from engine.storage.folder import StateFolder
from engine.storage.task_store import TaskStore


class FaultyConnection(sqlite3.Connection):
    """Raises what `fail` holds at the statement whose number it names, counted over all writers made by one `faulty()`."""

    def execute(self, sql, *arguments):
        self.tick(sql)
        return super().execute(sql, *arguments)

    def executemany(self, sql, *arguments):
        self.tick(sql)
        return super().executemany(sql, *arguments)

    def tick(self, sql):
        plan = type(self).plan
        if not plan.armed:
            return
        plan.count += 1
        plan.statements.append(sql)
        if plan.count in plan.at:
            error = sqlite3.OperationalError(plan.text)
            error.sqlite_errorcode = plan.code
            raise error


class Plan:
    """Which statements fail, and how."""

    def __init__(self):
        self.armed = False
        self.count = 0
        self.at = frozenset()
        self.code = sqlite3.SQLITE_FULL
        self.text = "database or disk is full"
        self.statements = []

    def arm(self, *numbers):
        """Count from here, and fail at these."""
        self.armed, self.count, self.at, self.statements = True, 0, frozenset(numbers), []


@pytest.fixture
def faulty():
    """A connection class with a plan of its own."""
    return type("Faulty", (FaultyConnection,), {"plan": Plan()})


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
def store(database):
    return TaskStore(database)
