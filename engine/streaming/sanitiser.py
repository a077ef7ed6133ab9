"""The one filter between text that others wrote and anything that shows or stores it as text.

It takes out what drives a terminal (escape sequences, 7 and 8 bit), what hides or reorders text (bidi and zero-width characters,
tags), and what cannot be encoded (surrogates). Tabs and newlines stay. Clean text costs one scan.
"""

from __future__ import annotations

import re

_SEQUENCES = re.compile(
    r"(?:\x1b\]|\x9d)[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # OSC: titles, links, the clipboard
    r"|(?:\x1b[PX^_]|[\x90\x98\x9e\x9f])[^\x1b\x9c\n]*(?:\x1b\\|\x9c)?"  # DCS, SOS, PM, APC
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor, reports
    r"|\x1b[ -/]*[0-~]?"  # what is left of ESC
)
_HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_CUT = "…"


def sanitise(text: str) -> str:
    """`text` without anything that could act on a terminal or hide; newlines and tabs are kept.

    An escape sequence goes with its payload; one that never ends goes up to the end of its line.
    """
    if text.isprintable() or _HARMFUL.search(text) is None:
        return text
    return _HARMFUL.sub("", _SEQUENCES.sub("", text))


def one_line(text: str, limit: int = 500) -> str:
    """`text` sanitised, on one line, with single blanks, and at most `limit` characters (a cut is shown by ``…``)."""
    line = " ".join(sanitise(text[: 8 * limit].replace("\r", "\n")).split())
    return line if len(line) <= limit else line[: limit - 1] + _CUT
