"""``mi4-tui run``: headless by real command lines, and the way to the app without the app."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import SettingsError
from mi4_tui.verbs import run as verb
from mi4_tui.verbs.options import Place
from mi4_tui.verbs.run import Mode, build_request, open_app

PROGRAM = str(Path(sys.executable).with_name("mi4-tui"))


def command(*arguments, **more):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=False, timeout=60, **more)


def records(text):
    return [json.loads(line) for line in text.splitlines()]


# How it is shown


@pytest.mark.parametrize(
    ("mode", "terminal", "app"),
    [
        (Mode(), True, True),
        (Mode(), False, False),
        (Mode(no_ui=True), True, False),
        (Mode(as_json=True), True, False),
        (Mode(dry_run=True), True, False),
    ],
)
def test_the_app_opens_on_a_terminal_alone(mode, terminal, app):
    assert mode.wants_app(terminal=terminal) is app


def test_options_become_a_request(folder):
    options = {
        "files": ("a.json",), "max_agents": "4", "agent": "simulated", "report": "r.json", "state_dir": "state",
        "config": "c.toml", "assignments": ("ui.ascii=true",), "no_cache": True, "rerun": True, "fail_fast": True,
        "on_interrupted": "requeue",
    }  # fmt: skip
    request = build_request(options)
    assert (request.folder, request.cwd) == (str(folder / "state"), str(folder))
    assert request.files == ("a.json",)
    assert (request.agent, request.report, request.config_file) == ("simulated", "r.json", "c.toml")
    assert request.rerun
    assert request.fail_fast
    assert request.overrides == {
        "orchestration.max_agents": "4",
        "ui.ascii": "true",
        "codex.enable_caching": False,
        "orchestration.on_interrupted": "requeue",
    }


# Headless, as a user would


def test_a_run_and_the_same_run_again(folder, write):
    name = write(("a", "echo hi"), ("b", "true"))
    first = command(name, "--json", cwd=folder)
    assert first.returncode == 0
    assert records(first.stdout)[-1]["succeeded"] == 2
    again = command(name, "--json", cwd=folder)
    assert again.returncode == 0
    last = records(again.stdout)[-1]
    assert (last["event"], last["already_done"], last["succeeded"]) == ("run_finished", 2, 0)
    done = {line["task_id"] for line in records(again.stdout) if line["event"] == "task_already_done"}
    assert done == {"a", "b"}


def test_a_cached_task_is_said_to_be_cached(folder, write):
    name = write({"id": "a", "kind": "shell", "command": ["echo", "hi"], "cache": True})
    command(name, "--json", cwd=folder)
    again = records(command(name, "--json", "--rerun", cwd=folder).stdout)
    (finished,) = (line for line in again if line["event"] == "task_finished")
    assert finished["cached"]
    assert (again[-1]["succeeded"], again[-1]["cached"]) == (1, 1)
    uncached = records(command(name, "--json", "--rerun", "--no-cache", cwd=folder).stdout)
    assert uncached[-1]["cached"] == 0


def test_tasks_json_needs_no_name(folder, write):
    write(("a", "true"))
    ran = command(cwd=folder)
    assert ran.returncode == 0
    assert "not on a terminal" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 65, "name a task file"),
        (["missing.yaml"], 65, "missing.yaml: no such file"),
        (["empty.json"], 65, "is empty"),
        (["kind.json"], 65, "unheard"),
        (["callable.json"], 65, "callable"),
        (["command.json"], 65, "command"),
        (["agent.json"], 69, "simulated"),
        (["good.json", "-j", "0"], 64, "orchestration.max_agents"),
        (["good.json", "--on-interrupted", "what"], 64, "--on-interrupted"),
        (["good.json", "--state-dir", "/proc/nothing"], 73, "/proc/nothing"),
        (["good.json", "--report", "no/such/r.json"], 64, "--report"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_left_behind(folder, arguments, code, words):
    files = {
        "empty.json": "",
        "kind.json": '[{"id": "a", "kind": "unheard"}]',
        "callable.json": '[{"id": "a", "kind": "python"}]',
        "command.json": '[{"id": "a", "kind": "shell"}]',
        "agent.json": '[{"id": "a", "description": "do it"}]',
        "good.json": '[{"id": "a", "kind": "shell", "command": ["true"]}]',
    }
    for name, content in files.items():
        (folder / name).write_text(content)
    ran = command(*arguments, cwd=folder, env={"PATH": "/nowhere", "HOME": str(folder)})
    assert (ran.returncode, ran.stdout) == (code, "")
    assert words in ran.stderr
    lines = [line for line in ran.stderr.splitlines() if "not on a terminal" not in line]
    assert len(lines) == 1
    assert lines[0].startswith("mi4-tui: ")
    assert {path.name for path in folder.iterdir()} <= {*files, ".mi4"}


def test_a_second_engine_is_refused(folder, write, engine):
    started = engine(write(("a", "sleep 5")))
    refused = command("tasks.json", "--no-ui", cwd=folder)
    assert refused.returncode == 75
    assert str(started.process.pid) in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


# Signals


def start(folder, *arguments, until="task_started"):
    """A run, once that event has come."""
    run = subprocess.Popen(
        [PROGRAM, *arguments, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder
    )
    for line in run.stdout:
        if f'"event":"{until}"' in line:
            return run
    raise AssertionError(run.stderr.read())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_one_signal_drains(folder, write, number, code):
    run = start(folder, write(*((f"t{n}", "sleep 0.4") for n in range(4))), "-j", "1")
    run.send_signal(number)
    out, err = run.communicate(timeout=60)
    assert run.returncode == code
    assert records(out)[-1]["succeeded"] == 1
    assert "finishing what runs" in err


def test_two_signals_cancel(folder, write):
    run = start(folder, write(("long", "sleep 60"), ("next", "true")), "-j", "1")
    run.send_signal(signal.SIGINT)
    assert "finishing" in run.stderr.readline() + run.stderr.readline()
    run.send_signal(signal.SIGINT)
    out, _ = run.communicate(timeout=60)
    assert run.returncode == 130
    assert records(out)[-1]["cancelled"] == 1


def test_three_signals_leave_at_once(folder, write):
    run = start(folder, write(("stubborn", "trap '' TERM; while :; do sleep 0.1; done")))
    for words in ("finishing", "cancelling"):
        run.send_signal(signal.SIGINT)
        while words not in (line := run.stderr.readline()):
            assert line
    run.send_signal(signal.SIGINT)
    out, _ = run.communicate(timeout=30)
    assert run.returncode == 130
    assert "run_finished" not in out


def test_nohup_is_respected(folder, write):
    name = write(("a", "sleep 0.5"))
    run = subprocess.Popen(
        ["/bin/sh", "-c", f"trap '' HUP; exec {PROGRAM} {name} --json"], stdout=subprocess.PIPE, text=True, cwd=folder
    )
    with run:
        while "task_started" not in (line := run.stdout.readline()):
            assert line
        run.send_signal(signal.SIGHUP)
        assert records(run.stdout.read())[-1]["succeeded"] == 1
    assert run.returncode == 0


# The way to the app


@pytest.fixture
def shown(monkeypatch):
    """The app is replaced by this list of the requests that it would show."""
    requests = []
    monkeypatch.setattr(verb, "run_attached", lambda request: requests.append(request) or 0)
    return requests


def ended(mi4):
    stopped = mi4("stop", "--now")
    assert stopped.code == 0, stopped.err


def test_an_engine_works_in_the_background_when_the_app_opens(mi4, write, shown, eventually):
    name = write(("a", "true"))
    assert open_app(Place(".mi4").request(files=(name,))) == 0
    assert len(shown) == 1
    told = mi4("status", "--json").json
    assert told["live"]
    assert told["run"]["pid"] != os.getpid()
    eventually(lambda: mi4("status", "--json").json["counts"].get("succeeded") == 1)
    ended(mi4)


def test_files_go_to_the_engine_that_works_here_already(mi4, write, shown, engine, eventually, capfd):
    engine(write(("a", "true")))
    more = write(("b", "true"), {"id": "c", "description": "x", "agent_options": {"seconds": 0.01}}, name="more.json")
    overrides = {"orchestration.max_agents": "5", "ui.ascii": "true"}
    assert open_app(Place(".mi4").request(files=(more,), agent="simulated", overrides=overrides)) == 0
    assert "do not change it" in capfd.readouterr().err
    assert len(shown) == 1
    eventually(lambda: mi4("status", "--json").json["counts"].get("succeeded") == 3)


def test_tasks_json_is_not_added_again_by_merely_looking(mi4, write, shown, engine, eventually):
    engine(write(("a", "exit 1")))
    eventually(lambda: mi4("status", "--json").json["counts"].get("failed"))
    assert open_app(Place(".mi4").request()) == 0
    (row,) = mi4("status", "--json").json["tasks"]
    assert (row["state"], row.get("generation", 1)) == ("failed", 1)


def test_what_is_wrong_is_known_before_the_screen_is_taken(folder, write, shown):
    with pytest.raises(SettingsError):
        open_app(Place(".mi4").request(files=(write(("a", "true")),), overrides={"orchestration.max_agents": "x"}))
    assert shown == []
