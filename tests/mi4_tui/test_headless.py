"""The run without the app: which reporter, the bar, and what becomes of stdout."""

import io
import json
import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from engine.events.events import RunFinished, TaskFinished
from engine.events.projection import Projection
from engine.testing import FakeClock
from mi4_tui.headless import BarReporter, Pace, progress_words, run_headless, say_plan
from mi4_tui.verbs.options import Place

PROGRAM = str(Path(sys.executable).with_name("mi4-tui"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tasks = [
        {"id": "a", "kind": "shell", "command": ["echo", "hi"]},
        {"id": "b", "kind": "shell", "shell": True, "command": "echo 'last words'; exit 3", "dependencies": ["a"]},
    ]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    return tmp_path


def request():
    return Place(".mi4").request(files=("tasks.json",))


# Lines, JSON


def test_lines_with_results_and_progress_apart(folder, capfd):
    assert run_headless(request(), as_json=False, quiet=False, verbose=False, implied=True) == 1
    out, err = capfd.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == ["succeeded", "failed", "1"]
    assert err.splitlines()[0] == "mi4-tui: not on a terminal, so running without the app, as with --no-ui"
    assert "  b | last words" in err


def test_what_was_asked_for_is_not_explained(folder, capfd):
    run_headless(request(), as_json=False, quiet=False, verbose=False)
    assert "without the app" not in capfd.readouterr().err


def test_json_on_stdout_and_nothing_else(folder, capfd):
    assert run_headless(request(), as_json=True, quiet=False, verbose=False) == 1
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert lines[-1]["event"] == "run_finished"
    assert (lines[-1]["succeeded"], lines[-1]["failed"]) == (1, 1)


def test_verbose_prints_all_output(folder, capfd):
    run_headless(request(), as_json=False, quiet=False, verbose=True)
    err = capfd.readouterr().err
    assert "a | hi" in err
    assert "b | last words" in err


def test_a_plan(folder, capsys):
    assert say_plan(request(), as_json=True) == 0
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == ["a", "b"]


# The bar


def test_the_pace_is_a_guess_and_marked_as_one():
    clock = FakeClock()
    pace = Pace(clock)
    assert pace.look(0, 100) == ""
    clock.advance(1)
    assert pace.look(50, 100) == "", "too early to tell"
    clock.advance(4)
    assert pace.look(20, 100) == "4.0/s  ETA ~20.0 s"
    assert pace.look(100, 100) == "20.0/s"


def test_slow_work_is_counted_by_the_minute():
    clock = FakeClock()
    pace = Pace(clock)
    pace.look(3, 10)
    clock.advance(60)
    assert pace.look(5, 10) == "2.0/min  ETA ~2 min 30 s"


def test_the_words_beside_the_bar():
    counts = {
        "total": 10,
        "succeeded": 3,
        "failed": 1,
        "timed_out": 1,
        "skipped": 1,
        "running": 2,
        "leased": 1,
        "queued": 1,
    }
    assert progress_words(counts, Pace(FakeClock())) == (6, 10, "6/10  3 running  2 failed")
    assert progress_words({}, Pace(FakeClock())) == (0, 0, "0/0  0 running")


def test_results_stand_above_the_bar_and_markup_is_text():
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80)
    results = []
    with BarReporter(results.append, same_terminal=False, console=console, clock=FakeClock()) as bar:
        bar.begins(Projection())
        bar.note("hello")
        bar.saw([TaskFinished(task_id="[red]x[/red]", key=1, state="succeeded")])
        bar.ends(RunFinished(succeeded=1))
    assert results == ["succeeded  [red]x[/red]  0.00 s", "1 succeeded; 0.00 s"]
    assert "hello" in screen.getvalue()


def test_on_one_terminal_everything_goes_through_the_console():
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80)
    with BarReporter(pytest.fail, console=console, clock=FakeClock()) as bar:
        bar.saw([TaskFinished(task_id="[red]x[/red]", key=1, state="succeeded")])
        bar.ends(RunFinished(succeeded=1))
    assert "[red]x[/red]" in screen.getvalue()
    assert "1 succeeded" in screen.getvalue()


def read_all(descriptor):
    """Everything until the other side of the terminal is closed."""
    chunks = []
    while select.select([descriptor], [], [], 60)[0]:
        try:
            chunk = os.read(descriptor, 65536)
        except OSError:
            break
        if not chunk:
            break
        chunks.append(chunk)
    return b"".join(chunks).decode(errors="replace")


def test_a_bar_on_a_terminal_and_results_in_the_file(folder):
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with Path("out.txt").open("w") as out:
        run = subprocess.Popen(
            [PROGRAM, "tasks.json", "--no-ui"], stdout=out, stderr=theirs, stdin=subprocess.DEVNULL, env=environment
        )
    os.close(theirs)
    shown = read_all(ours)
    os.close(ours)
    assert run.wait() == 1
    assert "\x1b[?25l" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "the cursor stays hidden"
    assert Path("out.txt").read_text().splitlines()[-1].startswith("1 succeeded, 1 failed")


def test_a_terminal_that_vanishes_does_not_stop_the_run(folder):
    ours, theirs = pty.openpty()
    Path("tasks.json").write_text(
        json.dumps([{"id": "a", "kind": "shell", "shell": True, "command": "sleep 1; touch done"}])
    )
    run = subprocess.Popen([PROGRAM, "tasks.json", "--no-ui"], stdout=theirs, stderr=theirs, stdin=theirs)
    os.close(theirs)
    os.read(ours, 1)
    os.close(ours)
    assert run.wait(60) == 0
    assert Path("done").exists()
