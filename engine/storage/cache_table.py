"""The rows of the result cache: read, and marked as used. They are written with a `Batch`; what they mean, `engine.caching` knows."""

from __future__ import annotations

import sqlite3

import msgspec

from .database import Database
from .statements import NEXT_USE


class CachedRow(msgspec.Struct, frozen=True):
    """One entry as it lies on disk, not verified."""

    seal: str
    created_at: float
    value: bytes


class CacheTotals(msgspec.Struct, frozen=True):
    """Size of the cache, and entries dropped to make room or for their age since the folder was made."""

    entries: int = 0
    bytes: int = 0
    evictions: int = 0


class CacheTable:
    """Access to the cache rows of one database. Holds nothing itself."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, digest: str) -> CachedRow | None:
        """The entry with this key; any thread. Raises `StateFolderError`."""
        query = "SELECT seal, CAST(created_at AS REAL), CAST(value AS BLOB) FROM cache WHERE digest = ?"
        row = self._database.read(lambda connection: connection.execute(query, (digest,)).fetchone())
        return None if row is None else CachedRow(*row)

    def touch(self, digest: str) -> None:
        """Mark an entry as the one used last. Loop thread; durable with the next commit, and no harm if it is not."""

        def job(connection: sqlite3.Connection) -> None:
            connection.execute(f"UPDATE cache SET used = {NEXT_USE} WHERE digest = ?", (digest,))

        self._database.submit(job, _ignore)

    def totals(self) -> CacheTotals:
        """Counts as of the last commit. Raises `StateFolderError`."""
        row = self._database.read(
            lambda connection: connection.execute("SELECT entries, bytes, evictions FROM cache_totals").fetchone()
        )
        return CacheTotals(*row)


def _ignore(value: None, error: Exception | None) -> None:
    """Nothing depends on whether a use was noted."""
