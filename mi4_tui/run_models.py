"""What the app says about the run as a whole: counters, banner, worker panes, metrics and bottlenecks, as plain functions.

The same rules as in `view_models`: no Textual, and all text that a task could have chosen goes through `formatting.plain`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len

from engine.events.projection import RunRow, TaskRow, WorkerRow

from .formatting import count, duration, percent, plain, short_count, size
from .view_models import LOOKS, Piece, number_of

COUNTER_ORDER = (
    "failed",
    "timed_out",
    "held",
    "skipped",
    "running",
    "backoff",
    "queued",
    "pending",
    "succeeded",
    "cached",
    "cancelled",
    "not_needed",
)
"""Most urgent first: what does not fit is dropped from the end."""


def progress_share(counts: Mapping[str, int]) -> float:
    """Share of tasks in a final state, 0 to 1; 0 without tasks."""
    total = counts.get("total", 0)
    ended = sum(counts.get(state, 0) for state in ("succeeded", "failed", "timed_out", "cancelled", "skipped"))
    return ended / total if total else 0.0


def counter_values(counts: Mapping[str, int]) -> dict[str, int]:
    """Tasks by shown state, so that every task is counted once: cached apart from done, not needed apart from skipped."""
    values = {name: counts.get(name, 0) for name in COUNTER_ORDER}
    values["running"] += counts.get("leased", 0) + counts.get("cancelling", 0)
    values["succeeded"] = max(0, values["succeeded"] - values["cached"])
    values["skipped"] = max(0, values["skipped"] - values["not_needed"])
    return values


def time_left(counts: Mapping[str, int], metrics: Mapping[str, Any] | None) -> str:
    """How long the open tasks take at the present throughput, as ``~12m00s``; empty where that cannot be told."""
    rate = number_of(metrics or {}, "throughput_tasks_per_minute") or 0.0
    waiting = sum(counts.get(name, 0) for name in ("pending", "queued", "leased", "running", "backoff", "cancelling"))
    return f"~{duration(waiting / rate * 60)}" if rate > 0 and waiting else ""


def counters(counts: Mapping[str, int], width: int, *, left: str = "", ascii_only: bool = False) -> list[Piece]:
    """The counter line: share done, a bar, the time left, then counters by urgency; one that does not fit is left out whole."""
    if not counts.get("total"):
        return [Piece("no tasks yet", "muted")]
    head = [Piece(percent(100 * progress_share(counts)).rjust(5), "plain", bold=True)]
    if width >= 96:
        bar_width = min(24, (width - 60) // 3)
        head.append(_bar(progress_share(counts), bar_width, ascii_only=ascii_only))
    if left:
        head.append(Piece(left))
    room = width - sum(cell_len(piece.text) + 2 for piece in head)
    values = {name: number for name, number in counter_values(counts).items() if number}
    pieces: list[Piece] = []
    for worded in range(len(values), 0, -1):  # the most urgent keep their word longest
        pieces = [
            _counter(name, number, ascii_only, worded=place < worded)
            for place, (name, number) in enumerate(values.items())
        ]
        if sum(cell_len(piece.text) for piece in pieces) + 2 * max(0, len(pieces) - 1) <= room:
            break
    return head + _that_fit(pieces, room)


def _that_fit(pieces: list[Piece], room: int) -> list[Piece]:
    taken: list[Piece] = []
    for piece in pieces:
        needed = cell_len(piece.text) + (2 if taken else 0)
        if needed > room:
            break  # by urgency: nothing less urgent may stand where a more urgent counter did not fit
        taken.append(piece)
        room -= needed
    return taken


def _counter(name: str, number: int, ascii_only: bool, *, worded: bool) -> Piece:
    shape = LOOKS[name]
    glyph = shape.letter if ascii_only else shape.glyph
    text = f"{glyph} {count(number)} {shape.word}" if worded else f"{glyph}{count(number)}"
    return Piece(text, shape.role, bold=shape.role in ("error", "warning"))


def _bar(share: float, width: int, *, ascii_only: bool) -> Piece:
    full = int(share * width)
    done, rest = ("#", "-") if ascii_only else ("━", "─")
    return Piece(done * full + rest * (width - full), "accent")


def run_note(run: RunRow, *, connected: bool, stale_s: float) -> Piece | None:
    """The line that must not be missed, worst first: connection lost, storage trouble, paused, draining, finished."""
    if not connected:
        return Piece(
            f"engine lost {duration(stale_s)} ago - what you see is old - q leaves, 'mi4-tui attach' tries again",
            "error",
            True,
        )
    if run.trouble:
        return Piece(
            f"state folder cannot be written: {plain(run.trouble)} - nothing new starts until it can", "error", True
        )
    if run.state == "paused" or run.paused_reason:
        return Piece(
            f"paused{': ' + plain(run.paused_reason) if run.paused_reason else ''} - nothing new starts - p goes on",
            "warning",
            True,
        )
    if run.paused_categories:
        names = ", ".join(plain(name) for name in run.paused_categories)
        return Piece(f"paused categories: {names}", "warning", True)
    if run.state == "draining":
        return Piece("stopping: what runs is finished first, nothing new starts", "warning", True)
    return None


def is_finished(run: RunRow, counts: Mapping[str, int]) -> bool:
    """Whether nothing is left that an engine would have to be kept for."""
    busy = sum(counts.get(name, 0) for name in ("pending", "queued", "leased", "running", "backoff", "cancelling"))
    return run.state == "finished" or busy == 0


def open_tasks(counts: Mapping[str, int]) -> str:
    """How many tasks run and wait, for the question before leaving."""
    values = counter_values(counts)
    waiting = values["queued"] + values["pending"] + values["backoff"]
    parts = [(values["running"], "running"), (waiting, "waiting"), (values["held"], "held")]
    return ", ".join(f"{count(number)} {word}" for number, word in parts if number) or "nothing is open"


def finished_line(run: RunRow) -> Piece | None:
    """What the run came to, once nothing is left to run."""
    told = run.finished
    if run.state != "finished" or not told:
        return None
    bad = sum(int(told.get(name, 0)) for name in ("failed", "timed_out", "held"))
    named = ("succeeded", "failed", "timed_out", "cancelled", "skipped", "held")
    parts = [f"{count(int(told[name]))} {name.replace('_', ' ')}" for name in named if told.get(name)]
    role = "error" if bad else "success"
    return Piece(
        f"finished in {duration(float(told.get('duration_s', 0.0)))}: {', '.join(parts) or 'nothing to run'} - E writes the report",
        role,
        True,
    )


@dataclass(frozen=True, slots=True)
class PaneText:
    """What one worker pane shows."""

    title: str
    facts: tuple[str, ...]
    """For the bottom edge, most important first; those that do not fit are left out."""
    lines: tuple[str, ...]
    role: str
    """Colour role of the title."""
    note: str = ""
    """Instead of lines, when there are none."""


def pane(
    number: int | None, worker: WorkerRow, task: TaskRow | None, now: float, *, ascii_only: bool = False
) -> PaneText:
    """A worker slot in words; `task` is the row of what it runs or ran last."""
    key = f"{number} " if number is not None else ""
    summary = worker.summary
    since = duration(now - worker.since) if worker.since else ""
    lines = tuple(plain(line) for line in summary.tail) if summary is not None else ()
    facts = tuple(_summary_parts(worker, since))
    if worker.state == "busy":
        glyph = ">" if ascii_only else "▸"
        title = (
            f"{key}{plain(worker.name)} {glyph} {plain(worker.task_id)} {plain(task.title) if task else ''}".rstrip()
        )
        return PaneText(title, facts, lines, "accent", "" if lines else "no output yet")
    words = {"idle": "idle", "starting": "starting", "broken": "broken", "stopped": "stopped"}
    title = f"{key}{plain(worker.name)} {words.get(worker.state, plain(worker.state))} {since}".rstrip()
    note = plain(worker.note) or _idle_note(worker)
    return PaneText(title, facts, lines, "error" if worker.state == "broken" else "muted", note)


def _idle_note(worker: WorkerRow) -> str:
    return {"idle": "nothing ready to run", "starting": "the worker process is starting"}.get(worker.state, "")


def _summary_parts(worker: WorkerRow, since: str) -> list[str]:
    summary = worker.summary
    parts: list[str] = []
    if worker.state == "busy":
        parts.append(since)
        if summary is not None and summary.progress:
            parts.append(plain(summary.progress)[:24])
    if summary is not None and summary.lines:
        parts.append(f"{count(summary.lines)} {'line' if summary.lines == 1 else 'lines'}")
    if summary is not None and summary.error_lines:
        parts.append(f"{count(summary.error_lines)} with errors")
    parts.append(f"{count(worker.tasks_run)} {'task' if worker.tasks_run == 1 else 'tasks'} run")
    return [part for part in parts if part]


def metric_parts(metrics: Mapping[str, Any] | None) -> list[str]:
    """Throughput, reuse rate, cache rate, CPU and memory, in this order; what is not known is left out."""
    if not metrics:
        return ["no measurements yet"]
    wanted: Sequence[tuple[str, Any]] = (
        ("throughput_tasks_per_minute", lambda v: f"{short_count(v) if v >= 10 else f'{v:.1f}'} tasks/min"),
        ("average_task_time", lambda v: f"mean {duration(v)}"),
        ("process_pool_reuse_rate", lambda v: f"reuse {percent(v)}"),
        ("cache_hit_rate", lambda v: f"cache {percent(v)}"),
        ("cpu_usage", lambda v: f"CPU {v:.0f} %"),
        ("memory_usage", lambda v: f"RSS {size(v)}"),
    )
    known = ((number_of(metrics, name), words) for name, words in wanted)
    return [words(value) for value, words in known if value is not None] or ["no measurements yet"]


_SEVERITY = {"critical": 3, "high": 2, "medium": 1, "low": 0}


@dataclass(frozen=True, slots=True)
class Advice:
    """The bottleneck panel: one finding in one line each."""

    title: str
    evidence: str
    remedy: str
    role: str
    more: int
    """How many other findings there are."""


def advice(findings: Sequence[Mapping[str, Any]], *, measured: bool) -> Advice:
    """The worst finding; without one, that nothing was found (or that it is too early to say)."""
    if not findings:
        text = "none found" if measured else "measuring"
        return Advice(f"Bottleneck: {text}", "", "", "muted", 0)
    worst = max(findings, key=_weight)
    severity = str(worst.get("severity", "")).lower()
    return Advice(
        f"Bottleneck: {plain(str(worst.get('description') or worst.get('bottleneck_type', '')))}",
        _evidence(worst.get("evidence")),
        plain(str(worst.get("recommendation", ""))),
        "error" if _SEVERITY.get(severity, 1) >= 2 else "warning",
        len(findings) - 1,
    )


def _weight(finding: Mapping[str, Any]) -> tuple[int, float]:
    return (_SEVERITY.get(str(finding.get("severity", "")).lower(), 1), number_of(finding, "impact_score") or 0.0)


def _evidence(value: Any) -> str:
    if isinstance(value, Mapping):
        return "  ".join(f"{plain(str(name)).replace('_', ' ')} {_short(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return "  ".join(_short(item) for item in value)
    return _short(value) if value else ""


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return plain(str(value))


_SPARKS = "▁▂▃▄▅▆▇█"
_ASCII_SPARKS = "_.-=*#"


def spark(values: Sequence[float], width: int, *, ascii_only: bool = False) -> str:
    """The last `width` values as a curve from 0 to their highest; empty without values."""
    shown = values[-width:] if width > 0 else []
    highest = max(shown, default=0.0)
    levels = _ASCII_SPARKS if ascii_only else _SPARKS
    if highest <= 0:
        return levels[0] * len(shown)
    return "".join(levels[min(len(levels) - 1, round(value / highest * (len(levels) - 1)))] for value in shown)
