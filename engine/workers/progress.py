"""The progress page of a host: which of its leases it has begun, readable after everybody was killed.

A file of one page, mapped into the host. `ProgressPage.begin` costs a store into memory; the kernel keeps the page when the host
dies. It does not survive a power cut, so the page carries the boot id: another boot means that nobody knows.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from typing import NamedTuple

_MAGIC = b"MI4PAGE1"
_HEAD = struct.Struct("=8s40sQ")
_LEASE_WORD = _HEAD.size // 8 - 1
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Progress(NamedTuple):
    """What a page says."""

    boot_id: str
    """Boot during which it was written; empty where the system has none."""
    lease: int
    """The last lease that began; those of the same host with a higher number never did. 0: none."""


class ProgressPage:
    """The writing side. State: the mapping, which a process forked from the host shares; one of them writes at a time."""

    def __init__(self, path: Path) -> None:
        """Create or reset the page (mode 0600); raises `OSError` for a link or what is not a regular file of its own."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, mmap.PAGESIZE)
            memory = mmap.mmap(fd, mmap.PAGESIZE)
        finally:
            os.close(fd)
        _HEAD.pack_into(memory, 0, _MAGIC, _boot_id().encode(), 0)
        self._words = memoryview(memory).cast("Q")  # a word is stored in one piece, so no reader sees half of a lease

    def begin(self, lease: int) -> None:
        """Say that `lease` begins now; before its first effect."""
        self._words[_LEASE_WORD] = lease

    @property
    def lease(self) -> int:
        """The last lease that began."""
        return self._words[_LEASE_WORD]


def read_progress(path: Path) -> Progress | None:
    """What the page says; None when there is none or it is not whole."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        data = os.read(fd, _HEAD.size)
    except OSError:
        return None
    finally:
        os.close(fd)
    if len(data) < _HEAD.size or not data.startswith(_MAGIC):
        return None
    _, boot_id, lease = _HEAD.unpack(data)
    return Progress(boot_id.rstrip(b"\0").decode("ascii", "replace"), lease)


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_bytes().strip().decode()  # reading text would import a codec, in every forked host
    except OSError:
        return ""
