"""Small output stays in memory; a big one goes to a file of its own, never over the cap, never over what is there."""

from __future__ import annotations

import os
import stat

import pytest

from engine.streaming.logfile import AttemptLog
from engine.tasks.model import INLINE_OUTPUT

LIMIT = 100_000


def test_small_output_needs_no_file(tmp_path):
    log = AttemptLog(tmp_path, "a.log", LIMIT)
    log.write(b"x" * INLINE_OUTPUT)
    assert (log.close(), log.name, list(tmp_path.iterdir())) == (b"x" * INLINE_OUTPUT, "", [])


def test_overflow_goes_to_a_private_file_whole(tmp_path):
    log = AttemptLog(tmp_path, "a.log", LIMIT)
    log.write(b"x" * INLINE_OUTPUT)
    log.write(b"y" * 10)
    assert (log.close(), log.name) == (b"", "a.log")
    file = tmp_path / "a.log"
    assert file.read_bytes() == b"x" * INLINE_OUTPUT + b"y" * 10
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("size", [1, 7, 65536])
def test_head_and_tail_of_a_log_over_the_cap(tmp_path, size):
    log = AttemptLog(tmp_path, "a.log", LIMIT)
    data = b"".join(b"%07d\n" % n for n in range(50_000))
    for at in range(0, len(data), size):
        log.write(data[at : at + size])
    log.close()
    kept = (tmp_path / "a.log").read_bytes()
    assert len(kept) <= LIMIT
    head, mark, tail = kept.partition(f"\n[{log.dropped:,} bytes were left out here]\n".encode())
    assert mark
    assert data.startswith(head)
    assert data.endswith(tail)
    assert len(head) + len(tail) + log.dropped == len(data)
    assert len(tail) == LIMIT // 4


def test_tiny_writes_do_not_become_many_objects(tmp_path):
    log = AttemptLog(tmp_path, "a.log", LIMIT)
    for _ in range(200_000):
        log.write(b"z")
    assert len(log._tail) < 20


def test_a_file_or_link_that_has_the_name_is_left_alone(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "a.log").symlink_to(victim)
    (logs / "a.log.2").write_text("older")
    log = AttemptLog(logs, "a.log", LIMIT)
    log.write(b"x" * 20_000)
    log.close()
    assert log.name == "a.log.3"
    assert (victim.read_text(), (logs / "a.log.2").read_text()) == ("precious", "older")


def test_a_name_cannot_leave_the_folder(tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    log = AttemptLog(logs, "../../evil.log", LIMIT)
    log.write(b"x" * 20_000)
    log.close()
    assert [file.name for file in logs.iterdir()] == ["evil.log"]


def test_no_folder_costs_the_log_and_nothing_else(tmp_path):
    log = AttemptLog(tmp_path / "missing", "a.log", LIMIT)
    log.write(b"x" * 10_000)
    log.write(b"y" * 10_000)
    assert (log.close(), log.name) == (b"x" * INLINE_OUTPUT, "")
    assert log.dropped == 20_000 - INLINE_OUTPUT


def test_a_full_disk_is_counted(tmp_path, monkeypatch):
    log = AttemptLog(tmp_path, "a.log", LIMIT)
    log.write(b"x" * 10_000)

    def full(fd, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    log.write(b"y" * 500)
    assert log.dropped == 500
    log.close()
