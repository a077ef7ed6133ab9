"""Order, filter, cursor and marks of the board."""

import pytest

from engine.events.projection import TaskRow
from mi4_tui.task_list import TaskList, parse_filter


def row(key, state="queued", score=0.0, **fields):
    return TaskRow(key=key, id=f"t{key}", state=state, score_base=score, **fields)


@pytest.fixture
def rows():
    return {
        1: row(1, "succeeded", finished_at=10.0),
        2: row(2, score=200.0, title="write docs", category="docs"),
        3: row(3, score=300.0, title="write code", category="core"),
        4: row(4, "running", worker="w3"),
        5: row(5, "failed", error="boom"),
        6: row(6, "succeeded", finished_at=20.0, cached=True),
        7: row(7, "skipped", cause="done_in_file"),
    }


def listed(rows):
    tasks = TaskList(rows)
    tasks.rearrange()
    return tasks


def test_what_runs_comes_first_then_what_needs_somebody_then_the_queue_by_score_then_the_newest_end(rows):
    assert listed(rows).order == [4, 5, 3, 2, 6, 1, 7]


def test_equal_scores_keep_the_order_of_arrival():
    rows = {key: row(key, score=200.0) for key in (3, 1, 2)}
    assert listed(rows).order == [1, 2, 3]


def test_the_cursor_follows_its_task_and_tells_how_far_it_moved(rows):
    tasks = listed(rows)
    tasks.go(3)
    assert tasks.cursor == 2
    rows[2].state = "running"
    assert tasks.rearrange() == -3
    assert tasks.cursor == 2
    assert tasks.line == 0


def test_a_cursor_whose_task_left_stays_on_its_line(rows):
    tasks = listed(rows)
    tasks.go(1)
    tasks.filter = parse_filter("write")
    assert tasks.rearrange() == 0
    assert tasks.order == [3, 2]
    assert tasks.cursor == 2


def test_the_cursor_follows_a_task_that_is_run_again_under_a_new_key(rows):
    tasks = listed(rows)
    tasks.go(1)
    del rows[5]
    rows[8] = TaskRow(key=8, id="t5", state="queued", score_base=100.0)
    tasks.rearrange()
    assert tasks.cursor == 8


def test_an_empty_list_has_no_cursor_and_survives_every_move():
    tasks = listed({})
    tasks.step(1)
    tasks.go(-1)
    tasks.toggle_mark()
    tasks.toggle_all()
    assert tasks.cursor is None
    assert tasks.targets() == []


def test_steps_stop_at_both_ends(rows):
    tasks = listed(rows)
    tasks.step(-5)
    assert tasks.line == 0
    tasks.step(500)
    assert tasks.line == 6
    tasks.go(-1)
    assert tasks.cursor == 7


def test_marks_go_before_the_cursor_and_leave_with_their_tasks(rows):
    tasks = listed(rows)
    assert [target.key for target in tasks.targets()] == [4]
    tasks.go(3)
    tasks.toggle_mark()
    tasks.go(1)
    tasks.toggle_mark()
    assert [target.key for target in tasks.targets()] == [5, 2]
    del rows[5]
    tasks.rearrange()
    assert tasks.marks == {2}
    tasks.toggle_mark()


def test_mark_all_is_about_what_is_shown(rows):
    tasks = listed(rows)
    tasks.filter = parse_filter("write")
    tasks.rearrange()
    tasks.toggle_all()
    assert tasks.marks == {2, 3}
    tasks.toggle_all()
    assert tasks.marks == set()


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", [1, 2, 3, 4, 5, 6, 7]),
        ("WRITE", [2, 3]),
        ("write !docs", [3]),
        ("status:failed", [5]),
        ("state:fail,run", [4, 5]),
        ("status:cached", [6]),
        ("status:done", [1]),
        ("status:not_needed", [7]),
        ("cat:doc", [2]),
        ("category:core write", [3]),
        ("worker:3", [4]),
        ("worker:w3", [4]),
        ("boom", [5]),
        ("!", [1, 2, 3, 4, 5, 6, 7]),
        ("status:", [1, 2, 3, 4, 5, 6, 7]),
        ("a:b", []),
        ("[red]", []),
    ],
)
def test_filter_terms(rows, text, keys):
    tasks = TaskList(rows)
    tasks.filter = parse_filter(text)
    tasks.rearrange()
    assert sorted(tasks.order) == keys


def test_a_done_task_is_not_found_by_the_state_of_a_cached_one(rows):
    assert not parse_filter("status:done").fits(rows[6])
