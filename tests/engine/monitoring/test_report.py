"""The JSON report and the way it gets to the disk."""

import json
import stat

import pytest

from engine.errors import EngineError
from engine.events.projection import TaskRow
from engine.monitoring.bottlenecks import Finding
from engine.monitoring.metrics import PerformanceMetrics
from engine.monitoring.report import build_report, default_report_name, write_report
from engine.tasks.model import Tokens


def finding(score: float) -> Finding:
    return Finding(
        bottleneck_type="x",
        severity="low",
        description="d",
        recommendation=f"r{score}",
        impact_score=score,
        evidence={},
        action="",
    )


def report(**options):
    rows = [TaskRow(key=1, id="a", tokens=Tokens(input=3, output=4), dependencies=("b",)), TaskRow(key=2, id="b")]
    arguments = {"rows": rows, "metrics": PerformanceMetrics(tasks_completed=2), "findings": [], **options}
    return build_report(settings={"ui": {}}, run={"run_id": "r"}, now=0.0, **arguments)


def test_the_report_has_its_parts():
    content = report(findings=[finding(1.0), finding(2.0)])

    assert list(content) == [
        "schema_version", "timestamp", "run", "settings", "current_metrics", "trends", "bottlenecks", "recommendations", "tasks"
    ]  # fmt: skip
    assert content["timestamp"] == "1970-01-01T00:00:00.000+00:00"
    assert content["current_metrics"]["tasks_completed"] == 2
    assert content["current_metrics"]["cpu_usage"] is None
    assert content["recommendations"] == ["r2.0", "r1.0"]
    assert [entry["impact_score"] for entry in content["bottlenecks"]] == [2.0, 1.0]


def test_tasks_have_all_fields_and_tokens_their_total():
    first, second = report()["tasks"]

    assert first["tokens"] == {"input": 3, "cached": 0, "output": 4, "reasoning": 0, "total": 7}
    assert first["dependencies"] == ["b"]
    assert (second["tokens"], second["exit_code"], second["error"]) == (None, None, "")
    assert set(first) == set(second)


def test_switched_off_metrics_are_null():
    assert report(metrics=None)["current_metrics"] is None


def test_a_written_report_is_whole_and_private(tmp_path):
    path = tmp_path / "r.json"
    path.write_text("old")

    write_report(path, report())

    assert json.loads(path.read_text()) == report()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["r.json"]


def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "precious").write_text("keep")
    (tmp_path / "r.json").symlink_to(tmp_path / "precious")

    write_report(tmp_path / "r.json", report())

    assert (tmp_path / "precious").read_text() == "keep"
    assert not (tmp_path / "r.json").is_symlink()


@pytest.mark.parametrize("name", ["missing/r.json", "folder"])
def test_a_report_that_cannot_be_written_is_one_line_and_leaves_nothing(tmp_path, name):
    (tmp_path / "folder").mkdir()

    with pytest.raises(EngineError, match="the report cannot be written to ") as caught:
        write_report(tmp_path / name, report())

    assert "\n" not in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_what_json_cannot_hold_is_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_report(tmp_path / "r.json", {"x": float("nan")})


def test_the_name_holds_the_time():
    name = default_report_name(0.0)

    assert name.startswith("mi4-report-19")
    assert name.endswith(".json")
