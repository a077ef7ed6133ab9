"""Reads a log by pages: any line of a file of any size, without holding the file. No Textual here.

A page ends at the last line break of each 64 KiB of the file, and the index holds one offset and one line number a page. Output that
is small enough to have no file is read from its bytes in the same way.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO

from .formatting import plain

PAGE = 64 * 1024
"""Bytes of a page at most; a line that is longer is shown in pieces."""
KEPT_PAGES = 32
"""Decoded pages that are kept."""


class LogFile:
    """The lines of a log.

    Mutable state: the index (starts and first lines of pages), the pages that were read last. `extend` may be called from a thread
    while nothing else is; reading is for one thread at a time.
    """

    def __init__(self, source: Path | bytes) -> None:
        self._file: BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
        self._starts: list[int] = []
        self._first_lines: list[int] = []
        self._end = 0
        self._lines = 0
        self._kept: OrderedDict[int, list[str]] = OrderedDict()

    @property
    def lines(self) -> int:
        """Lines that are indexed."""
        return self._lines

    @property
    def bytes(self) -> int:
        """Bytes that are indexed."""
        return self._end

    def extend(self, pages: int = 1 << 30) -> bool:
        """Index what was appended, at most so many pages. Returns whether there was anything."""
        self._reopen_last()
        before = self._end
        for _ in range(pages):
            self._file.seek(self._end)
            block = self._file.read(PAGE)
            if not block:
                break
            if len(block) == PAGE:
                cut = block.rfind(b"\n") + 1
                block = block[:cut] if cut else block
            self._starts.append(self._end)
            self._first_lines.append(self._lines)
            self._end += len(block)
            self._lines += block.count(b"\n") + (not block.endswith(b"\n"))
        return self._end != before

    def _reopen_last(self) -> None:
        """Take a last page that was not full out of the index again: it may have grown, also within its last line."""
        if self._starts and self._end - self._starts[-1] < PAGE and self._has_more():
            self._end = self._starts.pop()
            self._lines = self._first_lines.pop()
            self._kept.pop(len(self._starts), None)

    def _has_more(self) -> bool:
        self._file.seek(self._end)
        return bool(self._file.read(1))

    def line(self, number: int) -> str:
        """The line with this number (from 0), safe to show; empty when there is none."""
        if not 0 <= number < self._lines:
            return ""
        page = bisect_right(self._first_lines, number) - 1
        lines = self._page(page)
        index = number - self._first_lines[page]
        return lines[index] if index < len(lines) else ""

    def _page(self, page: int) -> list[str]:
        lines = self._kept.get(page)
        if lines is None:
            end = self._starts[page + 1] if page + 1 < len(self._starts) else self._end
            self._file.seek(self._starts[page])
            raw = self._file.read(end - self._starts[page]).removesuffix(b"\n")
            lines = self._kept[page] = [_readable(line) for line in raw.split(b"\n")]
            if len(self._kept) > KEPT_PAGES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(page)
        return lines

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _readable(line: bytes) -> str:
    """What a terminal would have left of the line: a carriage return starts it anew."""
    return plain(line.decode("utf-8", errors="replace").rstrip("\r").rpartition("\r")[2])
