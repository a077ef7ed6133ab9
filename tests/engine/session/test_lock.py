"""One engine for each folder, whoever dies and whatever was planted."""

import os
import stat
import subprocess
import sys
import threading

import msgspec
import pytest

from engine.errors import EngineRunningError, StateFolderError
from engine.session import lock as module
from engine.session.lock import FolderLock, LockInfo, read_lock
from engine.storage.folder import StateFolder

HOLDER = """
import sys
from pathlib import Path
from engine.session.lock import FolderLock
from engine.storage.folder import StateFolder
lock = FolderLock.acquire(StateFolder.open(Path(sys.argv[1])), "other", "/tmp/s")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path):
    return StateFolder.open(tmp_path / ".mi4")


@pytest.fixture
def holder(folder):
    """Another process that holds the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_file_says_who_holds_it(folder):
    with FolderLock.acquire(folder, "run-1", "/tmp/a.sock") as lock:
        info = read_lock(folder)
        assert info == lock.info
        assert (info.pid, info.run_id, info.socket) == (os.getpid(), "run-1", "/tmp/a.sock")
        assert read_lock(folder.path) == info
        assert stat.S_IMODE(folder.lock.stat().st_mode) == 0o600
    assert read_lock(folder) is None


def test_a_second_engine_is_refused_with_the_pid_of_the_first(folder, holder):
    with pytest.raises(EngineRunningError, match=f"pid {holder.pid}.*mi4-tui attach") as caught:
        FolderLock.acquire(folder, "mine")
    assert caught.value.pid == holder.pid
    assert caught.value.exit_code == 75
    assert "\n" not in str(caught.value)
    assert read_lock(folder).run_id == "other", "the refused one has changed nothing"


def test_the_same_process_cannot_take_it_twice(folder):
    with FolderLock.acquire(folder, "one"), pytest.raises(EngineRunningError):
        FolderLock.acquire(folder, "two")
    FolderLock.acquire(folder, "three").release()


def test_a_killed_holder_leaves_nothing_behind(folder, holder):
    holder.kill()
    holder.wait()
    assert "other" in folder.lock.read_text()
    assert read_lock(folder) is None
    with FolderLock.acquire(folder, "mine") as lock:
        assert read_lock(folder) == lock.info


def test_a_lock_that_a_child_has_inherited_is_told_apart(folder, monkeypatch):
    monkeypatch.setattr(module, "_TRIES", 2)
    lock = FolderLock.acquire(folder, "gone")
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, pass_fds=[lock._fd]
    )
    dead = msgspec.structs.replace(lock.info, start_time=lock.info.start_time + 1)
    folder.lock.write_bytes(msgspec.json.encode(dead))
    os.close(lock._fd)
    try:
        with pytest.raises(EngineRunningError, match="the engine that locked it is gone") as caught:
            FolderLock.acquire(folder, "mine")
        assert caught.value.pid is None
        assert read_lock(folder) is None
    finally:
        child.communicate()
    FolderLock.acquire(folder, "mine").release()


def test_the_lock_is_not_inherited_by_programs_that_are_started(folder):
    lock = FolderLock.acquire(folder, "one")
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, close_fds=False
    )
    try:
        lock.release()
        FolderLock.acquire(folder, "two").release()
    finally:
        child.communicate()


@pytest.mark.parametrize("change", [{"boot_id": "other"}, {"start_time": 1}, {"pid": 2**22}])
def test_a_text_that_names_another_process_is_not_believed(folder, change):
    with FolderLock.acquire(folder, "one") as lock:
        folder.lock.write_bytes(msgspec.json.encode(msgspec.structs.replace(lock.info, **change)))
        assert read_lock(folder) is None


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[]", b'{"pid": "x"}', b"x" * 10_000])
def test_nonsense_in_the_file_is_nobody_and_is_overwritten(folder, text):
    folder.lock.write_bytes(text)
    assert read_lock(folder) is None
    with FolderLock.acquire(folder, "one") as lock:
        assert read_lock(folder) == lock.info


def test_the_socket_can_be_announced_later(folder):
    with FolderLock.acquire(folder, "one", "/a/very/long/path/to/a/socket") as lock:
        lock.announce("/s")
        assert read_lock(folder).socket == "/s"
        assert repr(lock) == "<FolderLock held run one>"
    lock.release()
    assert repr(lock) == "<FolderLock released run one>"
    with pytest.raises(EngineRunningError, match="released"):
        lock.announce("/x")


def test_someone_who_only_looks_keeps_nobody_out(folder):
    stop = threading.Event()

    def look():
        while not stop.is_set():
            read_lock(folder)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for number in range(200):
            FolderLock.acquire(folder, str(number)).release()
    finally:
        stop.set()
        watcher.join()


@pytest.mark.parametrize("kind", ["link", "dangling", "hard link", "fifo", "folder"])
def test_what_was_planted_is_refused_and_unchanged(folder, tmp_path, kind):
    victim = tmp_path / "victim"
    victim.write_text("dear")
    if kind == "link":
        folder.lock.symlink_to(victim)
    elif kind == "dangling":
        folder.lock.symlink_to(tmp_path / "nowhere")
    elif kind == "hard link":
        os.link(victim, folder.lock)
    elif kind == "fifo":
        os.mkfifo(folder.lock)
    else:
        folder.lock.mkdir()
    with pytest.raises(StateFolderError, match="remove it and start again"):
        FolderLock.acquire(folder, "mine")
    assert read_lock(folder) is None
    assert victim.read_text() == "dear"
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_that_is_not_there_is_nobody(tmp_path):
    assert read_lock(tmp_path / "none") is None


def test_where_the_system_tells_no_start_time_the_lock_alone_decides():
    assert LockInfo(pid=1, start_time=0, boot_id="", run_id="r").is_alive
