"""What a foreign backlog means: parents, groups, what was given up."""

from engine.tasks.imports import backlog as module
from engine.tasks.imports.backlog import Backlog, Draft, Standing


def draft(name, *waits, **more):
    return Draft(name, 1, {"title": name}, waits_for=dict.fromkeys(waits), **more)


def read(*drafts):
    backlog = Backlog("test")
    for one in drafts:
        backlog.add(one)
    records = backlog.records()
    return {item["id"]: item for item in records.items}, [message for _, message in records.warnings], records


def waits(items):
    return {name: set(item.get("dependencies", ())) for name, item in items.items()}


def test_a_parent_waits_for_its_children_which_start_when_it_could():
    items, warnings, _ = read(draft("p", "x"), draft("c", parent="p"), draft("g", parent="c"), draft("x"))

    assert waits(items) == {"p": {"x", "c"}, "c": {"x", "g"}, "g": {"x"}, "x": set()}
    assert warnings == []


def test_a_parent_that_waits_for_one_of_its_own_makes_no_circle():
    items, _, _ = read(draft("p", "a"), draft("a", parent="p"), draft("b", parent="p"))

    assert waits(items) == {"p": {"a", "b"}, "a": set(), "b": set()}


def test_who_waits_for_a_group_waits_for_its_tasks():
    items, _, _ = read(
        draft("e", "x", is_group=True),
        draft("f", parent="e", is_group=True),
        draft("a", parent="e"),
        draft("b", parent="f"),
        draft("x"),
        draft("w", "e"),
    )

    assert waits(items) == {"a": {"x"}, "b": {"x"}, "x": set(), "w": {"a", "b"}}


def test_a_group_that_is_done_holds_nobody_and_an_empty_one_does():
    items, warnings, _ = read(
        draft("d", is_group=True, standing=Standing.DONE), draft("e", is_group=True), draft("a", "d"), draft("b", "e")
    )

    assert (items["a"]["status"], items["b"]["status"]) == ("open", "held")
    assert warnings == ["'b' is held: it waits for 'e', which has no tasks yet"]


def test_what_waits_for_something_given_up_is_held():
    items, warnings, _ = read(draft("c", standing=Standing.LEFT_OUT, why="cancelled"), draft("a", "c"), draft("b", "a"))

    assert (items["a"]["status"], items["b"]["status"]) == ("held", "open")
    assert waits(items) == {"a": set(), "b": {"a"}}
    assert warnings == ["'a' is held: it waits for 'c', which is cancelled"]


def test_a_held_parent_may_hold_its_children():
    items, _, _ = read(
        draft("p", standing=Standing.HELD, holds_children=True), draft("a", parent="p"), draft("b", parent="a")
    )

    assert {item["status"] for item in items.values()} == {"held"}


def test_odd_families_are_told():
    items, warnings, records = read(
        draft("a", "a", parent="b"), draft("b", parent="a"), draft("c", parent="gone"), draft("c"), draft("d", "nobody")
    )

    assert sorted(items) == ["a", "b", "c", "d"]
    assert "'c': its parent 'gone' is not in the file" in warnings
    assert sum("above and below" in warning for warning in warnings) == 1
    assert "'a' depends on itself; that is ignored" in warnings
    assert items["d"]["dependencies"] == ["nobody"], "whether that exists elsewhere is not decided here"
    assert records.skipped == [(1, "the id 'c' stands twice; the first is kept")]


def test_families_cannot_make_endless_dependencies(monkeypatch):
    monkeypatch.setattr(module, "MAX_EDGES", 10)
    items, warnings, _ = read(
        draft("e", is_group=True), *(draft(f"c{n}", parent="e") for n in range(6)), draft("a", "e"), draft("b", "e")
    )

    assert (items["a"]["status"], items["b"]["status"]) == ("open", "held")
    assert warnings == ["'b' is held: parents and groups make more than 10 dependencies"]


def test_a_deep_family_is_no_trouble():
    items, _, _ = read(*(draft(f"{n}", parent=f"{n - 1}" if n else "") for n in range(5000)))

    assert items["0"]["dependencies"] == ["1"]
