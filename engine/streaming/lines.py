"""From bytes to the lines that people see: carriage returns overwrite, broken UTF-8 is replaced, long lines are cut with a mark."""

from __future__ import annotations

import codecs

from .sanitiser import sanitise

LONGEST_SHOWN = 1000
"""Characters of a line that are shown."""
CUT = " …[cut]"
CUT_START = "…"
_decoder = codecs.getincrementaldecoder("utf-8")


def shown_line(raw: bytes, *, complete: bool = True) -> str:
    """One line without its newline, as it would stand on a screen in the end, sanitised.

    After a carriage return only what follows the last one is left. With `complete` false, half a character at the end is left out.
    """
    visible = raw.rstrip(b"\r").rpartition(b"\r")[2]
    text = _decoder("replace").decode(visible[: 8 * LONGEST_SHOWN], complete)
    clean = sanitise(text).expandtabs(8)
    return clean if len(clean) <= LONGEST_SHOWN else clean[:LONGEST_SHOWN] + CUT


def last_lines(window: bytes, limit: int, *, from_start: bool, ended: bool) -> list[str]:
    """The last `limit` lines of `window`, which is the end of a stream, oldest first.

    `from_start`: the window begins where a line does; else its first piece is part of a line and is left out, or shown with a mark
    when it is all there is. `ended`: nothing follows.
    """
    pieces = window.split(b"\n")
    unfinished = pieces.pop()
    mark = ""
    if not from_start:
        if pieces:
            del pieces[0]
        else:
            unfinished, mark = unfinished.lstrip(bytes(range(0x80, 0xC0))), CUT_START
    shown = [shown_line(piece) for piece in pieces[-limit:]]
    if unfinished:
        shown.append(mark + shown_line(unfinished, complete=ended))
    return shown[-limit:]
