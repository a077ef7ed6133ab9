"""Measuring a tree of processes."""

import os
import subprocess
import sys

from engine.monitoring.process_tree import measure_tree

BURN = "import time\nwhile time.process_time() < 0.3: pass\n"


def child(code: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_children_and_theirs_are_counted():
    before = measure_tree(os.getpid())
    nested = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {'print(1, flush=True); input()'!r}]); p.wait()"

    with child(nested) as process:
        assert process.stdout.readline() == b"1\n"
        during = measure_tree(os.getpid())
        process.communicate(b"\n")

    assert during.processes == before.processes + 2
    assert during.rss > during.root_rss > 0


def test_time_of_a_child_that_has_ended_is_kept():
    before = measure_tree(os.getpid()).cpu_seconds

    with child(BURN) as process:
        process.wait()

    assert measure_tree(os.getpid()).cpu_seconds - before >= 0.25


def test_a_process_that_is_gone_is_not_measured():
    with child("") as process:
        process.wait()

    assert measure_tree(process.pid) is None
