"""From bytes to lines that people can read."""

from __future__ import annotations

import pytest

from engine.streaming.lines import CUT, CUT_START, LONGEST_SHOWN, last_lines, shown_line


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain", "plain"),
        (b"windows\r", "windows"),
        (b"10%\r50%\r100%", "100%"),
        (b"10%\r50%\r", "50%"),
        (b"bad \xff utf", "bad \ufffd utf"),
        (b"\x00nul", "nul"),
        (b"a\tb", "a       b"),
        (b"\x1b[31mred", "red"),
        (b"h\0i\0", "hi"),
    ],
)
def test_one_line(raw, text):
    assert shown_line(raw) == text


def test_long_line_is_cut_with_a_mark():
    assert shown_line(b"x" * 5000) == "x" * LONGEST_SHOWN + CUT


def test_half_a_character_waits_for_its_rest():
    assert shown_line("é".encode()[:1], complete=False) == ""
    assert shown_line("é".encode()[:1]) == "\ufffd"


def test_last_lines():
    assert last_lines(b"a\nb\nc\n", 2, from_start=True, ended=True) == ["b", "c"]
    assert last_lines(b"a\nb\nc", 2, from_start=True, ended=False) == ["b", "c"]
    assert last_lines(b"", 2, from_start=True, ended=True) == []


def test_part_of_a_line_at_the_beginning_is_left_out():
    assert last_lines(b"art\nb\nc\n", 9, from_start=False, ended=True) == ["b", "c"]


def test_part_of_a_line_is_shown_when_it_is_all():
    assert last_lines(b"\xa9part", 9, from_start=False, ended=False) == [CUT_START + "part"]
    assert last_lines(b"part\n", 9, from_start=False, ended=True) == [CUT_START + "part"]


def test_the_last_state_of_a_progress_bar_is_whole_wherever_the_window_begins():
    assert last_lines(b"9%\r100%\n", 9, from_start=False, ended=True) == ["100%"]
    assert last_lines(b"9%\r100%\ndone\n", 9, from_start=False, ended=True) == ["100%", "done"]
