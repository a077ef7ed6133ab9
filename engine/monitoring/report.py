"""The JSON report of a run: built from the projection and the metrics, so that it shows the numbers that everything else shows."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from ..errors import EngineError
from ..events.projection import TaskRow
from .bottlenecks import Finding
from .metrics import PerformanceMetrics

SCHEMA_VERSION = 1
_TASK_FIELDS = (
    "id", "title", "category", "kind", "priority", "generation", "state", "cause", "attempt", "worker", "created_at",
    "started_at", "finished_at", "duration_s", "wait_s", "cached", "already_done", "warm", "exit_code", "error", "lines", "bytes",
    "cost_usd", "dependencies",
)  # fmt: skip


def build_report(
    rows: Iterable[TaskRow],
    metrics: PerformanceMetrics | None,
    findings: Sequence[Finding],
    settings: Mapping[str, Any],
    run: Mapping[str, Any],
    *,
    now: float,
) -> dict[str, Any]:
    """The report as JSON holds it.

    `rows` are the tasks of the projection, `settings` and `run` plain tables, `now` seconds since the epoch. Without metrics (they
    are switched off) the report says null and finds nothing.
    """
    ordered = sorted(findings, key=lambda finding: -finding.impact_score)
    return {
        "schema_version": SCHEMA_VERSION,
        "timestamp": iso(now),
        "run": dict(run),
        "settings": dict(settings),
        "current_metrics": None if metrics is None else msgspec.structs.asdict(metrics),
        "trends": {},
        "bottlenecks": [finding.as_dict() for finding in ordered],
        "recommendations": [finding.recommendation for finding in ordered],
        "tasks": [_task(row) for row in rows],
    }


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Put the report at `path` whole or not at all, readable by its owner only. Raises `EngineError` when it cannot be written."""
    data = json.dumps(report, indent=2, allow_nan=False).encode()
    draft = path.with_name(f".{path.name[:60]}.{uuid.uuid4().hex[:8]}")
    try:
        _write_new(draft, data)
        try:
            draft.replace(path)
        except OSError:
            draft.unlink()
            raise
    except OSError as error:
        raise EngineError(f"the report cannot be written to {path}: {error.strerror}") from error


def default_report_name(now: float) -> str:
    """``mi4-report-<local time>.json``; `now` in seconds since the epoch."""
    return f"mi4-report-{datetime.fromtimestamp(now).astimezone():%Y%m%d-%H%M%S}.json"


def iso(time: float) -> str:
    """The moment in UTC as ISO 8601."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds")


def _task(row: TaskRow) -> dict[str, Any]:
    task = {name: getattr(row, name) for name in _TASK_FIELDS}
    task["dependencies"] = list(row.dependencies)
    task["tokens"] = None if row.tokens is None else {**msgspec.structs.asdict(row.tokens), "total": row.tokens.total}
    return task


def _write_new(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
