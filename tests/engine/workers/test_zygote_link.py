"""The engine's end of a zygote, with a real one."""

# ruff: noqa: ASYNC221, ASYNC222 -- the children of these tests end at once, or are killed

from __future__ import annotations

import os
import socket
import sys

import pytest

from engine.workers.zygote_link import ZygoteLink
from engine.workers.zygote_protocol import Configure, Died, Fork, Forked, Kill, Ready

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs sub-reapers")


class Owner:
    def __init__(self):
        self.said, self.lost = [], []

    def zygote_said(self, link, message):
        self.said.append(message)

    def zygote_lost(self, link):
        self.lost.append((link.pid, list(self.said), link.last_words()))


@pytest.fixture
async def make_link(tmp_path, kit):
    links: list[ZygoteLink] = []

    def make(entry: str = kit.ENTRY, **more) -> tuple[ZygoteLink, Owner]:
        owner = Owner()
        configure = Configure(os.getpid(), "link-test", entry, bytes(tmp_path), {}, **more)
        environ = {**os.environ, "PYTHONPATH": str(kit.HERE), "MI4_RUN": "link-test"}
        links.append(ZygoteLink(configure, environ, owner, tmp_path))
        return links[-1], owner

    yield make
    for link in links:
        link.close()
        await kit.until(lambda link=link: not link.alive)


async def test_it_becomes_ready_and_ends_when_it_is_closed(make_link, kit):
    link, owner = make_link()
    assert not link.ready
    await kit.until(lambda: link.ready)
    assert owner.said == [Ready(link.pid)]

    link.close()
    link.close()
    await kit.until(lambda: owner.lost)

    assert not link.alive
    assert not kit.alive(link.pid)
    assert link.send(Kill(1, 9)) is False


async def test_a_host_is_forked_with_its_socket_and_its_death_is_told_with_its_words(make_link, kit, tmp_path):
    link, owner = make_link()
    await kit.until(lambda: link.ready)
    ours, theirs = socket.socketpair()

    assert link.send(Fork(9, "w1.1", bytes(tmp_path / "page")), theirs)
    theirs.close()
    await kit.until(lambda: len(owner.said) == 2)
    forked = owner.said[1]
    assert isinstance(forked, Forked)
    assert forked.number == 9
    ours.settimeout(20)
    assert ours.recv(4096)

    assert link.send(Kill(forked.pid, 9))
    await kit.until(lambda: len(owner.said) == 3)
    assert owner.said[2] == Died(forked.pid, 9)
    ours.close()


async def test_it_signals_nobody_but_its_hosts(make_link, kit):
    link, _ = make_link()
    await kit.until(lambda: link.ready)
    other = os.posix_spawn("/bin/sleep", ["sleep", "603"], {})

    try:
        link.send(Kill(other, 9))
        link.close()
        await kit.until(lambda: not link.alive)
        assert os.waitid(os.P_PID, other, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    finally:
        os.kill(other, 9)
        os.waitpid(other, 0)


async def test_the_reports_before_a_death_come_first(make_link, kit):
    link, owner = make_link()
    await kit.until(lambda: link.ready)

    link.kill()
    await kit.until(lambda: owner.lost)

    assert owner.lost == [(link.pid, [Ready(link.pid)], "")]


async def test_why_it_could_not_start_is_kept(make_link, kit):
    _, owner = make_link(entry="nowhere_at_all:main")

    await kit.until(lambda: owner.lost)

    assert owner.lost[0][1] == []
    assert owner.lost[0][2].splitlines()[-1] == "ModuleNotFoundError: No module named 'nowhere_at_all'"


async def test_what_cannot_be_preloaded_is_told(make_link, kit):
    link, owner = make_link(preload=("nowhere_at_all", "scripted_preload"))
    await kit.until(lambda: link.ready)

    assert owner.said[0].warnings[0] == "cannot preload nowhere_at_all: No module named 'nowhere_at_all'"
    assert "started threads" in owner.said[0].warnings[1]
