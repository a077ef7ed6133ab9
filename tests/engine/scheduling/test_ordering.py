import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.scheduling import ordering


def order(bench) -> list[str]:
    return [bench.scheduler.ledger.entries[key].id for key in bench.scheduler.queue.ordered()]


def entries(bench, *ids):
    return [bench.entry(task_id) for task_id in ids]


@pytest.fixture
def equals(bench, task):
    bench.submit(*(task(name) for name in "abcde"))
    return bench


@pytest.mark.parametrize(
    ("ids", "where", "expected"),
    [
        ("d", "top", "dabce"),
        ("b", "bottom", "acdeb"),
        ("c", "up", "acbde"),
        ("c", "down", "abdce"),
        ("a", "up", "abcde"),
        ("e", "down", "abcde"),
        ("ce", "top", "ceabd"),
        ("ac", "bottom", "bdeac"),
        ("cd", "up", "acdbe"),
        ("bc", "down", "adbce"),
        ("e", "now", "eabcd"),
    ],
)
def test_moves_among_equals(equals, ids, where, expected) -> None:
    ordering.move(equals.scheduler, entries(equals, *ids), where)

    assert "".join(order(equals)) == expected


def test_a_move_is_a_manual_term_and_can_be_undone(equals) -> None:
    previous = ordering.move(equals.scheduler, entries(equals, "c"), "up")
    assert equals.entry("c").manual > 0

    redo = ordering.restore_order(equals.scheduler, previous)

    assert "".join(order(equals)) == "abcde"
    ordering.restore_order(equals.scheduler, redo)
    assert "".join(order(equals)) == "acbde"


def test_every_change_is_written_down(equals) -> None:
    equals.flush()
    ordering.move(equals.scheduler, entries(equals, "e"), "top")

    (written,) = equals.flush().batch.orders
    assert written.key == equals.entry("e").key
    assert written.manual == equals.entry("e").manual


def test_priority_is_kept_between_100_and_400(equals) -> None:
    previous = ordering.reprioritise(equals.scheduler, entries(equals, "b", "c"), None, 500)
    assert [entry.priority for entry in entries(equals, "b", "c")] == [400, 400]
    assert previous == {"b": (200.0, 0.0), "c": (200.0, 0.0)}
    assert "".join(order(equals)) == "bcade"

    ordering.reprioritise(equals.scheduler, entries(equals, "b"), 50, 0)
    assert equals.entry("b").priority == 100


@given(
    st.lists(st.integers(0, 3), min_size=2, max_size=12),
    st.lists(st.tuples(st.integers(0, 11), st.sampled_from(["top", "bottom", "up", "down"])), max_size=12),
)
def test_moves_equal_those_of_a_plain_list(make_bench_factory, priorities, moves) -> None:
    bench, task = make_bench_factory()
    bench.submit(*(task(f"t{n}", priority=100.0 + 100 * level) for n, level in enumerate(priorities)))
    model = order(bench)
    for place, where in moves:
        name = model[place % len(model)]
        ordering.move(bench.scheduler, entries(bench, name), where)
        at = model.index(name)
        target = {"top": 0, "bottom": len(model) - 1, "up": max(0, at - 1), "down": min(len(model) - 1, at + 1)}[where]
        model.insert(target, model.pop(at))
        assert order(bench) == model
