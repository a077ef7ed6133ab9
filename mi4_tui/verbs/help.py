"""``help``: the help of a verb, or the overview."""

from __future__ import annotations

import click

from ..cli import VERBS, cli, suggestion


@click.command("help")
@click.argument("verb", required=False)
@click.pass_context
def help_(ctx: click.Context, verb: str | None) -> int:
    """Show the help of a verb, or the overview of all of them."""
    if verb is None:
        click.echo(cli.get_help(click.Context(cli, info_name="mi4-tui")))
        return 0
    command = cli.get_command(ctx, verb) if verb in VERBS else None
    if command is None:
        near = suggestion(verb)
        raise click.UsageError(f"no verb is named {verb}" + (f"; did you mean {near}?" if near else ""))
    inner = click.Context(command, info_name=f"mi4-tui {verb}", **command.context_settings)
    click.echo(command.get_help(inner))
    return 0
