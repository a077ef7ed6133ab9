"""Issues of GitHub."""

import pytest

from engine.tasks.imports.github import issues_of, read_github, repositories_of


def read(*issues, **more):
    records = read_github([(issue, number) for number, issue in enumerate(issues, 1)], **more).records()
    return {item["id"]: item for item in records.items}, records.warnings, records.skipped


def issue(number, body="", **more):
    return {"number": number, "title": f"T {number}", "body": body, "state": "OPEN", **more}


def url(number, repository="o/r"):
    return f"https://github.example/{repository}/issues/{number}"


def test_both_shapes():
    items, _, _ = read(
        issue(
            1,
            labels=[{"name": "P1"}, {"name": "Area/UI"}],
            createdAt="2026-01-01T00:00:00Z",
            milestone={"title": "M", "dueOn": "2026-02-01T00:00:00Z"},
        ),
        {
            "number": 2,
            "title": "x",
            "state": "open",
            "labels": ["priority: high", "type/bug"],
            "created_at": "2026-01-01T00:00:00Z",
            "html_url": url(2),
        },
    )

    first, second = items["gh-1"], items["gh-2"]
    assert (first["priority"], first["category"], first["tags"]) == (300, "ui", ["p1", "area/ui", "M"])
    assert (first["created_at"], first["due_at"]) == ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z")
    assert (second["priority"], second["category"], second["external_ref"]) == (300, "bug", url(2))


def test_states():
    items, _, skipped = read(
        issue(1, state="CLOSED"), issue(2, state="closed", state_reason="not_planned"), issue(3, state="CLOSED", stateReason="NOT_PLANNED"),
        issue(4, state="odd"), {"number": 5, "title": "x", "closed": True}, {"number": 6, "title": "x"}, issue(7, "Blocked by #3"),
    )  # fmt: skip

    assert {name: item["status"] for name, item in items.items()} == {
        "gh-1": "done",
        "gh-4": "held",
        "gh-5": "done",
        "gh-6": "open",
        "gh-7": "held",
    }
    assert [line for line, _ in skipped] == [2, 3]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("Blocked by #2", ["gh-2"]),
        ("depends on: #2, #3 and #4.", ["gh-2", "gh-3", "gh-4"]),
        (f"Blocked by {url(2)}", ["gh-2"]),
        ("Requires o/r#2", ["gh-2"]),
        ("- [ ] #2\n- [x] #3 with words\n- [ ] words #4", ["gh-2", "gh-3"]),
        ("Fixes #2, see #3", []),
        ("```\nBlocked by #2\n```\nand Blocked by #3", ["gh-3"]),
        ("Blocked by #1", []),
        ("Blocked by p/q#2", []),
    ],
)
def test_dependencies_stand_in_the_body(body, expected):
    items, warnings, _ = read(issue(1, body, url=url(1)))

    assert items["gh-1"].get("dependencies", []) == expected
    assert bool(warnings) == ("p/q" in body)


def test_several_repositories_are_told_apart():
    issues = [issue(1, url=url(1)), issue(1, "Depends on o/r#1 and #2", url=url(1, "p/q"))]
    items, _, _ = read(*issues)

    assert repositories_of(issues) == {"o/r", "p/q"}
    assert list(items) == ["o/r#1", "p/q#1"]
    assert items["p/q#1"]["dependencies"] == ["o/r#1", "p/q#2"]
    assert list(read(issues[0], qualify=True)[0]) == ["o/r#1"]


def test_pull_requests_and_strangers_are_skipped():
    items, _, skipped = read(
        issue(1, pull_request={}), issue(2, url="https://github.example/o/r/pull/2"), 5, {"title": "x"}, issue(True)
    )

    assert items == {}
    assert len(skipped) == 5


@pytest.mark.parametrize(("count", "warned"), [(29, False), (30, True), (31, False)])
def test_thirty_issues_are_a_reason_to_ask(count, warned):
    _, warnings, _ = read(*(issue(number) for number in range(1, count + 1)))

    assert bool(warnings) == warned


def test_ways_to_hold_a_list():
    assert issues_of({"items": [1]}) == [1]
    assert issues_of({"number": 1}) == [{"number": 1}]
    assert issues_of([1]) == [1]
