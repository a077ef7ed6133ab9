"""``completions``: the script that teaches a shell the verbs and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from ..cli import cli


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completions(shell: str) -> int:
    r"""Print the completion script of a shell.

    \b
      eval "$(mi4-tui completions bash)"                                    in ~/.bashrc
      eval "$(mi4-tui completions zsh)"                                     in ~/.zshrc
      mi4-tui completions fish > ~/.config/fish/completions/mi4-tui.fish
    """
    maker = get_completion_class(shell)
    if maker is None:  # the choice above names only what click has
        raise click.UsageError(f"no completion for {shell}")
    click.echo(maker(cli, {}, "mi4-tui", "_MI4_TUI_COMPLETE").source())
    return 0
