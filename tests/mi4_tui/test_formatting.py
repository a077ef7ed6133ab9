"""Values as short text."""

import pytest
from rich.cells import cell_len

from mi4_tui import formatting as fmt


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0.0s"),
        (0.04, "0.0s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (185, "3m05s"),
        (3600, "1h00m"),
        (7800, "2h10m"),
        (86400 * 4 + 3 * 3600, "4d03h"),
    ],
)
def test_duration(seconds, text):
    assert fmt.duration(seconds) == text
    assert len(text) <= 6


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (999, "999"), (1200, "1.2k"), (34_000, "34k"), (999_600, "1.0M"), (5.6e6, "5.6M")]
)
def test_short_count(number, text):
    assert fmt.short_count(number) == text


@pytest.mark.parametrize(
    ("number", "text"), [(812, "812 B"), (1024, "1.0 kB"), (3.4 * 1024**2, "3.4 MB"), (118 * 1024**2, "118 MB")]
)
def test_size(number, text):
    assert fmt.size(number) == text


def test_percent_says_100_only_when_all_is_done():
    assert fmt.percent(99.9) == "99 %"
    assert fmt.percent(100) == "100 %"


@pytest.mark.parametrize(
    "text", ["short", "exactly-10", "longer than ten cells", "宽字宽字宽字宽字", "e\u0301" * 30, "🙂" * 9]
)
@pytest.mark.parametrize("width", [1, 2, 9, 10, 11])
def test_fit_is_exactly_as_wide_as_asked(text, width):
    assert cell_len(fmt.fit(text, width)) == width


def test_fit_shows_that_something_was_cut():
    assert fmt.fit("abcdef", 4) == "abc…"
    assert fmt.fit("abcdef", 4, ascii_only=True) == "abc~"
    assert fmt.fit("abc", 0) == ""


def test_a_number_that_does_not_fit_is_never_cut_to_a_wrong_one():
    assert fmt.fit_right("600", 2) == "##"
    assert fmt.fit_right("60", 4) == "  60"


def test_join_fitting_leaves_whole_parts_out():
    assert fmt.join_fitting(["aaaa", "bbbbbbbb", "cc"], 9) == "aaaa  cc"
    assert fmt.join_fitting(["aaaa"], 3) == ""


def test_wrap_breaks_at_blanks_and_marks_the_cut():
    assert fmt.wrap("one two three four", 9, 2) == ["one two  ", "three fo…"]
    assert fmt.wrap("one", 9, 2) == ["one      "]
    assert fmt.wrap("", 9, 2) == []


def test_wrap_parts_breaks_no_part():
    assert fmt.wrap_parts(["aaaa", "bbbb", "cccc", "dddd"], 10, 2) == ["aaaa  bbbb", "cccc  dddd"]
    assert fmt.wrap_parts(["aaaa", "bbbb", "cccc"], 5, 2) == ["aaaa", "bbbb"]


def test_plain_text_cannot_drive_a_terminal(backlog):
    text = fmt.plain(backlog.HOSTILE + "\nsecond\tline\r")
    assert text.isprintable()
    assert "[red]markup[/]" in text
    assert "evil" not in text
    assert "\u202e" not in text
    assert "second" in text
