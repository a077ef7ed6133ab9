"""One attempt's output from the pipe on: redacted first, then logged and counted, so that no secret is in any of its copies."""

from __future__ import annotations

from pathlib import Path

from ..tasks.model import OutputSummary
from .logfile import AttemptLog
from .redaction import Redactor
from .summary import Summariser


class OutputSink:
    """Takes raw chunks and answers what was printed. State: the three parts; the owner is the attempt."""

    __slots__ = ("_log", "_redactor", "_summary", "raw_bytes")

    def __init__(self, folder: Path, name: str, limit: int, redactor: Redactor) -> None:
        self._log = AttemptLog(folder, name, limit)
        self._summary = Summariser()
        self._redactor = redactor
        self.raw_bytes = 0
        """Bytes as the task printed them."""

    @property
    def lines(self) -> int:
        """Lines that ended so far."""
        return self._summary.lines

    def write(self, chunk: bytes) -> None:
        """Take what the task printed; never raises."""
        self.raw_bytes += len(chunk)
        self._take(self._redactor.feed(chunk))

    def snapshot(self) -> OutputSummary:
        """The summary so far."""
        return self._summary.snapshot(dropped_bytes=self._log.dropped)

    def close(self) -> tuple[OutputSummary, bytes, str]:
        """End the output: final summary, the whole output when it is small, else the name of the log file."""
        self._take(self._redactor.flush())
        output = self._log.close()
        return self._summary.snapshot(final=True, dropped_bytes=self._log.dropped), output, self._log.name

    def _take(self, data: bytes) -> None:
        if data:
            self._log.write(data)
            self._summary.feed(data)
