"""Counts what a task prints and keeps the end of it; costs a few scans per chunk, and text work only when somebody asks.

A line is an *error line* when it has one of the words error, fatal, exception in it, and a *warning line* when it has ``warn``
(any case; "0 errors" and "no warnings" do not count). Of a line longer than `LONGEST_READ` only the beginning is looked at.
"""

from __future__ import annotations

import re
from collections import deque

from ..tasks.model import OutputSummary
from .lines import last_lines

TAIL_LINES = 40
WINDOW = 16 * 1024
"""Bytes at the end of the output from which the tail is cut."""
LONGEST_READ = 16 * 1024
_STATUS = b"MI4_STATUS:"
_ERROR = re.compile(rb"(?<!\b0 )(?<!\bno )error|fatal|exception")
_WARNING = re.compile(rb"(?<!\b0 )(?<!\bno )warn")
_STEP = re.compile(r"\b\d{1,3}(?:\.\d+)?\s?%|(?<![\w/.])(\d{1,9})\s?/\s?(\d{1,9})(?![\w/.])")
_STATUS_LINE = re.compile(r"MI4_STATUS:\s*(.+)")
EMPTY = OutputSummary()
"""The summary of no output at all."""


class Summariser:
    """What has been printed so far. State: counts, the unfinished line, the last chunks; the owner is the sink that feeds it."""

    __slots__ = ("_chunks", "_kept", "_open", "_progress", "_unfinished", "errors", "lines", "total", "warnings")

    def __init__(self) -> None:
        self.lines = 0
        """Lines that ended; the unfinished one is not counted before `final`."""
        self.errors = 0
        self.warnings = 0
        self.total = 0
        """Bytes fed."""
        self._open = b""
        self._unfinished = False
        self._progress = ""
        self._chunks: deque[bytes] = deque()
        self._kept = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes, of any length, cut anywhere."""
        self.total += len(data)
        ended = data.count(b"\n")
        if ended:
            self.lines += ended
            cut = data.rfind(b"\n") + 1
            self._classify(self._open + data[:cut] if self._open or cut < len(data) else data)
            self._open = data[cut : cut + LONGEST_READ]
        elif len(self._open) < LONGEST_READ:
            self._open = (self._open + data)[:LONGEST_READ]
        self._unfinished = not data.endswith(b"\n")
        self._keep(data)

    def snapshot(self, *, final: bool = False, dropped_bytes: int = 0) -> OutputSummary:
        """The summary now. `final`: the output has ended, so an unfinished line is a line."""
        if not self.total:
            return EMPTY
        if final and self._unfinished:
            self.lines += 1
            self._classify(self._open)
            self._open, self._unfinished = b"", False
        window = b"".join(self._chunks)
        tail = last_lines(window[-WINDOW:], TAIL_LINES, from_start=self.total <= WINDOW, ended=final)
        self._progress = _last_progress(tail) or self._progress
        return OutputSummary(
            lines=self.lines,
            bytes=self.total,
            error_lines=self.errors,
            warning_lines=self.warnings,
            progress=self._progress,
            last_line=next((line for line in reversed(tail) if line.strip()), ""),
            tail=tuple(tail),
            dropped_bytes=dropped_bytes,
        )

    def _keep(self, data: bytes) -> None:
        """Append to the last chunks, of which at least `WINDOW` bytes stay."""
        self._chunks.append(data)
        self._kept += len(data)
        while self._kept - len(self._chunks[0]) >= WINDOW:
            self._kept -= len(self._chunks.popleft())

    def _classify(self, text: bytes) -> None:
        """Count the error and warning lines among complete lines."""
        words = _possible(text)
        if words:
            lower = text.lower()
            # Searching from the end is twice as fast as ``in`` for short words.
            found = {kind for word, kind in words if lower.rfind(word) >= 0}
            if _ERROR in found:
                self.errors += _count_lines(_ERROR, lower)
            if _WARNING in found:
                self.warnings += _count_lines(_WARNING, lower)
        status = text.rfind(_STATUS) if b"_" in text else -1
        if status >= 0:
            line = text[status : status + LONGEST_READ].partition(b"\n")[0]
            self._progress = _last_progress(last_lines(line, 1, from_start=True, ended=True)) or self._progress


_WORDS = ((b"error", _ERROR), (b"fatal", _ERROR), (b"exception", _ERROR), (b"warn", _WARNING))
_LETTERS = {word: tuple((word[i : i + 1], word[i : i + 1].upper()) for i in range(len(word))) for word, _ in _WORDS}


def _possible(text: bytes) -> list[tuple[bytes, re.Pattern[bytes]]]:
    """Words whose letters are all in `text`, in either case: that a letter is missing is seen thirty times as fast as that a word is."""
    return [
        (word, kind) for word, kind in _WORDS if all(small in text or large in text for small, large in _LETTERS[word])
    ]


def _count_lines(pattern: re.Pattern[bytes], text: bytes) -> int:
    count, at = 0, 0
    while (match := pattern.search(text, at)) is not None:
        count += 1
        at = text.find(b"\n", match.end()) + 1
        if at == 0:
            break
    return count


def _last_progress(lines: list[str]) -> str:
    """The last thing in `lines` that looks like progress; empty when nothing does."""
    for line in reversed(lines):
        status = _STATUS_LINE.search(line)
        if status is not None:
            return status[1].strip()[:200]
        for match in reversed(list(_STEP.finditer(line))):
            if match[1] is None or 0 < int(match[2]) >= int(match[1]):
                return match[0]
    return ""
