"""Values as short text for a terminal: durations, counts, sizes, and text cut to a number of cells. Pure functions."""

from __future__ import annotations

import time
from functools import lru_cache

from rich.cells import cell_len, set_cell_size

from engine.streaming.sanitiser import sanitise

_MINUTE = 60
_HOUR = 3600
_DAY = 86400
_SIZES = ("B", "kB", "MB", "GB", "TB")


@lru_cache(maxsize=4096)
def plain(text: str) -> str:
    """The text as one line that cannot drive a terminal: no escape sequences, control codes, bidi marks or line breaks."""
    if text.isascii() and text.isprintable():
        return text
    return sanitise(text).replace("\n", " ").expandtabs(4)


def duration(seconds: float) -> str:
    """At most six cells: ``0.4s``, ``12s``, ``3m05s``, ``2h10m``, ``4d03h``; negative durations are shown as zero."""
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m{whole % _MINUTE:02}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02}m"
    return f"{whole // _DAY}d{whole % _DAY // _HOUR:02}h"


def count(number: int) -> str:
    """With thousands separators; never shortened."""
    return f"{number:,}"


def short_count(number: float) -> str:
    """About three digits: ``412``, ``1.2k``, ``34k``, ``5.6M``; for rates, where the last digits do not matter."""
    for factor, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= factor * 0.9995:
            value = number / factor
            return f"{value:.1f}{suffix}" if value < 9.95 else f"{value:.0f}{suffix}"
    return f"{number:.0f}"


def size(number: float) -> str:
    """Bytes by powers of 1024: ``812 B``, ``3.4 MB``."""
    value = float(number)
    for unit in _SIZES[:-1]:
        if value < 1023.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 9.95 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} {_SIZES[-1]}"


def percent(value: float) -> str:
    """Whole per cent; never ``100 %`` for what is less than all."""
    rounded = round(value)
    if rounded >= 100 and value < 100:
        rounded = 99
    return f"{rounded} %"


def clock_time(at: float) -> str:
    """Local time of day as ``14:03:59``, from seconds since the epoch."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def fit(text: str, width: int, *, ascii_only: bool = False) -> str:
    """Exactly `width` cells: padded, or cut with an ellipsis. Wide characters count two and are never split."""
    if width <= 0:
        return ""
    if text.isascii():
        if len(text) <= width:
            return text.ljust(width)
    elif cell_len(text) <= width:
        return set_cell_size(text, width)
    mark = "~" if ascii_only else "…"
    return set_cell_size(text, width - 1) + mark


def wrap(text: str, width: int, lines: int, *, ascii_only: bool = False) -> list[str]:
    """The text broken at blanks into at most `lines` lines of `width` cells; what is left is cut in the last one."""
    broken: list[str] = []
    rest = text.split()
    while rest and len(broken) < lines - 1:
        line = rest.pop(0)
        while rest and cell_len(line) + 1 + cell_len(rest[0]) <= width:
            line += f" {rest.pop(0)}"
        broken.append(fit(line, width, ascii_only=ascii_only))
    return [*broken, fit(" ".join(rest), width, ascii_only=ascii_only)] if rest else broken


def wrap_parts(parts: list[str], width: int, lines: int) -> list[str]:
    """The parts on at most `lines` lines, none of them broken; what does not fit is left out."""
    told: list[str] = []
    rest = list(parts)
    while rest and len(told) < lines:
        line = join_fitting(rest[:1], width)
        taken = 1
        while taken < len(rest) and cell_len(line) + 2 + cell_len(rest[taken]) <= width:
            line = f"{line}  {rest[taken]}" if line else rest[taken]
            taken += 1
        told.append(line)
        rest = rest[taken:]
    return told


def fit_right(text: str, width: int) -> str:
    """As `fit`, aligned to the right; what does not fit becomes ``#`` marks rather than a wrong number."""
    if cell_len(text) > width:
        return "#" * width
    return text.rjust(width)


def join_fitting(parts: list[str], width: int, separator: str = "  ") -> str:
    """As many of the parts, in order, as fit whole into `width` cells; one that does not fit is left out, not clipped."""
    taken: list[str] = []
    used = 0
    for part in parts:
        needed = cell_len(part) + (len(separator) if taken else 0)
        if used + needed <= width:
            taken.append(part)
            used += needed
    return separator.join(taken)
