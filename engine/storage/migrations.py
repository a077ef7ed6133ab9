"""The schema of the state database, as the steps that lead to it.

`PRAGMA user_version` counts the steps that a file has had. A step that was released never changes; a new need is a new step.
The arrows of `engine.tasks.lifecycle` stand here once more, because a released schema must not change with the code; a test
compares the two.
"""

from __future__ import annotations

import sqlite3

APPLICATION_ID = 0x4D493453
"""``MI4S``: marks a SQLite file as ours."""

_FIRST = """
CREATE TABLE tasks (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    generation INTEGER NOT NULL,
    digest TEXT NOT NULL,
    state TEXT NOT NULL,
    cause TEXT NOT NULL DEFAULT '',
    attempt INTEGER NOT NULL DEFAULT 0,
    priority REAL NOT NULL,
    manual REAL NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    retries_left INTEGER NOT NULL,
    crashes INTEGER NOT NULL DEFAULT 0,
    retry_at REAL,
    lease INTEGER NOT NULL DEFAULT 0,
    worker TEXT NOT NULL DEFAULT '',
    finished_at REAL,
    duration REAL NOT NULL DEFAULT 0,
    exit_code INTEGER,
    error TEXT NOT NULL DEFAULT '',
    cached INTEGER NOT NULL DEFAULT 0,
    lines INTEGER NOT NULL DEFAULT 0,
    tokens BLOB,
    value BLOB,
    task BLOB NOT NULL,
    UNIQUE (id, generation)
);

-- One trigger for all updates: every state that is not on the left is final. The arrows that every task takes stand first,
-- because each comparison is paid for twice a task; for the same reason this is not a CHECK.
CREATE TRIGGER tasks_known_arrows BEFORE UPDATE OF state, attempt, finished_at, exit_code ON tasks
WHEN NOT (OLD.state = 'queued' AND NEW.state = 'leased'
    OR OLD.state = 'leased' AND NEW.state = 'succeeded'
    OR OLD.state = 'pending' AND NEW.state IN ('queued', 'skipped', 'held', 'cancelled', 'pending')
    OR OLD.state = 'queued' AND NEW.state IN ('succeeded', 'held', 'cancelled', 'skipped', 'queued')
    OR OLD.state = 'leased' AND NEW.state IN ('queued', 'failed', 'timed_out', 'backoff', 'held', 'cancelling', 'cancelled',
        'leased')
    OR OLD.state = 'backoff' AND NEW.state IN ('queued', 'held', 'cancelled', 'backoff')
    OR OLD.state = 'held' AND NEW.state IN ('pending', 'queued', 'cancelled', 'skipped', 'held')
    OR OLD.state = 'cancelling' AND NEW.state IN ('cancelled', 'succeeded', 'failed', 'timed_out', 'held', 'cancelling'))
BEGIN SELECT CASE WHEN OLD.state IN ('succeeded', 'failed', 'timed_out', 'cancelled', 'skipped')
    THEN RAISE(ABORT, 'a final state never changes') ELSE RAISE(ABORT, 'no such transition') END; END;

CREATE TRIGGER tasks_known_states BEFORE INSERT ON tasks
WHEN NEW.state NOT IN ('pending', 'queued', 'leased', 'backoff', 'held', 'cancelling', 'succeeded', 'failed', 'timed_out',
    'cancelled', 'skipped')
BEGIN SELECT RAISE(ABORT, 'no such state'); END;

CREATE TABLE attempts (
    key INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    cause TEXT NOT NULL,
    error TEXT NOT NULL,
    exit_code INTEGER,
    started_at REAL NOT NULL,
    finished_at REAL NOT NULL,
    duration REAL NOT NULL,
    wait_s REAL NOT NULL,
    worker TEXT NOT NULL,
    warm INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    tokens BLOB,
    summary BLOB,
    log TEXT NOT NULL,
    compressed INTEGER NOT NULL,
    output BLOB NOT NULL,
    PRIMARY KEY (key, attempt)
) WITHOUT ROWID;

CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    time REAL NOT NULL,
    key INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    state TEXT NOT NULL,
    cause TEXT NOT NULL,
    by_user INTEGER NOT NULL
);

CREATE TABLE runs (
    run_id TEXT PRIMARY KEY,
    started_at REAL NOT NULL,
    finished_at REAL,
    summary TEXT NOT NULL DEFAULT '{}',
    settings TEXT NOT NULL DEFAULT '{}'
) WITHOUT ROWID;

CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE cache (
    digest TEXT PRIMARY KEY,
    task_id TEXT NOT NULL,
    seal TEXT NOT NULL,
    size INTEGER NOT NULL,
    created_at REAL NOT NULL,
    used INTEGER NOT NULL,
    value BLOB NOT NULL
);
CREATE INDEX cache_by_use ON cache (used);

CREATE TABLE cache_totals (entries INTEGER NOT NULL, bytes INTEGER NOT NULL, evictions INTEGER NOT NULL);
INSERT INTO cache_totals VALUES (0, 0, 0);
CREATE TRIGGER cache_grows AFTER INSERT ON cache
BEGIN UPDATE cache_totals SET entries = entries + 1, bytes = bytes + NEW.size; END;
CREATE TRIGGER cache_shrinks AFTER DELETE ON cache
BEGIN UPDATE cache_totals SET entries = entries - 1, bytes = bytes - OLD.size; END;
"""

MIGRATIONS: tuple[str, ...] = (_FIRST,)
"""SQL of each step, oldest first."""
VERSION = len(MIGRATIONS)
"""What `user_version` is after all steps."""


def migrate(connection: sqlite3.Connection) -> int:
    """Bring a file to `VERSION`, one transaction a step; the number of steps taken. The caller has refused newer files."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{script}\nPRAGMA application_id = {APPLICATION_ID};\nPRAGMA user_version = {number};\nCOMMIT;"
        )
    return VERSION - int(version)
