"""The plain part of YAML: it is taken where it is plain, and reading by lines never says anything else than the parser."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.tasks.records import ExactFloat, records_of
from engine.tasks.yaml_lines import plain_value, read_lines
from engine.tasks.yaml_text import _built, read_yaml


def never(part, depth):
    raise AssertionError(f"left to the parser: {part}")


def exact(value):
    """Comparable with types, and with numbers as they were written."""
    if isinstance(value, list):
        return [exact(item) for item in value]
    if isinstance(value, dict):
        return [(key, exact(content)) for key, content in value.items()]
    return (type(value).__name__, value.text if isinstance(value, ExactFloat) else repr(value))


def by_parser(text):
    """What the parser says of the whole document."""
    built = _built(text)
    if built.faults and built.root is None:
        return [], built.faults
    items, wrong = records_of(built.root)
    return items, ([(1, wrong)] if wrong else []) + built.faults


def assert_same(text):
    records = read_yaml(text)
    items, faults = by_parser(text)
    assert (exact(records.items), records.faults) == (exact(items), faults)


PLAIN = """\
# a comment
---
tasks:

  - id: a
    title: Build it: no, really  #not a comment
    priority: 150
    timeout: 1.50
    cache: true
    version:

    # between
    command: [echo, "a, b", --x=1, 'it, is', 7, 1.10, http://x:1]
    dependencies: []
    tags:
      - one
      - "two: 2"
      - -3
  - id: b
    depends_on:
    - a
    - b#c
"""


def test_a_plain_file_needs_no_parser():
    text = PLAIN.replace("it: no, really  #not", "it")
    records = read_lines(text, never)
    assert records is not None
    assert records[0] == {
        "id": "a",
        "title": "Build it a comment",
        "priority": 150,
        "timeout": 1.5,
        "cache": True,
        "version": None,
        "command": ["echo", "a, b", "--x=1", "it, is", 7, 1.1, "http://x:1"],
        "dependencies": [],
        "tags": ["one", "two: 2", -3],
    }
    assert records[1] == {"id": "b", "depends_on": ["a", "b#c"]}
    assert_same(text)
    assert_same(text.replace("\n", "\r\n"))


@pytest.mark.parametrize("head", ["", "---\n", "# x\n\n", "tasks:\n", "--- \n# c\ntasks:\n"])
@pytest.mark.parametrize("indent", ["", "  ", "    "])
def test_heads(head, indent):
    text = f"{head}{indent}- id: 1\n{indent}  title: x\n{indent}- id: 2"
    assert read_lines(text, never) == [{"id": 1, "title": "x"}, {"id": 2}]
    assert_same(text)


def test_only_what_is_not_plain_goes_to_the_parser():
    parts = []

    def parse(part, depth):
        parts.append((part, depth))
        return _built(part, depth).root

    text = "tasks:\n- id: a\n- id: b\n  description: |\n    two\n    - lines\n- {id: c}\n- id: d\n- id: e # last\n"
    assert read_lines(text, parse) == [
        {"id": "a"}, {"id": "b", "description": "two\n- lines\n"}, {"id": "c"}, {"id": "d"}, {"id": "e"},
    ]  # fmt: skip
    assert parts == [("- id: b\n  description: |\n    two\n    - lines\n- {id: c}", 1), ("- id: e # last\n", 1)]


@pytest.mark.parametrize(
    "text",
    [
        "- id: a\n  title: one\n    two\n- id: b",
        "- id: a\n  title: one\n\n    two\n- id: b",
        '- id: a\n  title: "one\n- id: b\n  title: two"\n- id: c',
        "- id: a\n  title: 'one\n- id: b'\n",
        "- id: a\n  deps: [x,\n- id: b]\n",
        "- id: &x a\n- id: b\n  title: *x\n- id: c\n  title: *y",
        "- &x {id: a}\n- <<: *x\n  title: b",
        "- id: a\n  id: b",
        "- id: a\n...\n- id: b",
        "- id: a\n---\n- id: b",
        "---\n---\n- id: a",
        "- id: a\n%x\n- id: b",
        "- id: a\u2028- id: b\n  # c\u2028  title: x",
        "- id: a\r- id: b",
        "- id: a\n  # c\x85  title: x",
        "tasks:\n- id: a\nx-more: 1",
        "tasks:\n  - id: a\n- id: b",
        "tasks:\n  - id: a\nwrong: 1\n",
        "- id: a\n  title: 1e999\n- id: b\n  n: [18446744073709551616]",
        "- id: a\n  tags:\n    - a\n   - b",
        "- id: a\n  tags:\n  - a: b\n",
        "- id: a\n  tags: x\n  - b\n",
        "- id: a\n  tags:\n - b\n",
        "- id: a\n  tags: [a,]\n  m: [, a]\n",
        "- id: a\n  tags: [- a]\n",
        "- id: a\n  title: a: b\n",
        "- id: a\n  title: !!str 1\n  m: !x 1",
        "- id: a\n  title:\tx\n  b: c\t# d",
        "- id: a\n\tb: c",
        "-  id: a\n   b: c\n- \n- x\n-\n",
        "- id: a\n - id: b",
        "- id: a\n   x: b",
        "- id: a\n  title: x \n  b: 'x' \n  c: \n  d:  y  \n",
        "- " + "k" * 2000 + ": 1",
        "- id: a\n  meta: " + "[" * 62 + "]" * 62,
        "tasks:\n- id: a\n  meta: " + "[" * 62 + "]" * 62,
        "tasks:\n- id: a\n  meta: " + "[" * 61 + "]" * 61,
        "- id: @x\n- id: %y\n- id: `z\n- id: ?a\n- id: -\n- id: --\n- id: --- \n- id: -- x",
        "- id: ~\n- id: ~/x\n- id: null\n- id: Nope\n- id: .5\n- id: -.5e3\n- id: +1\n- id: 007\n- id: -0\n- id: 1_0",
        "- a: \u0663\n- a: \uff11\n- a: 0\n- a: [0, 00, -0, -1, +1, true, ~, NO]",
    ],
)
def test_traps(text):
    assert_same(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("~", None), ("true", True), ("False", False), ("no", "no"), ("0", 0), ("-7", -7), ("-0", -0.0), ("007", "007"),
        ("18446744073709551615", 2**64 - 1), ("9223372036854775808", 2**63), ("1e3", 1000.0), (".5", 0.5), (".", "."), ("1.2.3", "1.2.3"),
        ("\u0663", "\u0663"), ("tru", "tru"), ("f", "f"),
    ],
)  # fmt: skip
def test_plain_values(text, value):
    found = plain_value(text)
    assert (found, type(found)) == (value, ExactFloat if isinstance(value, float) else type(value))


@pytest.mark.parametrize("text", ["1e999", ".inf", "-.INF", ".nan", "18446744073709551616", "-9223372036854775809"])
def test_numbers_that_cannot_be_used(text):
    with pytest.raises(ValueError, match="must be finite and fit 64 bits"):
        plain_value(text)


# Any text made of these pieces reads the same both ways.

PIECES = [
    "- ", "-", "  ", " ", "\n", "\n", "\n- ", "\n  ", "\n    ", "\n    - ", "\n  - ", "id: ", "id:", "title: ", "tags:", "k: ", ":", ": ",
    "[", "]", "[a, b]", "[]", "{", "}", ", ", ",", '"', "'", '"a b"', "'c'", "#", " # x", "&a ", "*a", "!", "|", ">", "?", "%", "@", "<<: ",
    "---", "...", "~", "1", "1.5", "-1", "1e999", "true", "a", "b c", "\t", "\r", "\r\n", "\x85", "\u2028", "\ufeff", "\\", "tasks:\n", "tasks:",
]  # fmt: skip
LINES = [
    "- id: a", "- id: b", "  title: x y", "  title: x", "  tags:", "  - t", "    - t", "    - 'q'", "  n: 1.50", "  deps: [a, 'b']", "", "  # c",
    "  d: |", "    text", "   odd", "  q: \"open", "  r: end\"", "- {id: c}", "  e: &x 1", "  f: *x", "x: 1", "  s: a # b", "tasks:", "  - id: z",
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40))
def test_pieces_read_the_same_both_ways(pieces):
    assert_same("- id: 1\n" + "".join(pieces))


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(LINES), min_size=1, max_size=16))
def test_lines_read_the_same_both_ways(lines):
    assert_same("\n".join(lines))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_a_plain_file_with_a_change_reads_the_same_both_ways(seed):
    chance = random.Random(seed)
    text = PLAIN
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(text))
        text = text[:at] + chance.choice([*PIECES, ""]) + text[at + chance.randint(0, 2) :]
    assert_same(text)
