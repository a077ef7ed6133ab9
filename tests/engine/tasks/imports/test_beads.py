"""Issues of beads."""

import pytest

from engine.tasks.imports.beads import read_beads


def read(*issues):
    records = read_beads((issue, number) for number, issue in enumerate(issues, 1)).records()
    return {item["id"]: item for item in records.items}, records.warnings, records.skipped


def issue(name, **more):
    return {"id": name, "title": f"T {name}", "status": "open", "priority": 2, "issue_type": "task", **more}


def edge(target, kind="blocks"):
    return {"issue_id": "x", "depends_on_id": target, "type": kind}


@pytest.mark.parametrize(
    ("status", "expected"),
    [("open", "open"), ("blocked", "open"), ("in_progress", "held"), ("hooked", "held"), ("deferred", "held"), ("closed", "done"), ("own", "held"), (None, "open")],
)  # fmt: skip
def test_statuses(status, expected):
    items, warnings, _ = read(issue("a", status=status))

    assert items["a"]["status"] == expected
    assert bool(warnings) == (expected == "held")


@pytest.mark.parametrize(
    ("priority", "expected"), [(0, 400), (1, 300), (2, 200), (3, 100), (4, 100), ("P0", 400), (None, 200), (9, 200)]
)
def test_priorities(priority, expected):
    items, warnings, _ = read(issue("a", priority=priority))

    assert items["a"]["priority"] == expected
    assert bool(warnings) == (priority == 9)


def test_edges_by_type():
    items, _, _ = read(
        issue("x", dependencies=[edge("a"), edge("b", "waits-for"), edge("c", "related"), edge("d", "parent-child")]),
        issue("y", dependencies=[{"depends_on_id": "a", "type": "conditional-blocks"}]),
        *(issue(name) for name in "abcd"),
    )

    assert items["x"]["dependencies"] == ["a", "b"]
    assert items["x"]["meta"] == {"links": ["related c"]}
    assert items["d"]["dependencies"] == ["x"], "a parent waits for its child"
    assert (items["y"]["run_if"], items["y"]["dependencies"]) == ("failure", ["a"])


def test_epics_are_groups_and_dots_are_families():
    items, _, skipped = read(
        issue("e", issue_type="epic"), issue("e.1"), issue("e.1.1"), issue("w", dependencies=[edge("e")])
    )

    assert set(items) == {"e.1", "e.1.1", "w"}
    assert items["w"]["dependencies"] == ["e.1"]
    assert items["e.1"]["dependencies"] == ["e.1.1"]
    assert skipped == [(1, "'e': the epic 'T e' is a group of its children, no work of its own")]


def test_what_is_no_work_is_skipped_with_its_reason():
    items, warnings, skipped = read(
        {"_type": "memory", "key": "k"}, issue("a", issue_type="gate"), issue("b", ephemeral=True), issue("c", is_template=True),
        issue("d", status="pinned"), 7, {"title": "x"}, issue("f", issue_type="message", status="closed"),
        issue("g", dependencies=[edge("a")]), issue("h", dependencies=[edge("f")]),
    )  # fmt: skip

    assert [line for line, _ in skipped] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert {name: item["status"] for name, item in items.items()} == {"g": "held", "h": "open"}
    assert any("'g' is held: it waits for 'a', which is of the internal kind gate" in text for _, text in warnings)


def test_times():
    items, warnings, _ = read(issue("a", status="deferred", defer_until="2026-12-01T00:00:00Z", due_at="soon"))

    assert (items["a"]["status"], items["a"]["not_before"]) == ("open", "2026-12-01T00:00:00Z")
    assert warnings == [(1, "'a': due_at is no time: 'soon'")]


def test_texts():
    items, _, _ = read(
        issue(
            "a",
            description="d",
            design="e",
            acceptance_criteria="f",
            notes="g",
            labels=["x"],
            external_ref="gh-9",
            updated_at="now",
            estimated_minutes=5,
        )
    )

    assert items["a"]["description"] == "T a\n\nd\n\nDesign:\ne\n\nAcceptance criteria:\nf\n\nNotes:\ng"
    assert (items["a"]["tags"], items["a"]["external_ref"], items["a"]["meta"]) == (
        ["x"],
        "gh-9",
        {"estimated_minutes": 5},
    )
