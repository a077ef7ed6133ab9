"""``doctor``: whether this machine and this folder are fit for work."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from engine.errors import EngineError
from engine.foreground import read_settings
from engine.session.launch import RunRequest
from engine.session.lock import read_lock

from .asking import say, say_json
from .options import Place, json_option, place_options

_LOW_SPACE = 1 << 30
_SMALLEST = (80, 24)


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check."""

    name: str
    verdict: str
    """``ok``, ``warning`` or ``bad``."""
    message: str
    """What was found and, unless it is ok, what to do."""


@click.command()
@json_option
@place_options
def doctor(place: Place, as_json: bool) -> int:
    """Check this machine and this folder: Python, storage, settings, state folder, processes, terminal.

    Exit status 1 when something keeps MI4 from working here.
    """
    findings = list(examine(place.request()))
    if as_json:
        say_json([{"check": one.name, "verdict": one.verdict, "message": one.message} for one in findings])
    else:
        say([f"{one.verdict:<8} {one.name:<14} {one.message}" for one in findings])
    return int(any(one.verdict == "bad" for one in findings))


def examine(request: RunRequest) -> Iterator[Finding]:
    """All checks, one after another; none of them changes anything."""
    checks: tuple[Callable[[RunRequest], Finding], ...] = (
        check_python, check_storage, check_processes, check_settings, check_folder, check_space, check_engine, check_terminal,
    )  # fmt: skip
    for check in checks:
        yield check(request)


def check_python(_: RunRequest) -> Finding:
    """The interpreter and the system."""
    return Finding("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def check_storage(_: RunRequest) -> Finding:
    """SQLite, and whether the temporary folder can hold its files."""
    return Finding("sqlite", "ok", sqlite3.sqlite_version)


def check_processes(_: RunRequest) -> Finding:
    """What the system offers to keep track of processes."""
    if hasattr(os, "pidfd_open") and sys.platform == "linux":
        return Finding("processes", "ok", "pidfd and sub-reaper: no process outlives the engine")
    return Finding(
        "processes", "warning", "no pidfd: a killed engine may leave processes that are ended at its next start"
    )


def check_settings(request: RunRequest) -> Finding:
    """Whether all settings have allowed values."""
    try:
        loaded = read_settings(request)
    except EngineError as error:
        return Finding("settings", "bad", "; ".join(str(error).splitlines()))
    if loaded.warnings:
        return Finding("settings", "warning", "; ".join(loaded.warnings))
    return Finding("settings", "ok", "'mi4-tui config' lists them")


def check_folder(request: RunRequest) -> Finding:
    """Whether the state folder can be used, or made."""
    folder = Path(request.folder)
    where = folder if folder.exists() else folder.parent
    if not os.access(where, os.W_OK | os.X_OK):
        return Finding("state folder", "bad", f"{where} cannot be written; name another folder with --state-dir")
    return Finding("state folder", "ok", str(folder) if folder.exists() else f"{folder} will be made by the first run")


def check_space(request: RunRequest) -> Finding:
    """How much the disk of the working folder can still take."""
    free = shutil.disk_usage(request.cwd).free
    text = f"{free / (1 << 30):.1f} GiB free"
    return Finding("disk", "ok", text) if free > _LOW_SPACE else Finding("disk", "warning", f"{text}; make room")


def check_engine(request: RunRequest) -> Finding:
    """Whether an engine works here."""
    holder = read_lock(Path(request.folder)) if Path(request.folder).is_dir() else None
    return Finding("engine", "ok", f"works here, pid {holder.pid}" if holder else "none works here")


def check_terminal(_: RunRequest) -> Finding:
    """Whether the app has room."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return Finding("terminal", "ok", "none here; runs are headless")
    size = shutil.get_terminal_size()
    text = f"{size.columns}x{size.lines}"
    if size.columns < _SMALLEST[0] or size.lines < _SMALLEST[1]:
        return Finding("terminal", "warning", f"{text} is small; the app wants 80x24 or more")
    return Finding("terminal", "ok", text)
