"""The host's conversation: order, prefetch, recall, cancel, ping, stop, and the end of the engine."""

from __future__ import annotations

import os
import signal
import struct

import pytest

from engine.workers.protocol import Cancel, Ping, Pong, Recall, Run, Started, Stop


def test_results_come_in_order_and_bunched(host):
    works = [host.work(command=("true",)) for _ in range(40)]
    results = host.run(*works)
    assert [r.key for r in results] == [w.key for w in works]
    assert {r.outcome for r in results} == {"succeeded"}
    assert [r.warm for r in results] == [False] + [True] * 39
    assert len([m for m in host.said if type(m).__name__ == "Results"]) < 40


def test_started_is_left_out_for_the_quick_and_sent_for_the_slow(host, tmp_path):
    quick = host.work(command=("true",))
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    slow = host.sh(f"read x <{gate}")
    host.give(slow)
    host.until(lambda: host.started(slow))
    assert slow.key not in host.results
    gate.write_text("go\n")
    assert host.result(slow).outcome == "succeeded"
    names = [type(m).__name__ for m in host.said]
    assert names.index("Started") < names.index("Results")
    host.one(quick)
    assert len(host.heard(Started)) <= 2


def test_finished_results_do_not_wait_for_a_slow_neighbour(host):
    quick, slow = host.work(command=("true",)), host.sh("sleep 60")
    host.give(quick, slow)
    host.result(quick)
    assert slow.key not in host.results


def test_recall_gives_back_what_has_not_begun(host, tmp_path):
    running = host.sh("sleep 60")
    waiting = [host.sh(f"touch {tmp_path}/ran{n}") for n in range(3)]
    host.give(running, *waiting)
    host.until(lambda: host.started(running))
    host.send(Recall((running.key, waiting[0].key, waiting[2].key, 999)))
    host.until(host.recalled)
    assert host.recalled()[0].keys == (waiting[0].key, waiting[2].key)
    host.send(Cancel(running.key, force=True))
    assert host.result(waiting[1]).outcome == "succeeded"
    assert [file.name for file in tmp_path.glob("ran*")] == ["ran1"]


def test_a_recall_in_the_same_breath_comes_before_every_start(host, tmp_path):
    works = [host.sh(f"touch {tmp_path}/ran{n}") for n in range(5)]
    host.send(Run(tuple(works)), Recall(tuple(w.key for w in works)))
    host.until(host.recalled)
    assert host.recalled()[0].keys == tuple(w.key for w in works)
    assert host.one(host.sh("true")).outcome == "succeeded"
    assert not list(tmp_path.glob("ran*"))


def test_the_page_tells_what_has_begun(host):
    running, waiting = host.sh("sleep 60"), host.sh("true")
    host.give(running, waiting)
    host.until(lambda: host.started(running))
    assert host.lease() == running.lease


def test_cancel_of_what_waits_is_a_result(host, tmp_path):
    running, waiting = host.sh("sleep 60"), host.sh(f"touch {tmp_path}/ran")
    host.give(running, waiting)
    host.until(lambda: host.started(running))
    host.send(Cancel(waiting.key), Cancel(running.key))
    assert host.result(running).outcome == "cancelled"
    assert host.result(waiting).outcome == "cancelled"
    assert not (tmp_path / "ran").exists()


def test_a_result_that_came_before_the_cancel_wins(host, tmp_path, until):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    work = host.sh(f"read x <{gate}; echo done")
    host.give(work)
    host.until(lambda: host.started(work))
    os.kill(host.pid, signal.SIGSTOP)  # the exit and the cancel reach it together
    gate.write_text("go\n")
    until(lambda: not host.marked(), "the task did not end")
    host.send(Cancel(work.key))
    os.kill(host.pid, signal.SIGCONT)
    assert (host.result(work).outcome, host.result(work).output) == ("succeeded", b"done\n")


def test_ping_is_answered_while_a_task_runs(host):
    running = host.sh("sleep 60")
    host.give(running)
    host.until(lambda: host.started(running))
    host.send(Ping(7))
    host.until(lambda: host.heard(Pong))
    pong = host.heard(Pong)[0]
    assert pong.token == 7
    assert 5_000_000 < pong.rss < 500_000_000


def test_stop_lets_the_work_end_first(host):
    works = [host.sh("echo a"), host.sh("echo b")]
    host.send(Run(tuple(works)), Stop())
    assert [host.result(w).output for w in works] == [b"a\n", b"b\n"]
    assert host.process.wait(30) == 0


def test_forced_stop_ends_what_runs_and_starts_nothing(host, tmp_path):
    running, waiting = host.sh("trap '' TERM; sleep 60"), host.sh(f"touch {tmp_path}/ran")
    host.give(running, waiting)
    host.until(lambda: host.started(running))
    host.send(Stop(force=True))
    assert host.result(running).outcome == "cancelled"
    assert host.process.wait(30) == 0
    assert not (tmp_path / "ran").exists()


SHAPES = {
    "plain": "sleep 301",
    "background": "sleep 302 & sleep 302",
    "own session": "setsid sleep 303 & sleep 303",
    "double fork": "(setsid sh -c 'sleep 304 & sleep 304 &' &); sleep 304",
    "deaf": "trap '' TERM; sleep 305 & wait; sleep 305",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_end_of_the_engine_ends_everything(host, until, shape):
    work = host.sh(SHAPES[shape])
    host.give(work, host.sh("sleep 60"))
    host.until(lambda: host.started(work))
    assert host.marked()
    assert host.leave() == 0
    until(lambda: not host.marked(), "something was left")


def test_no_prefetched_task_starts_after_the_end_of_the_engine(start_host, tmp_path, until):
    host = start_host(grace_seconds=0.3)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    works = [host.sh(f"read x <{gate}"), *(host.sh(f"touch {tmp_path}/ran{n}") for n in range(50))]
    host.give(*works)
    host.until(lambda: host.started(works[0]))
    os.kill(host.pid, signal.SIGSTOP)  # both news reach it together
    with gate.open("w") as file:
        file.write("go\n")
    host.sock.close()
    os.kill(host.pid, signal.SIGCONT)
    assert host.process.wait(30) == 0
    assert not list(tmp_path.glob("ran*"))


def test_term_ends_the_task_too(host, until):
    work = host.sh("sleep 60")
    host.give(work)
    host.until(lambda: host.started(work))
    os.kill(host.pid, signal.SIGTERM)
    assert host.process.wait(30) == 0
    until(lambda: not host.marked())


@pytest.mark.parametrize(
    "garbage", [struct.pack(">I", 5) + b"\xc1abcd", b"\xff\xff\xff\xff", struct.pack(">I", 1) + b"\x01"]
)
def test_a_frame_that_makes_no_sense_ends_task_and_host(host, until, garbage):
    work = host.sh("sleep 60")
    host.give(work)
    host.until(lambda: host.started(work))
    host.sock.sendall(garbage)
    assert host.process.wait(30) == 70
    assert b"frame" in host.process.stderr.read()
    until(lambda: not host.marked())


def test_an_engine_that_does_not_read_is_waited_for_without_loss(host, until):
    works = [host.sh("head -c 8000 /dev/zero | tr '\\0' x") for _ in range(150)]
    host.give(*works)  # about 1.2 MB of results for a socket that holds less
    until(lambda: host.lease() == works[-1].lease, "the host waited for the engine")
    assert [len(host.result(work).output) for work in works] == [8000] * 150
