"""Counts are exact wherever the stream is cut; the end of the output is kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.streaming.summary import EMPTY, LONGEST_READ, TAIL_LINES, WINDOW, Summariser

MANY = b"".join(b"line %d\n" % n for n in range(10_000))


def summarise(*chunks, final=True):
    summary = Summariser()
    for chunk in chunks:
        summary.feed(chunk)
    return summary.snapshot(final=final)


def test_nothing_printed():
    assert summarise() is EMPTY


def test_counts_and_tail():
    summary = summarise(MANY)
    assert (summary.lines, summary.bytes) == (10_000, len(MANY))
    assert summary.tail == tuple(f"line {n}" for n in range(10_000 - TAIL_LINES, 10_000))
    assert summary.last_line == "line 9999"


def test_an_unfinished_line_counts_at_the_end_only():
    assert summarise(b"a\nb", final=False).lines == 1
    assert summarise(b"a\nb").lines == 2
    assert summarise(b"a\nb").tail == ("a", "b")


def test_the_unfinished_line_is_counted_once():
    summary = Summariser()
    summary.feed(b"error")
    assert summary.snapshot(final=True).lines == summary.snapshot(final=True).lines == 1
    assert summary.snapshot(final=True).error_lines == 1


@pytest.mark.parametrize(
    ("text", "errors", "warnings"),
    [
        (b"ERROR one\nError: error: two\nfine\n", 2, 0),
        (b"ValueError: x\n", 1, 0),
        (b"0 errors, no warnings\n", 0, 0),
        (b"10 errors\n", 1, 0),
        (b"no errors\nbut fatal\n", 1, 0),
        (b"Warning: w\nWARN\n", 0, 2),
        (b"warning: treated as error\n", 1, 1),
        (b"an unfinished error", 1, 0),
    ],
)
def test_error_and_warning_lines(text, errors, warnings):
    summary = summarise(text)
    assert (summary.error_lines, summary.warning_lines) == (errors, warnings)


@given(
    st.lists(st.sampled_from([b"error", b"err", b"or", b"warn", b"\n", b"x", b"0 ", b"\r", b"fatal\n"]), max_size=40),
    st.lists(st.integers(1, 9), min_size=1),
)
def test_the_cut_changes_nothing(parts, steps):
    text = b"".join(parts)
    chunks, at, turn = [], 0, 0
    while at < len(text):
        step = steps[turn % len(steps)]
        chunks.append(text[at : at + step])
        at, turn = at + step, turn + 1
    whole = summarise(text) if text else EMPTY
    assert summarise(*chunks) == whole
    assert whole.lines == len(text.splitlines()) if b"\r" not in text else True


@pytest.mark.parametrize(
    ("text", "progress"),
    [
        (b"working 10%\nworking 45.5 %\n", "45.5 %"),
        (b"step 3/40\n", "3/40"),
        (b"[12 / 40] x\nno numbers\n", "12 / 40"),
        (b"2026/11/24 a/1/2 src/3/4\n", ""),
        (b"50/3\n", ""),
        (b"5%\r70%", "70%"),
        (b"MI4_STATUS: compiling \x1b[31mfast\n", "compiling fast"),
    ],
)
def test_progress(text, progress):
    assert summarise(text).progress == progress


def test_progress_that_has_scrolled_by_is_remembered():
    assert summarise(b"MI4_STATUS: half way\n" + b"filler text\n" * 100_000).progress == "half way"


def test_a_line_without_end_is_bounded_and_one_line():
    summary = Summariser()
    for _ in range(200):
        summary.feed(b"y" * 65536)
    assert len(summary._open) <= LONGEST_READ
    assert summary._kept <= WINDOW + 65536
    done = summary.snapshot(final=True)
    assert (done.lines, done.bytes) == (1, 200 * 65536)
    assert len(done.tail) == 1
    assert done.tail[0].startswith("…y")


def test_memory_does_not_grow_with_tiny_writes():
    summary = Summariser()
    for _ in range(100_000):
        summary.feed(b"z\n")
    assert summary._kept <= WINDOW + 2
    assert summary.snapshot().lines == 100_000


def test_hostile_output_is_harmless_in_every_field():
    summary = summarise(b"\x1b]0;t\x07MI4_STATUS: \x1b[2Jx \xe2\x80\xae y\n\x9b31m last\x1b[6n\n")
    assert all(c.isprintable() for text in (summary.progress, summary.last_line, *summary.tail) for c in text)


@pytest.mark.parametrize("word", ["error", "fatal", "exception", "warn"])
@pytest.mark.parametrize(
    "change",
    [str.lower, str.upper, str.title, str.swapcase, lambda w: w[0] + w[1:].upper(), lambda w: w[:-1] + w[-1].upper()],
)
def test_a_word_alone_is_found_in_any_case(word, change):
    """Also where no other letter of the chunk could hide that a search was left out too early."""
    summariser = Summariser()
    summariser.feed(b"1234567890\n" * 50 + change(word).encode() + b"\n" + b"-\n" * 50)
    assert (summariser.errors, summariser.warnings) == ((0, 1) if word == "warn" else (1, 0))


def test_words_with_a_letter_missing_are_no_words():
    summariser = Summariser()
    summariser.feed(b"eror\nfatl\nexcetion\nwan\nMI4STATUS: 5/6\n")
    assert (summariser.errors, summariser.warnings, summariser.snapshot(final=True).progress) == (0, 0, "5/6")
