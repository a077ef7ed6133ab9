"""Options that many verbs share, and what they say together: the place to work in."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from engine.session.launch import RunRequest

STATE_DIR = ".mi4"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a verb works."""

    state_dir: str
    verbose: bool = False

    def request(self, **more: Any) -> RunRequest:
        """What the engine is asked for here; `more` are further fields of `RunRequest`."""
        cwd = Path.cwd()
        return RunRequest(folder=str(cwd / self.state_dir), cwd=str(cwd), **more)


def place_options(function: Callable[..., int]) -> Callable[..., int]:
    """Add ``--state-dir`` and ``-v``, handed over as `place`."""

    @click.option(
        "--state-dir", default=STATE_DIR, show_default=True, metavar="DIR", help="Folder that holds the state."
    )
    @click.option("-v", "--verbose", is_flag=True, help="Show a traceback with an error.")
    @functools.wraps(function)
    def with_place(*args: Any, state_dir: str, verbose: bool, **kwargs: Any) -> int:
        return function(*args, place=Place(state_dir, verbose), **kwargs)

    return with_place


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
