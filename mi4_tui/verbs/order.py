"""The verbs that change the order of the queue: ``prio``, ``hold``, ``release``."""

from __future__ import annotations

from typing import Literal

import click

from engine.errors import UsageError
from engine.session.protocol import Hold, Move, Release, Reprioritise
from engine.tasks.model import Priority

from .asking import ask_and_say
from .options import Place, json_option, place_options

_Where = Literal["top", "bottom", "up", "down", "now"]
_MOVES: dict[str, _Where] = {"top": "top", "bottom": "bottom", "up": "up", "down": "down", "now": "now"}


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.argument("priority")
@json_option
@place_options
def prio(ids: tuple[str, ...], priority: str, place: Place, as_json: bool) -> int:
    r"""Set the priority of tasks, or move them in the queue.

    PRIORITY is low, normal, high, critical, a number from 100 to 400, a change such as +50 or -50, or one of top, bottom, up, down,
    and now (before all others).

    \b
      mi4-tui prio build critical
      mi4-tui prio lint docs -50
      mi4-tui prio deploy top
    """
    return ask_and_say(place, order_command(ids, priority), as_json=as_json)


def order_command(ids: tuple[str, ...], priority: str) -> Move | Reprioritise:
    """The command that `priority` asks for; raises `UsageError` when it is nothing that is known."""
    word = priority.lower()
    if word in _MOVES:
        return Move(ids=ids, where=_MOVES[word])
    if word in Priority.NAMES:
        return Reprioritise(ids=ids, priority=Priority.NAMES[word])
    try:
        number = float(word)
    except ValueError:
        number = float("nan")
    if word[:1] in ("+", "-") and abs(number) <= 300:
        return Reprioritise(ids=ids, delta=number)
    if Priority.LOW <= number <= Priority.CRITICAL:
        return Reprioritise(ids=ids, priority=number)
    names = f"{', '.join(Priority.NAMES)}, 100 to 400, +N, -N, {', '.join(_MOVES)}"
    raise UsageError(f"{priority!r} is no priority; write it last, as one of: {names}")


@click.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@json_option
@place_options
def hold(ids: tuple[str, ...], place: Place, as_json: bool) -> int:
    r"""Keep waiting tasks from starting until they are released.

    \b
      mi4-tui hold deploy
    """
    return ask_and_say(place, Hold(ids=ids), as_json=as_json)


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID...]")
@json_option
@place_options
def release(ids: tuple[str, ...], place: Place, as_json: bool) -> int:
    r"""Let held tasks run: those named, or all of them.

    Tasks are held by 'mi4-tui hold', and after an engine died while they were running.

    \b
      mi4-tui release deploy
      mi4-tui release
    """
    return ask_and_say(place, Release(ids=ids), as_json=as_json)
