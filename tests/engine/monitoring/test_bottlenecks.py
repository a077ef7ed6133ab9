"""Detectors speak only with enough data, and only in numbers that the metrics hold."""

import json

import pytest

from engine.config import MonitoringSettings
from engine.monitoring.bottlenecks import detect
from engine.monitoring.metrics import PerformanceMetrics

SETTINGS = MonitoringSettings(
    failure_rate_percent=20, failure_rate_minimum=5, reuse_rate_percent=50, reuse_rate_minimum=10
)


def found(settings=SETTINGS, *, reuse_enabled=True, **metrics):
    return detect(PerformanceMetrics(**metrics), settings, reuse_enabled=reuse_enabled)


def one(**metrics):
    (finding,) = found(**metrics)
    return finding


def pool(rate, dispatches=100, workers=3, **more):
    return {"process_pool_reuse_rate": rate, "dispatches": dispatches, "workers": workers, **more}


def test_a_healthy_run_has_no_bottleneck():
    assert found() == ()
    assert found(tasks_completed=100, tasks_failed=1, **pool(97.0)) == ()


@pytest.mark.parametrize(
    ("completed", "failed", "timed_out", "severity"),
    [
        (4, 1, 0, "medium"),
        (8, 1, 1, "medium"),
        (0, 5, 0, "high"),
        (5, 5, 0, "high"),
        (81, 19, 0, None),
        (1, 3, 0, None),
    ],
)
def test_high_failure_rate(completed, failed, timed_out, severity):
    findings = found(tasks_completed=completed, tasks_failed=failed, tasks_timed_out=timed_out)

    assert [finding.severity for finding in findings] == ([severity] if severity else [])


def test_a_failure_finding_carries_its_numbers():
    finding = one(tasks_completed=6, tasks_failed=3, tasks_timed_out=1)

    assert finding.bottleneck_type == "high_failure_rate"
    assert finding.description == "4 of 10 tasks failed (40 %)"
    assert finding.evidence == {
        "tasks_failed": 3, "tasks_timed_out": 1, "tasks_ended": 10, "failure_rate": 40.0, "threshold": 20.0
    }  # fmt: skip
    assert (finding.impact_score, finding.action) == (40.0, "pause")


def test_time_outs_have_another_remedy():
    finding = one(tasks_completed=1, tasks_failed=1, tasks_timed_out=4)

    assert "timeout_seconds" in finding.recommendation
    assert finding.action == ""


def test_without_a_failure_there_is_no_failure_rate():
    assert found(MonitoringSettings(failure_rate_percent=0), tasks_completed=10) == ()


@pytest.mark.parametrize(
    ("metrics", "severity"),
    [
        (pool(49.0), "medium"),
        (pool(10.0), "high"),
        (pool(50.0), None),
        (pool(0.0, dispatches=29), None),
        (pool(0.0, dispatches=30), "high"),
        (pool(None), None),
        (pool(0.0, workers=None), None),
    ],
)
def test_low_process_reuse(metrics, severity):
    assert [finding.severity for finding in found(**metrics)] == ([severity] if severity else [])


def test_the_remedy_for_low_reuse_follows_its_cause():
    crashed = one(**pool(20.0, workers_crashed=7))
    early = one(**pool(20.0, workers_crashed=0))
    (off,) = found(reuse_enabled=False, **pool(0.0))

    assert "7 workers crashed" in crashed.recommendation
    assert "worker_timeout" in early.recommendation
    assert off.action == "codex.enable_process_reuse=true"
    assert crashed.evidence["workers_crashed"] == 7


def test_the_greatest_impact_comes_first():
    kinds = [finding.bottleneck_type for finding in found(tasks_completed=6, tasks_failed=4, **pool(20.0))]

    assert kinds == ["low_process_reuse", "high_failure_rate"]


def test_findings_are_json_with_the_names_of_the_report():
    plain = one(**pool(20.0)).as_dict()

    assert set(plain) == {
        "bottleneck_type", "severity", "description", "recommendation", "impact_score", "evidence", "action"
    }  # fmt: skip
    assert json.loads(json.dumps(plain)) == plain
