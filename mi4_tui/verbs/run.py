"""``run``, the default verb: task files in the app, or headless."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from engine.errors import CommandRefusedError, EngineRunningError, SessionLostError, UsageError
from engine.foreground import command_line_settings, reach, read_tasks, with_default_files
from engine.session.launch import RunRequest, launch_engine
from engine.session.protocol import AddTasks, Resize, View

from ..cli import VERBS, suggestion
from ..headless import run_headless, say_plan
from .add import with_agent
from .asking import say_aside
from .attach import run_attached
from .options import STATE_DIR, Place


@dataclass(frozen=True, slots=True)
class Mode:
    """How a run is shown."""

    no_ui: bool = False
    as_json: bool = False
    dry_run: bool = False
    quiet: bool = False
    verbose: bool = False

    def wants_app(self, *, terminal: bool) -> bool:
        """Whether the app opens, on a `terminal` or not."""
        return terminal and not (self.no_ui or self.as_json or self.dry_run)


def mode_options(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options that make a `Mode`."""
    for option in (
        click.option("-v", "--verbose", is_flag=True, help="Print everything that tasks print, and tracebacks."),
        click.option("-q", "--quiet", is_flag=True, help="Say only what failed and the summary."),
        click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout; implies --no-ui."),
        click.option("--no-ui", is_flag=True, help="Run headless until nothing is left to run."),
    ):
        function = option(function)
    return function


@click.command(context_settings={"max_content_width": 100})
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path())
@mode_options
@click.option("--dry-run", is_flag=True, help="Print the order, the scores and what waits for what; run nothing.")
@click.option("-j", "--max-agents", metavar="N", help="Number of workers, or auto for what cores and memory allow.")
@click.option(
    "--agent", default="", metavar="NAME", help="Who runs tasks without a kind: codex, claude, simulated, ..."
)
@click.option("--report", default="", metavar="PATH", help="Write the JSON report here at the end.")
@click.option("--state-dir", default=STATE_DIR, show_default=True, metavar="DIR", help="Folder that holds the state.")
@click.option("--config", default="", metavar="FILE", help="Settings file instead of mi4.toml.")
@click.option(
    "--set", "assignments", multiple=True, metavar="SECTION.KEY=VALUE", help="Change one setting; may be repeated."
)
@click.option("--no-cache", is_flag=True, help="Use no stored results and store none.")
@click.option("--rerun", is_flag=True, help="Run tasks again that already succeeded.")
@click.option("--fail-fast", is_flag=True, help="Cancel the rest once a task has failed.")
@click.option(
    "--on-interrupted",
    type=click.Choice(["hold", "requeue", "fail"]),
    help="What becomes of tasks that were running when an engine died (default: hold).",
)
def run(**options: Any) -> int:
    r"""Run task files: in the app on a terminal, else headless.

    Without FILE: ./tasks.json, else what is still open in this folder. Tasks that already succeeded stay done; --rerun runs them again.
    While the app is open (and after q) the engine works in the background; 'mi4-tui attach' opens the app on it again.

    \b
      mi4-tui tasks.yaml -j 8
      mi4-tui backlog.json --agent simulated --no-ui --report report.json
      mi4-tui nightly.jsonl --json --fail-fast > events.jsonl
      mi4-tui tasks.yaml --set orchestration.schedule=fifo --dry-run

    Ctrl-C of a headless run: once finishes what runs, twice cancels it, three times leaves at once.
    """
    mode = Mode(**{name: options.pop(name) for name in ("no_ui", "as_json", "dry_run", "quiet", "verbose")})
    request = build_request(options)
    check_files(request)
    return start(request, mode)


def build_request(options: dict[str, Any]) -> RunRequest:
    """What the options of ``run`` ask for; raises `UsageError`."""
    overrides = command_line_settings(
        max_agents=options.pop("max_agents"),
        no_cache=options.pop("no_cache"),
        on_interrupted=options.pop("on_interrupted"),
        assignments=options.pop("assignments"),
    )
    place = Place(options.pop("state_dir"))
    return place.request(overrides=overrides, config_file=options.pop("config"), **options)


def check_files(request: RunRequest) -> None:
    """Raise `UsageError` for a lone word that is no file and close to a verb: a slip of the finger, not a task file."""
    for name in request.files:
        if (Path(request.cwd) / name).exists() or not name.isidentifier():
            continue
        if name in VERBS:
            raise UsageError(f"{name} is no file; a verb comes first: mi4-tui {name} ...")
        if near := suggestion(name):
            raise UsageError(f"{name} is no file and no verb; did you mean 'mi4-tui {near}'?")


def start(request: RunRequest, mode: Mode) -> int:
    """Run the request in the way that fits the terminal; returns the exit status."""
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if mode.dry_run:
        return say_plan(request, as_json=mode.as_json)
    if mode.wants_app(terminal=terminal):
        return open_app(request)
    implied = not (mode.no_ui or mode.as_json)
    return run_headless(request, as_json=mode.as_json, quiet=mode.quiet, verbose=mode.verbose, implied=implied)


def open_app(request: RunRequest) -> int:
    """Bring an engine to work on the request, in the background, then open the app on it."""
    try:
        asyncio.run(add_to_running(request))
    except SessionLostError:
        try:
            launch_engine(with_default_files(request)).disown()
        except EngineRunningError:  # another one was faster
            asyncio.run(add_to_running(request))
    return run_attached(request)


async def add_to_running(request: RunRequest) -> None:
    """Give the files to the engine that works here. Raises `SessionLostError` where none does."""
    async with reach(request, view=View(workers=()), stored=False) as reached:
        session = reached.session
        commands: list[Any] = []
        size = request.overrides.get("orchestration.max_agents")
        if size is not None and str(size).isdigit():
            commands.append(Resize(size=int(size)))
        tasks, warnings = read_tasks(request, known=session.projection.by_id)
        if tasks:
            commands.append(AddTasks(tasks=with_agent(tasks, request.agent), rerun=request.rerun))
        for warning in warnings:
            say_aside(warning)
        if set(request.overrides) - {"orchestration.max_agents"}:
            say_aside("an engine works here already; settings of this command line do not change it")
        await _ask_all(session, commands)


async def _ask_all(session: Any, commands: list[Any]) -> None:
    for command in commands:
        reply = await session.ask(command)
        if not reply.ok:
            raise CommandRefusedError(reply.message or None)
