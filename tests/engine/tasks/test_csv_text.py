"""CSV: the header says what a cell is, and formulas are no values."""

import csv

import pytest

from engine.tasks.csv_text import read_csv
from engine.tasks.records import MAX_LINE


def faults(text: str) -> list[tuple[int | None, str]]:
    return read_csv(text).faults


def test_cells_become_values_of_their_fields():
    records = read_csv(
        "id,title,prompt,priority,category,depends_on,timeout,cache,tags,meta\n"
        '1,A,do it,high,c,,,TRUE,,"{""k"": [1]}"\n'
        '2,B,"two\nlines",300,,1; 7 ;,1.5,,x;y,\n'
    )

    assert records.faults == []
    assert records.items == [
        {"id": "1", "title": "A", "prompt": "do it", "priority": "high", "category": "c", "cache": True, "meta": {"k": [1]}},
        {"id": "2", "title": "B", "prompt": "two\nlines", "priority": 300, "depends_on": ["1", "7"], "timeout": 1.5, "tags": ["x", "y"]},
    ]  # fmt: skip
    assert records.locate() == [{"": 2}, {"": 3}]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_header_tells_the_delimiter(delimiter):
    assert read_csv(f"\nId{delimiter} Title\r\n1{delimiter}A\r\n").items == [{"id": "1", "title": "A"}]


def test_a_command_is_a_text_for_a_shell():
    assert read_csv("id,command\n1,make && echo\n").items == [{"id": "1", "command": "make && echo", "shell": True}]
    assert read_csv("id,title,command\n1,x,\n").items == [{"id": "1", "title": "x"}]
    assert read_csv("id,command,shell\n1,make,false\n").items == [{"id": "1", "command": "make", "shell": False}]


def test_blank_rows_and_missing_last_cells_are_nothing():
    assert read_csv("id,title,kind\n\n,,\n1,A\n").items == [{"id": "1", "title": "A"}]
    assert read_csv("id,title,,\n1,A,,\n").items == [{"id": "1", "title": "A"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,titel\n1,x", "unknown field 'titel'; did you mean 'title'?"),
        ("id,id\n1,2", "the column 'id' stands twice"),
        ("id,prompt,description\n1,2,3", "prompt and description mean the same; keep one"),
        ("id,,title\n1,2,3", "column 2 has no name"),
        ("1,make test\n2,x", "the first row must name the columns"),
        ('id,title\n1,"x', "not valid CSV: unexpected end of data"),
        ("id,title\n1,x\0", "holds a NUL character"),
        ("id,title\n1,x,more", "the row has 3 cells and the header 2"),
        ("id,title\n1," + "x" * MAX_LINE, "the line has 1,048,578 characters; the limit is 1,048,576"),
        ("id,meta\n1,{", "meta must hold JSON here, not '{'"),
    ],
)
def test_what_is_wrong_is_told(text, message):
    ((line, said),) = faults(text)

    assert said.startswith(message)
    assert line == (
        2
        if text.count("\n") and "\n1" in text and "column" not in said and "unknown" not in said and "keep" not in said
        else 1
    )


@pytest.mark.parametrize("cell", ["=1+1", "=cmd|'/C x'!A0", "@SUM(A1)", "+cmd|'/C x'!A0", "-HYPERLINK(x)"])
@pytest.mark.parametrize("column", ["title", "command", "id"])
def test_formulas_are_faults(cell, column):
    ((line, said),) = faults(f'{column},prompt\n"{cell}",x\n')

    assert line == 2
    assert said.startswith(f"{column} holds the formula ")


@pytest.mark.parametrize("cell", ["-5 degrees", "+1 for that", "@anna asks", "a=b", "- (a|b)"])
def test_texts_that_only_begin_like_formulas_are_texts(cell):
    assert read_csv(f"id,title\n1,{cell}\n").items == [{"id": "1", "title": cell}]


def test_the_limit_of_the_module_is_put_back_and_does_not_count():
    before = csv.field_size_limit()

    assert read_csv("id,title\n1," + "x" * 200_000).faults == []
    assert csv.field_size_limit() == before
