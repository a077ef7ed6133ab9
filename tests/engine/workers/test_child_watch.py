"""The end of one child, told once and reaped."""

# ruff: noqa: ASYNC222 -- the children of these tests end at once, or are killed

from __future__ import annotations

import asyncio
import os

import pytest

from engine.workers.child_watch import ChildWatch


@pytest.fixture(params=["pidfd", "poll"])
def how(request, monkeypatch):
    if request.param == "poll":
        monkeypatch.delattr("os.pidfd_open", raising=False)
    return request.param


def child(code: str = "exec sleep 601") -> int:
    return os.posix_spawn("/bin/sh", ["sh", "-c", code], dict(os.environ))


async def test_an_exit_is_told_once(how, kit):
    ends = []
    watch = ChildWatch(asyncio.get_running_loop(), child("exit 3"), ends.append)

    await kit.until(lambda: watch.poll() or ends)
    watch.poll()
    await asyncio.sleep(0)

    assert [os.waitstatus_to_exitcode(status) for status in ends] == [3]
    with pytest.raises(ChildProcessError):
        os.waitpid(watch.pid, os.WNOHANG)


async def test_a_child_that_lives_is_not_told(how, kit):
    ends = []
    pid = child()
    watch = ChildWatch(asyncio.get_running_loop(), pid, ends.append)
    watch.poll()
    await asyncio.sleep(0)
    assert ends == []

    os.kill(pid, 9)
    await kit.until(lambda: watch.poll() or ends)

    assert ends == [9]


async def test_other_children_are_left_alone(how, kit):
    other, ends = child("exit 4"), []
    watch = ChildWatch(asyncio.get_running_loop(), child("exit 3"), ends.append)
    await kit.until(lambda: watch.poll() or ends)

    assert os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]) == 4


async def test_a_child_that_somebody_else_reaped_has_no_status(how, kit):
    ends = []
    pid = child("exit 3")
    os.waitpid(pid, 0)
    watch = ChildWatch(asyncio.get_running_loop(), pid, ends.append)

    await kit.until(lambda: watch.poll() or ends)

    assert ends == [None]


async def test_a_closed_watch_says_nothing(how):
    ends = []
    pid = child("exit 0")
    watch = ChildWatch(asyncio.get_running_loop(), pid, ends.append)
    watch.close()
    watch.close()
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    watch.poll()
    await asyncio.sleep(0)

    assert ends == []
    assert os.waitpid(pid, 0) == (pid, 0)
