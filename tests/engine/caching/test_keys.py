"""What changes a key, what does not, and that content is what counts."""

import os
from pathlib import Path

import msgspec
import pytest

from engine.caching.keys import cache_key, inputs_digest, matches
from engine.storage.folder import StateFolder
from engine.tasks.model import Task

BASE = Task(id="a", kind="shell", command=("make",), cwd="/w", env=("CC",), cache=True)
ENVIRON = {"CC": "gcc", "HOME": "/home/x"}


def key(task=BASE, environ=ENVIRON, **changes):
    return cache_key(msgspec.structs.replace(task, **changes), environ).digest


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "simulated"},
        {"command": ("make", "all")},
        {"command": "make"},
        {"shell": True},
        {"callable": "m:f"},
        {"args": (1,)},
        {"kwargs": {"a": 1}},
        {"stdin": ""},
        {"cwd": "/v"},
        {"env": ()},
        {"env": ("CC", "CXX")},
        {"set_env": {"A": "1"}},
        {"clean_env": True},
        {"version": "2"},
        {"inputs": ("*.none",)},
        {"outputs": ("a",)},
        {"verify": ("true",)},
        {"workspace": "scratch"},
        {"agent_options": {"seed": 1}},
    ],
)
def test_what_can_change_the_result_changes_the_key(changes):
    assert key(**changes) != key()


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "b"},
        {"title": "x"},
        {"description": "x"},
        {"priority": 400.0},
        {"category": "x"},
        {"tags": ("x",)},
        {"dependencies": ("x",)},
        {"run_if": "always"},
        {"created_at": 1.0},
        {"timeout_seconds": 1.0},
        {"max_retries": 5},
        {"restart": "never"},
        {"idempotent": True},
        {"not_before": 1.0},
        {"external_ref": "gh-1"},
        {"meta": {"x": 1}},
        {"cache": False},
        {"source_dir": "/elsewhere"},
    ],
)
def test_what_only_says_when_or_how_often_does_not(changes):
    assert key(**changes) == key()


def test_every_field_of_a_task_is_one_or_the_other():
    """A new field must be judged: add it to one of the two lists above, and to the key if it can change a result."""
    judged = set()
    for test in (
        test_what_can_change_the_result_changes_the_key,
        test_what_only_says_when_or_how_often_does_not,
        test_an_agent_is_told_more,
    ):
        for mark in test.pytestmark:
            judged.update(name for changes in mark.args[1] for name in changes)
    assert set(Task.__struct_fields__) - judged == {"status", "stall_seconds", "due_at"}


@pytest.mark.parametrize("changes", [{"title": "x"}, {"description": "x"}, {"model": "m"}, {"token_budget": 5}])
def test_an_agent_is_told_more(changes):
    agent = msgspec.structs.replace(BASE, kind="codex")
    assert key(agent, **changes) != key(agent)
    if "model" in changes or "token_budget" in changes:
        assert key(**changes) == key()


def test_a_callable_is_looked_up_in_its_source_folder():
    function = msgspec.structs.replace(BASE, kind="python", callable="m:f")
    assert key(function, source_dir="/b") != key(function)


def test_named_variables_count_and_others_do_not():
    assert key(environ={**ENVIRON, "HOME": "/y"}) == key()
    assert key(environ={**ENVIRON, "CC": "clang"}) != key()
    assert key(environ={}) != key(environ={"CC": ""})


def test_the_order_of_a_mapping_does_not_count():
    assert key(kwargs={"a": 1, "b": 2}) == key(kwargs={"b": 2, "a": 1})
    assert key(set_env={"a": "1", "b": "2"}) == key(set_env={"b": "2", "a": "1"})


def test_neighbouring_fields_cannot_be_confused():
    assert key(command=("ab", "c")) != key(command=("a", "bc"))
    assert key(stdin="x", version="") != key(stdin="", version="x")


def test_inputs_count_by_name_and_content(work):
    task = Task(id="a", cwd=str(work), inputs=("src/*.c", "data"))
    seen = {inputs_digest(task)}

    def differs():
        digest = inputs_digest(task)
        new = digest not in seen
        seen.add(digest)
        return new

    (work / "src").mkdir()
    (work / "src" / "a.c").write_text("int a;")
    assert differs()
    (work / "src" / "b.c").write_text("int a;")
    assert differs()
    (work / "src" / "a.c").write_text("int b;")
    assert differs()
    (work / "src" / "b.c").rename(work / "src" / "c.c")
    assert differs()
    (work / "data" / "deep").mkdir(parents=True)
    (work / "data" / "deep" / ".hidden").write_text("1")
    assert differs()
    (work / "data" / "deep" / ".hidden").write_text("2")
    assert differs()
    (work / "src" / "a.h").write_text("not matched")
    os.utime(work / "src" / "a.c", (1, 1))
    (work / "src" / "a.c").chmod(0o600)
    assert not differs()


def test_the_border_between_files_counts(work):
    (work / "a").write_text("xy")
    (work / "b").write_text("z")
    before = inputs_digest(Task(id="a", cwd=str(work), inputs=("a", "b")))
    (work / "a").write_text("x")
    (work / "b").write_text("yz")
    assert inputs_digest(Task(id="a", cwd=str(work), inputs=("a", "b"))) != before


def test_an_absolute_input_and_a_linked_one_count_by_content(work, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "f").write_text("1")
    (work / "link").symlink_to(tmp_path / "outside")
    for pattern in (str(tmp_path / "outside" / "*"), "link", "link/f"):
        task = Task(id="a", cwd=str(work), inputs=(pattern,))
        (tmp_path / "outside" / "f").write_text("1")
        first = inputs_digest(task)
        (tmp_path / "outside" / "f").write_text("2")
        assert inputs_digest(task) != first, pattern


@pytest.mark.parametrize("kind", ["fifo", "dangling", "folder link inside"])
def test_an_input_that_is_no_file_makes_no_key(work, kind):
    (work / "in").mkdir()
    if kind == "fifo":
        os.mkfifo(work / "in" / "x")
    elif kind == "dangling":
        (work / "in" / "x").symlink_to("nowhere")
    else:
        (work / "in" / "x").symlink_to("..")
    with pytest.raises(OSError, match=r"plain file|No such file"):
        cache_key(Task(id="a", cwd=str(work), inputs=("in",)), {})


def test_a_state_folder_among_the_inputs_is_left_out(work):
    (work / "a").write_text("1")
    folder = StateFolder.open(work / ".mi4")
    folder.database.write_text("db")
    folder.lock.write_text("lock")
    assert matches(".", str(work)) == ["a"]


def test_matches_are_sorted_relative_and_deep(work):
    for name in ("b/2", "b/1", "a", ".dot", "b/.dot"):
        path = work / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    assert matches(".", str(work)) == [".dot", "a", "b/.dot", "b/1", "b/2"]
    assert matches("**/[0-9]", str(work)) == ["b/1", "b/2"]
    assert matches("*", str(work)) == ["a", "b/.dot", "b/1", "b/2"]
    assert matches("b/*", str(work)) == ["b/1", "b/2"]
    assert matches("./a", str(work)) == ["a"]
    assert matches("none*", str(work)) == []
    assert matches(str(work / "a"), str(work)) == [str(work / "a")]


def test_the_working_folder_of_this_process_does_not_matter(work, monkeypatch):
    (work / "a").write_text("1")
    task = Task(id="a", cwd=str(work), inputs=("a",))
    here = inputs_digest(task)
    monkeypatch.chdir(Path("/"))
    assert inputs_digest(task) == here
