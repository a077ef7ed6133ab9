"""Detectors: what slows a run down, with the evidence and what to do. Pure functions of the metrics.

A detector says nothing until it has enough data, and names only numbers that the metrics hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from ..config import MonitoringSettings
from .metrics import PerformanceMetrics

Severity = Literal["low", "medium", "high", "critical"]
_HIGH_FAILURE = 50.0
"""Percent of failures from which on more than every other task is in vain."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One bottleneck, as it stands in the report."""

    bottleneck_type: str
    severity: Severity
    description: str
    """One sentence with the number that matters."""
    recommendation: str
    """One sentence: what to do."""
    impact_score: float
    """0-100: how much of the work it touches, to order findings."""
    evidence: dict[str, Any]
    """The numbers behind it, by name."""
    action: str
    """The command that helps: ``pause``, or a setting as ``section.name=value``; empty when there is none."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return msgspec.structs.asdict(self)


def detect(
    metrics: PerformanceMetrics, settings: MonitoringSettings, *, reuse_enabled: bool = True
) -> tuple[Finding, ...]:
    """All findings, the one with the greatest impact first."""
    detectors: tuple[Callable[[], Finding | None], ...] = (
        lambda: high_failure_rate(metrics, settings),
        lambda: low_process_reuse(metrics, settings, reuse_enabled=reuse_enabled),
    )
    found = [finding for detector in detectors if (finding := detector()) is not None]
    return tuple(sorted(found, key=lambda finding: -finding.impact_score))


def high_failure_rate(metrics: PerformanceMetrics, settings: MonitoringSettings) -> Finding | None:
    """Many of the tasks that ended have failed or timed out."""
    failed = metrics.tasks_failed + metrics.tasks_timed_out
    ended = metrics.tasks_completed + failed
    if ended < settings.failure_rate_minimum:
        return None
    rate = 100.0 * failed / ended
    if failed == 0 or rate < settings.failure_rate_percent:
        return None
    mostly_late = metrics.tasks_timed_out * 2 > failed
    return Finding(
        bottleneck_type="high_failure_rate",
        severity="high" if rate >= _HIGH_FAILURE else "medium",
        description=f"{failed} of {ended} tasks failed ({rate:.0f} %)",
        recommendation=(
            "Most of them timed out: raise their timeout_seconds, or look in their logs for what they wait for."
            if mostly_late
            else "Pause the queue and read the last lines of the failed tasks before more of them run in vain."
        ),
        impact_score=round(rate, 1),
        evidence={
            "tasks_failed": metrics.tasks_failed,
            "tasks_timed_out": metrics.tasks_timed_out,
            "tasks_ended": ended,
            "failure_rate": round(rate, 1),
            "threshold": settings.failure_rate_percent,
        },
        action="" if mostly_late else "pause",
    )


def low_process_reuse(
    metrics: PerformanceMetrics, settings: MonitoringSettings, *, reuse_enabled: bool = True
) -> Finding | None:
    """Many tasks had to wait for a new worker process; the first one of each slot is always new and is allowed for."""
    rate, dispatches, slots = metrics.process_pool_reuse_rate, metrics.dispatches, metrics.workers
    if rate is None or not dispatches or not slots or dispatches < settings.reuse_rate_minimum * slots:
        return None
    if rate >= settings.reuse_rate_percent:
        return None
    crashed = metrics.workers_crashed or 0
    recommendation, action = _reuse_remedy(crashed, reuse_enabled=reuse_enabled)
    return Finding(
        bottleneck_type="low_process_reuse",
        severity="medium" if rate >= settings.reuse_rate_percent / 2 else "high",
        description=f"only {rate:.0f} % of {dispatches} dispatches went to a warm worker",
        recommendation=recommendation,
        impact_score=round(100.0 - rate, 1),
        evidence={
            "process_pool_reuse_rate": round(rate, 1),
            "dispatches": dispatches,
            "workers": slots,
            "workers_started": metrics.workers_started,
            "workers_crashed": metrics.workers_crashed,
            "threshold": settings.reuse_rate_percent,
        },
        action=action,
    )


def _reuse_remedy(crashed: int, *, reuse_enabled: bool) -> tuple[str, str]:
    if not reuse_enabled:
        return "Reuse is switched off: set codex.enable_process_reuse to true.", "codex.enable_process_reuse=true"
    if crashed:
        return f"{crashed} workers crashed: find out which tasks end them (mi4-tui logs).", ""
    return "Workers are let go too early: raise orchestration.worker_timeout or orchestration.recycle_after_tasks.", ""
