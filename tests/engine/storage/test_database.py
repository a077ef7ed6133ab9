"""One writer: order, groups, jobs that fail alone, disks that fail for a while, and closing."""

import asyncio
import sqlite3
import stat
import threading
from contextlib import closing

import pytest

from engine.errors import StateFolderError, StorageFullError
from engine.storage import database as module
from engine.storage.database import Database


def put(name, value="x"):
    def job(connection):
        connection.execute("INSERT INTO meta (name, value) VALUES (?, ?)", (name, value))
        return name

    return job


def names(database):
    return [
        row[0]
        for row in database.read(
            lambda connection: connection.execute("SELECT name FROM meta ORDER BY name").fetchall()
        )
    ]


class Answers(list):
    """Collects answers and can be waited for."""

    def __init__(self):
        super().__init__()
        self.event = asyncio.Event()

    def __call__(self, value, error):
        self.append((value, error))
        self.event.set()

    async def wait(self, count):
        async with asyncio.timeout(30):
            while len(self) < count:
                self.event.clear()
                await self.event.wait()


async def test_run_gives_the_value_and_the_row_is_there(database):
    assert await database.run(put("a")) == "a"
    assert names(database) == ["a"]


async def test_the_journal_and_the_flushing_are_as_promised(database):
    def pragmas(connection):
        return [
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "wal_autocheckpoint")
        ]

    assert await database.run(pragmas) == ["wal", 2, 4000]


async def test_all_files_are_private(database, folder):
    await database.run(put("a"))
    for path in folder.path.glob("state.db*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert (folder.path / "state.db-wal").exists()


async def test_answers_come_in_order_on_the_loop(database):
    answers = Answers()
    threads = set()

    def done(value, error):
        threads.add(threading.current_thread())
        answers(value, error)

    for number in range(50):
        database.submit(put(f"{number:02}"), done)
    await answers.wait(50)
    assert [value for value, _ in answers] == [f"{number:02}" for number in range(50)]
    assert threads == {threading.current_thread()}


async def test_what_waits_is_one_transaction_and_one_wake_up(folder):
    transactions = []
    database = Database.open(folder.database)
    answers = Answers()
    for number in range(20):
        database.submit(put(str(number)), answers)
    database._connection.set_trace_callback(
        lambda sql: transactions.append(sql) if sql in {"BEGIN IMMEDIATE", "COMMIT"} else None
    )
    loop = asyncio.get_running_loop()
    wakes = []

    class Loop:
        def call_soon_threadsafe(self, *arguments):
            wakes.append(arguments)
            loop.call_soon_threadsafe(*arguments)

    database.start(Loop())
    await answers.wait(20)
    await database.aclose()
    assert transactions == ["BEGIN IMMEDIATE", "COMMIT"]
    assert len(wakes) == 1


async def test_a_job_that_raises_is_undone_alone(database):
    def bad(connection):
        put("half")(connection)
        raise ValueError("no")

    answers = Answers()
    for job in (put("a"), bad, put("b"), put("a"), put("c")):
        database.submit(job, answers)
    await answers.wait(5)
    assert [type(error) for _, error in answers] == [
        type(None),
        ValueError,
        type(None),
        sqlite3.IntegrityError,
        type(None),
    ]
    assert names(database) == ["a", "b", "c"]


async def test_run_raises_what_the_job_raised(database):
    with pytest.raises(ZeroDivisionError):
        await database.run(lambda connection: 1 / 0)


async def test_a_callback_that_raises_does_not_take_the_others_with_it(folder, caplog):
    database = Database.open(folder.database)
    answers = Answers()

    def broken(value, error):
        raise RuntimeError("mine")

    database.submit(put("a"), broken)
    database.submit(put("b"), answers)
    database.start(asyncio.get_running_loop())
    await answers.wait(1)
    await database.aclose()
    assert "a callback after a commit failed" in caplog.text


async def test_a_reader_sees_the_last_commit_and_cannot_write(database):
    await database.run(put("a"))
    with pytest.raises(StateFolderError, match="cannot read"):
        database.read(put("b"))
    assert names(database) == ["a"]


async def test_readers_work_in_many_threads_at_once(database):
    await database.run(put("a"))
    seen = await asyncio.to_thread(lambda: names(database))
    barrier = threading.Barrier(6, timeout=30)

    def look():
        return database.read(
            lambda connection: (barrier.wait(), connection.execute("SELECT count(*) FROM meta").fetchone())[1]
        )

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(asyncio.to_thread(look)) for _ in range(6)]
    assert seen == ["a"]
    assert {task.result() for task in tasks} == {(1,)}
    assert len(database._readers) <= 4


async def test_an_error_of_the_query_itself_is_passed_on(database):
    with pytest.raises(KeyError):
        database.read(lambda connection: {}["x"])
    assert names(database) == []


async def test_an_error_that_quotes_the_file_is_one_harmless_line(database):
    with pytest.raises(StateFolderError) as caught:
        database.read(
            lambda connection: connection.execute("SELECT CAST(x'1b5d35320a9bff' || zeroblob(999) AS TEXT)").fetchone()
        )
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


async def test_closing_commits_what_waits_and_leaves_one_file(folder):
    database = Database.open(folder.database)
    answers = Answers()
    database.submit(put("a"), answers)
    await database.aclose()
    await database.aclose()
    assert answers == [("a", None)]
    assert [path.name for path in folder.path.glob("state.db*")] == ["state.db"]
    with closing(sqlite3.connect(folder.database)) as connection:
        assert connection.execute("SELECT name FROM meta").fetchall() == [("a",)]


async def test_after_closing_the_answer_is_an_error(database):
    await database.aclose()
    with pytest.raises(StateFolderError, match="not open for writing"):
        await database.run(put("a"))


async def test_a_view_reads_beside_a_writer_and_writes_nothing(database, folder):
    await database.run(put("a"))
    view = Database.view(folder.database)
    assert names(view) == ["a"]
    await database.run(put("b"))
    assert names(view) == ["a", "b"]
    with pytest.raises(StateFolderError, match="not open for writing"):
        await view.run(put("c"))
    await view.aclose()


async def test_a_view_of_nothing_says_what_to_do(folder):
    with pytest.raises(StateFolderError, match="no stored state"):
        Database.view(folder.database)
    assert not folder.database.exists()


async def test_reprs_say_the_state(database, folder):
    assert repr(database) == f"<Database {folder.database} 0 waiting>"
    assert repr(Database.view(folder.database)).endswith("read-only>")
    await database.aclose()
    assert repr(database).endswith("closed>")


async def test_idle_work_moves_the_log_into_the_file(folder, monkeypatch):
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.01)
    database = Database.open(folder.database)
    checkpoints = asyncio.Event()
    loop = asyncio.get_running_loop()
    database._connection.set_trace_callback(
        lambda sql: loop.call_soon_threadsafe(checkpoints.set) if "wal_checkpoint(PASSIVE)" in sql else None
    )
    database.start(loop)
    await database.run(put("a"))
    async with asyncio.timeout(30):
        await checkpoints.wait()
    await database.aclose()


# Disks that fail.


async def test_a_full_disk_keeps_the_group_tells_once_and_recovers(folder, faulty, monkeypatch):
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    database = Database.open(folder.database, factory=faulty)
    trouble = []
    database.on_trouble = trouble.append
    answers = Answers()
    for name in "abc":
        database.submit(put(name), answers)
    faulty.plan.arm(*range(1, 8))
    database.start(asyncio.get_running_loop())
    await answers.wait(3)
    faulty.plan.armed = False
    assert answers == [("a", None), ("b", None), ("c", None)]
    assert trouble == [f"the disk is full: free some space on the disk of {folder.path}", None]
    await database.aclose()


async def test_a_really_full_file_recovers_when_there_is_room(folder, monkeypatch):
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    database = Database.open(folder.database)
    (pages,) = database._connection.execute("PRAGMA page_count").fetchone()
    database._connection.execute(f"PRAGMA max_page_count = {pages}")
    told = Answers()
    database.on_trouble = lambda text: told(text, None)
    answers = Answers()
    database.submit(put("big", "x" * 100_000), answers)
    database.submit(put("small"), answers)
    database.start(asyncio.get_running_loop())
    await told.wait(1)
    assert not answers
    assert "disk is full" in told[0][0]
    database._connection.execute("PRAGMA max_page_count = 1000000")
    await answers.wait(2)
    assert [error for _, error in answers] == [None, None]
    assert names(database) == ["big", "small"]
    await database.aclose()


async def test_closing_on_a_full_disk_answers_everyone(folder, faulty, monkeypatch):
    monkeypatch.setattr(module, "RETRY_SECONDS", 3600.0)
    database = Database.open(folder.database, factory=faulty)
    told, answers = Answers(), Answers()
    database.on_trouble = lambda text: told(text, None)
    database.submit(put("a"), answers)
    faulty.plan.arm(*range(1, 1000))
    database.start(asyncio.get_running_loop())
    await told.wait(1)
    database.submit(put("b"), answers)
    await database.aclose()
    assert [type(error) for _, error in answers] == [StorageFullError, StorageFullError]
    assert "disk is full" in str(answers[0][1])


@pytest.mark.parametrize(
    "code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_IOERR_FSYNC]
)
async def test_whichever_statement_fails_nothing_is_lost_or_doubled(folder, faulty, monkeypatch, code):
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    faulty.plan.code = code
    failed = []
    for failing in range(1, 12):
        database = Database.open(folder.database, factory=faulty)
        answers = Answers()
        for part in "abc":
            database.submit(put(f"{failing:02}{part}"), answers)
        faulty.plan.arm(failing)
        database.start(asyncio.get_running_loop())
        await answers.wait(3)
        faulty.plan.armed = False
        failed.append(faulty.plan.statements[failing - 1].split()[0])
        assert [error for _, error in answers] == [None, None, None]
        await database.aclose()
    assert failed == ["BEGIN", *["SAVEPOINT", "INSERT", "RELEASE"] * 3, "COMMIT"]
    view = Database.view(folder.database)
    assert names(view) == [f"{number:02}{part}" for number in range(1, 12) for part in "abc"]
    await view.aclose()


async def test_an_odd_failure_of_the_writer_is_trouble_and_not_the_end(folder, monkeypatch, caplog):
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    real, calls = module._run_alone, []

    def odd(connection, job):
        calls.append(job)
        if len(calls) == 1:
            raise MemoryError
        return real(connection, job)

    monkeypatch.setattr(module, "_run_alone", odd)
    database = Database.open(folder.database)
    trouble = []
    database.on_trouble = trouble.append
    database.start(asyncio.get_running_loop())
    assert await database.run(put("a")) == "a"
    assert len(trouble) == 2
    assert "writing the state failed" in caplog.text
    await database.aclose()
