"""What is left below a process, and signals that never raise."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from engine.workers.ladder import anything_left, kill, signal_group, terminate


@pytest.fixture
def alone():
    """Run a function in a fresh process that has no other child; its exit status must be 0."""

    def run(function):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                function()
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

    return run


def test_no_child(alone):
    def check():
        assert not anything_left(())

    alone(check)


def test_a_child_that_lives_and_one_that_is_known(alone):
    def check():
        child = subprocess.Popen(["sleep", "60"])
        assert anything_left(())
        assert not anything_left({child.pid})
        other = subprocess.Popen(["sleep", "60"])
        assert anything_left({child.pid})
        for process in (child, other):
            process.kill()
            process.wait()
        assert not anything_left(())

    alone(check)


def test_dead_children_are_reaped(alone):
    def check():
        for _ in range(3):
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert not anything_left(())

    alone(check)


@pytest.mark.parametrize(("stop", "status"), [(terminate, 7), (kill, -signal.SIGKILL)])
def test_a_stopped_group_hears_it(stop, status):
    script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done"
    with subprocess.Popen(["sh", "-c", script], start_new_session=True, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        os.killpg(process.pid, signal.SIGSTOP)
        stop(process.pid)
        assert process.wait(30) == status


def test_a_group_that_is_gone_is_no_error():
    process = subprocess.Popen(["true"], start_new_session=True)
    process.wait()
    signal_group(process.pid, signal.SIGTERM)


def test_a_child_without_a_group_of_its_own_is_reached():
    process = subprocess.Popen(["sleep", "60"])
    signal_group(process.pid, signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
