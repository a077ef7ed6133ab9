"""tasks.json of task-master."""

import pytest

from engine.tasks.imports.taskmaster import read_taskmaster


def read(root):
    records = read_taskmaster(root).records(lambda place: None)
    return (
        {item["id"]: item for item in records.items},
        [w for _, w in records.warnings],
        [s for _, s in records.skipped],
    )


def task(number, **more):
    return {"id": number, "title": f"Task {number}", "status": "pending", **more}


def test_tags_and_the_older_form_have_the_same_ids():
    tagged, _, _ = read({"master": {"tasks": [task(1)]}, "night": {"tasks": [task(1)], "metadata": {}}})
    legacy, _, _ = read({"tasks": [task("1")], "metadata": {}})

    assert list(tagged) == ["master:1", "night:1"]
    assert list(legacy) == ["master:1"]
    assert tagged["night:1"]["category"] == "night"


def test_dependencies_in_all_forms():
    subtasks = [{"id": 1, "title": "a"}, {"id": 2, "title": "b", "dependencies": [1, "4", "3.1", None]}]
    items, warnings, _ = read(
        {"tasks": [task(1), task("2", dependencies=[1, "1", "3.2", "night:5"]), task(3, subtasks=subtasks), task(4)]}
    )

    assert items["master:2"]["dependencies"] == ["master:1", "master:3.2", "night:5"]
    assert items["master:3"]["dependencies"] == ["master:3.1", "master:3.2"]
    assert items["master:3.2"]["dependencies"] == ["master:3.1", "master:4"], "a sibling first, then a task"
    assert warnings == ["'master:3.2': a dependency is nothing; that is ignored"]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("pending", "open"), (None, "open"), ("in-progress", "held"), ("review", "held"), ("deferred", "held"), ("blocked", "held"),
        ("done", "done"), ("completed", "done"), ("Done", "done"), ("whatever", "held"), (7, "held"),
    ],
)  # fmt: skip
def test_statuses(status, expected):
    items, warnings, _ = read({"tasks": [task(1, status=status)]})

    assert items["master:1"]["status"] == expected
    assert bool(warnings) == (expected == "held"), "what is held is told"


def test_what_is_cancelled_is_left_out_and_holds_what_waits_for_it():
    items, _, skipped = read({"tasks": [task(1, status="cancelled", subtasks=[task(1)]), task(2, dependencies=[1])]})

    assert {name: item["status"] for name, item in items.items()} == {"master:2": "held"}
    assert skipped == ["'master:1': cancelled", "'master:1.1': cancelled with its task"]


def test_subtasks_of_what_is_done_count_as_done_and_of_what_is_deferred_as_held():
    items, _, _ = read(
        {"tasks": [task(1, status="done", subtasks=[task(1)]), task(2, status="deferred", subtasks=[task("2.1")])]}
    )

    assert (items["master:1.1"]["status"], items["master:2.1"]["status"]) == ("done", "held")


def test_priorities_prompt_and_rest():
    items, warnings, _ = read(
        {"tasks": [
            task(1, priority="critical", description="d", details="more", testStrategy="try", complexity=4, updatedAt="x", subtasks=[task(1)]),
            task(2, priority="soon"),
        ]}
    )  # fmt: skip

    assert [items[name]["priority"] for name in ("master:1", "master:1.1", "master:2")] == [400, 400, 200]
    assert items["master:1"]["description"] == "Task 1\n\nd\n\nmore\n\nTest strategy:\ntry"
    assert items["master:1"]["meta"] == {"complexity": 4}, "what changes by itself is not kept"
    assert items["master:1.1"]["description"].endswith("Part of: Task 1")
    assert warnings == ["'master:2': its priority 'soon' is not known; it gets normal"]


def test_nothing_is_lost_unseen():
    _, warnings, skipped = read(
        {"master": {"tasks": [None, 5, {"title": "x"}, {"id": 1}, task(2, subtasks=[3])], "own": 1}, "odd": []}
    )

    assert len(skipped) == 6
    assert warnings == ["'master:1' has neither a title nor a description"]
