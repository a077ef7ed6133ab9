"""``add``: task files or one quick task, to the engine that works here or to the stored state."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Collection, Iterable
from typing import Any

import click
import msgspec

from engine.errors import CommandRefusedError, UsageError
from engine.foreground import reach, read_tasks
from engine.session.protocol import AddTasks, Reply, View
from engine.tasks.model import AGENT_KINDS, Priority, Task

from .asking import say, say_aside, say_json
from .options import Place, json_option, place_options

_WORDS = "mi4.words"
"""Where the context keeps what stood behind ``--``."""
_LONGEST_NAME = 32


class _WordsBehindDashes(click.Command):
    """Keeps what stands behind ``--`` apart from the arguments before it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            cut = args.index("--")
            ctx.meta[_WORDS] = tuple(args[cut + 1 :])
            args = args[:cut]
        return super().parse_args(ctx, args)


@click.command(cls=_WordsBehindDashes, options_metavar="[OPTIONS]")
@click.argument("files", nargs=-1, metavar="[FILE... | -- WORD...]", type=click.Path())
@click.option(
    "--kind",
    default="shell",
    show_default=True,
    metavar="KIND",
    help="Who runs the words: shell, or an agent as its prompt.",
)
@click.option("--id", "task_id", default="", metavar="ID", help="Id of the quick task (default: from its words).")
@click.option("--title", default="", help="Title of the quick task.")
@click.option("--category", default="", help="Category of the quick task.")
@click.option(
    "--priority", default="normal", show_default=True, metavar="P", help="low, normal, high, critical, or 100 to 400."
)
@click.option("--rerun", is_flag=True, help="Run tasks of the files again that already succeeded.")
@json_option
@place_options
@click.pass_context
def add(ctx: click.Context, /, files: tuple[str, ...], rerun: bool, place: Place, as_json: bool, **quick: Any) -> int:
    r"""Add the tasks of files, or one task made from the words behind --.

    The ids are printed once the tasks are on disk. A running engine starts them at once; without one they wait for 'mi4-tui'.

    \b
      mi4-tui add more.yaml
      mi4-tui add -- make test
      mi4-tui add --priority high --category docs -- ./build-docs.sh --all
      mi4-tui add --kind claude --title "Flaky test" -- "find out why test_login fails now and then"
    """
    words = ctx.meta.get(_WORDS, ())
    if bool(files) == bool(words):
        raise UsageError("add takes task files, or one task behind --, such as: mi4-tui add -- make test")
    reply, live = asyncio.run(_add(place, files, words, quick, rerun=rerun))
    if as_json:
        say_json({"ok": True, "live": live, "message": reply.message, **reply.data})
        return 0
    say(list(reply.data.get("accepted", ())))
    _explain_rest(reply, live=live)
    return 0


def _explain_rest(reply: Reply, *, live: bool) -> None:
    """On stderr: what stays done, and when the rest will run."""
    done = reply.data.get("already_done", ())
    if done:
        say_aside(f"already done: {', '.join(map(str, done))}; --rerun runs them again")
    if not live and reply.data.get("accepted"):
        say_aside("no engine works on this folder; 'mi4-tui' starts one on what is open")


async def _add(
    place: Place, files: tuple[str, ...], words: tuple[str, ...], quick: dict[str, Any], *, rerun: bool
) -> tuple[Reply, bool]:
    """The reply, and whether a running engine gave it."""
    request = place.request(files=files)
    tasks: tuple[Task, ...] = ()
    async with reach(request, view=View(workers=()), create=True) as reached:
        known = reached.session.projection.by_id
        if words:
            tasks = (quick_task(words, known, cwd=request.cwd, **quick),)
        else:
            tasks, warnings = read_tasks(request, known=known)
            for warning in warnings:
                say_aside(warning)
        reply = await reached.session.ask(AddTasks(tasks=tasks, rerun=rerun))
        if not reply.ok:
            raise CommandRefusedError(reply.message or None)
        return reply, reached.live


def quick_task(
    words: tuple[str, ...], known: Collection[str], *, cwd: str, kind: str, task_id: str, priority: str, **texts: str
) -> Task:
    """The task that the words behind ``--`` ask for; `texts` are title and category. Raises `UsageError`."""
    if kind not in ("shell", *AGENT_KINDS):
        raise UsageError(f"--kind {kind}: a quick task is one of shell, {', '.join(AGENT_KINDS)}")
    line = shlex.join(words) if kind == "shell" else " ".join(words)
    common: dict[str, Any] = {
        "id": task_id or free_id(line, known),
        "title": texts["title"] or line[:80],
        "category": texts["category"],
        "priority": _priority(priority),
        "kind": kind,
        "cwd": cwd,
    }
    return Task(**common, command=words) if kind == "shell" else Task(**common, description=line)


def _priority(text: str) -> float:
    if text.lower() in Priority.NAMES:
        return Priority.NAMES[text.lower()]
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not Priority.LOW <= number <= Priority.CRITICAL:
        raise UsageError(f"--priority {text}: use {', '.join(Priority.NAMES)}, or a number from 100 to 400")
    return number


def free_id(line: str, known: Collection[str]) -> str:
    """An id made from the words that no task has: ``make-test``, ``make-test-2``, ..."""
    name = re.sub(r"[^a-z0-9]+", "-", line.lower()).strip("-")[:_LONGEST_NAME].strip("-") or "task"
    number = 1
    while (candidate := name if number == 1 else f"{name}-{number}") in known:
        number += 1
    return candidate


def with_agent(tasks: Iterable[Task], agent: str) -> tuple[Task, ...]:
    """The tasks, those without a kind given to `agent` (nobody where it is empty: then the engine's setting decides)."""
    return tuple(task if task.kind or not agent else msgspec.structs.replace(task, kind=agent) for task in tasks)
