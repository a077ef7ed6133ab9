"""What the app says about tasks: plain functions from rows of the projection to words, without Textual.

A state is always a glyph, a word and a colour role. All text that a task could have chosen goes through `formatting.plain` here, so
that widgets only ever see text that is safe to show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.events.projection import TaskRow

from .formatting import clock_time, count, duration, plain, short_count

AGE_PER_SECOND = 10.0 / 3600.0
"""What a waiting task's score gains each second; equal to the engine's own by test."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a state is shown."""

    glyph: str
    letter: str
    """Instead of the glyph on terminals with ASCII only."""
    word: str
    role: str
    """Colour: ``error warning accent success secondary muted plain``."""
    rank: int
    """Place on the board: what happens now first, what needs somebody next, what is over last."""


LOOKS: dict[str, Look] = {
    "running": Look("▸", ">", "running", "accent", 0),
    "cancelling": Look("▸", ">", "stopping", "warning", 0),
    "leased": Look("▸", ">", "starting", "accent", 1),
    "failed": Look("✗", "x", "failed", "error", 2),
    "timed_out": Look("◔", "x", "timed out", "error", 2),
    "held": Look("!", "!", "held", "warning", 3),
    "skipped": Look("⊘", "!", "skipped", "warning", 4),
    "backoff": Look("↺", "r", "retrying", "warning", 5),
    "queued": Look("∙", ".", "queued", "plain", 6),
    "pending": Look("◌", ".", "waiting", "muted", 7),
    "cancelled": Look("⊗", "x", "cancelled", "muted", 8),
    "succeeded": Look("✓", "+", "done", "success", 9),
    "cached": Look("▪", "=", "cached", "secondary", 9),
    "not_needed": Look("◦", "+", "not needed", "muted", 10),
}
"""By name of the shown state: those of the engine, and ``cached`` and ``not_needed`` that it keeps as flag and cause."""
_NOT_NEEDED = ("done_in_file", "run_if_unmet")
_CAUSES = {
    "interrupted": "was running when the engine died",
    "user": "by you",
    "worker_lost": "its worker died",
    "stalled": "no output for too long",
    "verify_failed": "its verify command failed",
    "start_failed": "could not be started",
    "dependency_failed": "a dependency did not succeed",
    "over_budget": "over its token budget",
    "shutdown": "the engine was stopped",
    "fail_fast": "another task failed",
    "done_in_file": "done in the file",
    "run_if_unmet": "its run_if was not met",
    "superseded": "replaced by a newer form of it",
}
PRIORITIES = ((400.0, "C", "critical"), (300.0, "H", "high"), (200.0, "M", "normal"), (0.0, "L", "low"))


def shown_state(row: TaskRow) -> str:
    """The key of `LOOKS` for a task."""
    if row.state == "succeeded" and row.cached:
        return "cached"
    if row.state == "skipped" and row.cause in _NOT_NEEDED:
        return "not_needed"
    return row.state if row.state in LOOKS else "pending"


def look(row: TaskRow) -> Look:
    """How a task's state is shown."""
    return LOOKS[shown_state(row)]


def board_order(row: TaskRow) -> tuple[int, float, int]:
    """Sort key of the board: by rank; waiting tasks by score, finished ones newest first; then by age."""
    rank = look(row).rank
    if rank >= 8:
        return (rank, -(row.finished_at or 0.0), row.key)
    return (rank, -row.score_base, row.key)


def score_now(row: TaskRow, now: float) -> float:
    """The task's score at `now` (seconds since the epoch)."""
    return row.score_base + AGE_PER_SECOND * now


def priority_letter(priority: float) -> str:
    """``C H M L`` for critical, high, normal and low; what lies between counts as the lower one."""
    return next(letter for least, letter, _ in PRIORITIES if priority >= least or least == 0.0)


def priority_name(priority: float) -> str:
    """``high``, or ``normal + 50`` for what lies between the named levels."""
    least, name = next((least, name) for least, _, name in PRIORITIES if priority >= least or least == 0.0)
    base = least or 100.0
    return name if priority == base else f"{name} {priority - base:+.0f}"


def task_title(row: TaskRow) -> str:
    """The title, or the id of a task without one; safe to show."""
    return plain(row.title) or plain(row.id)


def cause_text(cause: str) -> str:
    """A cause in words; one that is not known is shown as it is."""
    return _CAUSES.get(cause, plain(cause))


def detail(row: TaskRow, now: float) -> str:
    """The one thing worth knowing about a task in its state, safe to show."""
    state = shown_state(row)
    if state == "running":
        return plain(row.progress) or plain(row.last_line) or (f"{count(row.lines)} lines" if row.lines else "")
    if state in ("failed", "timed_out", "cancelled", "skipped", "held", "not_needed"):
        return _ending(row)
    if state == "backoff":
        left = (row.retry_at or now) - now
        when = f"in {duration(left)}" if left > 0 else "due"
        return f"{when}: {plain(row.error)}" if row.error else when
    if state == "pending" and row.waits_for:
        more = f" +{len(row.waits_for) - 1}" if len(row.waits_for) > 1 else ""
        return f"for {plain(row.waits_for[0])}{more}"
    if state == "queued" and row.attempt:
        return f"after {row.attempt} {'attempt' if row.attempt == 1 else 'attempts'}"
    if state in ("succeeded", "cached"):
        return _success(row)
    return ""


def _ending(row: TaskRow) -> str:
    text = plain(row.error) or cause_text(row.cause)
    if not text and row.exit_code is not None:
        text = f"exit {row.exit_code}"
    return text


def _success(row: TaskRow) -> str:
    if row.already_done:
        return "done before"
    if row.tokens is not None and row.tokens.total:
        return f"{short_count(row.tokens.total)} tokens"
    if row.attempt > 1:
        return f"attempt {row.attempt}"
    return f"{count(row.lines)} {'line' if row.lines == 1 else 'lines'}" if row.lines else ""


def time_shown(row: TaskRow, now: float) -> str:
    """Run time of a task that runs or ran, waiting time of one that is ready; else empty."""
    if row.state in ("running", "cancelling") and row.started_at is not None:
        return duration(now - row.started_at)
    if row.state == "queued" and row.ready_at is not None:
        return duration(now - row.ready_at)
    if row.finished_at is not None and row.duration_s:
        return duration(row.duration_s)
    return ""


WIDEST_TITLE = 56
"""Cells that a title may have before the detail gets all the rest."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Cells of each column of the board; 0 leaves a column out."""

    state: int
    id: int
    title: int
    detail: int
    category: int
    worker: int
    score: int
    time: int


def columns_for(width: int, longest_id: int) -> Columns:
    """How `width` cells are shared; `longest_id` is the widest id in cells."""
    state = 12
    identity = min(max(longest_id, 3), 10 if width < 100 else 16)
    fixed = 5 + state + identity + 2 + 8  # bar, mark, priority, pending mark, blank | state | id, gap | time, blank
    worker = 4 if width >= 60 else 0
    score = 5 if width >= 64 else 0
    category = 11 if width >= 110 else 0
    free = max(0, width - fixed - worker - score - category)
    shown_detail = max(free * 2 // 5, free - WIDEST_TITLE) if free >= 24 else 0
    return Columns(state, identity, free - shown_detail, max(0, shown_detail - 1), category, worker, score, 7)


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of text in one colour role."""

    text: str
    role: str = "plain"
    bold: bool = False


def empty_state(total: int, filter_text: str) -> tuple[str, ...]:
    """What the board says when it has no rows: why, and what comes next."""
    if total and filter_text:
        return (f"no task of {count(total)} matches  {plain(filter_text)}", "Esc shows all again")
    return (
        "no tasks yet",
        "in another terminal:  mi4-tui add FILE",
        "or leave with q and start one:  mi4-tui tasks.yaml",
    )


def number_of(values: Mapping[str, Any], name: str) -> float | None:
    """The number with this name; None where it is missing or no number."""
    value = values.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


_TERM_NAMES = {
    "priority": "priority 100-400",
    "age": "age, 10 an hour",
    "retries": "retries left, 5 each",
    "timeout": "has a time-out, 20",
    "dependencies": "dependencies, -3 each",
    "manual": "moved by hand",
}


def explanation(row: TaskRow | None, data: Mapping[str, Any], now: float) -> list[Piece]:
    """The score of a task term by term, its place, and what it waits for; one piece a line."""
    terms = data.get("terms")
    lines = [Piece("Score", bold=True)]
    if isinstance(terms, Mapping):
        values = {str(name): number_of(terms, name) or 0.0 for name in terms}
        lines += [Piece(f"  {_TERM_NAMES.get(name, plain(name)):<24}{value:>10.1f}") for name, value in values.items()]
        total = number_of(data, "score")
        lines.append(Piece(f"  {'together':<24}{sum(values.values()) if total is None else total:>10.1f}", bold=True))
    place = data.get("place")
    if isinstance(place, int):
        before = f"{count(place)} before it" if place else "nothing before it"
        lines += [Piece(""), Piece(f"Place {count(place + 1)} in the queue, {before}", bold=True)]
    if data.get("reason"):
        lines += [Piece(""), Piece("Now", bold=True), Piece(f"  {plain(str(data['reason']))}")]
    waits = data.get("waits_for") or ()
    if waits:
        lines += [Piece(""), Piece("Waits for", bold=True)]
        lines += [Piece(f"  {plain(str(name))}") for name in waits[:12]]
        if len(waits) > 12:
            lines.append(Piece(f"  and {len(waits) - 12} more"))
    return lines + (_facts(row, now) if row is not None else [])


def _facts(row: TaskRow, now: float) -> list[Piece]:
    shape = look(row)
    facts = [
        ("state", f"{shape.word} {detail(row, now)}".strip()),
        ("priority", priority_name(row.priority)),
        ("category", plain(row.category)),
        ("kind", plain(row.kind)),
        ("attempt", str(row.attempt) if row.attempt else ""),
        ("retries left", str(row.retries_left) if row.retries_left else ""),
        ("added", clock_time(row.created_at) if row.created_at else ""),
    ]
    return [Piece(""), Piece("Task", bold=True), *(Piece(f"  {name:<14}{text}") for name, text in facts if text)]
