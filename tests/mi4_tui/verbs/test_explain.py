"""``mi4-tui explain``."""

from mi4_tui.verbs.explain import explanation_lines


def test_the_terms_add_up(mi4, write):
    task = {"id": "a", "kind": "shell", "command": ["true"], "timeout_seconds": 5, "max_retries": 2, "priority": "high"}
    mi4("add", write(task))
    told = mi4("explain", "a", "--json").json
    assert told["state"] == "queued"
    assert told["terms"]["priority"] == 300
    assert abs(told["score"] - sum(told["terms"].values())) < 0.01
    shown = mi4("explain", "a")
    assert shown.lines[0] == "a: queued"
    assert any(line.split() == ["timeout", "+20.0"] for line in shown.lines)
    assert any(line.split() == ["retries", "+10.0"] for line in shown.lines)


def test_how_its_attempts_went(mi4, write):
    mi4(
        "run",
        write(("bad", "exit 3"), {"id": "next", "kind": "shell", "command": ["true"], "dependencies": ["bad"]}),
        "-q",
    )
    assert any("attempt 1: failed" in line for line in mi4("explain", "bad").lines)
    assert mi4("explain", "next").lines[0] == "next: skipped (dependency_failed)"


def test_what_it_waits_for():
    data = {"id": "x", "state": "pending", "score": 197.0, "terms": {"age": 0.01}, "waits_for": ["a", "b"], "place": 3}
    assert list(explanation_lines(data)) == ["x: pending", "  score 197.0", "  tasks before it: 3", "  waits for: a, b"]


def test_an_unknown_task(mi4, write):
    mi4("add", write(("a", "true")))
    assert mi4("explain", "zzz").code == 1
