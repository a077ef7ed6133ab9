"""The log of one attempt: kept in memory while it is small, in a file of its own once it grows, never above a cap.

Of a log over the cap the beginning and the end are kept, and one line between them says how much is missing. The end waits in
memory (at most `TAIL` bytes) until the log is closed.
"""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

from ..tasks.model import INLINE_OUTPUT

TAIL = 1024 * 1024
"""Bytes of the end that are kept when the cap is reached (a quarter of the cap when that is less)."""
_TRIES = 9
_PIECE = 4096
_NOTE_BYTES = 64
"""Room for the line that tells what is missing."""


class AttemptLog:
    """Where the output of one attempt goes. State: small output, or the open file and the waiting tail; the owner is the sink.

    A disk that is full or a folder that cannot be written never disturbs the task: what cannot be kept is counted as dropped.
    """

    __slots__ = (
        "_failed", "_fd", "_folder", "_head_left", "_name", "_small", "_tail", "_tail_cap", "_tail_kept", "dropped", "name",
    )  # fmt: skip

    def __init__(self, folder: Path, name: str, limit: int) -> None:
        self.name = ""
        """Name of the file below the folder; empty as long as there is none."""
        self.dropped = 0
        """Bytes that were not kept."""
        self._folder = folder
        self._name = name
        self._tail_cap = min(TAIL, limit // 4)
        self._head_left = max(0, limit - self._tail_cap - _NOTE_BYTES)
        self._small = b""
        self._fd = -1
        self._failed = False
        self._tail: deque[bytes] = deque()
        self._tail_kept = 0

    def write(self, data: bytes) -> None:
        """Append; never raises."""
        if self._failed:
            self.dropped += len(data)
            return
        if self._fd < 0:
            self._small += data
            if len(self._small) <= INLINE_OUTPUT:
                return
            if not self._open():
                self._give_up()
                return
            data, self._small = self._small, b""
        head = data[: self._head_left]
        self._head_left -= len(head)
        if head:
            self._write_file(head)
        if len(head) < len(data):
            self._keep_tail(data[len(head) :])

    def close(self) -> bytes:
        """End the log; returns the whole output when there is no file for it."""
        if self._fd >= 0:
            if self.dropped:
                self._write_file(f"\n[{self.dropped:,} bytes were left out here]\n".encode())
            for chunk in self._tail:
                self._write_file(chunk)
            os.close(self._fd)
            self._fd = -1
        self._tail.clear()
        return self._small

    def _open(self) -> bool:
        """Create the file; another that has the name, or a link, is left as it is and a number is added to ours."""
        stem = Path(self._name).name or "output.log"
        for number in range(1, _TRIES + 1):
            name = stem if number == 1 else f"{stem}.{number}"
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                self._fd = os.open(self._folder / name, flags, 0o600)
            except FileExistsError:
                continue
            except OSError:
                return False
            self.name = name
            return True
        return False

    def _give_up(self) -> None:
        """No file can be made: what fits in memory is kept, the rest counted."""
        self._failed = True
        self.dropped += len(self._small) - INLINE_OUTPUT
        self._small = self._small[:INLINE_OUTPUT]

    def _write_file(self, data: bytes) -> None:
        try:
            written = os.write(self._fd, data)
            while written < len(data):
                written += os.write(self._fd, data[written:])
        except OSError:
            self.dropped += len(data)

    def _keep_tail(self, data: bytes) -> None:
        if self._tail and len(self._tail[-1]) < _PIECE:
            self._tail[-1] += data  # a flood of tiny writes must not become a flood of tiny objects
        else:
            self._tail.append(data)
        self._tail_kept += len(data)
        while self._tail_kept > self._tail_cap and self._tail:
            surplus = self._tail_kept - self._tail_cap
            first = self._tail.popleft()
            if len(first) > surplus:
                self._tail.appendleft(first[surplus:])
            gone = min(surplus, len(first))
            self._tail_kept -= gone
            self.dropped += gone
