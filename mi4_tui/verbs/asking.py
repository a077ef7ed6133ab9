"""How a verb puts a command to the engine of a folder, or to its stored state, and shows the answer."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from engine.errors import CommandRefusedError
from engine.foreground import reach
from engine.plain import Outlet, dump
from engine.session.protocol import AnyCommand, Reply
from engine.streaming.sanitiser import sanitise

from .options import Place


def ask(place: Place, command: AnyCommand, *, stored: bool = True) -> tuple[Reply, bool]:
    """The reply, and whether a running engine gave it. Raises `CommandRefusedError` where it is a refusal."""
    return asyncio.run(_ask(place, command, stored=stored))


async def _ask(place: Place, command: AnyCommand, *, stored: bool) -> tuple[Reply, bool]:
    async with reach(place.request(), stored=stored) as reached:
        reply = await reached.session.ask(command)
    if not reply.ok:
        raise CommandRefusedError(reply.message or None)
    return reply, reached.live


def ask_and_say(place: Place, command: AnyCommand, *, as_json: bool, stored: bool = True) -> int:
    """Put the command and print what the engine says to it; returns the exit status."""
    reply, live = ask(place, command, stored=stored)
    if as_json:
        say_json({"ok": reply.ok, "live": live, "message": reply.message, **reply.data})
    else:
        say([reply.message or "done"])
        if not live:
            say_aside("no engine works on this folder; 'mi4-tui' starts one on what is open")
    return 0


def say(lines: Sequence[str]) -> None:
    """Lines on stdout, sanitised; a reader that left is no error."""
    if lines:
        Outlet(sys.stdout)("\n".join(sanitise(line) for line in lines))


def say_json(record: Any) -> None:
    """One JSON value on one line of stdout."""
    Outlet(sys.stdout)(dump(msgspec.to_builtins(record, enc_hook=str)))


def say_aside(line: str) -> None:
    """A line for people, on stderr."""
    Outlet(sys.stderr)(f"mi4-tui: {sanitise(line)}")
