"""The stored output of an attempt as lines that a terminal can be given."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiofiles

from ..streaming.sanitiser import sanitise
from .protocol import Reply

_CHUNK = 64 * 1024
_LONGEST_LINE = 64 * 1024
"""Bytes after which a line is cut into two: output without line ends must not grow in memory."""


class LineCutter:
    """Cuts raw output into sanitised lines. State: the bytes of the line that has not ended yet."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that `data` completes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            lines.append(self._rest)
            self._rest = b""
        return [_clean(line) for line in lines]

    def end(self) -> list[str]:
        """What stands behind the last line end, if anything."""
        rest, self._rest = self._rest, b""
        return [_clean(rest)] if rest else []


def _clean(line: bytes) -> str:
    """One line as it would look in the end: a carriage return starts it anew."""
    text = line.decode("utf-8", errors="replace").rstrip("\r")
    return sanitise(text.rpartition("\r")[2])


async def printed_lines(reply: Reply) -> AsyncIterator[list[str]]:
    """The lines behind a reply to `FindLog`, in groups; none where its log file does not exist yet."""
    follower = LogFollower()
    path = reply.data.get("path")
    if path:
        async for lines in follower.read(path):
            yield lines
    else:
        yield follower.cutter.feed(reply.data.get("output") or b"")
    if rest := follower.cutter.end():
        yield rest


class LogFollower:
    """Reads a log file that grows. State: how far it has read, and what it has of the last line."""

    def __init__(self) -> None:
        self.cutter = LineCutter()
        self._offset = 0

    async def read(self, path: str) -> AsyncIterator[list[str]]:
        """The lines that were completed since the last time, in groups."""
        try:
            async with aiofiles.open(path, "rb") as file:
                await file.seek(self._offset)
                while chunk := await file.read(_CHUNK):
                    self._offset += len(chunk)
                    yield self.cutter.feed(chunk)
        except FileNotFoundError:
            return
