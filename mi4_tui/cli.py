"""The command line: which verb is meant, and how whatever goes wrong ends in one line and an exit status.

Only click is imported until a verb runs: ``--help``, ``--version`` and completion answer without the app or the engine.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click
from click.shell_completion import CompletionItem

USAGE = 64
"""Exit status of a call that cannot be understood."""
INTERNAL = 70
"""Exit status after a fault of our own."""
DEFAULT = "run"
"""The verb of a command line that names none."""


class Verb(NamedTuple):
    """Where a verb is, and what the overview says of it (so that the overview need not load it)."""

    module: str
    summary: str
    command: str = ""
    """Name of the click command in `module`; empty for the verb's own name."""


SECTIONS: dict[str, dict[str, Verb]] = {
    "Run tasks": {
        "run": Verb("run", "Run task files in the app, or headless with --no-ui (the default verb)."),
        "demo": Verb("demo", "Run a small built-in backlog in a folder of its own."),
        "add": Verb("add", "Add task files, or one task: mi4-tui add -- make test"),
        "import": Verb(
            "importing", "Bring in task-master, beads or GitHub issues, or check a file.", command="import_"
        ),
        "stop": Verb("steer", "End the engine of this folder, after what runs or --now."),
    },
    "Look": {
        "attach": Verb("attach", "Open the app on the engine that works here."),
        "status": Verb("status", "Show what runs, waits and has ended."),
        "monitor": Verb("monitor", "Follow throughput, reuse, cache, CPU and bottlenecks."),
        "logs": Verb("logs", "Print what a task has printed."),
        "explain": Verb("explain", "Say why a task has its place, term by term."),
        "report": Verb("report", "Summarise the run, or write the JSON report."),
    },
    "Steer": {
        "prio": Verb("order", "Set a priority, or move tasks in the queue."),
        "hold": Verb("order", "Keep waiting tasks from starting."),
        "release": Verb("order", "Let held tasks run."),
        "cancel": Verb("steer", "Cancel open tasks, running ones too."),
        "retry": Verb("steer", "Run finished tasks again: those named, or all that failed."),
        "pause": Verb("steer", "Start nothing new, in all or in one category."),
        "resume": Verb("steer", "The opposite of pause."),
    },
    "Set up": {
        "config": Verb("config", "Print every setting, its value and where that comes from."),
        "doctor": Verb("doctor", "Check this machine and this folder."),
        "completions": Verb("completions", "Print the completion script of a shell."),
        "help": Verb("help", "Show the help of a verb.", command="help_"),
    },
}
VERBS: dict[str, Verb] = {name: verb for section in SECTIONS.values() for name, verb in section.items()}
_ASKS_FOR_OVERVIEW = ("-h", "--help", "--version")


def keep_paragraphs(command: click.Command) -> None:
    r"""Turn the text ``\b`` in a help text into the mark by which click leaves the lines that follow as they are.

    The docstrings are raw, as docstrings with a backslash should be, so click would not see it.
    """
    command.help = command.help and command.help.replace("\\b", "\b")


class Main(click.Group):
    """A group that loads verbs when they are called, and whose default verb is `DEFAULT`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default verb in front of a command line that names none."""
        named = bool(args) and (args[0] in VERBS or args[0] in _ASKS_FOR_OVERVIEW)
        completing = ctx.resilient_parsing and not args
        if not named and not completing:
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """All verbs, in the order of the overview."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Load a verb."""
        verb = VERBS.get(cmd_name)
        if verb is None:
            return None
        module = importlib.import_module(f"{__package__}.verbs.{verb.module}")
        command: click.Command = getattr(module, verb.command or cmd_name)
        keep_paragraphs(command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """The verbs that begin so, without loading one."""
        return [CompletionItem(name, help=verb.summary) for name, verb in VERBS.items() if name.startswith(incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The overview by sections, without loading a verb."""
        for title, verbs in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, verb.summary) for name, verb in verbs.items()])


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from importlib.metadata import version  # noqa: PLC0415 - slow, and rarely needed

    click.echo(f"mi4-tui {version('mi4-tui')}")
    ctx.exit(0)


@click.command(
    cls=Main,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    options_metavar="",
    subcommand_metavar="[FILE... | VERB ...]",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
def cli() -> None:
    r"""Run a backlog of shell commands, Python callables and agent prompts on warm workers.

    \b
      mi4-tui tasks.yaml               open the app and run this file
      mi4-tui tasks.yaml --no-ui       run it headless; the exit status tells how it went
      mi4-tui tasks.yaml --json        the same, one JSON object a line on stdout
      mi4-tui tasks.yaml --dry-run     show the order and why, run nothing
      mi4-tui                          ./tasks.json, else what is open in this folder
      mi4-tui add -- make test         queue one command
      mi4-tui status                   from any other terminal

    'mi4-tui FILE...' is 'mi4-tui run FILE...'; its options are in 'mi4-tui run --help'.

    Exit status: 0 all done, 1 some failed, 3 some held, 64 usage or settings, 65 task file, 69 agent missing, 73 state folder,
    74 storage, 75 another engine is at work, 130 and 143 signals.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status; every error has become a line on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    keep_paragraphs(cli)
    fault = check_identity()
    if fault:
        _tell(fault)
        return INTERNAL
    try:
        code = cli.main(given, prog_name="mi4-tui", standalone_mode=False)
    except click.ClickException as error:
        return _usage_error(error)
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        return 0
    except Exception as error:  # noqa: BLE001 - the last stop: users get a line, not a traceback
        return _failed(error, verbose=any(_is_verbose(argument) for argument in given))
    return code if isinstance(code, int) else 0


def check_identity() -> str:
    """Make sure that `import engine` means ours, whatever the working folder or PYTHONPATH hold; a line for the user if it cannot."""
    root = Path(__file__).resolve().parent.parent
    if _engine_root() == root:
        return ""
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    found = _engine_root()
    if found == root:
        return ""
    return (
        f"the package 'engine' beside {root / 'mi4_tui'} is missing ({found or 'none'} is found); install mi4-tui again"
    )


def _engine_root() -> Path | None:
    """The folder that holds the package that ``import engine`` gives."""
    try:
        spec = importlib.util.find_spec("engine")
    except (ImportError, ValueError):
        return None
    return Path(spec.origin).resolve().parent.parent if spec is not None and spec.origin else None


def suggestion(word: str) -> str:
    """The verb that somebody who typed `word` may have meant, or nothing."""
    import difflib  # noqa: PLC0415 - only after a slip

    near = difflib.get_close_matches(word, VERBS, n=1, cutoff=0.7)
    return near[0] if near else ""


def _usage_error(error: click.ClickException) -> int:
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = f"; see '{context.command_path} --help'" if context is not None else ""
    _tell(f"{error.format_message().rstrip('.')}{hint}")
    return USAGE


def _failed(error: Exception, *, verbose: bool) -> int:
    """Tell of an error of any kind."""
    if verbose:
        import traceback  # noqa: PLC0415 - only for those who asked

        traceback.print_exception(error)
    from engine.foreground import engine_error  # noqa: PLC0415
    from engine.plain import error_lines  # noqa: PLC0415 - help must not load the engine

    known = engine_error(error)
    if known is not None:
        for line in error_lines(known):
            _tell(line, prefix="")
        return known.exit_code
    if isinstance(error, OSError) and error.strerror:
        _tell(f"{error.filename or 'the system'}: {error.strerror}")
        return 74
    _tell(f"internal error: {type(error).__name__}: {error}" + ("" if verbose else "; -v shows where"))
    return INTERNAL


def _is_verbose(argument: str) -> bool:
    return argument in ("-v", "--verbose")


def _tell(line: str, *, prefix: str = "mi4-tui: ") -> None:
    """One line on stderr, which may be gone."""
    try:
        click.echo(prefix + line, err=True)
    except OSError:
        return
