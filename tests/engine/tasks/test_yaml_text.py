"""YAML, strictly and safely."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.tasks import yaml_text
from engine.tasks.yaml_text import read_yaml


def items(text: str) -> list:
    records = read_yaml(text)
    assert records.faults == []
    return records.items


def fault(text: str) -> tuple[int | None, str]:
    (found,) = read_yaml(text).faults
    return found


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("no", "no"),
        ("Yes", "Yes"),
        ("on", "on"),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("0", 0),
        ("007", "007"),
        ("1_000", "1_000"),
        ("0x1F", "0x1F"),
        ("12:30:00", "12:30:00"),
        ("2026-01-31", "2026-01-31"),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1.2.3", "1.2.3"),
        ("-", None),
        ("'12'", "12"),
        ('"true"', "true"),
        ("!!str 12", "12"),
        ("!!int 12", 12),
        ("a b", "a b"),
    ],
)
def test_plain_scalars(written, read):
    if written == "-":
        assert items("- - ") == [[None]]
        return
    (value,) = items(f"- {written}\n")
    assert value == read
    assert isinstance(value, type(read))


def test_floats_remember_how_they_were_written():
    assert items("- 1.10\n")[0].text == "1.10"


def test_block_texts_keep_their_lines():
    assert items("- |\n  a\n  b\n") == ["a\nb\n"]


@settings(deadline=None)
@given(
    st.lists(
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(st.characters(exclude_categories=["C"])),
            lambda children: (
                st.lists(children, max_size=3)
                | st.dictionaries(
                    st.text(st.characters(exclude_categories=["C"]), max_size=20).filter("<<".__ne__),
                    children,
                    max_size=3,
                )
            ),
            max_leaves=6,
        ),
        max_size=3,
    )
)
def test_json_is_yaml(values):
    assert items(json.dumps(values, ensure_ascii=False)) == values


def test_lines_of_records_and_of_their_keys():
    text = "x-defaults: &d\n  id: 5\ntasks:\n- id: 1\n  meta:\n    id: 3\n- 7\n- <<: *d\n  title: |\n    x\n"

    assert read_yaml(text).locate() == [{"": 4, "id": 4, "meta": 5}, {"": 7}, {"": 8, "<<": 8, "title": 9}]


# Anchors


def test_anchors_and_merges():
    text = (
        "tasks:\n- &a {id: a, priority: high, tags: [x]}\n- {<<: *a, id: b}\n- {<<: [{tags: [y]}, *a], id: c}\n- *a\n"
    )

    assert items(text) == [
        {"id": "a", "priority": "high", "tags": ["x"]},
        {"id": "b", "priority": "high", "tags": ["x"]},
        {"id": "c", "priority": "high", "tags": ["y"]},
        {"id": "a", "priority": "high", "tags": ["x"]},
    ]


def test_a_merge_needs_tables():
    assert fault("- {<<: [1]}\n") == (1, "<< needs a table, or a list of tables")


def test_an_alias_bomb_is_one_line():
    bomb = "- &a [" + ", ".join(["x"] * 10) + "]\n"
    bomb += "".join(
        f"- &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )

    line, message = fault(bomb)

    assert message == "aliases stand for more than 1,000,000 values"
    assert line is not None
    assert line <= 9


def test_a_value_cannot_hold_itself():
    assert fault("- &a [1, *a]\n") == (1, "the alias *a stands for nothing that is complete before it")
    assert fault("- *nobody\n")[1].startswith("the alias *nobody")


# What is refused


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (
            "- 1\n- !!python/object/apply:os.system ['true']\n",
            2,
            "the tag 'tag:yaml.org,2002:python/object/apply:os.system' is not allowed",
        ),
        ("- !!binary aGk=\n", 1, "the tag 'tag:yaml.org,2002:binary' is not allowed"),
        ("- !own x\n", 1, "the tag '!own' is not allowed"),
        ("- !!set {a}\n", 1, "the tag 'tag:yaml.org,2002:set' is not allowed"),
        ("- ? [a]\n  : 1\n", 1, "a key must be a text"),
        ("- {a: 1}\n- {a: 1,\n   a: 2}\n", 3, "the key 'a' stands twice in one table"),
        ("- a\n- 'b\n", 3, "not valid YAML: found unexpected end of stream"),
        ("- \x1b[2J\n", 1, "not valid YAML: the control character '\\x1b' must be escaped"),
    ],
)
def test_faults_have_their_line(text, line, message):
    found_line, found = fault(text)

    assert found_line == line
    assert found.startswith(message)
    assert found.isprintable()


def test_the_parser_in_pure_python_reads_the_same(monkeypatch):
    text = "tasks:\n- &a {id: a, n: 1.10}\n- <<: *a\n  id: b\n  t: 'x'\n"
    fast = read_yaml(text)
    monkeypatch.setattr(yaml_text, "_LOADER", yaml_text.yaml.SafeLoader)

    slow = read_yaml(text)

    assert (slow.items, slow.locate(), slow.faults) == (fast.items, fast.locate(), fast.faults)
