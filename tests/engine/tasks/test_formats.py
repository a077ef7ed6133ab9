"""The one detector: content first, then the name."""

import json
from pathlib import Path

import pytest

from engine.tasks.formats import owner_of, read_text

BEADS = {"id": "a", "title": "t", "issue_type": "task"}
ISSUE = {"number": 1, "title": "t", "state": "OPEN"}
TASK = {"id": 1, "title": "t", "details": ""}
NATIVE = {"id": "a", "title": "t"}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("t.json", json.dumps([NATIVE]), "json"),
        ("t.json", json.dumps({"tasks": [NATIVE]}), "json"),
        ("t.jsonl", json.dumps(NATIVE), "json lines"),
        ("t.jsonl", json.dumps([NATIVE]), "json"),
        ("t.yaml", "- {id: a}", "yaml"),
        ("t.toml", "[[task]]\nid = 1", "toml"),
        ("t.csv", "id,title\n", "csv"),
        ("t.tsv", "id\ttitle\n", "tsv"),
        ("t.md", "- [ ] a", "markdown"),
        ("TASKS.MD", "- [ ] T001 [P] a", "spec-kit"),
        ("t.txt", "- [ ] a", "markdown"),
        ("t", "[[task]]\nid = 1", "toml"),
        ("t", json.dumps([NATIVE]), "json"),
        ("t.json", json.dumps({"master": {"tasks": []}}), "task-master"),
        ("t.json", json.dumps({"tasks": [TASK]}), "task-master"),
        ("t.json", json.dumps({"tasks": [NATIVE], "metadata": {}}), "task-master"),
        ("t.json", json.dumps([TASK]), "task-master"),
        (".taskmaster/tasks/tasks.json", json.dumps({"tasks": [NATIVE]}), "task-master"),
        ("t.json", json.dumps([BEADS]), "beads"),
        ("t.json", json.dumps({"schema_version": 1, "data": [NATIVE]}), "beads"),
        ("t.jsonl", json.dumps({"schema_version": 1, "data": [BEADS]}), "beads"),
        ("t.jsonl", json.dumps(BEADS), "beads"),
        ("t.json", json.dumps(BEADS) + "\n" + json.dumps(BEADS), "beads"),
        ("t.jsonl", json.dumps({"_type": "memory"}), "beads"),
        (".beads/issues.jsonl", json.dumps({"id": "a", "title": "t", "status": "open"}), "beads"),
        (".beads/mine.jsonl", json.dumps({**NATIVE, "command": ["x"]}), "json lines"),
        ("t.json", json.dumps([ISSUE]), "github"),
        ("t.json", json.dumps(ISSUE), "github"),
        ("t.json", json.dumps({"total_count": 1, "items": [ISSUE]}), "github"),
        ("t.jsonl", json.dumps(ISSUE), "github"),
    ],
)
def test_every_format_is_known(name, text, expected):
    records = read_text(Path(name), text)

    assert records.format == expected
    assert records.foreign == (expected in ("task-master", "beads", "github"))
    assert records.faults == []


@pytest.mark.parametrize("name", ["t.ini", "t"])
def test_what_nothing_tells_is_refused(name):
    with pytest.raises(ValueError, match="not a known format"):
        read_text(Path(name), "just text")


def test_a_task_of_ours_is_never_taken_for_another_programs():
    assert owner_of([{"id": 1, "title": "t", "details": "x", "command": ["y"]}], Path()) == ""
    assert owner_of({"tasks": [{"id": 1, "kind": "shell"}]}, Path(".taskmaster/tasks.json")) == ""
    assert owner_of("text", Path()) == ""


def test_several_values_of_ours_under_one_name_stay_a_fault():
    assert "more than one value" in read_text(Path("t.json"), '{"id": 1}\n{"id": 2}').faults[0][1]


def test_bad_lines_of_another_program_are_skipped_with_their_line():
    text = "\n".join(
        [
            json.dumps(BEADS),
            "{half",
            "",
            '{"id": "b", "title": "x", "issue_type": "task", "n": NaN}',
            json.dumps({**BEADS, "id": "c", "notes": "x" * 2**20}),
        ]
    )
    records = read_text(Path("t.jsonl"), text)

    assert [item["id"] for item in records.items] == ["a", "b"]
    assert [line for line, _ in records.skipped] == [2, 5]
    assert "the limit is 1,048,576" in records.skipped[1][1]
    assert records.warnings[0][0] == 4


def test_objects_of_a_document_know_their_line():
    text = json.dumps(
        [
            {**ISSUE, "pull_request": {}},
            {**ISSUE, "number": 2, "labels": [{"name": "}{"}]},
            {**ISSUE, "number": 3, "state": "x"},
        ],
        indent=1,
    )
    records = read_text(Path("t.json"), text)
    lines = text.split("\n")

    assert lines[records.skipped[0][0]].strip().startswith('"number": 1')
    assert [lines[place[""]].strip() for place in records.locate()] == ['"number": 2,', '"number": 3,']
    assert lines[records.warnings[0][0]].strip() == '"number": 3,'


def test_repositories_are_told():
    records = read_text(Path("t.json"), json.dumps([{**ISSUE, "url": "https://github.example/o/r/issues/1"}]))

    assert records.repositories == {"o/r"}
    assert records.qualified is not None
    assert records.qualified().items[0]["id"] == "o/r#1"
