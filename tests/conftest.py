"""Keeps the developer's own files and variables out of every test, and every test out of the developer's files.

Done once per process before any test is collected (programs that tests start inherit it), and per test for the working folder.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest

OURS = re.compile(r"^(MI4_|(CODEX|ORCHESTRATION|TOKENS|CACHE|MONITORING|ALERTS|STORAGE|UI|WEB|CLUSTER)__)")
"""Variables that are settings of the program."""
TERMINAL = (
    "NO_COLOR",
    "FORCE_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "COLUMNS",
    "LINES",
    "TERM_PROGRAM",
    "COLORTERM",
    "TMUX",
)
PYTHON = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONWARNINGS", "PYTHONSAFEPATH")

_home = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """A home, an environment and a terminal that are the same on every machine."""
    for name in [*os.environ]:
        if OURS.match(name) or name.startswith("TEXTUAL") or name in TERMINAL or name in PYTHON:
            del os.environ[name]
    home = Path(tempfile.mkdtemp(prefix="mi4-home-"))
    config.stash[_home] = home
    os.environ["HOME"] = str(home)
    for name, folder in {
        "CONFIG": ".config",
        "DATA": ".local/share",
        "STATE": ".local/state",
        "CACHE": ".cache",
    }.items():
        os.environ[f"XDG_{name}_HOME"] = str(home / folder)
    os.environ.pop("XDG_RUNTIME_DIR", None)
    os.environ.update(TZ="UTC", LC_ALL="C.UTF-8", TERM="xterm-256color")


def pytest_unconfigure(config: pytest.Config) -> None:
    """The home goes with the process that made it."""
    home = config.stash.get(_home, None)
    if home is not None:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(autouse=True)
def own_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `.env`, `mi4.toml`, `tasks.json` or `.mi4` of the folder that pytest was started in is never read or written."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the source tree."""
    return Path(__file__).resolve().parent.parent
