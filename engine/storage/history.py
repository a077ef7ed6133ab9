"""The runs of a folder: one row for each life of an engine, with its settings and how it ended."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

import msgspec

from .database import Database
from .rows import RunRecord

_encode = msgspec.json.Encoder(enc_hook=str).encode
"""Paths and the like among settings become their text."""
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class RunHistory:
    """Runs on disk. Holds nothing itself."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, run_id: str, started_at: float, settings: Mapping[str, Any]) -> None:
        """Note that an engine started; `settings` must hold no secret."""
        row = (run_id, started_at, _encode(dict(settings)).decode())

        def job(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO runs (run_id, started_at, settings) VALUES (?, ?, ?)", row)

        await self._database.run(job)

    async def finish(self, run_id: str, finished_at: float, summary: Mapping[str, Any]) -> None:
        """Note how it ended."""
        row = (finished_at, _encode(dict(summary)).decode(), run_id)

        def job(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE runs SET finished_at = ?, summary = ? WHERE run_id = ?", row)

        await self._database.run(job)

    def latest(self, limit: int = 50) -> list[RunRecord]:
        """The last runs, newest first. Raises `StateFolderError`."""
        query = "SELECT run_id, started_at, finished_at, summary, settings FROM runs ORDER BY started_at DESC LIMIT ?"
        rows = self._database.read(lambda connection: connection.execute(query, (limit,)).fetchall())
        return [
            RunRecord(
                run_id=run, started_at=began, finished_at=ended, summary=_decode(summary), settings=_decode(settings)
            )
            for run, began, ended, summary, settings in rows
        ]

    async def prune(self, keep: int) -> None:
        """Forget all but the newest `keep` runs."""

        def job(connection: sqlite3.Connection) -> None:
            connection.execute(
                "DELETE FROM runs WHERE run_id NOT IN (SELECT run_id FROM runs ORDER BY started_at DESC LIMIT ?)",
                (keep,),
            )

        await self._database.run(job)
