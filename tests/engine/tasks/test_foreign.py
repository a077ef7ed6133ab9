"""Files of other programs among all files: doubles, unknown dependencies, circles."""

import json
from pathlib import Path

import pytest

from engine.errors import TaskFileError
from engine.tasks.taskfile import MAX_WARNINGS, read_task_files


def read(folder, *contents, known=()):
    names = []
    for number, content in enumerate(contents):
        names.append(Path(f"{number}.jsonl"))
        (folder / names[-1]).write_text("\n".join(map(json.dumps, content)))
    return read_task_files(names, cwd=folder, known=known)


def bead(name, *waits):
    return {
        "id": name,
        "title": name,
        "issue_type": "task",
        "dependencies": [{"depends_on_id": other} for other in waits],
    }


def own(name, *waits):
    return {"id": name, "command": ["x"], "depends_on": list(waits)}


def waits(read_set):
    return {task.id: task.dependencies for task in read_set.tasks}


def test_a_dependency_that_nobody_knows_is_told_and_not_waited_for(tmp_path):
    found = read(tmp_path, [bead("a", "gone", "b", "old"), bead("b")], known={"old"})

    assert waits(found) == {"a": ("b", "old"), "b": ()}
    assert found.files[0].unmet == (("a", "gone"),)
    assert found.warnings == ("0.jsonl:1: 'a' depends on 'gone', which is in no file; it does not wait for it",)


def test_only_a_circle_is_left_out_and_what_waits_for_it_is_held(tmp_path):
    (file,) = read(
        tmp_path, [bead("a", "b"), bead("b", "c"), bead("c", "a"), bead("d", "c", "e"), bead("e"), bead("f", "d")]
    ).files

    assert {task.id: (task.status, task.dependencies) for task in file.tasks} == {
        "d": ("held", ("e",)), "e": ("open", ()), "f": ("open", ("d",)),
    }  # fmt: skip
    assert file.cycles == ("a -> b -> c -> a",)
    assert (file.skipped[0].line, file.skipped[0].message) == (
        1,
        "task 'a': the tasks wait for each other: a -> b -> c -> a",
    )
    assert len(file.skipped) == 3


def test_an_id_that_is_taken_leaves_the_foreign_task_out(tmp_path):
    found = read(tmp_path, [bead("a"), bead("b")], [own("a")], [bead("b")])

    assert [task.id for file in found.files for task in file.tasks] == ["b", "a"]
    assert [str(skipped) for file in found.files for skipped in file.skipped] == [
        "0.jsonl:1: task 'a': the id 'a' is taken by 1.jsonl",
        "2.jsonl:1: task 'b': the id 'b' is taken by 0.jsonl",
    ]


def test_files_of_both_kinds_may_wait_for_each_other(tmp_path):
    assert waits(read(tmp_path, [bead("a", "x")], [own("x"), own("y", "a")])) == {"a": ("x",), "x": (), "y": ("a",)}


def test_a_fault_in_a_file_of_ours_is_still_a_fault(tmp_path):
    with pytest.raises(TaskFileError) as caught:
        read(tmp_path, [bead("a", "nobody")], [own("x", "nobody"), own("p", "q"), own("q", "p")])

    assert [str(fault) for fault in caught.value.faults] == [
        "1.jsonl:1: task 'x': depends on 'nobody', which does not exist",
        "1.jsonl:2: task 'p': the tasks wait for each other: p -> q -> p",
    ]


def test_a_record_that_cannot_be_a_task_is_skipped_and_holds_what_waits_for_it(tmp_path):
    (file,) = read(tmp_path, [bead("a\x07"), bead("x" * 400), bead("b", "a\x07")]).files

    assert [(task.id, task.status) for task in file.tasks] == [("b", "held")]
    assert ["control characters" in str(skipped) or "the limit is 300" in str(skipped) for skipped in file.skipped] == [
        True,
        True,
    ]


def test_a_run_is_told_a_few_warnings_and_where_the_rest_is(tmp_path):
    found = read(tmp_path, [*(bead(f"a{n}", "gone") for n in range(MAX_WARNINGS + 5)), {"_type": "memory"}])

    assert len(found.warnings) == MAX_WARNINGS + 2
    assert found.warnings[-2] == "0.jsonl: 5 more warnings; 'mi4-tui import --dry-run 0.jsonl' lists them"
    assert found.warnings[-1] == "0.jsonl: 1 entries do not become tasks; 'mi4-tui import --dry-run 0.jsonl' lists them"
    assert len(found.files[0].warnings) == MAX_WARNINGS + 5


def test_issues_of_two_repositories_in_two_files_have_their_own_ids(tmp_path):
    issues = [[{"number": 1, "title": "t", "url": f"https://github.example/o/{name}/issues/1"}] for name in "ab"]

    assert [task.id for task in read(tmp_path, *issues).tasks] == ["o/a#1", "o/b#1"]
    assert [task.id for task in read(tmp_path, issues[0]).tasks] == ["gh-1"]
