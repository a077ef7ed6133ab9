"""The result cache: exact, bounded, and only for tasks that ask for it.

A hit gives what the task gave: its result, what it printed (up to `MAX_PRINTED`) and the files it declares as outputs. Entries are
plain data under a digest over key and value: one that was tampered with or damaged is a miss and a warning, and nothing in it is ever
run. Whatever goes wrong here costs a hit, never a task.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from ..clock import Clock
from ..errors import StateFolderError
from ..storage.cache_table import CachedRow, CacheTable
from ..storage.database import Database
from ..storage.folder import check_private
from ..storage.rows import CacheEntry
from ..tasks.model import AttemptResult, Task
from .files import OutputFile, UncacheableError, collect, restore
from .keys import CacheKey, cache_key

__all__ = ["CacheEntry", "CacheLimits", "CacheStatistics", "Lookup", "ResultCache"]

MAX_FILE_BYTES = 32 * 1024 * 1024
"""Bytes of all output files of one entry, before compression; larger results are not cached."""
MAX_PRINTED = 1024 * 1024
"""Bytes of output kept with an entry; of more, the first and the last half of that."""
NO_KEY = CacheKey("", "")
"""The key of a task that is not to be cached."""
_log = logging.getLogger("mi4.engine.caching")


class CacheLimits(Protocol):
    """The settings that the cache needs (`Settings.cache`)."""

    @property
    def ttl_seconds(self) -> float:
        """Age at which an entry is no longer used; 0 means never."""
        ...

    @property
    def max_bytes(self) -> int:
        """Bound of all entries together."""
        ...


class CacheStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since this cache object was made, and its size on disk."""

    hits: int = 0
    misses: int = 0
    evictions: int = 0
    """Entries dropped to make room or for their age."""
    entries: int = 0
    bytes: int = 0
    max_bytes: int = 0

    def get_hit_rate(self) -> float:
        """Hits in percent of lookups; 0 when there was none."""
        total = self.hits + self.misses
        return 100.0 * self.hits / total if total else 0.0


class Lookup(msgspec.Struct, frozen=True):
    """What the cache knows of a task."""

    key: CacheKey
    """To be given back to `ResultCache.entry` when the task has run."""
    hit: AttemptResult | None = None
    """A result with key and attempt 0, duration 0 and no tokens: it did not run."""
    saved_s: float = 0.0
    """How long it had run when the entry was made."""


class _Value(msgspec.Struct, frozen=True, array_like=True):
    """What an entry holds."""

    result: AttemptResult
    printed: bytes
    files: tuple[OutputFile, ...]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Value).decode


class ResultCache:
    """The cache of one state folder."""

    # Mutable state, loop thread: hits, misses, _dropped_before (evictions in the database when this object was made).

    def __init__(self, database: Database, limits: CacheLimits, clock: Clock, enabled: bool = True) -> None:
        self.hits = 0
        self.misses = 0
        self.enabled = enabled
        self._table = CacheTable(database)
        self._logs = database.path.parent / "logs"
        self._limits = limits
        self._clock = clock
        self._dropped_before = self._table.totals().evictions

    def __repr__(self) -> str:
        return f"<ResultCache {'on' if self.enabled else 'off'} {self.hits} hits {self.misses} misses>"

    @property
    def evictions(self) -> int:
        """Entries dropped since this object was made."""
        return self.statistics().evictions

    async def lookup(self, task: Task, environ: Mapping[str, str]) -> Lookup:
        """The key of `task` as things are now, and its result if one is known; then its output files have been restored.

        Never raises for what is on disk. A task that declares no caching is neither hit nor miss.
        """
        if not self.enabled or not task.is_cacheable:
            return Lookup(NO_KEY)
        found = await asyncio.to_thread(self._look, task, environ)
        if found.hit is None:
            self.misses += 1
        else:
            self.hits += 1
            self._table.touch(found.key.digest)
        return found

    async def entry(
        self, task: Task, key: CacheKey, result: AttemptResult, environ: Mapping[str, str]
    ) -> CacheEntry | None:
        """What to store for a result that `task` has just given; None when it must not be stored.

        That is: it did not succeed, an input changed since `key` was made, or a hit could not restore everything.
        """
        if not self.enabled or not key.digest or not task.is_cacheable or result.outcome != "succeeded":
            return None
        return await asyncio.to_thread(self._seal, task, key, result, environ)

    def statistics(self) -> CacheStatistics:
        """Counts and size. Raises `StateFolderError`."""
        totals = self._table.totals()
        return CacheStatistics(
            hits=self.hits,
            misses=self.misses,
            evictions=totals.evictions - self._dropped_before,
            entries=totals.entries,
            bytes=totals.bytes,
            max_bytes=self._limits.max_bytes,
        )

    # In a thread: file and database reads.

    def _look(self, task: Task, environ: Mapping[str, str]) -> Lookup:
        try:
            key = cache_key(task, environ)
        except (OSError, ValueError, TypeError) as error:
            _log.warning("task %r is not cached: %s", task.id, error)
            return Lookup(NO_KEY)
        try:
            row = self._table.find(key.digest)
            value = None if row is None or self._is_expired(row) else _open(key.digest, row)
            if value is None:
                return Lookup(key)
            restore(task.cwd, value.files)
        except (StateFolderError, UncacheableError, OSError) as error:
            _log.warning("the cached result of task %r is not used: %s", task.id, error)
            return Lookup(key)
        hit = msgspec.structs.replace(value.result, started_at=self._clock.time(), duration=0.0, output=value.printed)
        return Lookup(key, hit, value.result.duration)

    def _is_expired(self, row: CachedRow) -> bool:
        ttl = self._limits.ttl_seconds
        return ttl > 0 and self._clock.time() - row.created_at >= ttl

    def _seal(self, task: Task, key: CacheKey, result: AttemptResult, environ: Mapping[str, str]) -> CacheEntry | None:
        try:
            files = collect(task.cwd, task.outputs, min(MAX_FILE_BYTES, self._limits.max_bytes))
            printed = result.output if not result.log else _read_log(self._logs / Path(result.log).name)
            if cache_key(task, environ) != key:
                _log.info("the result of task %r is not cached: an input changed while it ran", task.id)
                return None
            plain = msgspec.structs.replace(result, key=0, attempt=0, output=b"", log="", tokens=None, warm=False)
            value = zlib.compress(_encode(_Value(plain, printed, files)), 1)
        except (OSError, StateFolderError, UncacheableError, ValueError, TypeError, OverflowError) as error:
            _log.warning("the result of task %r is not cached: %s", task.id, error)
            return None
        now, ttl = self._clock.time(), self._limits.ttl_seconds
        return CacheEntry(
            digest=key.digest,
            task_id=task.id,
            value=value,
            seal=_digest(key.digest, value),
            created_at=now,
            max_bytes=self._limits.max_bytes,
            expire_before=now - ttl if ttl > 0 else 0.0,
        )


def _digest(key: str, value: bytes) -> str:
    """Binds a value to its key."""
    return hashlib.sha256(key.encode() + b"\0" + value).hexdigest()


def _open(digest: str, row: CachedRow) -> _Value:
    """The value of an entry; raises `UncacheableError` unless it is exactly what was stored under this key."""
    if row.seal != _digest(digest, row.value):
        raise UncacheableError("its digest does not agree")
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(row.value, 2 * MAX_FILE_BYTES)
        if not unpacker.eof:
            raise UncacheableError("it is larger than any entry may be")
        value: _Value = _decode(data)
    except (zlib.error, msgspec.MsgspecError) as error:
        raise UncacheableError(f"it cannot be read ({error})") from error
    return value


def _read_log(path: Path) -> bytes:
    """A log, or the first and last half of `MAX_PRINTED` of it with a line between them that says what is missing."""
    check_private(path)
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(fd, "rb") as file:
        size = os.fstat(fd).st_size
        if size <= MAX_PRINTED:
            return file.read(MAX_PRINTED)
        head = file.read(MAX_PRINTED // 2)
        file.seek(-(MAX_PRINTED // 2), os.SEEK_END)
        return head + b"\n[.. %d bytes are not in the cache ..]\n" % (size - MAX_PRINTED) + file.read(MAX_PRINTED // 2)
