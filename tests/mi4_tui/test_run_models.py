"""The run in words."""

import pytest
from rich.cells import cell_len

from engine.events.projection import RunRow, TaskRow, WorkerRow
from engine.tasks.model import OutputSummary
from mi4_tui import run_models as rm

NOW = 1_700_000_000.0
COUNTS = {
    "failed": 203, "timed_out": 12, "held": 304, "running": 100, "leased": 2, "cancelling": 1, "backoff": 7, "queued": 2988,
    "pending": 44, "succeeded": 5602, "cached": 600, "skipped": 30, "not_needed": 10, "cancelled": 5, "total": 9298,
}  # fmt: skip


def test_every_task_is_counted_once():
    assert sum(rm.counter_values(COUNTS).values()) == COUNTS["total"]


@pytest.mark.parametrize("width", range(30, 220))
def test_counters_are_whole_in_order_of_urgency_and_never_wider_than_there_is(width):
    pieces = rm.counters(COUNTS, width, left="~12m00s")
    assert sum(cell_len(piece.text) for piece in pieces) + 2 * (len(pieces) - 1) <= width
    numbers = [f"{number:,}" for number in rm.counter_values(COUNTS).values() if number]
    shown = [piece.text for piece in pieces if piece.role != "plain" or piece.text[0] == "∙"]
    shown = [text for text in shown if any(sign.isdigit() for sign in text)]
    assert [text.lstrip("✗◔!⊘▸↺∙◌✓▪⊗◦ ").split(" ")[0] for text in shown] == numbers[: len(shown)]


def test_at_80_cells_the_most_urgent_have_their_words():
    text = "  ".join(piece.text for piece in rm.counters(COUNTS, 78))
    assert "✗ 203 failed" in text
    assert "▸" in text


def test_without_tasks_it_says_so():
    assert rm.counters({}, 80)[0].text == "no tasks yet"
    assert rm.counters({"total": 0}, 80)[0].text == "no tasks yet"


def test_ascii_counters_are_ascii():
    assert all(piece.text.isascii() for piece in rm.counters(COUNTS, 140, ascii_only=True))


def test_share_is_of_what_has_ended():
    assert rm.progress_share({"total": 4, "succeeded": 1, "failed": 1, "held": 1}) == 0.5
    assert rm.progress_share({}) == 0.0


def test_time_left_is_told_only_where_it_can_be():
    assert rm.time_left({"queued": 10}, {"throughput_tasks_per_minute": 5.0}) == "~2m00s"
    assert rm.time_left({"queued": 10}, {"throughput_tasks_per_minute": 0.0}) == ""
    assert rm.time_left({"succeeded": 10}, {"throughput_tasks_per_minute": 5.0}) == ""
    assert rm.time_left({"queued": 10}, None) == ""


@pytest.mark.parametrize(
    ("run", "connected", "part"),
    [
        (RunRow(state="running"), False, "engine lost 12s ago"),
        (RunRow(state="paused", trouble="disk full"), True, "disk full"),
        (RunRow(state="paused"), True, "p goes on"),
        (RunRow(state="running", paused_categories=("docs",)), True, "docs"),
        (RunRow(state="draining"), True, "stopping"),
    ],
)
def test_the_worst_news_is_told(run, connected, part):
    note = rm.run_note(run, connected=connected, stale_s=12.0)
    assert part in note.text


def test_no_news_take_no_room():
    assert rm.run_note(RunRow(state="running"), connected=True, stale_s=0.0) is None


def test_a_finished_run_tells_its_result():
    run = RunRow(state="finished", finished={"succeeded": 5, "failed": 1, "duration_s": 61.0})
    line = rm.finished_line(run)
    assert "finished in 1m01s: 5 succeeded, 1 failed" in line.text
    assert line.role == "error"
    assert rm.finished_line(RunRow(state="running", finished={"succeeded": 5})) is None


def test_leaving_asks_only_while_something_is_open():
    assert rm.is_finished(RunRow(state="running"), {"succeeded": 4, "held": 1})
    assert not rm.is_finished(RunRow(state="running"), {"queued": 1})
    assert not rm.is_finished(RunRow(state="paused"), {"cancelling": 1})
    assert rm.open_tasks({"running": 2, "queued": 3, "pending": 1, "held": 1}) == "2 running, 4 waiting, 1 held"


def test_a_busy_pane():
    summary = OutputSummary(lines=1200, error_lines=2, progress="30%", tail=("a\x1b[2Jb", "c"))
    worker = WorkerRow(name="w1", state="busy", task_id="7", task_key=7, since=NOW - 61, tasks_run=3, summary=summary)
    told = rm.pane(2, worker, TaskRow(key=7, id="7", title="[red]build"), NOW)
    assert told.title == "2 w1 ▸ 7 [red]build"
    assert told.lines == ("ab", "c")
    assert told.facts == ("1m01s", "30%", "1,200 lines", "2 with errors", "3 tasks run")


def test_an_idle_pane_says_why():
    assert rm.pane(2, WorkerRow(name="w1", state="idle", since=NOW - 3), None, NOW).note == "nothing ready to run"
    assert (
        rm.pane(2, WorkerRow(name="w1", state="idle", note="12 tasks wait on #3"), None, NOW).note
        == "12 tasks wait on #3"
    )
    assert rm.pane(2, WorkerRow(name="w1", state="broken", note="died 5 times"), None, NOW).role == "error"


def test_metrics_leave_out_what_is_not_known():
    told = rm.metric_parts(
        {"throughput_tasks_per_minute": 4.25, "cpu_usage": 37.5, "memory_usage": 1024**2, "cache_hit_rate": None}
    )
    assert told == ["4.2 tasks/min", "CPU 38 %", "RSS 1.0 MB"]
    assert rm.metric_parts(None) == rm.metric_parts({}) == ["no measurements yet"]


def test_the_worst_finding_is_shown_with_evidence_and_remedy():
    findings = [
        {"description": "slow", "severity": "low", "impact_score": 99.0},
        {"description": "many fail", "severity": "critical", "impact_score": 1.0, "evidence": {"failed_tasks": 3, "rate": 0.12345},
         "recommendation": "look at the log"},
    ]  # fmt: skip
    told = rm.advice(findings, measured=True)
    assert told.title == "Bottleneck: many fail"
    assert told.evidence == "failed tasks 3  rate 0.1235"
    assert told.remedy == "look at the log"
    assert (told.role, told.more) == ("error", 1)


@pytest.mark.parametrize(("measured", "text"), [(True, "none found"), (False, "measuring")])
def test_without_findings_it_says_whether_it_can_know(measured, text):
    assert rm.advice([], measured=measured).title == f"Bottleneck: {text}"


def test_evidence_of_any_form_is_safe_text(backlog):
    for evidence in ([backlog.HOSTILE, 1], {backlog.HOSTILE: backlog.HOSTILE}, backlog.HOSTILE, None, 3):
        told = rm.advice([{"description": backlog.HOSTILE, "evidence": evidence}], measured=True)
        assert (told.title + told.evidence).isprintable()


def test_the_curve_is_as_wide_as_its_values_and_ends_with_the_newest():
    assert rm.spark([0, 1, 2, 4], 3) == "▃▅█"
    assert rm.spark([0, 0], 5) == "▁▁"
    assert rm.spark([], 5) == ""
    assert rm.spark([1, 2], 5, ascii_only=True).isascii()
