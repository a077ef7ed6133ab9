"""Opening a state database: what is there is checked before it is trusted, and never overwritten.

A new file gets its schema under another name and is renamed when complete, so an empty ``state.db`` is always damage and never a
half-made one. A damaged file is moved aside and named in the error; a file of a newer version, or of another program, is left alone.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from ..clock import Clock
from ..errors import StateFolderError, StorageFullError
from .folder import check_private, create_private, sync_folder
from .migrations import APPLICATION_ID, VERSION, migrate

CHEAP_CHECK = 16 * 1024 * 1024
"""Bytes up to which a file is checked even after a clean close."""
BUSY_SECONDS = 5.0
"""How long a statement waits for another program that has the file locked."""
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})
_WRITER = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA wal_autocheckpoint = 4000",
    # Not "temp_store = MEMORY": SQLite walks the list of pages for undoing anew with each update, so 100,000 in a group take half a minute.
    "PRAGMA cache_size = -16000",
)


class DamagedError(Exception):
    """The file is not what SQLite wrote."""


def error_code(error: sqlite3.Error) -> int:
    """The primary SQLite result code, or 0 where SQLite did not say."""
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def explain(error: Exception) -> str:
    """What SQLite said, fit for one line: its messages may quote what it found in a damaged file."""
    return "".join(character if character.isprintable() else "?" for character in str(error))[:200]


def open_writer(path: Path, clock: Clock, factory: type[sqlite3.Connection]) -> sqlite3.Connection:
    """The one connection that writes; raises `StateFolderError` or `StorageFullError`."""
    wal = path.with_name(path.name + "-wal")
    unclean = check_private(wal) and wal.stat().st_size > 0
    check_private(path.with_name(path.name + "-shm"))
    try:
        if not check_private(path):
            if unclean:
                raise StateFolderError(f"{path} is missing but {wal.name} is there; put it back, or remove both", path)
            _create(path, factory)
        return _open_checked(path, unclean, factory)
    except (DamagedError, sqlite3.DatabaseError) as error:
        if isinstance(error, sqlite3.DatabaseError) and error_code(error) not in _DAMAGE:
            _refuse(path, error)
        _keep_damaged(path, clock, error)
    except OSError as error:
        raise StateFolderError(
            f"cannot open {path}: {error.strerror}; name another folder with --state-dir", path
        ) from error


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, for a file that `open_writer` or `check_readable` has accepted."""
    uri = f"file:{quote(str(path))}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA query_only = ON")
    return connection


def check_readable(path: Path) -> None:
    """Raise `StateFolderError` unless this is a state database that this version can read; nothing is written or moved."""
    if not check_private(path):
        raise StateFolderError(
            f"there is no stored state in {path.parent}; run a task file first, or name --state-dir", path
        )
    try:
        with closing(open_reader(path)) as connection:
            if _version(connection, path) != VERSION:
                raise StateFolderError(
                    f"{path} is of an older version; start an engine on it once to bring it up to date", path
                )
    except DamagedError as error:
        raise StateFolderError(
            f"{path} is damaged ({explain(error)}); start an engine on it for what to do", path
        ) from error
    except sqlite3.DatabaseError as error:
        _refuse(path, error)


def _create(path: Path, factory: type[sqlite3.Connection]) -> None:
    """Make a complete, empty database; a crash on the way leaves nothing under the real name."""
    new = path.with_name(path.name + ".new")
    for stale in (new, new.with_name(new.name + "-journal")):
        stale.unlink(missing_ok=True)
    with os.fdopen(create_private(new), "wb"):
        pass
    with closing(_connect(new, factory)) as connection:
        migrate(connection)
    new.rename(path)
    sync_folder(path.parent)


def _open_checked(path: Path, unclean: bool, factory: type[sqlite3.Connection]) -> sqlite3.Connection:
    size = path.stat().st_size
    if size == 0:
        raise DamagedError("it is empty")
    connection = _connect(path, factory)
    try:
        _version(connection, path)
        if unclean or size <= CHEAP_CHECK:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise DamagedError(str(verdict).splitlines()[-1])
        migrate(connection)
        for pragma in _WRITER:
            connection.execute(pragma).fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: Path, factory: type[sqlite3.Connection]) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, factory=factory)


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """The schema version of a file that is ours and not newer than we are."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise StateFolderError(
            f"{path} was not written by mi4-tui; move it away, or name another folder with --state-dir", path
        )
    if version > VERSION:
        raise StateFolderError(
            f"{path} was written by a newer version (schema {version}, this one knows {VERSION}); "
            "upgrade mi4-tui, or name another folder with --state-dir",
            path,
        )
    if version < 1:
        raise DamagedError(f"its schema version is {version}")
    return int(version)


def _refuse(path: Path, error: sqlite3.DatabaseError) -> NoReturn:
    if error_code(error) == sqlite3.SQLITE_FULL:
        raise StorageFullError(f"the disk that holds {path} is full; free some space and start again") from error
    raise StateFolderError(
        f"cannot open {path}: {explain(error)}; check its owner and disk, or name --state-dir", path
    ) from error


def _keep_damaged(path: Path, clock: Clock, error: Exception) -> NoReturn:
    """Move the file and its companions aside and say where to."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(clock.time()))
    kept, number = path.with_name(f"{path.name}.corrupt-{stamp}"), 1
    while kept.exists():
        number += 1
        kept = path.with_name(f"{path.name}.corrupt-{stamp}-{number}")
    for suffix in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(kept.with_name(kept.name + suffix))
    sync_folder(path.parent)
    raise StateFolderError(
        f"{path} is damaged ({explain(error)}); it is kept as {kept}: put a backup in its place, or start again with an empty state",
        kept,
    ) from error
