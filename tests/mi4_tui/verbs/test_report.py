"""``mi4-tui report``."""

import json
from pathlib import Path


def test_of_the_stored_state(mi4, write):
    mi4("run", write(("a", "true"), ("b", "exit 1")), "--no-ui", "-q")
    told = mi4("report", "--format", "json").json
    assert {"schema_version", "timestamp", "current_metrics", "bottlenecks", "recommendations", "tasks"} <= set(told)
    assert mi4("report").lines[0].startswith("report of ")


def test_into_a_file(mi4, write):
    mi4("run", write(("a", "true")), "--no-ui", "-q")
    written = mi4("report", "-o", "out.json")
    assert written.code == 0
    assert "out.json" in written.out
    assert "current_metrics" in json.loads(Path("out.json").read_text())


def test_where_it_cannot_be_written(mi4, write):
    mi4("run", write(("a", "true")), "--no-ui", "-q")
    wrong = mi4("report", "-o", "no/such/out.json")
    assert wrong.code == 1
    assert "cannot be written" in wrong.err
