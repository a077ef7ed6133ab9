"""``mi4-tui prio``, ``hold`` and ``release``."""

import pytest

from engine.errors import UsageError
from engine.session.protocol import Move, Reprioritise
from mi4_tui.verbs.order import order_command


@pytest.mark.parametrize(
    ("word", "command"),
    [
        ("critical", Reprioritise(ids=("a",), priority=400.0)),
        ("Low", Reprioritise(ids=("a",), priority=100.0)),
        ("250", Reprioritise(ids=("a",), priority=250.0)),
        ("+50", Reprioritise(ids=("a",), delta=50.0)),
        ("-50", Reprioritise(ids=("a",), delta=-50.0)),
        ("top", Move(ids=("a",), where="top")),
        ("now", Move(ids=("a",), where="now")),
    ],
)
def test_words_for_an_order(word, command):
    assert order_command(("a",), word) == command


@pytest.mark.parametrize("word", ["99", "401", "urgent", "", "nan", "+1000", "inf"])
def test_words_that_are_none(word):
    with pytest.raises(UsageError, match="is no priority"):
        order_command(("a",), word)


@pytest.fixture
def queued(mi4, write):
    mi4("add", write(("a", "true"), ("b", "true"), ("c", "true")))

    def order():
        rows = mi4("status", "--json").json["tasks"]
        return [row["id"] for row in sorted(rows, key=lambda row: -row["score_base"])]

    return order


def test_a_priority_on_the_stored_state(mi4, queued):
    assert mi4("prio", "c", "high").code == 0
    assert queued()[0] == "c"
    assert mi4("prio", "c", "-200").code == 0
    assert queued()[-1] == "c"


def test_several_tasks_at_once(mi4, queued):
    assert mi4("prio", "b", "c", "critical").code == 0
    assert set(queued()[:2]) == {"b", "c"}


def test_moves(mi4, queued):
    assert mi4("prio", "c", "top").code == 0
    assert queued()[0] == "c"
    assert mi4("prio", "c", "bottom").code == 0
    assert queued()[-1] == "c"


def test_an_unknown_task_is_one_line(mi4, queued):
    wrong = mi4("prio", "zzz", "high")
    assert wrong.code == 1
    assert wrong.err == "mi4-tui: no task has the id 'zzz'; 'mi4-tui status --json' lists them all\n"


def test_hold_and_release(mi4, queued):
    assert mi4("hold", "a", "b").code == 0
    assert mi4("status", "--json").json["counts"]["held"] == 2
    assert mi4("release", "a").code == 0
    assert mi4("status", "--json").json["counts"]["held"] == 1
    assert mi4("release").code == 0
    assert mi4("status", "--json").json["counts"]["held"] == 0


def test_held_tasks_are_exit_status_three(mi4, queued):
    mi4("hold", "a")
    assert mi4("--no-ui", "-q").code == 0 + 3


def test_json_tells_of_the_change(mi4, queued):
    changed = mi4("prio", "a", "high", "--json").json
    assert changed["ok"]
    assert not changed["live"]
    assert changed["previous"]["a"][0] == 200.0


def test_without_a_state_folder(mi4):
    wrong = mi4("prio", "a", "high")
    assert wrong.code == 73
    assert "start with 'mi4-tui FILE'" in wrong.err
