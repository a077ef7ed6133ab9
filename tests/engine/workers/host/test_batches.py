"""Calls that the warm child is given in one go: each is as if it were alone."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from engine.workers.protocol import Cancel, Recall

JOBS = """
import ctypes, os, signal, subprocess, sys, threading, time

def pid(): return os.getpid()
def note_slowly(path): note(path); time.sleep(0.001)
def note(path): open(path, "a").write("x"); return path
def wait(path):
    with open(path) as file: file.read()
    return os.getpid()
def stop_host_and_wait(path): os.kill(os.getppid(), signal.SIGSTOP); wait(path)
def crash(): os.kill(os.getpid(), signal.SIGKILL)
def say(text): print(text); return text
def say_fd(text): os.write(1, text.encode()); return text
def say_and_crash(text): os.write(1, text.encode()); crash()
def say_err(text): os.write(2, text.encode()); return text
def say_c(text): ctypes.CDLL(None).puts(text.encode()); return text
def say_child(text): subprocess.run(["printf", text]); return text
def much(n): sys.stdout.write("y" * n); return n
def quiet(): return None
def sleep(seconds): time.sleep(seconds); return seconds
def shout_and_sleep(text, seconds): print(text, flush=True); time.sleep(seconds); return text
def babble():
    for n in range(3, 1024):
        try: os.write(n, b'\\xff' * 100)
        except OSError: pass
def babble_much(n): babble(); return big(n)
def sleep_and_shout(text, seconds): time.sleep(seconds); sys.stdout.write(text)
def fail(): raise ValueError("bad luck")
def big(n): return "z" * n
def thread(): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
def mess(): os.environ["X"] = "left"; os.chdir("/"); signal.signal(signal.SIGWINCH, lambda *a: None); sys.path[:] = []
def look(): return [os.environ.get("X"), os.getcwd(), signal.getsignal(signal.SIGWINCH) == signal.SIG_DFL, len(sys.path) > 2]
def lease(path):
    import mmap
    with open(path, "rb") as file: return int.from_bytes(file.read(56)[48:], sys.byteorder)
"""


@pytest.fixture
def calls(host, project):
    """Make works of the module's functions: ``calls(("say", "a"), "pid")``."""
    folder = project(jobs=JOBS)

    def make(*wanted, **fields):
        named = [(w,) if isinstance(w, str) else w for w in wanted]
        return [host.call(f"jobs:{name}", *args, cwd=folder, **fields) for name, *args in named]

    make.folder = folder
    return make


@pytest.fixture
def gate(tmp_path):
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


def test_one_child_makes_them_in_order(host, calls):
    before = time.time()
    results = host.run(*calls(*["pid"] * 100))
    assert len({r.value for r in results}) == 1
    assert [r.outcome for r in results] == ["succeeded"] * 100
    assert [r.warm for r in results] == [False] + [True] * 99
    assert all(before - 5 < r.started_at < time.time() + 5 for r in results)
    assert all(0 <= r.duration < 5 for r in results)


def test_output_belongs_to_its_call(host, calls):
    wanted, expected = [], []
    for n in range(12):
        wanted += [("say", f"a{n}"), "quiet", ("say_fd", f"b{n}"), ("say_err", f"c{n}"), ("say_c", f"d{n}")]
        expected += [f"a{n}\n", "", f"b{n}", f"c{n}", f"d{n}\n"]
    wanted.insert(7, ("say_child", "child"))
    expected.insert(7, "child")
    assert [r.output.decode() for r in host.run(*calls(*wanted))] == expected


def test_output_of_slow_and_loud_calls_in_a_batch(host, calls):
    wanted = [("say", "first"), ("shout_and_sleep", "slow", 0.1), ("say_fd", "third"), "quiet", ("much", 40_000),
              ("say", "sixth"), ("much", 300_000), "quiet", ("sleep", 0.05), ("say_fd", "tenth"), ("say_fd", "last")]  # fmt: skip
    results = host.run(*calls(*wanted))
    assert [r.summary.bytes for r in results] == [6, 5, 5, 0, 40_000, 6, 300_000, 0, 0, 5, 4]
    assert [results[n].output for n in (0, 1, 2, 5, 9, 10)] == [
        b"first\n",
        b"slow\n",
        b"third",
        b"sixth\n",
        b"tenth",
        b"last",
    ]


def test_a_crash_keeps_what_was_done_and_spares_what_was_not(host, calls, tmp_path):
    notes = [("note", str(tmp_path / f"n{n}")) for n in range(6)]
    works = calls("pid", *notes[:3], ("say", "kept"), "crash", *notes[3:], "pid")
    results = host.run(*works)
    assert [r.outcome for r in results] == ["succeeded"] * 5 + ["failed"] + ["succeeded"] * 4
    assert results[5].exit_code == 137
    assert results[4].output == b"kept\n"
    assert results[0].value != results[-1].value
    assert [(tmp_path / f"n{n}").read_text() for n in range(6)] == ["x"] * 6


def test_a_recall_takes_back_what_the_child_has_not_begun(host, calls, gate, tmp_path):
    notes = [("note", str(tmp_path / f"n{n}")) for n in range(5)]
    works = calls("pid", ("wait", str(gate)), *notes)
    host.give(*works)
    host.until(lambda: host.started(works[1]))
    assert host.lease() == works[1].lease
    host.send(Recall(tuple(w.key for w in works)))
    host.until(host.recalled)
    assert host.recalled()[0].keys == tuple(w.key for w in works[2:])
    gate.write_text("")
    assert host.result(works[1]).outcome == "succeeded"
    assert host.lease() == works[1].lease
    assert host.one(*calls("pid")).value == host.results[works[0].key].value
    assert not list(tmp_path.glob("n?"))


def test_a_recall_of_some_leaves_the_others(host, calls, gate, tmp_path):
    works = calls(("wait", str(gate)), *[("note", str(tmp_path / f"n{n}")) for n in range(5)])
    host.give(*works)
    host.until(lambda: host.started(works[0]))
    host.send(Recall((works[2].key, works[4].key)))
    host.until(host.recalled)
    gate.write_text("")
    for n in (0, 1, 3, 5):
        assert host.result(works[n]).outcome == "succeeded"
    assert sorted(file.name for file in tmp_path.glob("n?")) == ["n0", "n2", "n4"]


def test_a_recall_while_a_batch_runs_is_exact(host, calls, tmp_path, until):
    begun_some = 0
    for turn in range(10):
        works = calls(*[("note_slowly", str(tmp_path / f"{turn}-{n}")) for n in range(32)])
        host.give(*works)
        until(lambda works=works, turn=turn: host.lease() >= works[turn].lease)
        host.send(Recall(tuple(w.key for w in works)))
        host.until(lambda turn=turn: len(host.recalled()) > turn)
        back = set(host.recalled()[turn].keys)
        last = host.one(*calls("pid"))
        assert last.outcome == "succeeded"
        for n, work in enumerate(works):
            if work.key not in back:
                assert host.result(work).outcome == "succeeded"
            assert (tmp_path / f"{turn}-{n}").exists() == (work.key not in back)
        begun_some += bool(back)
    assert begun_some, "no recall came in time to be of any use"


def test_a_cancel_in_a_batch_hits_only_its_call(host, calls, gate, tmp_path):
    works = calls("pid", ("sleep", 60), ("note", str(tmp_path / "a")), ("note", str(tmp_path / "b")))
    host.give(*works)
    host.until(lambda: host.started(works[1]))
    host.send(Cancel(works[2].key), Cancel(works[1].key))
    assert [host.result(w).outcome for w in works] == ["succeeded", "cancelled", "cancelled", "succeeded"]
    assert not (tmp_path / "a").exists()


def test_a_timeout_in_a_batch_ends_the_right_call(host, calls):
    works = [
        *calls("pid", "pid", timeout=20),
        *calls(("shout_and_sleep", "slow", 60), timeout=0.3),
        *calls(("say", "next"), "pid", timeout=20),
    ]
    results = host.run(*works)
    assert [r.outcome for r in results] == ["succeeded"] * 2 + ["timed_out"] + ["succeeded"] * 2
    assert (results[2].output, results[3].output) == (b"slow\n", b"next\n")


def test_results_do_not_wait_for_a_slow_call_of_the_batch(host, calls):
    works = calls("pid", ("say", "quick"), ("sleep", 60), "pid")
    host.give(*works)
    assert host.result(works[1]).output == b"quick\n"
    assert works[2].key not in host.results
    host.until(lambda: host.started(works[2]))
    assert not host.started(works[3])


@pytest.mark.parametrize("watched", [True, False])
def test_no_call_of_a_batch_begins_after_the_end_of_the_engine(host, calls, gate, tmp_path, until, watched):
    """Only the child itself can notice: the host stands still. Where the host has looked already, the child waits for it instead."""
    child = host.one(*calls("pid")).value
    first = ("wait", str(gate)) if watched else ("stop_host_and_wait", str(gate))
    works = calls(first, *[("note", str(tmp_path / f"n{n}")) for n in range(20)])
    host.give(*works)
    if watched:
        host.until(lambda: host.started(works[0]))
        os.kill(host.pid, signal.SIGSTOP)
    until(lambda: state(host.pid) == "T")
    host.sock.close()
    with gate.open("w"):
        until(lambda: host.lease() == works[0].lease)
    until(lambda: state(child) == "Z" or in_read(child), "the child goes on")
    assert host.lease() == works[0].lease
    os.kill(host.pid, signal.SIGCONT)
    assert host.process.wait(30) == 0
    assert not list(tmp_path.glob("n?*"))


def state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def in_read(pid):
    """Whether the child waits for a word on its channel, descriptor 500."""
    call = Path(f"/proc/{pid}/syscall").read_text().split()
    return call[0] == "0" and int(call[1], 16) >= 500


def test_the_page_names_each_call_while_it_runs(host, calls):
    works = calls(*[("lease", str(host.page))] * 40)
    assert [r.value for r in host.run(*works)] == [w.lease for w in works]


def test_failures_long_values_and_leftovers_in_a_batch(host, calls):
    works = calls("pid", "fail", ("big", 100_000), ("big", 400_000), "pid", "thread", "pid")
    results = host.run(*works)
    assert [r.outcome for r in results] == ["succeeded", "failed"] + ["succeeded"] * 5
    assert [len(results[n].value) for n in (2, 3)] == [100_000, 400_000]
    assert results[0].value == results[4].value != results[6].value
    assert results[1].error.startswith("ValueError: bad luck")


def test_what_a_call_of_a_batch_changes_is_put_back(host, calls):
    results = host.run(*calls("look", "mess", "look"))
    assert results[2].value == results[0].value == [None, calls.folder, True, True]


@pytest.mark.parametrize("ending", ["sleep", "crash"])
def test_output_that_is_read_before_the_silent_calls_are_answered(host, calls, until, ending):
    """The host watches since the child is late, and the calls before the one that prints end without a word to it."""
    child = host.one(*calls("pid")).value
    os.kill(child, signal.SIGSTOP)
    given = time.monotonic()
    loud = ("shout_and_sleep", "mine", 0.2) if ending == "sleep" else ("say_and_crash", "mine")
    works = calls("quiet", "quiet", loud, "quiet", ("say", "last"))
    host.give(*works)
    until(lambda: time.monotonic() > given + 0.1)
    os.kill(child, signal.SIGCONT)
    outputs = [host.result(work).output.strip() for work in works]
    assert outputs == [b"", b"", b"mine", b"", b"last"]


def test_a_call_that_writes_into_our_channel_takes_no_answer_from_others(host, calls, tmp_path):
    for turn in range(5):
        works = calls(
            *[("note", str(tmp_path / f"{turn}-{n}")) for n in range(8)],
            "babble",
            ("note", str(tmp_path / f"{turn}-8")),
        )
        results = host.run(*works)
        assert [r.outcome for r in results] == ["succeeded"] * 10
        assert [(tmp_path / f"{turn}-{n}").read_text() for n in range(9)] == ["x"] * 9


def test_a_slow_call_behind_one_that_the_host_has_looked_at(host, calls, gate, until):
    """The child is late, so the host looks at the first call; its quick end must be heard all the same."""
    child = host.one(*calls("pid")).value
    os.kill(child, signal.SIGSTOP)
    given = time.monotonic()
    works = calls("quiet", "quiet", ("wait", str(gate)))
    host.give(*works)
    until(lambda: time.monotonic() > given + 0.1)
    os.kill(child, signal.SIGCONT)
    assert [host.result(work).outcome for work in works[:2]] == ["succeeded"] * 2
    host.until(lambda: host.started(works[2]))
    gate.write_text("")
    assert host.result(works[2]).outcome == "succeeded"


def test_a_long_value_behind_nonsense_in_the_channel_fails_its_call(host, calls):
    results = host.run(*calls("pid", ("babble_much", 400_000), "pid"))
    assert [r.outcome for r in results] == ["succeeded", "failed", "succeeded"]
    assert results[0].value != results[2].value


def test_prints_of_calls_that_take_a_while_each(host, calls):
    """The host reads what ended calls printed while the child is in a later one."""
    works = calls(*[("shout_and_sleep", f"line {n}", 0.004) for n in range(32)])
    assert [r.output.decode() for r in host.run(*works)] == [f"line {n}\n" for n in range(32)]
    works = calls(*[("sleep_and_shout", f"{n}" * (n % 5), 0.003) for n in range(32)])
    assert [r.output.decode() for r in host.run(*works)] == [f"{n}" * (n % 5) for n in range(32)]
