"""TOML: tables of tasks, with their lines, and nothing that cannot travel."""

import pytest

from engine.tasks.toml_text import read_toml

TWO = """# a list
[[task]]
id = "a"
command = ["x", 1.10]
description = '''
[[task]]
id = "not a task"
'''

[[task]]
id = 2
created_at = 2026-01-31T09:30:00Z
[task.set_env]
A = "b"
"""


def only_fault(text: str) -> tuple[int | None, str]:
    records = read_toml(text)
    assert len(records.faults) == 1, records.faults
    return records.faults[0]


def test_tables_are_tasks():
    records = read_toml(TWO)

    assert records.faults == []
    first, second = records.items
    assert first["command"][1].text == "1.10", "as it was written"
    assert second == {"id": 2, "created_at": "2026-01-31T09:30:00+00:00", "set_env": {"A": "b"}}


@pytest.mark.parametrize(
    "text", ['[[tasks]]\nid = "a"\n', 'tasks = [{id = "a"}]', '"x-mine" = 1\n[[task]]\nid = "a"\n']
)
def test_all_ways_to_write_the_list(text):
    assert read_toml(text).items == [{"id": "a"}]


def test_lines_of_tasks_and_keys_are_known_and_long_texts_do_not_count():
    assert read_toml(TWO).locate() == [
        {"": 2, "id": 3, "command": 4, "description": 5},
        {"": 10, "id": 11, "created_at": 12, "set_env": 13},
    ]


def test_an_inline_list_has_no_lines():
    assert read_toml('tasks = [{id = "a"}]').locate() == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "holds 'x'; write each task as a table below [[task]]"),
        ("[task]\nid = 1", "'task' holds a table"),
        ("[[task]]\nid = 1\n[[tasks]]\nid = 2", "[[task]] and [[tasks]] mean the same"),
        ("other = 1\n[[task]]\nid = 1", "unknown key 'other' beside the tasks"),
        ("[[task]]\nid = = 1", "not valid TOML: invalid value"),
        ("[[task]]\nid = 1\nid = 2", "not valid TOML"),
        ("a = " + "9" * 5000, "not valid TOML: Exceeds the limit"),
        ("a = " + "[" * 100_000, "nested deeper than 64 levels"),
        ("[[task]]\nmeta = {" + ".".join("a" * 200) + " = 1}", "nested deeper than 64 levels"),
        ("[[task]]\nn = inf", "the number inf cannot be used"),
        ("[[task]]\nn = [nan]", "the number nan cannot be used"),
        ("[[task]]\nn = 18446744073709551616", "the number 18446744073709551616 cannot be used"),
        ("[[task]]\nn = 0x" + "f" * 4000, "the number with more than 1,200 digits cannot be used"),
        ('[[task]]\nid = "\0"', "not valid TOML"),
    ],
)
def test_what_is_wrong_is_one_short_line(text, message):
    _, said = only_fault(text)

    assert said.startswith(message)
    assert len(said) < 160


def test_faults_have_their_lines():
    assert only_fault("[[task]]\nid = 1\n\n[[task]]\nid = = 2")[0] == 5
    assert only_fault("[[task]]\nid = 1\n\n[[task]]\nn = inf")[0] == 4
    assert only_fault("[[task]]\nid = 1\nx = '''")[0] == 3
