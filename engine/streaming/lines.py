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
    whole = from_start or b"\r" in (pieces or [unfinished])[0].rstrip(
        b"\r"
    )  # what follows a carriage return is all that counts
    mark = ""
    if not whole and (len(pieces) > 1 or (pieces and unfinished)):
        del pieces[0]
    elif not whole:
        mark = CUT_START
    shown = [shown_line(piece) for piece in pieces[-limit:]]
    if unfinished:
        shown.append(shown_line(unfinished, complete=ended))
    if mark:
        shown[:1] = [mark + line.lstrip("\ufffd") for line in shown[:1]]
    return shown[-limit:]
