"""The sweep: what it ends and what it must not touch. Each scenario runs in a process of its own, for a sweep is thorough."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.workers.launch import package_root
from engine.workers.sweep import Entry, below, descendants, has_children, kill, process_table, read_entry, reap

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and sub-reapers")

PRELUDE = """
import os, time, signal
from engine.workers.sweep import *
assert become_subreaper()
def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)
def shell(text):
    # Not by `subprocess`: that reaps a child on its own account when its handle is gone.
    return os.posix_spawn("/bin/sh", ["sh", "-c", text], os.environ, setsid=True)
def count():
    entries = [read_entry(pid) for pid in descendants(os.getpid())]
    return len([entry for entry in entries if entry is not None and not entry.zombie])
"""


def run(body: str) -> str:
    environ = {**os.environ, "PYTHONPATH": str(package_root())}
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + body], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("shape", "processes"),
    [
        ("exec sleep 401", 1),
        ("sleep 401 & sleep 401", 3),
        ("setsid sleep 401 & sleep 401", 3),
        ("(setsid sh -c 'sleep 401 & sleep 401 &' &); exec sleep 401", 3),
        ("trap '' TERM HUP; sleep 401 & wait", 2),
    ],
)
def test_no_shape_escapes(shape, processes):
    body = f"shell({shape!r}); until(lambda: count() == {processes})\nprint(sweep(), descendants(os.getpid()), has_children())"
    assert run(body) == f"{processes} [] False"


def test_orphans_whose_leader_has_ended_are_found():
    body = "leader = shell('setsid sleep 401 & setsid sleep 401 & sleep 0.1')\nos.waitpid(leader, 0)\nprint(sweep(), descendants(os.getpid()))"
    assert run(body) == "2 []"


def test_known_children_and_all_below_them_are_spared():
    body = """
known, other = shell('sleep 401 & sleep 401'), shell('sleep 402 & sleep 402')
until(lambda: count() == 6)
print(sweep({known}), count(), known in descendants(os.getpid()), reap(other))
sweep()
"""
    assert run(body) == "3 3 True None"


def test_only_what_the_filter_names_and_its_children_end():
    body = """
a, b = shell('sleep 401 & sleep 401'), shell('sleep 402 & sleep 402')
until(lambda: count() == 6)
print(sweep(only=lambda pid: pid == a), count(), os.waitid(os.P_PID, b, os.WEXITED | os.WNOHANG))
sweep()
"""
    assert run(body) == "3 3 None"


def test_frozen_processes_end():
    body = "pid = shell('exec sleep 401'); until(lambda: count() == 1); os.kill(pid, signal.SIGSTOP); print(sweep(), has_children())"
    assert run(body) == "1 False"


def test_processes_that_multiply_end():
    body = """
shell('while :; do setsid sleep 0.2 & sleep 0.01; done')
until(lambda: count() > 5)
print(sweep() > 5, has_children())
"""
    assert run(body) == "True False"


def test_zombies_are_reaped_and_not_counted():
    body = (
        "os.waitid(os.P_PID, shell('exit 0'), os.WEXITED | os.WNOWAIT); print(has_children(), sweep(), has_children())"
    )
    assert run(body) == "True 0 False"


def test_nothing_below_costs_no_look_at_all_processes():
    body = "import engine.workers.sweep as s\ns.process_table = None\nprint(sweep())"
    assert run(body) == "0"


def test_descendants_come_after_their_parents():
    table = {
        2: Entry(1, False, 2),
        3: Entry(2, False, 2),
        4: Entry(3, False, 2),
        5: Entry(1, False, 5),
        6: Entry(99, False, 6),
    }

    assert below(1, table, ()) == [2, 5, 3, 4]
    assert below(1, table, {2}) == [5]
    assert below(1, table, {3}) == [2, 5]
    assert below(6, table, ()) == []


def test_a_program_with_a_nasty_name_is_read(tmp_path: Path):
    program = tmp_path / "a) S 1 (b"
    program.write_bytes(Path("/bin/sleep").read_bytes())
    program.chmod(0o700)
    with subprocess.Popen([program, "401"], start_new_session=True) as process:
        try:
            assert read_entry(process.pid) == Entry(os.getpid(), False, process.pid)
            assert process.pid in descendants(os.getpid())
        finally:
            process.kill()


def test_signals_and_reaping_never_raise():
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert has_children()
    assert reap(pid) == 0
    assert reap(pid) is None
    assert kill(pid, signal.SIGTERM) is False
    assert read_entry(pid) is None


def test_without_proc_the_table_comes_from_ps(monkeypatch):
    whole = process_table()
    monkeypatch.setattr("engine.workers.sweep.Path.exists", lambda self: False)
    if not any((Path(folder) / "ps").is_file() for folder in os.get_exec_path()):
        pytest.skip("no ps here")

    table = process_table()

    assert table[os.getpid()].parent == whole[os.getpid()].parent
