"""What the readers of all formats share."""

import msgspec
import pytest

from engine.tasks.records import INT_RANGE, ExactFloat, name_of, records_of, show


def test_a_float_knows_how_it_was_written_and_is_a_float():
    number = ExactFloat.of("1.10")

    assert (number, number.text) == (1.1, "1.10")
    assert number + 1 == 2.1


def test_the_range_of_numbers_is_what_travels_to_a_worker():
    for number in INT_RANGE:
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(number)) == number
    for number in (INT_RANGE[0] - 1, INT_RANGE[1] + 1):
        with pytest.raises(OverflowError):
            msgspec.msgpack.encode(number)


@pytest.mark.parametrize("root", [[1, 2], {"tasks": [1, 2]}, {"x-own": 1, "tasks": [1, 2]}])
def test_the_two_shapes_of_a_document(root):
    assert records_of(root) == ([1, 2], "")


@pytest.mark.parametrize("root", [None, 1, "text", {}, {"id": "a"}, {"tasks": None}, {"tasks": {"a": 1}}])
def test_other_shapes_say_what_would_be_right(root):
    items, wrong = records_of(root)

    assert items == []
    assert "a task file is a list of tasks" in wrong


def test_an_unknown_key_beside_the_tasks_hides_none_of_them():
    assert records_of({"tasks": [1], "taks": 2}) == (
        [1],
        'unknown key \'taks\' beside "tasks"; own keys begin with "x-"',
    )


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "nothing"),
        (True, "the truth value true"),
        (5, "the number 5"),
        (ExactFloat.of("1.50"), "the number 1.50"),
        ("a", "the text 'a'"),
        ([1], "a list"),
        ({}, "a table"),
    ],
)
def test_values_have_names(value, name):
    assert name_of(value) == name


def test_what_is_shown_is_short_printable_and_not_walked():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]

    assert show("\x1b[2J\u202e").isprintable()
    assert len(show("x" * 10_000)) == 60
    assert show(deep) == "a list"
    while deep:  # taken apart by hand: the interpreter would recurse
        deep = deep[0]
