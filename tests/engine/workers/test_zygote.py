"""The zygote process: light, alone, deaf to signals, and gone when the engine is. Driven by hand over its socket."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from engine.workers.identity import find_marked
from engine.workers.launch import package_root, python_command, start_process
from engine.workers.sweep import read_entry
from engine.workers.zygote_protocol import (
    CONTROL_FD,
    PACKET,
    Configure,
    Died,
    Fork,
    Forked,
    Ready,
    decode_from_zygote,
    encode,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and sub-reapers")


class Hand:
    """A zygote and our end of its socket."""

    def __init__(self, kit, tmp_path, *, engine_pid: int | None = None, **environ: str):
        self.kit, self.tmp_path, self.run = kit, tmp_path, uuid.uuid4().hex
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(20)
        env = {**os.environ, "PYTHONPATH": str(kit.HERE), "MI4_RUN": self.run, **environ}
        with (tmp_path / "stderr").open("w") as stderr:
            descriptors = {2: stderr.fileno(), CONTROL_FD: theirs.fileno()}
            self.pid = start_process(python_command("engine.workers.zygote"), env, descriptors)
        theirs.close()
        self.status: int | None = None
        self.socks: list[socket.socket] = []
        self.say(Configure(engine_pid or os.getpid(), self.run, kit.ENTRY, bytes(tmp_path), {"x": 1}))

    def say(self, message, *fds: int):
        socket.send_fds(self.control, [encode(message)], list(fds))

    def hear(self):
        return decode_from_zygote(self.control.recv(PACKET))

    def fork(self, number: int = 1) -> int:
        ours, theirs = socket.socketpair()
        self.socks.append(ours)
        self.say(Fork(number, f"w{number}.1", bytes(self.tmp_path / f"page{number}")), theirs.fileno())
        theirs.close()
        forked = self.hear()
        assert isinstance(forked, Forked)
        ours.settimeout(20)
        ours.recv(4096)
        return forked.pid

    def ended(self) -> bool:
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = status if pid else None
        return self.status is not None

    def close(self):
        self.control.close()
        self.kit.until_now(self.ended, "the zygote's end")
        for sock in self.socks:
            sock.close()
        self.kit.until_now(lambda: not find_marked(self.run), "nothing left")


@pytest.fixture
def make_hand(kit, tmp_path):
    hands: list[Hand] = []

    def make(**more) -> Hand:
        hands.append(Hand(kit, tmp_path, **more))
        return hands[-1]

    yield make
    for hand in hands:
        hand.close()


@pytest.fixture
def hand(make_hand) -> Hand:
    hand = make_hand()
    assert hand.hear() == Ready(hand.pid)
    return hand


def test_it_is_light():
    """Every host is a copy of it."""
    script = (
        "import sys, engine.workers.zygote, engine.workers.sweep; "
        "heavy = {'asyncio', 'pydantic', 'textual', 'rich', 'sqlite3', 'psutil', 'engine.workers.pool'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    environ = {**os.environ, "PYTHONPATH": str(package_root())}

    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_it_leaves_when_the_engine_closes(hand, kit):
    hand.control.close()
    kit.until_now(hand.ended)
    assert hand.status == 0


def test_its_hosts_leave_by_themselves_first(hand, kit):
    hosts = [hand.fork(1), hand.fork(2)]
    for sock in hand.socks:
        sock.close()
    hand.socks.clear()

    hand.control.close()
    kit.until_now(hand.ended)

    assert not any(map(kit.alive, hosts))


def test_hosts_that_stay_are_killed_even_when_frozen(hand, kit):
    hosts = [hand.fork(1), hand.fork(2)]
    os.kill(hosts[0], signal.SIGSTOP)

    hand.control.close()  # the hosts' own sockets stay open: they do not know
    kit.until_now(hand.ended)

    assert not any(map(kit.alive, hosts))


def test_signals_do_not_end_it(hand, kit):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(hand.pid, number)

    host = hand.fork()

    assert kit.alive(host)
    assert read_entry(host).parent == hand.pid


def test_a_host_does_not_inherit_its_deafness(hand):
    host = hand.fork()
    ignored = next(line for line in Path(f"/proc/{host}/status").read_text().splitlines() if line.startswith("SigIgn"))
    mask = int(ignored.split()[1], 16)

    assert not any(
        mask >> (number - 1) & 1 for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
    )


def test_a_death_is_told_and_other_hosts_stay(hand, kit):
    hosts = [hand.fork(1), hand.fork(2)]
    os.kill(hosts[0], signal.SIGKILL)

    assert hand.hear() == Died(hosts[0], signal.SIGKILL)
    assert kit.alive(hosts[1])


def test_last_words_come_with_the_death(make_hand):
    hand = make_hand(SCRIPT="die")
    assert isinstance(hand.hear(), Ready)
    ours, theirs = socket.socketpair()
    hand.say(Fork(1, "w1.1", bytes(hand.tmp_path / "page")), theirs.fileno())
    theirs.close()
    forked, died = hand.hear(), hand.hear()
    ours.close()

    assert (died.pid, os.waitstatus_to_exitcode(died.status)) == (forked.pid, 1)
    assert died.last_words.splitlines()[-1] == "RuntimeError: the host cannot start today"


def test_an_engine_that_died_before_it_was_up_is_no_engine(make_hand, kit):
    hand = make_hand(engine_pid=1)

    kit.until_now(hand.ended)

    assert hand.status == 0


def test_the_engines_death_is_seen_although_somebody_holds_its_socket(kit, tmp_path):
    """A stray child of the engine keeps the socket open: then only the engine's own death tells."""
    script = """
import os, socket, sys
sys.path[:0] = sys.argv[1:3]
from engine.workers.launch import *
from engine.workers.zygote_protocol import *
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
environ = {**os.environ, "PYTHONPATH": sys.argv[2], "MI4_RUN": "stray-test"}
pid = start_process(python_command("engine.workers.zygote"), environ, {CONTROL_FD: theirs.fileno()})
theirs.close()
ours.send(encode(Configure(os.getpid(), "stray-test", "scripted_host:host_main", b"/", {})))
assert ours.recv(4096)
holder = os.posix_spawn("/bin/sleep", ["sleep", "602"], {}, file_actions=[(os.POSIX_SPAWN_DUP2, ours.fileno(), 9), (os.POSIX_SPAWN_CLOSE, 1)])
print(pid, holder, flush=True)
os.kill(os.getpid(), 9)
"""
    command = [sys.executable, "-c", script, str(package_root()), str(kit.HERE)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    zygote, holder = map(int, done.stdout.split())

    try:
        kit.until_now(lambda: not kit.alive(zygote), "the zygote's end")
        assert kit.alive(holder)
    finally:
        os.kill(holder, signal.SIGKILL)
