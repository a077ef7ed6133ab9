"""Output files into the cache and back: whole, in their own folder, and never through a link."""

import os
import stat
import zlib
from pathlib import Path

import pytest

from engine.caching import files as module
from engine.caching.files import OutputFile, UncacheableError, collect, restore

LIMIT = 1_000_000


def take(work, *patterns, limit=LIMIT):
    return collect(str(work), patterns, limit)


def names(work):
    return sorted(str(path.relative_to(work)) for path in work.rglob("*") if not path.is_dir())


def test_files_come_back_with_their_bytes_and_modes(work):
    (work / "out" / "deep").mkdir(parents=True)
    (work / "out" / "deep" / "a.bin").write_bytes(bytes(range(256)) * 100)
    (work / "tool").write_text("#!/bin/sh\n")
    (work / "tool").chmod(0o755)
    (work / "empty").touch()
    kept = take(work, "out/**", "tool", "empty", "t*l")
    assert [file.path for file in kept] == ["empty", "out/deep/a.bin", "tool"]
    for path in (work / "tool", work / "empty", work / "out" / "deep" / "a.bin"):
        path.unlink()
    (work / "out" / "deep").rmdir()
    restore(str(work), kept)
    assert (work / "out" / "deep" / "a.bin").read_bytes() == bytes(range(256)) * 100
    assert stat.S_IMODE((work / "tool").stat().st_mode) == 0o755
    assert names(work) == ["empty", "out/deep/a.bin", "tool"]


def test_a_file_that_is_right_is_not_touched_and_one_that_is_not_is_replaced(work):
    (work / "same").write_text("x")
    (work / "bytes").write_text("x")
    (work / "mode").write_text("x")
    kept = take(work, "*")
    os.utime(work / "same", (1, 1))
    (work / "bytes").write_text("y")
    (work / "mode").chmod(0o700)
    restore(str(work), kept)
    assert (work / "same").stat().st_mtime == 1
    assert (work / "bytes").read_text() == "x"
    assert stat.S_IMODE((work / "mode").stat().st_mode) == 0o644


def test_no_patterns_no_files(work):
    assert take(work) == ()
    restore("/does/not/exist", ())


def test_a_pattern_without_a_match_is_refused(work):
    (work / "a").touch()
    with pytest.raises(UncacheableError, match=r"'b\*' matches no file"):
        take(work, "a", "b*")


def test_too_much_is_refused(work, monkeypatch):
    (work / "a").write_bytes(b"x" * 600)
    (work / "b").write_bytes(b"x" * 400)
    assert len(take(work, "*", limit=1000)) == 2
    with pytest.raises(UncacheableError, match="larger than the limit of one entry"):
        take(work, "*", limit=999)
    monkeypatch.setattr(module, "MAX_FILES", 1)
    with pytest.raises(UncacheableError, match="more than 1 files"):
        take(work, "*")


@pytest.mark.parametrize("pattern", ["link", "door/secret", "../secret", "fifo"])
def test_only_plain_files_of_the_own_folder_are_taken(work, tmp_path, pattern):
    (tmp_path / "secret").write_text("secret")
    (work / "link").symlink_to(tmp_path / "secret")
    (work / "door").symlink_to(tmp_path)
    os.mkfifo(work / "fifo")
    with pytest.raises(UncacheableError):
        take(work, pattern)
    with pytest.raises(UncacheableError):
        take(work, str(tmp_path / "secret"))


def stored(path, **changes):
    values = {"mode": 0o644, "size": 3, "data": zlib.compress(b"new")}
    return OutputFile(path, *{**values, **changes}.values())


@pytest.mark.parametrize("path", ["../victim", "/etc/x", "a/../../victim", "", ".", "..", "a/.."])
def test_an_entry_that_points_outside_writes_nothing(work, tmp_path, path):
    (tmp_path / "victim").write_text("dear")
    with pytest.raises(UncacheableError, match="outside its folder"):
        restore(str(work), [stored(path)])
    assert (tmp_path / "victim").read_text() == "dear"
    assert names(work) == []


@pytest.mark.parametrize("path", ["link", "dangling", "door/victim", "door/new/file", "fifo", "folder", "file/below"])
def test_nothing_is_written_through_links_or_over_what_is_no_file(work, tmp_path, path):
    (tmp_path / "victim").write_text("dear")
    (work / "link").symlink_to(tmp_path / "victim")
    (work / "dangling").symlink_to(tmp_path / "nowhere")
    (work / "door").symlink_to(tmp_path)
    (work / "folder").mkdir()
    (work / "file").write_text("x")
    os.mkfifo(work / "fifo")
    before = names(work)
    with pytest.raises(UncacheableError):
        restore(str(work), [stored("fine"), stored(path)])
    assert (tmp_path / "victim").read_text() == "dear"
    assert not (tmp_path / "nowhere").exists()
    assert not (tmp_path / "new").exists()
    assert names(work) == before, "not even the part that would have been fine"


def test_a_full_disk_leaves_the_old_files(work, monkeypatch):
    (work / "a").write_text("old")
    (work / "b").write_text("old")
    calls = []

    def full(fd, mode):
        calls.append(fd)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fchmod", full)
    with pytest.raises(OSError, match="No space"):
        restore(str(work), [stored("a"), stored("b")])
    assert names(work) == ["a", "b"]
    assert (work / "a").read_text() == (work / "b").read_text() == "old"


@pytest.mark.parametrize(
    "changes", [{"data": b"junk"}, {"size": 1}, {"size": 10**9}, {"data": zlib.compress(b"x" * 10**7)}]
)
def test_an_entry_that_unpacks_to_something_else_is_refused(work, changes):
    with pytest.raises(UncacheableError, match=r"damaged|wrong size"):
        restore(str(work), [stored("a", **changes)])
    assert names(work) == []


def test_no_descriptor_is_left_open(work):
    (work / "d").mkdir()
    (work / "d" / "a").write_text("x")
    (work / "link").symlink_to("d")
    before = len(list(Path("/proc/self/fd").iterdir()))
    kept = take(work, "d")
    (work / "d" / "a").write_text("y")
    restore(str(work), kept)
    for path in ("link/x", "../x", "d/a/b"):
        with pytest.raises(UncacheableError):
            restore(str(work), [stored(path)])
    assert len(list(Path("/proc/self/fd").iterdir())) == before
