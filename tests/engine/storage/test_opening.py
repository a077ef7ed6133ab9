"""Opening what is there: damage is kept and named, and nothing is ever silently replaced by an empty state."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from engine.errors import StateFolderError
from engine.storage import opening
from engine.storage.database import Database
from engine.storage.migrations import VERSION


class FixedClock:
    def time(self):
        return 1_700_000_000.0

    def monotonic(self):
        return 0.0


CLOCK = FixedClock()
KEPT = "state.db.corrupt-20231114T221320Z"


async def fill(path, rows=300):
    """A closed database with meta rows ``r0000``.. of 100 bytes."""
    database = Database.open(path)
    database.start(asyncio.get_running_loop())

    def job(connection):
        connection.executemany(
            "INSERT INTO meta VALUES (?, ?)", [(f"r{number:04}", "x" * 100) for number in range(rows)]
        )

    await database.run(job)
    await database.aclose()


def count(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT count(*) FROM meta").fetchone()[0]


def refused(path):
    """Open, which must fail; the error, one line."""
    before = set(path.parent.iterdir())
    with pytest.raises(StateFolderError) as caught:
        Database.open(path, clock=CLOCK)
    assert "\n" not in str(caught.value)
    assert len(set(path.parent.iterdir())) == len(before), "nothing new, nothing lost"
    return str(caught.value)


def assert_kept(path, original):
    """The damaged file went beside, byte for byte, and nothing stands in its place."""
    message = refused(path)
    kept = path.with_name(KEPT)
    assert str(kept) in message
    assert "put a backup in its place, or start again with an empty state" in message
    assert kept.read_bytes() == original
    assert not path.exists()
    return message


async def test_an_empty_file_is_damage(folder):
    folder.database.touch(mode=0o600)
    assert "it is empty" in assert_kept(folder.database, b"")


@pytest.mark.parametrize("damage", ["noise", "header", "truncated", "page"])
async def test_damage_is_kept_beside_and_named(folder, damage):
    await fill(folder.database)
    data = bytearray(folder.database.read_bytes())
    if damage == "noise":
        data = bytearray(os.urandom(8192))
    elif damage == "header":
        data[:100] = bytes(100)
    elif damage == "truncated":
        del data[len(data) // 2 :]
    else:
        data[-4096:] = os.urandom(4096)
    folder.database.write_bytes(data)
    assert_kept(folder.database, bytes(data))


async def test_the_next_start_after_damage_begins_empty_and_keeps_the_kept(folder):
    await fill(folder.database)
    folder.database.write_bytes(b"no" * 4096)
    refused(folder.database)
    Database.open(folder.database, clock=CLOCK)._connection.close()
    assert count(folder.database) == 0
    folder.database.write_bytes(b"again" * 4096)
    assert f"{KEPT}-2" in refused(folder.database)
    assert folder.database.with_name(KEPT).read_bytes() == b"no" * 4096


async def test_random_damage_is_refused_or_harmless(folder, tmp_path):
    await fill(folder.database, 50)
    good = folder.database.read_bytes()
    outcomes = set()
    for offset in range(0, len(good), len(good) // 40):
        path = tmp_path / f"at{offset}" / "state.db"
        path.parent.mkdir()
        path.write_bytes(good[:offset] + b"\xa5" * 64 + good[offset + 64 :])
        try:
            Database.open(path, clock=CLOCK)._connection.close()
        except StateFolderError:
            outcomes.add("refused")
            assert [p.name for p in path.parent.iterdir()] in (["state.db"], [KEPT])
        else:
            outcomes.add("opened")
            assert path.stat().st_size >= len(good)
    assert outcomes == {"refused", "opened"}


@pytest.mark.parametrize("version", [VERSION + 1, 2**31 - 1])
async def test_a_newer_schema_is_refused_and_left_alone(folder, version):
    await fill(folder.database)
    with closing(sqlite3.connect(folder.database)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    assert "newer version" in refused(folder.database)
    assert count(folder.database) == 300
    with pytest.raises(StateFolderError, match="newer version"):
        Database.view(folder.database)


@pytest.mark.parametrize("version", [0, -1])
async def test_an_impossible_schema_version_is_damage(folder, version):
    await fill(folder.database)
    with closing(sqlite3.connect(folder.database)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    assert f"its schema version is {version}" in refused(folder.database)
    assert count(folder.database.with_name(KEPT)) == 300


async def test_a_database_of_another_program_is_left_alone(folder):
    with closing(sqlite3.connect(folder.database)) as connection:
        connection.execute("CREATE TABLE bookmarks (url)")
    assert "was not written by mi4-tui" in refused(folder.database)
    assert folder.database.exists()


async def test_a_large_clean_file_is_not_read_through_but_an_unclean_one_is(folder, monkeypatch):
    await fill(folder.database)
    checked = []

    class Tracing(sqlite3.Connection):
        def execute(self, sql, *arguments):
            checked.extend([sql] if "quick_check" in sql else [])
            return super().execute(sql, *arguments)

    def opens():
        checked.clear()
        return Database.open(folder.database, factory=Tracing)

    await opens().aclose()
    assert checked
    monkeypatch.setattr(opening, "CHEAP_CHECK", 1000)
    await opens().aclose()
    assert not checked
    await kill_after_a_commit(folder)
    await opens().aclose()
    assert checked


async def kill_after_a_commit(folder):
    """Leave the database as a killed engine does: with rows that are only in the log."""
    program = """
import asyncio, os, sys
from pathlib import Path
from engine.storage.database import Database
async def main():
    database = Database.open(Path(sys.argv[1]))
    database.start(asyncio.get_running_loop())
    for number in range(20):
        await database.run(lambda c: c.execute("INSERT INTO meta VALUES (?, ?)", (f"late{number:02}", "y" * 500)) and None)
    os.kill(os.getpid(), 9)
asyncio.run(main())
"""
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program, str(folder.database)], check=False)
    assert folder.database.with_name("state.db-wal").stat().st_size > 0


async def test_a_torn_log_gives_a_state_that_was(folder, tmp_path):
    await fill(folder.database, 10)
    await kill_after_a_commit(folder)
    wal = folder.database.with_name("state.db-wal").read_bytes()
    page = 4096 + 24
    seen = set()
    cuts = [len(wal) - step for step in (0, 1, 23, 24, 25, 100, page - 1, page, page + 1)] + list(
        range(0, len(wal), page * 3 + 7)
    )
    for cut in cuts:
        copy = tmp_path / f"cut{cut}"
        copy.mkdir(exist_ok=True)
        shutil.copy(folder.database, copy / "state.db")
        (copy / "state.db-wal").write_bytes(wal[:cut])
        database = Database.open(copy / "state.db")
        rows = [
            row[0]
            for row in database.read(lambda c: c.execute("SELECT name FROM meta WHERE name LIKE 'l%'").fetchall())
        ]
        assert rows == [f"late{number:02}" for number in range(len(rows))], "a prefix of what was committed"
        seen.add(len(rows))
        await database.aclose()
    assert {0, 20} <= seen
    assert len(seen) > 3


async def test_a_log_without_its_database_is_not_thrown_away(folder):
    await kill_after_a_commit(folder)
    folder.database.unlink()
    assert "state.db is missing but state.db-wal is there" in refused(folder.database)


async def test_a_crash_while_making_the_file_leaves_nothing_that_counts(folder):
    folder.database.with_name("state.db.new").write_bytes(b"half")
    folder.database.with_name("state.db.new-journal").write_bytes(b"half")
    await fill(folder.database)
    assert count(folder.database) == 300
    assert [path.name for path in folder.path.glob("state.db*")] == ["state.db"]


@pytest.mark.parametrize("name", ["state.db", "state.db-wal", "state.db-shm"])
@pytest.mark.parametrize("kind", ["link", "hard link", "fifo", "folder"])
async def test_what_was_planted_is_refused_and_unchanged(folder, tmp_path, name, kind):
    victim = tmp_path / "victim"
    victim.write_text("dear")
    target = folder.path / name
    if kind == "link":
        target.symlink_to(victim)
    elif kind == "hard link":
        os.link(victim, target)
    elif kind == "fifo":
        os.mkfifo(target)
    else:
        target.mkdir()
    assert "remove it and start again" in refused(folder.database)
    assert victim.read_text() == "dear"


async def test_a_view_says_what_it_cannot_read_and_moves_nothing(folder):
    folder.database.write_bytes(b"no" * 4096)
    with pytest.raises(StateFolderError, match="file is not a database"):
        Database.view(folder.database)
    assert folder.database.exists()


async def test_names_with_odd_characters_work(tmp_path):
    path = tmp_path / "a?b#c%20 d" / "state.db"
    path.parent.mkdir()
    await fill(path)
    view = Database.view(path)
    assert view.read(lambda connection: connection.execute("SELECT count(*) FROM meta").fetchone()) == (300,)
    await view.aclose()
