"""The handle on a host: frames in and out, and its end, over a socket pair without a process."""

from __future__ import annotations

import asyncio
import socket

import pytest

from engine.errors import ProtocolError
from engine.workers.process import WorkerProcess
from engine.workers.protocol import FrameSplitter, Hello, Ping, Pong, Run, Stop, Work, decode_to_host, encode


class Owner:
    def __init__(self):
        self.said, self.broke, self.ended = [], [], []

    def process_said(self, process, message):
        self.said.append(message)

    def process_broke(self, process, reason):
        self.broke.append(reason)

    def process_ended(self, process):
        self.ended.append((process.host_id, list(self.said)))


@pytest.fixture
async def pair():
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    owner = Owner()
    process = WorkerProcess("w1.1", ours, owner, asyncio.get_running_loop())
    yield process, theirs, owner
    process.close()
    theirs.close()


def frames(sock: socket.socket, splitter: FrameSplitter) -> list:
    try:
        return [decode_to_host(body) for body in splitter.feed(sock.recv(1 << 20))]
    except BlockingIOError:
        return []


async def test_frames_come_in_whatever_pieces(pair, kit):
    _, theirs, owner = pair
    data = encode(Hello(1, 42)) + encode(Pong(7, 8))

    for byte in range(len(data)):
        theirs.send(data[byte : byte + 1])
        await asyncio.sleep(0)
    await kit.until(lambda: len(owner.said) == 2)

    assert owner.said == [Hello(1, 42), Pong(7, 8)]


async def test_what_the_host_does_not_take_yet_is_sent_later_and_in_order(pair, kit):
    process, theirs, _ = pair
    big = Work(key=1, attempt=1, lease=1, task_id="t", kind="shell", stdin="x" * 3_000_000)
    process.send(Ping(1))
    process.send(Run((big,)))
    process.send(Ping(2))
    splitter, got = FrameSplitter(), []

    def more():
        got.extend(frames(theirs, splitter))
        return len(got) == 3

    await kit.until(more)

    assert got == [Ping(1), Run((big,)), Ping(2)]


async def test_an_unsendable_frame_raises_and_sends_nothing(pair):
    process, theirs, _ = pair
    with pytest.raises(ProtocolError):
        process.send(Run((Work(key=1, attempt=1, lease=1, task_id="t", kind="shell", args=(object(),)),)))

    assert frames(theirs, FrameSplitter()) == []


async def test_the_end_comes_after_all_that_was_sent(pair):
    process, theirs, owner = pair
    theirs.send(encode(Pong(1)) + encode(Pong(2)))

    process.finish(9, "some words")

    assert owner.ended == [("w1.1", [Pong(1), Pong(2)])]
    assert (process.ending, process.last_words) == ("killed by signal 9 (Killed)", "some words")


async def test_the_end_is_told_once_and_does_not_wait_for_the_end_of_the_connection(pair):
    process, theirs, owner = pair
    copy = theirs.dup()  # as a task that was forked with the host's socket would hold it

    process.finish(256)
    process.finish(0)

    assert len(owner.ended) == 1
    assert process.ending == "exited with 1"
    copy.close()


async def test_the_end_of_the_connection_is_not_yet_the_end(pair, kit):
    process, theirs, owner = pair
    theirs.send(encode(Pong(1)))
    theirs.shutdown(socket.SHUT_RDWR)

    await kit.until(lambda: owner.broke)

    assert (owner.said, owner.broke, owner.ended) == ([Pong(1)], [""], [])
    process.send(Stop())


async def test_nonsense_is_told_with_what_it_was(pair, kit):
    _, theirs, owner = pair
    theirs.send(b"\xff\xff\xff\xff" + encode(Pong(1)))

    await kit.until(lambda: owner.broke)

    assert "over the limit" in owner.broke[0]
    assert owner.said == []


async def test_nonsense_at_the_very_end_does_not_hide_the_end(pair):
    process, theirs, owner = pair
    theirs.send(encode(Pong(1)) + b"\x00\x00\x00\x01\xc1")

    process.finish(0)

    assert owner.ended == [("w1.1", [Pong(1)])]
    assert owner.broke == []


async def test_closing_is_seen_by_the_host_although_others_hold_our_end(pair):
    process, theirs, _ = pair
    copy = process._sock.dup()

    process.close()
    process.close()

    assert theirs.recv(10) == b""
    copy.close()


async def test_it_describes_itself(pair):
    process, _, _ = pair
    process.pid = 77
    assert repr(process) == "<WorkerProcess w1.1 pid=77 alive>"
    assert process.ending == "still runs"
    process.finish(None)
    assert (repr(process), process.ending) == ("<WorkerProcess w1.1 pid=77 ended>", "ended unseen")
