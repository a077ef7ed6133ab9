"""Hits give what the task gave; everything doubtful is a miss; the bound, the age and the order of use are kept."""

import hashlib
import pickle
import zlib

import msgspec
import pytest

from engine.caching import result_cache as module
from engine.caching.result_cache import CacheStatistics, ResultCache
from engine.tasks.model import AttemptResult, OutputSummary, Task, Tokens

ENVIRON = {"CC": "gcc"}


def task(work, **changes):
    return Task(**{"id": "a", "kind": "shell", "command": ("make",), "cwd": str(work), "cache": True, **changes})


def result(**changes):
    values = {"key": 7, "attempt": 2, "outcome": "succeeded", "exit_code": 0, "duration": 12.5, "started_at": 900.0}
    return AttemptResult(**{**values, **changes})


async def run(cache, commit, one, outcome=None, **lookup):
    """What the engine does: ask, else run and store; whether it was a hit."""
    found = await cache.lookup(one, ENVIRON)
    if found.hit is None:
        await commit(await cache.entry(one, found.key, outcome or result(), ENVIRON))
    return found.hit is not None


async def test_a_hit_gives_the_result_and_what_was_printed(cache, commit, work, clock):
    one = task(work)
    summary = OutputSummary(lines=2, bytes=6, tail=("hi", "yo"))
    tokens = Tokens(input=5, output=5)
    await run(cache, commit, one, result(value={"a": 1}, output=b"hi\nyo\n", summary=summary, tokens=tokens, warm=True))
    clock.now = 1050.0
    found = await cache.lookup(one, ENVIRON)
    assert found.hit == AttemptResult(
        key=0,
        attempt=0,
        outcome="succeeded",
        exit_code=0,
        value={"a": 1},
        output=b"hi\nyo\n",
        summary=summary,
        started_at=1050.0,
        duration=0.0,
        tokens=None,
        warm=False,
        log="",
    )
    assert found.saved_s == 12.5
    assert (cache.hits, cache.misses) == (1, 1)


async def test_the_same_work_under_another_id_hits(cache, commit, work):
    await run(cache, commit, task(work))
    assert await run(cache, commit, task(work, id="b", priority=400.0))
    assert not await run(cache, commit, task(work, command=("make", "all")))


async def test_only_tasks_that_ask_for_it_are_looked_up(cache, work):
    plain = task(work, cache=False)
    found = await cache.lookup(plain, ENVIRON)
    assert found.hit is None
    assert await cache.entry(plain, found.key, result(), ENVIRON) is None
    assert (cache.hits, cache.misses) == (0, 0)
    assert cache.statistics().get_hit_rate() == 0.0


async def test_a_cache_that_is_off_neither_looks_nor_stores(cache, commit, database, limits, clock, work):
    await run(cache, commit, task(work))
    off = ResultCache(database, limits, clock, enabled=False)
    found = await off.lookup(task(work), ENVIRON)
    assert found.hit is None
    assert await off.entry(task(work), found.key, result(), ENVIRON) is None
    assert (off.hits, off.misses, repr(off)) == (0, 0, "<ResultCache off 0 hits 0 misses>")


@pytest.mark.parametrize("outcome", ["failed", "timed_out", "cancelled"])
async def test_only_success_is_stored(cache, commit, work, outcome):
    assert not await run(cache, commit, task(work), result(outcome=outcome))
    assert not await run(cache, commit, task(work), result(outcome=outcome))
    assert cache.statistics().entries == 0


async def test_output_files_come_back_with_a_hit(cache, commit, work):
    one = task(work, outputs=("out/*", "report.txt"))
    found = await cache.lookup(one, ENVIRON)
    (work / "out").mkdir()
    (work / "out" / "a").write_text("A")
    (work / "report.txt").write_text("fine")
    await commit(await cache.entry(one, found.key, result(), ENVIRON))
    (work / "out" / "a").unlink()
    (work / "report.txt").write_text("changed by hand")
    assert (await cache.lookup(one, ENVIRON)).hit is not None
    assert (work / "out" / "a").read_text() == "A"
    assert (work / "report.txt").read_text() == "fine"


async def test_a_hit_that_cannot_restore_is_a_miss(cache, commit, work, tmp_path, caplog):
    one = task(work, outputs=("report.txt",))
    (work / "report.txt").write_text("fine")
    await run(cache, commit, one)
    (tmp_path / "victim").write_text("dear")
    (work / "report.txt").unlink()
    (work / "report.txt").symlink_to(tmp_path / "victim")
    assert (await cache.lookup(one, ENVIRON)).hit is None
    assert (tmp_path / "victim").read_text() == "dear"
    assert "is not used: its output 'report.txt' is no plain file" in caplog.text
    assert (cache.hits, cache.misses) == (0, 2)


async def test_missing_outputs_are_not_stored(cache, commit, work, caplog):
    await run(cache, commit, task(work, outputs=("never",)))
    assert "is not cached: its output 'never' matches no file" in caplog.text
    assert cache.statistics().entries == 0


async def test_inputs_by_content_before_and_after(cache, commit, work):
    one = task(work, inputs=("*.c",))
    (work / "a.c").write_text("1")
    assert not await run(cache, commit, one)
    assert await run(cache, commit, one)
    (work / "a.c").write_text("2")
    found = await cache.lookup(one, ENVIRON)
    assert found.hit is None
    (work / "a.c").write_text("3")
    assert await cache.entry(one, found.key, result(), ENVIRON) is None, "changed while it ran"
    (work / "a.c").write_text("1")
    assert await run(cache, commit, one), "the first content is still known"


async def test_an_unreadable_input_runs_without_the_cache(cache, commit, work, caplog):
    (work / "x").symlink_to("nowhere")
    one = task(work, inputs=("x",))
    assert not await run(cache, commit, one)
    assert "task 'a' is not cached: " in caplog.text
    assert (cache.misses, cache.statistics().entries) == (1, 0)


async def test_printed_output_comes_from_the_log_file(cache, commit, folder, work, monkeypatch):
    (folder.logs / "a.log").write_bytes(b"long\n" * 3000)
    await run(cache, commit, task(work), result(log="a.log"))
    (folder.logs / "a.log").unlink()
    hit = (await cache.lookup(task(work), ENVIRON)).hit
    assert (hit.output, hit.log) == (b"long\n" * 3000, "")
    monkeypatch.setattr(module, "MAX_PRINTED", 20)
    (folder.logs / "b.log").write_bytes(b"0123456789" * 5)
    await run(cache, commit, task(work, version="2"), result(log="b.log"))
    hit = (await cache.lookup(task(work, version="2"), ENVIRON)).hit
    assert hit.output == b"0123456789\n[.. 30 bytes are not in the cache ..]\n0123456789"


@pytest.mark.parametrize("kind", ["missing", "link", "fifo", "outside"])
async def test_a_log_that_is_not_there_is_not_stored(cache, commit, folder, work, tmp_path, kind):
    (tmp_path / "secret").write_text("secret")
    name = "a.log"
    if kind == "link":
        (folder.logs / name).symlink_to(tmp_path / "secret")
    elif kind == "fifo":
        __import__("os").mkfifo(folder.logs / name)
    elif kind == "outside":
        name = "../../secret"
    await run(cache, commit, task(work), result(log=name))
    assert cache.statistics().entries == 0


async def test_age(cache, commit, clock, limits, work):
    await run(cache, commit, task(work))
    clock.now += 99.0
    assert await run(cache, commit, task(work))
    clock.now += 1.0
    assert not await run(cache, commit, task(work))
    assert await run(cache, commit, task(work)), "made anew"
    clock.now -= 10_000.0
    assert await run(cache, commit, task(work)), "a clock that went back makes nothing older"
    limits.ttl_seconds = 0.0
    clock.now += 1e9
    assert await run(cache, commit, task(work)), "0 is for ever"


async def test_what_is_too_old_goes_when_something_is_stored(cache, commit, clock, work):
    await run(cache, commit, task(work, version="old"))
    clock.now += 200.0
    await run(cache, commit, task(work, version="new"))
    statistics = cache.statistics()
    assert (statistics.entries, statistics.evictions) == (1, 1)


def noise(number, size):
    """Bytes that do not compress."""
    return b"".join(hashlib.sha256(b"%d %d" % (number, part)).digest() for part in range(size // 32))


async def test_the_least_recently_used_make_room(cache, commit, limits, clock, work):
    versions = [task(work, version=str(number)) for number in range(4)]
    limits.max_bytes = 3 * 11_000
    for number, one in enumerate(versions[:3]):
        await run(cache, commit, one, result(output=noise(number, 10_000)))
    clock.now -= 50.0
    assert await run(cache, commit, versions[0]), "used last, whatever the clock says"
    await run(cache, commit, versions[3], result(output=noise(3, 10_000)))
    found = [(await cache.lookup(one, ENVIRON)).hit is not None for one in versions]
    assert found == [True, False, True, True]
    statistics = cache.statistics()
    assert (statistics.entries, statistics.evictions, cache.evictions) == (3, 1, 1)
    assert 30_000 < statistics.bytes <= limits.max_bytes


async def test_what_is_larger_than_the_cache_is_not_kept_and_drives_nothing_out(cache, commit, limits, work):
    limits.max_bytes = 12_000
    await run(cache, commit, task(work), result(output=noise(0, 1000)))
    await run(cache, commit, task(work, version="2"), result(output=noise(1, 50_000)))
    assert cache.statistics().entries == 1
    assert await run(cache, commit, task(work))


async def test_two_results_for_one_key_are_one_entry(cache, commit, work):
    found = await cache.lookup(task(work), ENVIRON)
    entries = [await cache.entry(task(work), found.key, result(value=number), ENVIRON) for number in range(2)]
    await commit(*entries)
    assert (await cache.lookup(task(work), ENVIRON)).hit.value == 1
    assert cache.statistics().entries == 1


async def change(database, assignment, *values):
    await database.run(lambda connection: connection.execute(f"UPDATE cache SET {assignment}", values) and None)


@pytest.mark.parametrize(
    "assignment",
    [
        "seal = 'x'",
        "value = substr(value, 1, length(value) - 1)",
        "value = value || x'00'",
        "value = 'text'",
        "created_at = 'text'",
        "value = x''",
        "value = zeroblob(length(value))",
    ],
)
async def test_an_entry_that_was_changed_is_a_miss_and_a_warning(cache, commit, database, work, caplog, assignment):
    await run(cache, commit, task(work))
    await change(database, assignment)
    assert (await cache.lookup(task(work), ENVIRON)).hit is None
    assert "is not used: its digest does not agree" in caplog.text or "created_at" in assignment
    assert not await run(cache, commit, task(work), result(value="right"))
    assert (await cache.lookup(task(work), ENVIRON)).hit.value == "right"


async def test_an_entry_moved_to_another_key_is_not_believed(cache, commit, database, work, caplog):
    await run(cache, commit, task(work))
    other = await cache.lookup(task(work, version="2"), ENVIRON)
    await change(database, "digest = ?", other.key.digest)
    assert (await cache.lookup(task(work, version="2"), ENVIRON)).hit is None
    assert "digest does not agree" in caplog.text


async def test_nothing_in_an_entry_is_ever_run(cache, commit, database, work, tmp_path, caplog):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "PICKLE-RAN"), "w"))

    await run(cache, commit, task(work))
    key = (await cache.lookup(task(work), ENVIRON)).key
    for value in (pickle.dumps(Bomb()), zlib.compress(pickle.dumps(Bomb())), zlib.compress(b"\x93\x01\x02\x03")):
        await change(database, "value = ?, seal = ?", value, module._digest(key.digest, value))
        assert (await cache.lookup(task(work), ENVIRON)).hit is None
    assert "it cannot be read" in caplog.text
    assert not (tmp_path / "PICKLE-RAN").exists()


async def test_an_entry_that_unpacks_without_end_is_refused(cache, commit, database, work, monkeypatch, caplog):
    await run(cache, commit, task(work))
    key = (await cache.lookup(task(work), ENVIRON)).key
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 1000)
    bomb = zlib.compress(bytes(1_000_000))
    await change(database, "value = ?, seal = ?", bomb, module._digest(key.digest, bomb))
    assert (await cache.lookup(task(work), ENVIRON)).hit is None
    assert "larger than any entry may be" in caplog.text


async def test_the_cache_outlives_the_object(cache, commit, database, limits, clock, work):
    limits.max_bytes = 5000
    for number in range(3):
        await run(cache, commit, task(work, version=str(number)), result(output=noise(number, 3000)))
    again = ResultCache(database, limits, clock)
    assert (await again.lookup(task(work, version="2"), ENVIRON)).hit is not None
    statistics = again.statistics()
    assert statistics == CacheStatistics(hits=1, entries=1, bytes=statistics.bytes, max_bytes=5000)
    assert cache.evictions == 2
    assert statistics.get_hit_rate() == 100.0


async def test_a_value_that_cannot_be_kept_is_not(cache, commit, work, caplog):
    await run(cache, commit, task(work), result(value=object()))
    assert "the result of task 'a' is not cached" in caplog.text


async def test_entries_know_their_size():
    entry = module.CacheEntry(digest="d", task_id="t", value=b"x" * 100, seal="", created_at=0.0, max_bytes=1)
    assert entry.size == 356
    assert msgspec.structs.replace(entry, value=b"").size == 256
