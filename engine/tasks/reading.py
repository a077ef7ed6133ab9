"""One task file while it is read: its bytes, its text, its records, and what becomes of them."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import Fault
from .model import Task
from .records import Places, Records

MAX_BYTES = 512 * 2**20
"""Size of a task file; far above 100,000 tasks."""


@dataclass(slots=True)
class Reading:
    """State of one file, owned by the reader of all files; `numbers` are the positions of the records that are good tasks."""

    name: str
    """As the user named it."""
    records: Records = field(default_factory=Records)
    tasks: list[Task] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    skipped: list[Fault] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    """Ids of records that a file of another program has and that cannot be taken."""
    unmet: list[tuple[str, str]] = field(default_factory=list)
    cycles: list[str] = field(default_factory=list)
    places: Places | None = None

    def line(self, number: int, field: str = "") -> int | None:
        """Where record `number` (from 0), or one of its fields, stands."""
        if self.places is None:
            self.places = self.records.locate()
        if number >= len(self.places):
            return None
        place = self.places[number]
        return place.get(field, place[""])

    def warn(self, line: int | None, message: str) -> None:
        """Something is allowed and probably not meant."""
        self.warnings.append(str(Fault(self.name, line, message)))

    def skip(self, line: int | None, reason: str) -> None:
        """Something in the file does not become a task."""
        self.skipped.append(Fault(self.name, line, reason))


def load_text(path: Path) -> str:
    """The text of a regular file; raises `ValueError` with (line, message) or a message."""
    data = _load_bytes(path)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("is UTF-16; save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(line, f"not UTF-8 text: the byte 0x{data[error.start]:02x} cannot stand there") from error
    if not text.strip():
        raise ValueError("is empty; write a list of tasks, each with an id and what to do")
    return text


def _load_bytes(path: Path) -> bytes:
    try:
        # Not blocking, so that a pipe nobody writes to cannot hang the command before it is seen to be one.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise ValueError("no such file") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        _check_kind(os.fstat(descriptor))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _check_kind(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise ValueError("is a folder; name a task file in it")
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("is not a regular file; save the tasks to a file first")
    if status.st_size > MAX_BYTES:
        raise ValueError(f"has {status.st_size:,} bytes; the limit is {MAX_BYTES:,}")
