"""``attach``: the app on an engine that already works here."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from engine.errors import UsageError
from engine.foreground import reach, read_settings
from engine.session.launch import RunRequest
from engine.session.protocol import View

from .options import Place, place_options


@click.command()
@place_options
def attach(place: Place) -> int:
    """Open the app on the engine that works on this folder.

    Any number of terminals may be attached; closing one changes nothing for the engine.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("attach needs a terminal; 'mi4-tui status' and 'mi4-tui monitor --once' print lines")
    return run_attached(place.request())


def run_attached(request: RunRequest) -> int:
    """Attach, show the app until it is left, and return its exit status. Raises `SessionLostError` where no engine runs."""
    return asyncio.run(_run_attached(request))


async def _run_attached(request: RunRequest) -> int:
    from ..app import run_app  # noqa: PLC0415 - Textual is loaded for the app alone

    settings = read_settings(request).settings
    async with reach(request, view=View(), stored=False) as reached:
        return await run_app(
            reached.session, settings=settings, folder=Path(request.cwd), state_folder=Path(request.folder)
        )
