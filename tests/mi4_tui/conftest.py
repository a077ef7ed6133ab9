"""A backlog as a run leaves it half-way, for tests of the app: every state, several workers, hostile text on request."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from engine.events import events as ev
from engine.session import Explain, FindLog, Move, Reply, Reprioritise, RestoreOrder, WriteReport
from engine.tasks.model import OutputSummary, Tokens
from engine.testing import EPOCH, FakeSession, make_added, make_task, run_of
from mi4_tui.app import Mi4App

HOSTILE = "[red]markup[/] \x1b]8;;http://evil\x07link\x1b]8;;\x07 \x1b]52;c;ZXZpbA==\x07 \x9b31m \u202eright-to-left\u202c \x1b[2J 宽字 e\u0301 \u200bend"
"""Everything that text of a task must not be able to do: markup, links, the clipboard, C1, bidi, clearing the screen."""
WORDS = ("refactor", "translate", "test", "review", "document", "lint")
FOLDERS = ("core", "ui", "io", "net")


def settings(**ui: Any) -> Any:
    """Settings as far as the app reads them."""
    known = {"theme": "mi4-dark", "ascii": False, "keymap": {}, "refresh_hz": 10.0}
    return SimpleNamespace(ui=SimpleNamespace(**{**known, **ui}))


def title_of(number: int) -> str:
    """A title such as real backlogs have."""
    return f"{WORDS[number % len(WORDS)]} src/{FOLDERS[number % len(FOLDERS)]}/mod_{number:04}.py"


def added(number: int, **task: Any) -> ev.TaskAdded:
    """Task number so-and-so, with a category and one of four priorities."""
    priority = (100.0, 200.0, 200.0, 300.0, 400.0)[number % 5]
    fields = {"title": title_of(number), "category": FOLDERS[number % 4], "priority": priority, **task}
    return make_added(
        number, make_task(str(number), **fields), score_base=priority - 10.0 * EPOCH / 3600 - number / 100
    )


def life(number: int, *events: tuple[type[ev.TaskEvent], dict[str, Any]]) -> list[ev.Event]:
    """Events about one task."""
    return [kind(task_id=str(number), key=number, **fields) for kind, fields in events]


def begun(number: int, worker: str, at: float, attempt: int = 1) -> list[ev.Event]:
    """A task leased and started."""
    return life(
        number,
        (ev.TaskLeased, {"worker": worker, "attempt": attempt, "time": at}),
        (ev.TaskStarted, {"worker": worker, "attempt": attempt, "time": at}),
    )


def summary(number: int, lines: int, **fields: Any) -> OutputSummary:
    """What a task has printed."""
    tail = tuple(f"{n:>6} read {title_of(n)}  tokens={n * 31}" for n in range(max(0, lines - 40), lines))
    return OutputSummary(lines=lines, bytes=lines * 44, tail=tail, last_line=tail[-1] if tail else "", **fields)


def half_way(total: int = 120, workers: int = 4) -> FakeSession:
    """A session in the middle of a run, with one task or more in every state."""
    session = FakeSession()
    names = [f"w{n}" for n in range(1, workers + 1)]
    happened: list[ev.Event] = [*run_of(*names), *(added(n) for n in range(1, total + 1))]
    happened += [added(total + 1, dependencies=("30", "31")), added(total + 2, status="done")]
    at = EPOCH
    for number in range(1, 25):
        worker = names[number % workers]
        at = EPOCH + number
        happened += begun(number, worker, at)
        ended: dict[str, Any] = {
            "worker": worker,
            "attempt": 1,
            "time": at + 2.4,
            "duration_s": 2.4,
            "lines": 12 * number,
        }
        outcome: dict[str, Any] = {"state": "succeeded", "exit_code": 0}
        if number % 11 == 5:
            outcome = {"state": "failed", "exit_code": 1, "error": "AssertionError: expected 4, got 5"}
        elif number == 9:
            outcome = {"state": "timed_out", "error": "no end after 30 s"}
        elif number % 6 == 0:
            outcome["tokens"] = Tokens(input=900, output=340)
        happened += life(number, (ev.TaskFinished, {**ended, **outcome}))
    happened += life(25, (ev.TaskFinished, {"state": "succeeded", "cached": True, "time": at + 3}))
    happened += life(26, (ev.TaskFinished, {"state": "cancelled", "cause": "user", "time": at + 3}))
    happened += life(27, (ev.TaskHeld, {"cause": "interrupted"}))
    happened += life(28, (ev.TaskFinished, {"state": "skipped", "cause": "dependency_failed", "time": at + 3}))
    for slot, number in enumerate(range(30, 30 + workers - 1)):
        happened += begun(number, names[slot], at + 4 + slot)
        happened.append(
            output(
                number, names[slot], summary(number, 60 * (slot + 1), progress=f"{25 * (slot + 1)}%", error_lines=slot)
            )
        )
    happened += begun(29, names[-1], at + 1)
    happened += life(
        29, (ev.TaskRetryScheduled, {"attempt": 1, "delay_s": 20.0, "retries_left": 2, "error": "exit 1: rate limited"})
    )
    session.publish(*happened)
    session.clock.advance(40.0)
    session.projection.set_worker_note(names[-1], "nothing ready: 1 task waits on #30")
    show_measurements(session)
    give_replies(session)
    return session


def output(number: int, worker: str, told: OutputSummary) -> ev.Event:
    """A task printed."""
    return ev.OutputSummarised(task_id=str(number), key=number, worker=worker, attempt=1, summary=told)


def show_measurements(session: FakeSession) -> None:
    """Metrics and two findings, the worse one last."""
    session.publish(
        ev.FindingsChanged(
            findings=(
                {
                    "bottleneck_type": "low_process_reuse",
                    "severity": "low",
                    "description": "few dispatches reuse a worker",
                    "recommendation": "raise worker_timeout",
                    "impact_score": 10.0,
                    "evidence": {"reuse_rate": 41.0},
                },
                {
                    "bottleneck_type": "high_failure_rate",
                    "severity": "high",
                    "description": "11 % of tasks fail",
                    "recommendation": "look at the first failure: AssertionError (Enter on it), then R to run them again",
                    "impact_score": 60.0,
                    "evidence": {"failed": 3, "finished": 24, "most_common": "AssertionError"},
                },
            )
        )
    )
    for rate in (12.0, 30.0, 55.0, 41.0, 62.0, 58.0):
        session.show_metrics(
            tasks_completed=21,
            average_task_time=2.4,
            throughput_tasks_per_minute=rate,
            process_pool_reuse_rate=83.3,
            cache_hit_rate=4.0,
            cpu_usage=37.5,
            memory_usage=118.0 * 1024 * 1024,
            concurrent_tasks=3,
        )


def give_replies(session: FakeSession) -> None:
    """Answers such as an engine gives."""

    def order(command: Any) -> Reply:
        ids = tuple(command.values) if isinstance(command, RestoreOrder) else command.ids
        rows = {row.id: row for row in session.projection.rows.values()}
        previous = {task_id: (rows[task_id].priority, rows[task_id].manual) for task_id in ids}
        for task_id in ids:
            row = rows[task_id]
            priority, manual = row.priority, row.manual
            if isinstance(command, RestoreOrder):
                priority, manual = command.values[task_id]
            elif isinstance(command, Reprioritise):
                priority = max(100.0, min(400.0, priority + command.delta))
            else:
                manual = 1000.0 if command.where == "top" else -1000.0
            base = row.score_base + (priority - row.priority) + (manual - row.manual)
            session.publish(
                ev.TaskReprioritised(
                    task_id=task_id, key=row.key, priority=priority, manual=manual, score_base=base, score=base
                )
            )
        return Reply(data={"previous": previous})

    for kind in (Reprioritise, Move, RestoreOrder):
        session.replies[kind] = order
    session.replies[WriteReport] = lambda command: Reply(data={"path": command.path, "report": {}})
    session.replies[FindLog] = Reply(
        data={"path": "", "output": b"first line\nsecond line\n", "attempt": 1, "state": "succeeded"}
    )
    session.replies[Explain] = Reply(
        data={
            "score": 224.2,
            "place": 6,
            "reason": "ready: six tasks are before it",
            "waits_for": [],
            "terms": {
                "priority": 200.0,
                "age": 4.2,
                "retries": 0.0,
                "timeout": 20.0,
                "dependencies": 0.0,
                "manual": 0.0,
            },
        }
    )


@pytest.fixture
def backlog() -> SimpleNamespace:
    """The functions of this file, for tests that build their own run."""
    return SimpleNamespace(**{name: value for name, value in globals().items() if callable(value) or name == "HOSTILE"})


@pytest.fixture
def session() -> FakeSession:
    """A run that is half-way."""
    return half_way()


@pytest.fixture
def open_app(tmp_path):
    """Makes the app on a session, in a folder of its own."""

    def make(of: Any, **ui: Any) -> Mi4App:
        return Mi4App(of, settings=settings(**ui), folder=tmp_path)

    return make
