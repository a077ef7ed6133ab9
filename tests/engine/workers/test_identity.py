"""Who is who across runs."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from engine.workers.identity import (
    Identity,
    ProcessRecord,
    boot_id,
    end_leftovers,
    end_run,
    find_marked,
    identity,
    is_alive,
    is_marked,
    start_time,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


@pytest.fixture
def start():
    """Start a command; whatever is left of it ends with the test."""
    started: list[subprocess.Popen] = []

    def start(*command: str, mark: str | None = None, env: dict[str, str] | None = None) -> subprocess.Popen:
        environ = {**os.environ, **(env or {}), **({"MI4_RUN": mark} if mark else {})}
        started.append(subprocess.Popen(command, env=environ, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_process_is_known_by_boot_pid_and_start(start):
    process = start("sleep", "501")
    known = identity(process.pid)

    assert known == Identity(boot_id(), process.pid, start_time(process.pid))
    assert len(known.boot_id) == 36
    assert is_alive(known)
    assert not is_alive(msgspec.structs.replace(known, start_time=known.start_time + 1))
    assert not is_alive(msgspec.structs.replace(known, boot_id="another"))
    process.kill()
    process.wait()
    assert not is_alive(known)
    assert identity(process.pid) is None


def test_the_mark_is_compared_whole(start, kit):
    process = start("sleep", "501", mark="run1", env={"XMI4_RUN": "run2", "OTHER": "MI4_RUN=run3"})
    kit.until_now(lambda: is_marked(process.pid, "run1"), "the mark")

    assert [is_marked(process.pid, name) for name in ("run1", "run", "run2", "run3", "")] == [
        True,
        False,
        False,
        False,
        False,
    ]
    assert not is_marked(2**22 + 1, "run1")


def test_marked_processes_are_found_with_what_hides_below_them(start, kit):
    hidden = start("sh", "-c", "env -i setsid sleep 502 & wait", mark="run-h")
    kit.until_now(lambda: len(find_marked("run-h")) == 2, "both")

    assert hidden.pid in find_marked("run-h")
    assert find_marked("run-x") == []


def test_this_process_and_its_ancestors_are_never_found(monkeypatch):
    script = (
        "import os; from engine.workers.identity import find_marked, end_run; "
        "assert find_marked('self') == [], find_marked('self'); assert end_run('self', []) == 0"
    )
    shell = f'{sys.executable} -c "{script}"; exit $?'
    environ = {**os.environ, "MI4_RUN": "self"}

    assert subprocess.run(["/bin/sh", "-c", shell], env=environ, check=False, timeout=60).returncode == 0


def test_a_run_is_ended_by_mark_and_by_record(start, kit):
    marked, recorded, other = (
        start("sleep", "501", mark="run-e"),
        start("sleep", "502"),
        start("sleep", "503", mark="else"),
    )
    kit.until_now(lambda: find_marked("run-e") and find_marked("else"), "the marks")
    reused = msgspec.structs.replace(identity(other.pid), start_time=1)

    assert end_run("run-e", [identity(recorded.pid), reused]) == 2

    assert (marked.wait(10), recorded.wait(10)) == (-signal.SIGKILL, -signal.SIGKILL)
    assert other.poll() is None


def test_leftovers_of_other_runs_are_ended_and_forgotten(start, tmp_path, kit):
    ours, theirs = start("sleep", "501", mark="ours"), start("sleep", "502")
    record = ProcessRecord(tmp_path, "theirs")
    record.add(theirs.pid)
    record.add(2**22 + 1)
    record.close(forget=False)
    ProcessRecord(tmp_path, "ours").close(forget=False)
    with record.path.open("ab") as file:
        file.write(b'{"boot_id": "torn')
    assert stat.S_IMODE(record.path.stat().st_mode) == 0o600

    assert end_leftovers(tmp_path, but="ours") == 1

    assert theirs.wait(10) == -signal.SIGKILL
    assert ours.poll() is None
    assert [path.name for path in tmp_path.iterdir()] == ["ours.processes"]


def test_a_record_is_forgotten_when_nothing_is_left(tmp_path: Path):
    record = ProcessRecord(tmp_path, "run")
    record.add(os.getpid())
    assert msgspec.json.decode(record.path.read_bytes(), type=Identity).pid == os.getpid()

    record.close(forget=True)

    assert list(tmp_path.iterdir()) == []


def test_a_planted_link_is_not_followed(tmp_path: Path):
    (tmp_path / "run.processes").symlink_to(tmp_path / "victim")

    with pytest.raises(OSError, match=r"run\.processes"):
        ProcessRecord(tmp_path, "run")

    assert not (tmp_path / "victim").exists()
