"""The boxes of a Markdown document, and that every other line is told."""

import pytest

from engine.tasks.markdown_text import has_boxes, plain, read_outline, slug
from engine.tasks.records import MAX_LINE


def texts(document: str) -> list[str]:
    return [item.text for item in read_outline(document).items]


@pytest.mark.parametrize("line", ["- [ ] a", "* [ ] a", "+ [ ] a", "1. [ ] a", "12) [ ] a", "-  [ ]  a ", "- [ ] a\r"])
def test_ways_to_write_an_item(line):
    assert texts(line) == ["a"]


def test_marks():
    items = read_outline("- [ ] a\n- [x] b\n- [X] c\n- [/] d\n").items

    assert [(item.mark, item.is_done) for item in items] == [(" ", False), ("x", True), ("X", True), ("/", False)]


def test_headings_and_indentation():
    outline = read_outline(
        "# One\n- [ ] a\n  - [ ] b\n\n\t\t- [ ] c\n- [ ] d\n### Three ##\n- [ ] e\n## Two\n- [ ] f\n\nFour\n====\n- [ ] g\n"
    )

    assert [(item.text, item.headings, item.parent.text if item.parent else "") for item in outline.items] == [
        ("a", ("One",), ""),
        ("b", ("One",), "a"),
        ("c", ("One",), "b"),
        ("d", ("One",), ""),
        ("e", ("One", "Three"), ""),
        ("f", ("One", "Two"), ""),
        ("g", ("Four",), ""),
    ]


def test_what_belongs_to_an_item_is_kept_with_it():
    (item,) = read_outline("- [ ] a\nstill the paragraph\n\n  - a bullet\n  ```\n  - [ ] code\n  ```\n").items

    assert item.body == ["still the paragraph", "", "  - a bullet", "  ```", "  - [ ] code", "  ```", ""]


def test_every_other_line_is_told_once():
    document = (
        "---\nx: 1\n---\nprose\nmore\n\n<!-- - [ ] no -->\n- bullet\n```\n- [ ] code\n```\n<!--\n- [ ] no\n-->\n- [ ]\n"
    )
    outline = read_outline(document)

    assert outline.items == []
    assert outline.skipped == [
        (1, "front matter (to line 3)"),
        (4, "text outside of the items (to line 5)"),
        (7, "a comment"),
        (8, "a list item without a box"),
        (9, "a code block (to line 11)"),
        (12, "a comment (to line 14)"),
        (15, "an item without a text"),
    ]


@pytest.mark.parametrize("opening", ["```", "<!--", "~~~ sh"])
def test_a_block_that_never_ends_is_told(opening):
    (warning,) = read_outline(f"- [ ] a\n\n{opening}\n- [ ] b\n").warnings

    assert warning[0] == 3
    assert "never ends" in warning[1]


@pytest.mark.parametrize("line", ["-[ ] a", "- [] a", "- [x]a", "*[X] a", "- [  ] a"])
def test_almost_an_item_is_a_fault(line):
    assert read_outline(f"- [ ] fine\n{line}\n").faults == [
        (2, f"looks like an item with a box; write '- [ ] text', not {line!r}")
    ]


@pytest.mark.parametrize("line", ["- [x](http://a)", "- [x][ref]", "- [x]: a", "- [link] text", "-- [ ] a"])
def test_links_are_no_items(line):
    outline = read_outline(line)

    assert (outline.items, outline.faults, len(outline.skipped)) == ([], [], 1)


def test_limits():
    assert read_outline("- [ ] " + "x" * MAX_LINE).faults == [
        (1, "the line has 1,048,582 characters; the limit is 1,048,576")
    ]
    assert read_outline("- [ ] a\n- [ ] b\0\n").faults == [(2, "holds a NUL character, which no text does")]
    deep = read_outline("".join(f"{'  ' * depth}- [ ] x\n" for depth in range(70)))
    assert deep.faults[0] == (65, "nested deeper than 64 levels")
    assert len(deep.items) == 64


def test_plain_and_slug():
    assert plain(r"**bold** `code` \[x\] \* done") == "bold code [x] * done"
    assert slug("Fix: the Login!", 40) == "fix-the-login"
    assert slug("größer 大", 40) == "grösser-大"
    assert slug("!!!", 40) == slug("!!!", 40) != slug("???", 40)
    long = slug("word " * 30, 20)
    assert len(long) <= 20
    assert long != slug("word " * 31, 20), "the part that was cut off still counts"


def test_has_boxes():
    assert has_boxes("x\n- [ ] a")
    assert not has_boxes("x\n- a")
