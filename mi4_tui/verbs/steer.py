"""The verbs that start and stop work: ``cancel``, ``retry``, ``pause``, ``resume``, ``stop``."""

from __future__ import annotations

import asyncio

import click

from engine.errors import CommandRefusedError
from engine.foreground import reach
from engine.session.protocol import Cancel, Pause, Resume, Retry, StopEngine, View

from .asking import ask_and_say, say, say_aside, say_json
from .options import Place, json_option, place_options


@click.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--force", is_flag=True, help="Kill at once instead of asking the task to end.")
@json_option
@place_options
def cancel(ids: tuple[str, ...], force: bool, place: Place, as_json: bool) -> int:
    r"""Cancel open tasks; one that runs is asked to end and killed if it does not.

    \b
      mi4-tui cancel build
      mi4-tui cancel --force stuck-1 stuck-2
    """
    return ask_and_say(place, Cancel(ids=ids, force=force), as_json=as_json)


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID...]")
@json_option
@place_options
def retry(ids: tuple[str, ...], place: Place, as_json: bool) -> int:
    r"""Run finished tasks again: those named, or all that failed, timed out, were cancelled, or were skipped because of those.

    \b
      mi4-tui retry build
      mi4-tui retry
    """
    return ask_and_say(place, Retry(ids=ids), as_json=as_json)


@click.command()
@click.option("--category", default="", metavar="NAME", help="Only this category.")
@json_option
@place_options
def pause(category: str, place: Place, as_json: bool) -> int:
    r"""Start nothing new; what runs goes on.

    \b
      mi4-tui pause
      mi4-tui pause --category tests
    """
    return ask_and_say(place, Pause(category=category), as_json=as_json, stored=False)


@click.command()
@click.option("--category", default="", metavar="NAME", help="Only this category.")
@json_option
@place_options
def resume(category: str, place: Place, as_json: bool) -> int:
    """Start tasks again after a pause."""
    return ask_and_say(place, Resume(category=category), as_json=as_json, stored=False)


@click.command()
@click.option("--now", is_flag=True, help="Cancel what runs instead of waiting for it.")
@json_option
@place_options
def stop(now: bool, place: Place, as_json: bool) -> int:
    """End the engine of this folder and wait until it is gone: once what runs has ended, or at once with --now.

    What has not run stays open; 'mi4-tui' takes it up again.
    """
    message = asyncio.run(_stop(place, now=now))
    if as_json:
        say_json({"ok": True, "message": message})
    else:
        say([message])
    return 0


async def _stop(place: Place, *, now: bool) -> str:
    async with reach(place.request(), view=View(rows=False, workers=()), stored=False) as reached:
        session = reached.session
        async with session.subscribe() as events:
            reply = await session.ask(StopEngine(now=now))
            if not reply.ok:
                raise CommandRefusedError(reply.message or None)
            say_aside(reply.message or "stopping; Ctrl-C ends this wait, not the engine's")
            async for _ in events:
                if not session.connected:
                    break
    return "the engine has stopped"
