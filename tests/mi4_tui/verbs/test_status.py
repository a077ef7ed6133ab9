"""``mi4-tui status``."""

import threading

from engine.events.projection import RunRow, TaskRow
from engine.testing import EPOCH
from mi4_tui.verbs.status import age, plain_line, status_lines


class Picture:
    """As much of a projection as the lines need."""

    def __init__(self, *rows, **counts):
        self.rows = {row.key: row for row in rows}
        self.counts = {"total": len(rows), **counts}
        self.workers = {}
        self.run = RunRow(pid=77, state="running", workers=2)


def row(key, task_id, state, **more):
    return TaskRow(key=key, id=task_id, state=state, **more)


def test_the_short_form_of_a_running_engine():
    picture = Picture(
        row(1, "build", "running", worker="w1", started_at=EPOCH - 5, progress="50%"),
        row(2, "test", "pending", waits_for=("build",)),
        row(3, "old", "succeeded"),
        row(4, "bad", "failed", error="exit status 2", duration_s=1.5),
        running=1, pending=1, succeeded=1, failed=1, cached=1,
    )  # fmt: skip
    assert status_lines(picture, live=True, now=EPOCH) == [
        "engine 77 running, 2 workers",
        "4 tasks: 1 pending, 1 running, 1 succeeded, 1 failed (1 cached)",
        "  running    build  w1  5.00 s  50%",
        "  failed     bad  1.50 s  exit status 2",
        "  pending    test  waits for build",
    ]


def test_many_tasks_are_counted_not_listed():
    picture = Picture(*(row(number, f"t{number}", "queued", score_base=number) for number in range(50)), queued=50)
    lines = status_lines(picture, live=False, now=EPOCH)
    assert lines[0] == "no engine works here; this is the stored state"
    assert lines[2] == "  queued     t49"
    assert lines[-1] == "  ... and 30 more queued; --plain lists all"


def test_trouble_and_pauses_are_in_the_first_line():
    picture = Picture()
    picture.run = RunRow(pid=1, state="paused", workers=1, paused_reason="by the user", trouble="disk full")
    assert status_lines(picture, live=True, now=EPOCH)[0] == "engine 1 paused (by the user), 1 worker; disk full"


def test_a_line_for_other_programs_has_its_columns():
    cells = plain_line(row(1, "a\tb", "failed", attempt=2, duration_s=1.5, error="x"), EPOCH).split("\t")
    assert cells == ["a b", "failed", "2", "1.500", "", "x"]


def test_the_age_of_a_running_task_grows():
    running = row(1, "a", "running", started_at=EPOCH)
    assert age(running, EPOCH + 3) == 3
    assert age(row(1, "a", "succeeded", started_at=EPOCH, finished_at=EPOCH + 2, duration_s=2.0), EPOCH + 99) == 2.0


def test_the_stored_state(mi4, write):
    mi4("run", write(("a", "true"), ("b", "exit 1")), "--no-ui", "-q")
    shown = mi4("status")
    assert shown.code == 0
    assert shown.lines[:2] == ["no engine works here; this is the stored state", "2 tasks: 1 succeeded, 1 failed"]
    whole = mi4("status", "--json").json
    assert not whole["live"]
    assert {task["id"]: task["state"] for task in whole["tasks"]} == {"a": "succeeded", "b": "failed"}
    assert sorted(line.split("\t")[:2] for line in mi4("status", "--plain").lines) == [
        ["a", "succeeded"],
        ["b", "failed"],
    ]


def test_a_running_engine(mi4, write, engine, eventually):
    started = engine(write(("long", "echo working; sleep 60")))
    whole = eventually(lambda: (now := mi4("status", "--json").json)["counts"].get("running") and now)
    assert whole["live"]
    assert whole["run"]["pid"] == started.process.pid
    assert mi4("status").lines[0].startswith(f"engine {started.process.pid} running")


def test_watch_ends_with_the_engine(mi4, write, engine):
    started = engine(write(("a", "true")))
    threading.Timer(1.5, started.process.terminate).start()
    watched = mi4("status", "--watch", "--json")
    assert watched.code == 0
    assert len(watched.lines) >= 1


def test_without_a_state_folder(mi4):
    assert mi4("status").code == 73
