"""``report``: the run in numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from engine.session.protocol import WriteReport

from .asking import ask, say, say_json
from .monitor import finding_lines, metric_lines
from .options import Place, json_option, place_options


@click.command()
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="What to print."
)
@click.option("-o", "--output", default="", metavar="PATH", help="Write the JSON report here instead of printing it.")
@json_option
@place_options
def report(form: str, output: str, place: Place, as_json: bool) -> int:
    r"""Summarise the run, of a running engine or of the stored state.

    \b
      mi4-tui report
      mi4-tui report --json | jq .bottlenecks
      mi4-tui report -o report.json
    """
    path = str(Path.cwd() / output) if output else ""
    reply, _ = ask(place, WriteReport(path=path))
    content = reply.data.get("report", {})
    if output:
        say([reply.message])
    elif as_json or form == "json":
        say_json(content)
    else:
        say(list(report_lines(content)))
    return 0


def report_lines(content: Mapping[str, Any]) -> Iterator[str]:
    """The report for people: metrics, then bottlenecks, then what to do."""
    yield f"report of {content.get('timestamp', '')}"
    yield from metric_lines(content.get("current_metrics", {}))
    yield ""
    yield from finding_lines(content.get("bottlenecks", ()))
