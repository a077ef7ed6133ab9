"""Bad input ends in clear lines and the promised exit status, nothing starts, and nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

GOOD = {"id": "good", "kind": "shell", "command": ["touch", "started"]}


def tasks(*records) -> str:
    return json.dumps([GOOD, *records])


FAULTY = {
    "empty": ("", 65, ["backlog.json", "empty"]),
    "not-json": ('[{"id": "a",]', 65, ["backlog.json:1"]),
    "unknown-kind": (tasks({"id": "x", "kind": "shel", "command": ["true"]}), 65, ["x", "shel", "shell"]),
    "missing-command": (tasks({"id": "x", "kind": "shell"}), 65, ["x", "command"]),
    "missing-callable": (tasks({"id": "x", "kind": "python"}), 65, ["x", "callable"]),
    "callable-without-colon": (
        tasks({"id": "x", "kind": "python", "callable": "jobs.f"}),
        65,
        ["x", "module:function"],
    ),
    "unknown-field": (tasks({**GOOD, "id": "x", "dependancies": []}), 65, ["dependancies", "dependencies"]),
    "twice-the-same-id": (tasks(GOOD), 65, ["good"]),
    "unknown-dependency": (tasks({**GOOD, "id": "x", "dependencies": ["nobody"]}), 65, ["nobody"]),
    "cycle": (
        tasks({**GOOD, "id": "a", "dependencies": ["b"]}, {**GOOD, "id": "b", "dependencies": ["a"]}),
        65,
        ["a", "->", "b"],
    ),
    "wrong-type": (tasks({**GOOD, "id": "x", "timeout_seconds": "soon"}), 65, ["timeout_seconds", "soon"]),
    "not-a-number": ('[{"id": "x", "kind": "shell", "command": ["true"], "timeout_seconds": NaN}]', 65, ["NaN"]),
    "deep": ("[" * 100_000, 65, ["backlog.json"]),
}


def assert_clear(done: subprocess.CompletedProcess[str], status: int, fragments: list[str]) -> None:
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr.strip()
    for fragment in fragments:
        assert fragment in done.stderr, done.stderr


@pytest.mark.parametrize("name", FAULTY)
def test_faulty_task_file(program, name: str):
    text, status, fragments = FAULTY[name]
    (program.folder / "backlog.json").write_text(text)

    done = program.run("backlog.json", "--no-ui")

    assert_clear(done, status, fragments)
    assert not (program.folder / "started").exists()


def test_all_faults_of_all_files_are_told_at_once(program):
    (program.folder / "one.json").write_text(tasks({"id": "x", "kind": "shell"}, {"id": "y", "kind": "nothing"}))
    (program.folder / "two.yaml").write_text("- id: z\n  kind: python\n")

    done = program.run("one.json", "two.yaml", "--no-ui")

    assert_clear(done, 65, ["one.json", "two.yaml:1", "x", "y", "z"])
    assert len([line for line in done.stderr.splitlines() if ".json:" in line or ".yaml:" in line]) == 3


def one_line(done: subprocess.CompletedProcess[str]) -> bool:
    return len(done.stderr.strip().splitlines()) == 1


def test_missing_file(program):
    done = program.run("nothing.json", "--no-ui")

    assert_clear(done, 65, ["nothing.json"])
    assert one_line(done)


def test_no_file_and_nothing_to_resume(program):
    done = program.run("--no-ui")

    assert done.returncode in {64, 65}, done.stderr
    assert "tasks.json" in done.stderr
    assert one_line(done)


def test_folder_instead_of_a_file(program):
    (program.folder / "sub").mkdir()

    assert_clear(program.run("sub", "--no-ui"), 65, ["sub"])


def test_fifo_instead_of_a_file(program):
    """Opening it for reading would wait for ever."""
    os.mkfifo(program.folder / "pipe")

    assert_clear(program.run("pipe", "--no-ui"), 65, ["pipe"])


@pytest.mark.parametrize("content", [b"\xff\xfe[\x00]\x00", b'[{"id": "\xe4"}]'], ids=["utf-16", "latin-1"])
def test_file_that_is_not_utf8(program, content: bytes):
    (program.folder / "backlog.json").write_bytes(content)

    assert_clear(program.run("backlog.json", "--no-ui"), 65, ["backlog.json", "UTF-8"])


def test_byte_order_mark_is_no_fault(program):
    (program.folder / "backlog.json").write_bytes(b"\xef\xbb\xbf" + tasks().encode())

    done = program.run("backlog.json", "--no-ui")

    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_state_folder_that_cannot_be_made(program):
    program.write([GOOD])
    program.folder.chmod(0o500)
    try:
        assert_clear(program.run("backlog.json", "--no-ui"), 73, [".mi4"])
    finally:
        program.folder.chmod(0o700)


def test_state_folder_that_is_a_file(program):
    program.write([GOOD])
    program.state.write_text("mine")

    done = program.run("backlog.json", "--no-ui")

    assert_clear(done, 73, [".mi4"])
    assert one_line(done)
    assert program.state.read_text() == "mine"


def test_state_folder_behind_a_link_of_somebody(program, tmp_path: Path):
    program.write([GOOD])
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "state.db").write_text("not ours")
    program.state.mkdir(mode=0o700)
    (program.state / "state.db").symlink_to(tmp_path / "elsewhere" / "state.db")

    done = program.run("backlog.json", "--no-ui")

    assert_clear(done, 73, ["state.db"])
    assert (tmp_path / "elsewhere" / "state.db").read_text() == "not ours"


def test_damaged_database_is_kept_and_named(program):
    program.write([GOOD])
    program.state.mkdir(mode=0o700)
    (program.state / "state.db").write_bytes(b"this is not a database" * 500)

    done = program.run("backlog.json", "--no-ui")

    assert_clear(done, 73, ["state.db.corrupt-"])
    (kept,) = program.state.glob("state.db.corrupt-*")
    assert kept.read_bytes() == b"this is not a database" * 500


def test_second_engine_on_the_folder(program):
    sleeper = program.write([{"id": "s", "kind": "shell", "command": ["sleep", "300"]}])
    run = program.start(sleeper)
    run.until("task_started")

    done = program.run(sleeper, "--no-ui")

    assert_clear(done, 75, [str(run.pid)])
    assert one_line(done)
    assert program.run("stop", "--now").returncode == 0
    assert run.join() == 1


def test_agent_task_without_any_agent(program, tmp_path: Path):
    program.write([{"id": "p", "title": "Fix it", "description": "Fix the bug", "status": "open"}])
    nothing = tmp_path / "bin"
    nothing.mkdir()

    done = program.run("backlog.json", "--no-ui", env={**os.environ, "PATH": str(nothing)})

    assert_clear(done, 69, ["codex", "claude", "simulated"])
    assert one_line(done)


def test_agent_that_is_asked_for_and_missing(program):
    program.write([{"id": "p", "title": "Fix it", "kind": "codex"}])

    assert_clear(program.run("backlog.json", "--no-ui"), 69, ["codex"])


@pytest.mark.parametrize(
    ("arguments", "environment", "fragments"),
    [
        (["-j", "0"], {}, ["max_agents"]),
        (["--set", "orchestration.max_agents=many"], {}, ["orchestration.max_agents", "many"]),
        (["--set", "orchestration.max_agent=2"], {}, ["max_agent"]),
        ([], {"ORCHESTRATION__MAX_AGENTS": "-1"}, ["ORCHESTRATION__MAX_AGENTS"]),
        (["--schedule-by-moon"], {}, ["--schedule-by-moon"]),
        (["--on-interrupted", "maybe"], {}, ["maybe"]),
    ],
    ids=["zero-workers", "wrong-value", "wrong-name", "wrong-variable", "wrong-option", "wrong-choice"],
)
def test_wrong_setting(program, arguments: list[str], environment: dict[str, str], fragments: list[str]):
    program.write([GOOD])

    done = program.run("backlog.json", "--no-ui", *arguments, env={**os.environ, **environment})

    assert_clear(done, 64, fragments)
    assert not (program.folder / "started").exists()


def test_wrong_settings_file(program):
    program.write([GOOD])
    (program.folder / "mi4.toml").write_text("[orchestration]\nmax_agnts = 2\n")

    assert_clear(program.run("backlog.json", "--no-ui"), 64, ["mi4.toml", "max_agnts", "max_agents"])


def test_command_and_callable_that_do_not_exist_fail_alone(program):
    """Nobody knows before the task runs; it fails with the reason and is not tried again, and the rest goes on."""
    records = [
        {"id": "command", "kind": "shell", "command": ["no-such-program"], "max_retries": 3},
        {"id": "module", "kind": "python", "callable": "no_such_module:f", "max_retries": 3},
        {"id": "function", "kind": "python", "callable": "json:no_such_function", "max_retries": 3},
        GOOD,
    ]
    run = program.start(program.write(records))

    assert run.join() == 1
    assert run.states() == {"command": "failed", "module": "failed", "function": "failed", "good": "succeeded"}
    for task_id, reason in {
        "command": "no-such-program",
        "module": "no_such_module",
        "function": "no_such_function",
    }.items():
        (finished,) = run.named("task_finished", task_id)
        assert reason in finished["error"]
        assert (finished["attempt"], finished["cause"]) == (1, "start_failed")
        assert "\n" not in finished["error"]


def test_verbs_on_tasks_that_do_not_exist(program):
    assert program.start(program.write([GOOD])).join() == 0

    for verb in ("logs", "explain", "cancel", "retry", "hold", "prio"):
        done = program.run(verb, "nobody", *(["+10"] if verb == "prio" else []))
        assert_clear(done, 1, ["nobody"])
        assert one_line(done), verb


@pytest.mark.parametrize(
    ("verb", "status", "fragment"),
    [("stop", 1, "no engine"), ("pause", 1, "no engine"), ("status", 73, ".mi4"), ("release", 73, ".mi4")],
)
def test_verbs_where_nothing_has_run(program, verb: str, status: int, fragment: str):
    assert_clear(program.run(verb), status, [fragment])
    assert not program.state.exists()


def test_attach_without_a_terminal(program):
    done = program.run("attach")

    assert_clear(done, 64, ["terminal"])
    assert one_line(done)
