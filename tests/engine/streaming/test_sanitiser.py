"""Nothing that drives a terminal, hides or reorders text gets through; all else does."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.streaming.sanitiser import one_line, sanitise

PAYLOADS = {
    "colour": ("\x1b[31mred\x1b[0m", "red"),
    "title": ("a\x1b]0;evil\x07b", "ab"),
    "title ended by ST": ("a\x1b]0;evil\x1b\\b", "ab"),
    "clipboard": ("a\x1b]52;c;ZXZpbA==\x07b", "ab"),
    "link": ("\x1b]8;;http://evil\x1b\\text\x1b]8;;\x1b\\", "text"),
    "report": ("a\x1b[6nb", "ab"),
    "dcs": ("a\x1bP1$r0m\x1b\\b", "ab"),
    "8-bit csi": ("a\x9b31mb", "ab"),
    "8-bit osc": ("a\x9d0;evil\x9cb", "ab"),
    "unterminated osc goes to the end of its line": ("a\x1b]0;evil\nb", "a\nb"),
    "reset": ("a\x1bcb", "ab"),
    "lone escape": ("a\x1b", "a"),
    "half a sequence": ("a\x1b[3", "a"),
    "nested": ("a\x1b\x1b[31m[31mb", "a[31mb"),
    "bell and backspace": ("a\x07\x08b", "ab"),
    "bidi": ("a\u202eb\u2066c", "abc"),
    "zero width": ("a\u200bb\ufeffc", "abc"),
    "tags": ("a\U000e0041b", "ab"),
    "surrogate": ("a\ud800b", "ab"),
    "line separator": ("a\u2028b", "ab"),
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_payload_is_taken_out(name):
    hostile, clean = PAYLOADS[name]
    assert sanitise(hostile) == clean


@pytest.mark.parametrize(
    "text", ["", "plain", "tab\tand\nnewline", "Grüße 日本語 🎉", "[/x] [@click=app.quit] {a} <b>"]
)
def test_harmless_text_stays_as_it_is(text):
    assert sanitise(text) is text


@given(
    st.text(alphabet=st.characters(), max_size=80) | st.text(alphabet="\x1b[]0;\x07m\\P\x9b\x9d\x9ca\n", max_size=40)
)
def test_no_control_or_format_character_is_left(text):
    clean = sanitise(text)
    assert not [c for c in clean if unicodedata.category(c) in {"Cc", "Cs"} and c not in "\n\t"]
    assert "\x1b" not in clean
    assert sanitise(clean) == clean


@pytest.mark.parametrize(
    "evil", ["\x1b]" * 200_000, "\x1b[" + "0" * 400_000, "\x1bP" + "\x1b" * 300_000, "\x9d" * 300_000]
)
def test_hostile_input_is_linear(evil):
    assert sanitise(evil + "\nend").endswith("\nend")


def test_one_line_joins_and_cuts():
    assert one_line(" a\r\nb\x1b[0m\t c ") == "a b c"
    assert one_line("x" * 600, 10) == "x" * 9 + "…"
    assert one_line("x" * 10, 10) == "x" * 10
