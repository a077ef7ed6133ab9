"""``mi4-tui import``."""

import json
from pathlib import Path

import pytest


def bead(name, **more):
    return {"id": name, "title": f"T {name}", "status": "open", "priority": 2, "issue_type": "task", **more}


@pytest.fixture
def beads(folder):
    def write(*issues, name="issues.jsonl"):
        Path(name).write_text("\n".join(map(json.dumps, issues)))
        return name

    return write


def states(mi4):
    return {row["id"]: row["state"] for row in mi4("status", "--json").json["tasks"]}


def test_dry_run_tells_everything_and_changes_nothing(mi4, folder, beads):
    name = beads(
        bead("a", dependencies=[{"depends_on_id": "gone"}]), {"_type": "memory"}, bead("p", dependencies=[{"depends_on_id": "q"}]),
        bead("q", dependencies=[{"depends_on_id": "p"}]), bead("d", status="closed"), bead("h", status="deferred"),
    )  # fmt: skip
    done = mi4("import", "--dry-run", name)

    assert done.code == 0
    assert done.lines[0] == "issues.jsonl: beads, 3 tasks (1 open, 1 held, 1 done)"
    assert "    issues.jsonl:2: a memory, no issue" in done.lines
    assert "    a on gone" in done.lines
    assert "    p -> q -> p" in done.lines
    assert done.lines[-1] == "3 tasks: 3 new, 0 known; nothing was changed"
    assert not (folder / ".mi4").exists()


def test_dry_run_as_json(mi4, beads):
    record = mi4("import", "--dry-run", "--json", beads(bead("a"), {"_type": "memory"})).json

    assert record["totals"] == {
        "tasks": 1, "open": 1, "held": 0, "done": 0, "skipped": 1, "warnings": 0, "unmet_dependencies": 0, "cycles": 0, "new": 1, "known": 0,
    }  # fmt: skip
    assert record["files"][0]["skipped"] == [{"line": 2, "reason": "a memory, no issue"}]


def test_a_second_import_updates_instead_of_adding(mi4, beads):
    first = mi4(
        "import",
        "--agent",
        "simulated",
        beads(bead("a"), bead("b"), bead("c", status="hooked"), bead("d", status="closed")),
    )
    assert (first.code, first.out) == (0, "4 added, 0 updated, 0 unchanged\n")
    assert states(mi4) == {"a": "queued", "b": "queued", "c": "held", "d": "skipped"}

    again = mi4("import", "--agent", "simulated", "issues.jsonl")
    assert again.out == "0 added, 0 updated, 4 unchanged\n"

    beads(bead("a", title="other"), bead("b", status="closed"), bead("c"), bead("d", status="closed"), bead("e"))
    third = mi4("import", "--agent", "simulated", "--json", "issues.jsonl").json
    assert (third["added"], third["updated"], third["unchanged"]) == (["e"], ["a", "b", "c"], ["d"])
    assert states(mi4) == {"a": "queued", "b": "skipped", "c": "queued", "d": "skipped", "e": "queued"}
    assert mi4("import", "--dry-run", "issues.jsonl").lines[-1] == "5 tasks: 0 new, 5 known; nothing was changed"


def test_held_tasks_wait_until_they_are_released(mi4, beads):
    beads(bead("a", status="in_progress"), bead("b", dependencies=[{"depends_on_id": "a"}]))
    mi4("import", "--agent", "simulated", "issues.jsonl")
    assert states(mi4) == {"a": "held", "b": "pending"}

    assert mi4("--no-ui", "-q").code == 3
    assert states(mi4)["a"] == "held"
    assert mi4("release", "a").code == 0
    assert mi4("--no-ui", "-q").code == 0
    assert states(mi4) == {"a": "succeeded", "b": "succeeded"}


def test_a_running_engine_gets_them(mi4, write, engine, beads, eventually):
    engine(write(("x", "true")))
    done = mi4("import", "--agent", "simulated", "--json", beads(bead("a"))).json

    assert (done["live"], done["added"]) == (True, ["a"])
    eventually(lambda: states(mi4).get("a") == "succeeded")


def test_foreign_files_are_task_files_as_well(mi4, beads):
    name = beads(bead("a"), {"_type": "memory"})
    planned = mi4(name, "--dry-run", "--agent", "simulated")
    assert (planned.code, "a" in planned.out) == (0, True)
    done = mi4(name, "--no-ui", "--agent", "simulated")
    assert done.code == 0
    assert "1 entries do not become tasks" in done.err


def test_faults_of_our_own_formats_end_it(mi4, folder):
    Path("t.md").write_text("- [ ] a\n-[ ] b\n")
    wrong = mi4("import", "--dry-run", "t.md", "missing.json")

    assert (wrong.code, wrong.out) == (65, "")
    assert "t.md:2: looks like an item with a box" in wrong.err
    assert "missing.json: no such file" in wrong.err
    assert not (folder / ".mi4").exists()


def test_hostile_text_does_not_reach_the_terminal(mi4, beads):
    done = mi4("import", "--dry-run", beads(bead("a", status="\x1b]52;c;x\x07\x1b[2J"), {"_type": "\x1b[31mred"}))

    assert "\x1b" not in done.out + done.err
    assert "\x07" not in done.out


def test_without_a_file_it_is_a_wrong_call(mi4, folder):
    assert mi4("import").code == 64
