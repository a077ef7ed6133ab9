"""``demo``: the built-in backlog in a folder of its own."""

from __future__ import annotations

import os
from typing import Any

import click

from engine.foreground import command_line_settings
from engine.session.launch import RunRequest

from ..demo import DEMO_FILE, write_demo
from .asking import say_aside
from .options import STATE_DIR
from .run import Mode, mode_options, start


@click.command()
@mode_options
@click.option("-j", "--max-agents", metavar="N", help="Number of workers.")
def demo(max_agents: str | None, **shown: Any) -> int:
    """Run a small built-in backlog, offline, in a fresh folder that is named and kept.

    It has dependencies, a task that fails and recovers, progress, much output, Python and two simulated agents.
    """
    folder = write_demo()
    say_aside(f"the demonstration works in {folder}")
    os.chdir(folder)
    overrides = command_line_settings(max_agents=max_agents, no_cache=False, on_interrupted=None, assignments=())
    request = RunRequest(folder=str(folder / STATE_DIR), cwd=str(folder), files=(DEMO_FILE,), overrides=overrides)
    return start(request, Mode(**shown))
