"""``mi4-tui add``."""

import pytest

from engine.errors import UsageError
from engine.testing import make_task
from mi4_tui.verbs.add import free_id, quick_task, with_agent

PLAIN = {"cwd": "/w", "kind": "shell", "task_id": "", "priority": "normal", "title": "", "category": ""}


def test_a_quick_task_is_queued_and_its_id_printed(mi4):
    first = mi4("add", "--", "make", "test")
    assert (first.code, first.out) == (0, "make-test\n")
    assert "'mi4-tui' starts one" in first.err
    assert mi4("add", "--", "make", "test").out == "make-test-2\n"
    rows = {row["id"]: row for row in mi4("status", "--json").json["tasks"]}
    assert rows["make-test"]["state"] == "queued"
    assert rows["make-test"]["title"] == "make test"


def test_options_stand_before_the_dashes(mi4):
    added = mi4("add", "--id", "x", "--priority", "high", "--category", "docs", "--json", "--", "ls", "--json", "-v")
    assert added.json["accepted"] == ["x"]
    (row,) = mi4("status", "--json").json["tasks"]
    assert (row["priority"], row["category"], row["title"]) == (300.0, "docs", "ls --json -v")


def test_files_are_added_and_what_is_done_is_said(mi4, write):
    name = write(("a", "true"), ("b", "true"))
    assert mi4("run", name, "--no-ui", "-q").code == 0
    write(("a", "true"), ("c", "true"))
    added = mi4("add", name)
    assert added.out == "c\n"
    assert "already done: a" in added.err
    assert set(mi4("add", name, "--rerun").lines) == {"a"}


def test_a_bad_file_adds_nothing(mi4, write):
    write(("a", "true"))
    wrong = mi4("add", "tasks.json", "missing.json")
    assert (wrong.code, wrong.out) == (65, "")
    assert "missing.json: no such file" in wrong.err
    assert mi4("add", write(("b", "true"), name="b.json")).out == "b\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--kind", "python", "--", "x"],
        ["--priority", "urgent", "--", "x"],
        ["--priority", "50", "--", "x"],
        ["a.json", "--", "x"],
    ],
)
def test_a_wrong_quick_task(mi4, folder, arguments):
    assert mi4("add", *arguments).code == 64


def test_a_running_engine_starts_it_at_once(mi4, write, engine, eventually):
    engine(write(("a", "true")))
    assert mi4("add", "--", "echo", "hello").out == "echo-hello\n"
    eventually(lambda: mi4("status", "--plain").out.count("succeeded") == 2)
    assert mi4("logs", "echo-hello").out == "hello\n"


def test_words_become_a_command():
    task = quick_task(("grep", "-r", "a b"), (), **PLAIN)
    assert (task.command, task.kind, task.cwd, task.title) == (("grep", "-r", "a b"), "shell", "/w", "grep -r 'a b'")


def test_words_become_a_prompt():
    task = quick_task(("fix", "the test"), (), **{**PLAIN, "kind": "simulated", "title": "T"})
    assert (task.description, task.command, task.title) == ("fix the test", None, "T")


def test_a_prompt_for_nobody():
    with pytest.raises(UsageError, match="--kind python"):
        quick_task(("x",), (), **{**PLAIN, "kind": "python"})


@pytest.mark.parametrize(
    ("line", "known", "expected"),
    [
        ("make test", (), "make-test"),
        ("make test", ("make-test", "make-test-2"), "make-test-3"),
        ("./build.sh --all", (), "build-sh-all"),
        ("???", (), "task"),
        ("x" * 99, (), "x" * 32),
    ],
)
def test_ids_from_words(line, known, expected):
    assert free_id(line, known) == expected


def test_an_agent_for_tasks_without_a_kind():
    plain, shell = make_task("a", kind=""), make_task("b", kind="shell")
    assert [task.kind for task in with_agent([plain, shell], "simulated")] == ["simulated", "shell"]
    assert with_agent([plain], "") == (plain,)
