"""Task files end to end: what is accepted, and every fault with its file and line."""

import gc
import json
import os
from pathlib import Path

import pytest

from engine.errors import TaskFileError
from engine.tasks.taskfile import read_task_files

SHELL = {"command": ["true"]}


def read(tmp_path, *files, known=()):
    return read_task_files([Path(name) for name in files], cwd=tmp_path, known=known)


def write(tmp_path, name, content) -> str:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return name


def faults(tmp_path, *files, known=()) -> list[str]:
    with pytest.raises(TaskFileError) as caught:
        read(tmp_path, *files, known=known)
    assert caught.value.exit_code == 65
    return [str(fault) for fault in caught.value.faults]


def only_fault(tmp_path, content, name="t.json") -> str:
    found = faults(tmp_path, write(tmp_path, name, content))
    assert len(found) == 1, found
    return found[0]


# What is accepted


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.json", '[{"id": "a", "title": "A"}, {"id": 2, "title": "B", "depends_on": ["a"]}]'),
        ("t.json", '{"tasks": [{"id": "a", "title": "A"}, {"id": 2, "title": "B", "dependencies": ["a"]}]}'),
        ("t.jsonl", '{"id": "a", "title": "A"}\n\n{"id": 2, "title": "B", "deps": ["a"]}\n'),
        ("t.ndjson", '{"id": "a", "title": "A"}\r\n{"id": 2, "title": "B", "deps": ["a"]}'),
        ("t.yaml", "- {id: a, title: A}\n- id: 2\n  title: B\n  dependencies: [a]\n"),
        ("t.YML", "tasks:\n  - {id: a, name: A}\n  - {id: 2, title: B, dependencies: [a]}\n"),
        ("t.json", b'\xef\xbb\xbf[{"id": "a", "title": "A"}, {"id": 2, "title": "B", "dependencies": ["a"]}]'),
    ],
)
def test_all_formats_say_the_same(tmp_path, name, content):
    tasks = read(tmp_path, write(tmp_path, name, content)).tasks

    assert [(task.id, task.title, task.dependencies) for task in tasks] == [("a", "A", ()), ("2", "B", ("a",))]


def test_paths_start_at_the_working_folder_and_callables_at_the_file(tmp_path):
    (tmp_path / "sub").mkdir()
    write(
        tmp_path,
        "sub/t.json",
        [{"id": "a", "cwd": "work", **SHELL}, {"id": "b", "cwd": "/x", **SHELL}, {"id": "c", **SHELL}],
    )

    tasks = read(tmp_path, "sub/t.json").tasks

    assert [task.cwd for task in tasks] == [str(tmp_path / "work"), "/x", str(tmp_path)]
    assert {task.source_dir for task in tasks} == {str(tmp_path / "sub")}


def test_several_files_are_one_backlog(tmp_path):
    write(tmp_path, "one.json", [{"id": "a", "dependencies": ["b"], **SHELL}])
    write(tmp_path, "two.yaml", "- {id: b, command: [x]}")

    read_set = read(tmp_path, "one.json", "two.yaml")

    assert [task.id for task in read_set.tasks] == ["a", "b"]
    assert [file.path for file in read_set.files] == [Path("one.json"), Path("two.yaml")]


@pytest.mark.parametrize(("name", "content"), [("t.json", "[]"), ("t.json", '{"tasks": []}'), ("t.yaml", "[]")])
def test_a_file_without_tasks_is_a_warning(tmp_path, name, content):
    read_set = read(tmp_path, write(tmp_path, name, content))

    assert read_set.tasks == ()
    assert read_set.warnings == (f"{name}: holds no tasks",)


def test_fields_without_effect_are_warnings_with_their_line(tmp_path):
    write(tmp_path, "t.yaml", "- id: a\n  command: [x]\n  model: big\n")

    assert read(tmp_path, "t.yaml").warnings == ("t.yaml:3: model has no effect on a shell task",)


# Files that cannot be read at all


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.json", b"", "t.json: is empty"),
        ("t.yaml", b" \n\n", "t.yaml: is empty"),
        ("t.jsonl", b"\xef\xbb\xbf", "t.jsonl: is empty"),
        ("t.json", b'[\n{"id": "\xff"}]', "t.json:2: not UTF-8 text: the byte 0xff"),
        ("t.json", "[]".encode("utf-16"), "t.json: is UTF-16; save it as UTF-8"),
        ("t.json", b'[{"id": "a",}]', "t.json:1: not valid JSON: expecting property name"),
        ("t.json", b'[{"id": "a"}\n{"id": "b"}]', "t.json:2: not valid JSON: expecting ',' delimiter"),
        (
            "t.json",
            b'{"id": 1}\n{"id": 2}\n',
            "t.json:2: not valid JSON: there is more than one value; name the file .jsonl",
        ),
        ("t.json", b'{"id": "a"}', "t.json:1: holds a table; a task file is a list of tasks"),
        ("t.json", b'"x"', "t.json:1: holds the text 'x'; a task file is"),
        ("t.json", b'{"tasks": {}}', 't.json:1: "tasks" holds a table'),
        ("t.json", b'{"tasks": [], "taks": 1}', "t.json:1: unknown key 'taks' beside \"tasks\""),
        ("t.yaml", b"a: [1\n", "t.yaml:2: not valid YAML"),
        ("t.yaml", b"- id: a\n\ttitle: b\n", "t.yaml:2: not valid YAML"),
        ("t.yaml", b"- id: \x07\n", "t.yaml:1: not valid YAML: the control character"),
        ("t.yaml", b"- {id: a, title: x}\n---\n- {id: b}\n", "t.yaml:2: a second document begins here"),
        ("t.yaml", b"just text", "t.yaml:1: holds the text 'just text'"),
        (
            "t.ini",
            b"x = 1",
            "t.ini: not a known format '.ini'; name the file .json, .jsonl, .ndjson, .yaml, .yml, .toml",
        ),
        ("tasks", b"just text", "tasks: not a known format ''"),
    ],
)
def test_an_unusable_file_is_one_line(tmp_path, name, content, message):
    assert only_fault(tmp_path, content, name).startswith(message)


def test_a_missing_file_is_one_line(tmp_path):
    assert faults(tmp_path, "no.json") == ["no.json: no such file"]


def test_a_folder_is_one_line(tmp_path):
    (tmp_path / "d.json").mkdir()

    assert faults(tmp_path, "d.json") == ["d.json: is a folder; name a task file in it"]


def test_a_pipe_that_nobody_writes_to_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "p.json")

    assert faults(tmp_path, "p.json") == ["p.json: is not a regular file; save the tasks to a file first"]


def test_a_name_that_no_file_can_have_is_one_line(tmp_path):
    assert faults(tmp_path, "a\0b.json")[0].startswith("a\0b.json: cannot be read")
    assert "cannot be read" in faults(tmp_path, "x" * 300 + ".json")[0]


# Faults inside


def test_all_faults_of_all_files_come_at_once_in_order(tmp_path):
    write(tmp_path, "one.json", '[\n{"id": "a", "priority": "urgent",\n "titel": "x"},\n{"title": "no id"},\n7\n]')
    write(tmp_path, "two.yaml", "- id: b\n  timeout: -1\n- id: c\n  command: make test\n- id: d\n")
    write(tmp_path, "three.jsonl", '{"id": "e", "title": "x"}\nnonsense\n{"id": "e", "title": "x"}\n')

    found = faults(tmp_path, "one.json", "two.yaml", "three.jsonl", "four.json")

    assert found == [
        "one.json:2: task 'a': priority must be low, normal, high, critical or a number from 100 to 400, not the text 'urgent'",
        "one.json:3: task 'a': unknown field 'titel'; did you mean 'title'?",
        "one.json:4: id is missing",
        "one.json:5: a task is a table of fields, not the number 7",
        "two.yaml:2: task 'b': timeout must be a number of seconds above 0, not the number -1",
        "two.yaml:4: task 'c': command is one text; write a list, or add shell: true to have a shell run it",
        "two.yaml:5: task 'd': there is nothing to do: give a description (for an agent), a command, or a callable",
        "three.jsonl:2: not valid JSON: expecting value at column 1",
        "three.jsonl:3: the id 'e' is taken by three.jsonl:1",
        "four.json: no such file",
    ]


def test_an_id_may_stand_in_only_one_file(tmp_path):
    write(tmp_path, "one.json", '[\n {"id": 1, "title": "x"}]')
    write(tmp_path, "two.yaml", "- title: y\n  id: '1'\n")

    assert faults(tmp_path, "one.json", "two.yaml") == ["two.yaml:2: the id '1' is taken by one.json:2"]


def test_keys_that_stand_twice_are_told_with_their_lines(tmp_path):
    assert faults(
        tmp_path, write(tmp_path, "t.json", '[{"id": "a",\n"title": "x",\n"title": "y", "meta": {"k": 1,\n"k": 2}}]')
    ) == [
        "t.json:3: the key 'title' stands twice in one object",
        "t.json:4: the key 'k' stands twice in one object",
    ]
    assert only_fault(tmp_path, "- id: a\n  title: x\n  title: y\n", "t.yaml") == (
        "t.yaml:3: the key 'title' stands twice in one table"
    )
    assert only_fault(tmp_path, '{"id": "b", "title": "x"}\n{"id": "a", "id": "a", "title": "x"}', "t.jsonl") == (
        "t.jsonl:2: the key 'id' stands twice in one object"
    )


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, str(2**64), str(-(2**63) - 1)])
def test_numbers_that_cannot_travel_are_faults(tmp_path, number):
    line = only_fault(tmp_path, f'[{{"id": "a", "title": "x",\n"meta": {{"n": [{number}]}}}}]')

    assert line.startswith("t.json:2: the number ")
    assert line.endswith("must be finite and fit 64 bits")
    assert len(line) < 140


@pytest.mark.parametrize("number", [".nan", ".inf", "-.inf", "1e999", str(2**64)])
def test_yaml_numbers_that_cannot_travel_are_faults(tmp_path, number):
    assert only_fault(tmp_path, f"- id: a\n  timeout: {number}\n  title: x\n", "t.yaml").startswith(
        "t.yaml:2: the number "
    )


@pytest.mark.parametrize("number", [2**64 - 1, -(2**63), 0, 10**18])
def test_numbers_that_fit_are_kept(tmp_path, number):
    name = write(tmp_path, "t.json", [{"id": "a", "title": "x", "meta": {"n": number}}])

    assert read(tmp_path, name).tasks[0].meta == {"n": number}


@pytest.mark.parametrize("depth", [100, 100_000])
@pytest.mark.parametrize(("name", "bracket"), [("t.json", "[]"), ("t.json", "{}"), ("t.yaml", "[]"), ("t.jsonl", "[]")])
def test_nesting_bombs_are_one_line(tmp_path, name, bracket, depth):
    opening = bracket[0] if bracket == "[]" else '{"k":'
    core = opening * depth + ("1" if bracket == "{}" else "") + bracket[1] * depth
    record = f'{{"id": "a", "title": "x", "meta": {{"m": {core}}}}}'

    line = only_fault(tmp_path, record if name == "t.jsonl" else f"[{record}]", name)

    assert "deeper than 64 levels" in line
    assert len(line) < 100


def test_an_unclosed_nesting_bomb_is_one_line(tmp_path):
    assert "deeper than 64 levels" in only_fault(tmp_path, "[" * 100_000)
    assert "deeper than 64 levels" in only_fault(tmp_path, "[" * 100_000, "t.yaml")


def test_half_a_surrogate_pair_is_a_fault(tmp_path):
    assert "half of a surrogate pair" in only_fault(tmp_path, '[{"id": "a", "title": "\\ud800"}]')
    assert "half of a surrogate pair" in only_fault(tmp_path, '[{"id": "a", "title": "x", "meta": {"\\udfff": 1}}]')


# Dependencies


def test_unknown_dependencies_are_faults_at_their_line(tmp_path):
    write(tmp_path, "t.yaml", "- id: build\n  command: [x]\n- id: b\n  command: [x]\n  depends_on: [biuld, other]\n")

    assert faults(tmp_path, "t.yaml") == [
        "t.yaml:5: task 'b': depends on 'biuld', which does not exist; did you mean 'build'?",
        "t.yaml:5: task 'b': depends on 'other', which does not exist",
    ]


def test_ids_of_the_state_folder_are_known(tmp_path):
    name = write(tmp_path, "t.json", [{"id": "b", "dependencies": ["old"], **SHELL}])
    asked = []

    def known():
        asked.append(1)
        return {"old"}

    assert read(tmp_path, name, known={"old"}).tasks[0].dependencies == ("old",)
    assert read(tmp_path, name, known=known).tasks[0].dependencies == ("old",)
    assert asked == [1]
    write(tmp_path, "ok.json", [{"id": "b", **SHELL}])
    read(tmp_path, "ok.json", known=known)
    assert asked == [1], "the state folder is only asked when a dependency is missing"


def test_a_task_that_is_wrong_itself_is_no_unknown_dependency(tmp_path):
    name = write(tmp_path, "t.json", [{"id": "a", "kind": "shel"}, {"id": "b", "dependencies": ["a"], **SHELL}])

    assert [line.split(",")[0] for line in faults(tmp_path, name)] == ["t.json:1: task 'a': kind must be one of shell"]


def test_nothing_is_unknown_while_a_file_cannot_be_read(tmp_path):
    name = write(tmp_path, "t.json", [{"id": "b", "dependencies": ["a"], **SHELL}])

    assert faults(tmp_path, name, "missing.json") == ["missing.json: no such file"]


def test_cycles_are_shown_as_a_path(tmp_path):
    write(
        tmp_path, "t.yaml", "".join(f"- {{id: {a}, command: [x], depends_on: [{b}]}}\n" for a, b in ("ab", "bc", "ca"))
    )

    assert faults(tmp_path, "t.yaml") == ["t.yaml:1: task 'a': the tasks wait for each other: a -> b -> c -> a"]


def test_a_task_may_not_wait_for_itself(tmp_path):
    line = only_fault(tmp_path, "- id: a\n  command: [x]\n  depends_on:\n    - a\n", "t.yaml")

    assert line == "t.yaml:3: task 'a': the task depends on itself"


# Behaviour of the reader


def test_the_collector_is_as_it_was(tmp_path):
    name = write(tmp_path, "t.json", [{"id": "a", **SHELL}])
    read(tmp_path, name)
    assert gc.isenabled()
    faults(tmp_path, "no.json")
    assert gc.isenabled()


def test_a_large_backlog_is_read_in_full(tmp_path):
    records = [
        {"id": f"t{i}", "command": ["echo", str(i)], "dependencies": [f"t{i - 1}"] if i else []} for i in range(20_000)
    ]
    name = write(tmp_path, "t.json", records)

    tasks = read(tmp_path, name).tasks

    assert len(tasks) == 20_000
    assert tasks[-1].dependencies == ("t19998",)
    records[0]["dependencies"] = ["t19999"]
    (line,) = faults(tmp_path, write(tmp_path, "t.json", records))
    assert "... (19,989 more) -> t0" in line
