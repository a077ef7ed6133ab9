"""``mi4-tui logs``."""

import threading


def test_what_was_printed(mi4, write):
    mi4("run", write(("small", "echo one; echo two >&2"), ("large", "seq 1 9000"), ("silent", "true")), "--no-ui", "-q")
    assert mi4("logs", "small").out == "one\ntwo\n"
    assert mi4("logs", "large").lines == [str(number) for number in range(1, 9001)]
    silent = mi4("logs", "silent")
    assert (silent.code, silent.out) == (0, "")


def test_hostile_output_is_harmless(mi4, write):
    mi4("run", write(("a", r"printf '\033]0;owned\007\033[2Jtext\n'")), "--no-ui", "-q")
    shown = mi4("logs", "a").out
    assert "text" in shown
    assert "\x1b" not in shown


def test_earlier_attempts(mi4, write):
    flaky = {
        "id": "a", "kind": "shell", "shell": True, "max_retries": 1,
        "command": "if [ -e ok ]; then echo second; else touch ok; echo first; exit 1; fi",
    }  # fmt: skip
    assert mi4("run", write(flaky), "--no-ui", "-q").code == 0
    assert mi4("logs", "a").out == "second\n"
    assert mi4("logs", "a", "--attempt", "1").out == "first\n"


def test_an_unknown_task(mi4, write):
    mi4("run", write(("a", "true")), "--no-ui", "-q")
    assert mi4("logs", "zzz").code == 1


def test_following_small_output(mi4, write, engine, eventually):
    engine(write(("a", "for i in 1 2 3 4 5 6; do echo line $i; sleep 0.3; done")))
    eventually(lambda: mi4("status", "--json").json["counts"].get("running"))
    followed = mi4("logs", "-f", "a")
    assert followed.lines == [f"line {number}" for number in range(1, 7)]


def test_following_large_output(mi4, write, engine, eventually):
    engine(write(("a", "seq 1 3000; sleep 0.7; seq 3001 6000")))
    eventually(lambda: mi4("status", "--json").json["counts"].get("running"))
    lines = mi4("logs", "-f", "a").lines
    assert lines[-1] == "6000"
    assert len(lines) == len(set(lines))


def test_following_what_has_ended_just_prints(mi4, write):
    mi4("run", write(("a", "echo done")), "--no-ui", "-q")
    assert mi4("logs", "-f", "a").out == "done\n"


def test_following_ends_with_the_engine(mi4, write, engine, eventually):
    started = engine(write(("a", "echo begun; sleep 60")))
    eventually(lambda: mi4("status", "--json").json["counts"].get("running"))
    threading.Timer(1.0, started.process.kill).start()
    assert mi4("logs", "-f", "a").code in (0, 1)
