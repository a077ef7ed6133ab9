"""Tasks in words."""

import unicodedata

import pytest
from rich.cells import cell_len

from engine.events.projection import TaskRow
from engine.scheduling.scoring import score_at
from engine.tasks.model import Cause, State, Tokens
from mi4_tui import view_models as vm

NOW = 1_700_000_000.0


def row(**fields):
    return TaskRow(**{"key": 1, "id": "t", **fields})


def test_every_state_has_a_look_of_its_own_word():
    shown = [vm.LOOKS[state.value] for state in State]
    assert len({look.word for look in vm.LOOKS.values()}) == len(vm.LOOKS)
    assert all(look.letter.isascii() for look in shown)


def test_every_cause_is_told_in_words():
    assert all(" " in vm.cause_text(cause.value) for cause in Cause if cause)
    assert vm.cause_text("something\x1b[2J new") == "something new"


def test_every_glyph_is_one_cell_wide_also_in_eastern_terminals():
    glyphs = {look.glyph for look in vm.LOOKS.values()}
    assert {
        glyph: unicodedata.east_asian_width(glyph)
        for glyph in glyphs
        if unicodedata.east_asian_width(glyph) not in ("N", "Na")
    } == {}


def test_the_score_is_the_engines():
    assert vm.score_now(row(score_base=123.5), NOW) == pytest.approx(score_at(123.5, NOW))


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"state": "succeeded", "cached": True}, "cached"),
        ({"state": "succeeded"}, "succeeded"),
        ({"state": "skipped", "cause": "done_in_file"}, "not_needed"),
        ({"state": "skipped", "cause": "run_if_unmet"}, "not_needed"),
        ({"state": "skipped", "cause": "dependency_failed"}, "skipped"),
        ({"state": "unheard of"}, "pending"),
    ],
)
def test_shown_state(fields, state):
    assert vm.shown_state(row(**fields)) == state


@pytest.mark.parametrize(
    ("priority", "letter", "name"),
    [
        (400, "C", "critical"),
        (300, "H", "high"),
        (250, "M", "normal +50"),
        (200, "M", "normal"),
        (150, "L", "low +50"),
        (100, "L", "low"),
    ],
)
def test_priorities(priority, letter, name):
    assert vm.priority_letter(priority) == letter
    assert vm.priority_name(priority) == name


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"state": "running", "progress": "12/40", "last_line": "x"}, "12/40"),
        ({"state": "running", "last_line": "compiling"}, "compiling"),
        ({"state": "running", "lines": 1200}, "1,200 lines"),
        ({"state": "failed", "error": "exit 1: boom"}, "exit 1: boom"),
        ({"state": "failed", "exit_code": 3}, "exit 3"),
        ({"state": "held", "cause": "interrupted"}, "was running when the engine died"),
        ({"state": "backoff", "retry_at": NOW + 4, "error": "boom"}, "in 4.0s: boom"),
        ({"state": "backoff", "retry_at": NOW - 4}, "due"),
        ({"state": "pending", "waits_for": ("a", "b", "c")}, "for a +2"),
        ({"state": "pending", "waits_for": ("a",)}, "for a"),
        ({"state": "queued", "attempt": 1}, "after 1 attempt"),
        ({"state": "queued"}, ""),
        ({"state": "succeeded", "tokens": Tokens(input=900, output=340)}, "1.2k tokens"),
        ({"state": "succeeded", "attempt": 2}, "attempt 2"),
        ({"state": "succeeded", "attempt": 1, "lines": 1}, "1 line"),
        ({"state": "succeeded", "already_done": True}, "done before"),
        ({"state": "leased"}, ""),
    ],
)
def test_detail(fields, text):
    assert vm.detail(row(**fields), NOW) == text


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"state": "running", "started_at": NOW - 12}, "12s"),
        ({"state": "queued", "ready_at": NOW - 3}, "3.0s"),
        ({"state": "succeeded", "finished_at": NOW, "duration_s": 2.4}, "2.4s"),
        ({"state": "pending"}, ""),
    ],
)
def test_time_shown(fields, text):
    assert vm.time_shown(row(**fields), NOW) == text


@pytest.mark.parametrize("width", range(40, 220, 7))
@pytest.mark.parametrize("longest", [1, 5, 300])
def test_columns_never_need_more_than_there_is(width, longest):
    columns = vm.columns_for(width, longest)
    detail = columns.detail + 1 if columns.detail else 0
    used = (
        5
        + columns.state
        + columns.id
        + 2
        + columns.title
        + detail
        + columns.category
        + columns.worker
        + columns.score
        + columns.time
        + 1
    )
    assert used == width
    assert columns.title > 0


def test_nothing_hostile_comes_through(backlog):
    bad = backlog.HOSTILE
    told = row(id=bad, title=bad, state="failed", error=bad, category=bad, worker=bad, cause=bad, progress=bad)
    texts = [
        vm.task_title(told),
        vm.detail(told, NOW),
        *(piece.text for piece in vm.explanation(told, {"reason": bad, "waits_for": [bad]}, NOW)),
    ]
    assert all(text.isprintable() for text in texts)


def test_explanation_gives_each_term_and_their_sum():
    data = {"terms": {"priority": 200.0, "age": 4.25, "manual": 0.0}, "place": 2, "reason": "ready", "waits_for": ["a"]}
    text = "\n".join(piece.text for piece in vm.explanation(row(category="docs"), data, NOW))
    for part in ("priority 100-400", "200.0", "4.2", "204.2", "Place 3", "ready", "  a", "docs"):
        assert part in text


def test_explanation_survives_an_empty_reply():
    assert vm.explanation(None, {}, NOW)[0].text == "Score"


def test_empty_states_say_what_comes_next():
    assert "mi4-tui add" in " ".join(vm.empty_state(0, ""))
    assert "Esc" in " ".join(vm.empty_state(10, "nonsense"))
    assert all(cell_len(line) < 58 for line in (*vm.empty_state(0, ""), *vm.empty_state(10, "x")))
