"""``config``: every setting, its value, and where that comes from; ``config init`` writes a file to change them in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from engine.config import CONFIG_FILE, default_settings
from engine.foreground import command_line_settings, describe_settings
from engine.plain import dump

from ..settings_file import write_settings_file
from .asking import say, say_aside, say_json
from .options import Place, json_option, place_options


@click.group(invoke_without_command=True, subcommand_metavar="[init]")
@click.option("--config", "config_file", default="", metavar="FILE", help="Settings file instead of mi4.toml.")
@click.option("--set", "assignments", multiple=True, metavar="SECTION.KEY=VALUE", help="As for 'mi4-tui run'.")
@json_option
@place_options
@click.pass_context
def config(
    context: click.Context, /, config_file: str, assignments: tuple[str, ...], place: Place, as_json: bool
) -> int:
    r"""Print every setting with its value and its source.

    Sources, the first that has a value wins: command line, environment (ORCHESTRATION__MAX_AGENTS=4), .env, mi4.toml, default.

    \b
      mi4-tui config
      mi4-tui config --set orchestration.max_agents=8 --json
      mi4-tui config init             write a mi4.toml that explains every setting
    """
    if context.invoked_subcommand is not None:
        return 0
    overrides = command_line_settings(max_agents=None, no_cache=False, on_interrupted=None, assignments=assignments)
    effective, warnings = describe_settings(place.request(overrides=overrides, config_file=config_file))
    for warning in warnings:
        say_aside(warning)
    if as_json:
        say_json([{"name": one.name, "value": one.value, "source": one.source} for one in effective])
    else:
        width = max(len(one.name) for one in effective)
        say([f"{one.name:<{width}}  {_value(one.value):<16}  {one.source}" for one in effective])
    return 0


@config.command()
@click.option("--force", is_flag=True, help=f"Replace a {CONFIG_FILE} that is there.")
def init(force: bool) -> int:
    """Write a mi4.toml that explains every setting and changes none."""
    try:
        write_settings_file(Path(CONFIG_FILE), force=force)
    except FileExistsError as error:
        raise click.ClickException(f"{CONFIG_FILE} exists and was not changed; --force replaces it") from error
    say([f"{CONFIG_FILE} explains {len(default_settings())} settings; each is commented out and stands at its default"])
    return 0


def _value(value: Any) -> str:
    """As it would stand in ``mi4.toml``."""
    return dump(value)
