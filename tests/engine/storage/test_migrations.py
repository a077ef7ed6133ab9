"""The schema: the arrows that the database knows are those of the lifecycle, and final states are sealed."""

import sqlite3
from contextlib import closing

import pytest

from engine.storage.migrations import APPLICATION_ID, MIGRATIONS, VERSION, migrate
from engine.storage.statements import on_disk
from engine.tasks.lifecycle import FINAL, TRANSITIONS
from engine.tasks.model import State

ON_DISK = sorted({on_disk(state) for state in State})


@pytest.fixture
def connection():
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        migrate(opened)
        yield opened


def insert(connection, key, state):
    connection.execute(
        "INSERT INTO tasks (key, id, generation, digest, state, priority, created_at, retries_left, task)"
        " VALUES (?, ?, 1, '', ?, 200, 0, 0, x'')",
        (key, f"t{key}", state),
    )


def may_go(source, target):
    """What the lifecycle says of two states on disk, where running is leased."""
    sources = [state for state in State if on_disk(state) == source]
    targets = {on_disk(target) for state in sources for target in TRANSITIONS[state]}
    return target in targets or (source == target and source not in {state.value for state in FINAL})


@pytest.mark.parametrize("source", ON_DISK)
@pytest.mark.parametrize("target", ON_DISK)
def test_the_database_knows_exactly_the_arrows_of_the_lifecycle(connection, source, target):
    insert(connection, 1, source)
    try:
        connection.execute("UPDATE tasks SET state = ? WHERE key = 1", (target,))
        went = True
    except sqlite3.IntegrityError:
        went = False
    assert went == may_go(source, target)
    assert connection.execute("SELECT state FROM tasks").fetchone() == (target if went else source,)


@pytest.mark.parametrize("state", sorted(FINAL))
@pytest.mark.parametrize("column", ["state", "attempt", "finished_at", "exit_code"])
def test_a_final_row_is_sealed(connection, state, column):
    insert(connection, 1, state.value)
    with pytest.raises(sqlite3.IntegrityError, match="a final state never changes"):
        connection.execute(f"UPDATE tasks SET {column} = {column}")


@pytest.mark.parametrize("state", ["running", "done", "", "QUEUED", None])
def test_an_unknown_state_is_refused(connection, state):
    with pytest.raises(sqlite3.IntegrityError):
        insert(connection, 1, state)


def test_a_generation_exists_once(connection):
    insert(connection, 1, "queued")
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        connection.execute(
            "INSERT INTO tasks SELECT 2, id, generation, " + ", ".join(columns(connection)[3:]) + " FROM tasks"
        )


def columns(connection):
    return [row[1] for row in connection.execute("PRAGMA table_info(tasks)")]


def test_a_file_is_marked_and_counted(connection):
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,) == (len(MIGRATIONS),)
    assert migrate(connection) == 0


def test_the_totals_of_the_cache_follow_its_rows(connection):
    for number in range(4):
        connection.execute("INSERT INTO cache VALUES (?, '', '', ?, 0, 0, x'')", (str(number), 10**number))
    connection.execute("DELETE FROM cache WHERE size > 50")
    assert connection.execute("SELECT entries, bytes FROM cache_totals").fetchone() == (2, 11)
