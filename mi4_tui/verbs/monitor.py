"""``monitor``: the numbers of a running engine, and what slows it down."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from engine.foreground import reach
from engine.session.protocol import View

from .asking import say, say_json
from .options import Place, json_option, place_options

_CLEAR = "\x1b[H\x1b[J"


@click.command()
@click.option("--once", is_flag=True, help="Print once and leave.")
@click.option(
    "--interval", type=click.FloatRange(0.1, 3600), default=1.0, show_default=True, help="Seconds between looks."
)
@json_option
@place_options
def monitor(once: bool, interval: float, place: Place, as_json: bool) -> int:
    r"""Follow the metrics of the engine that works here, and the bottlenecks it sees.

    \b
      mi4-tui monitor
      mi4-tui monitor --once --json | jq .metrics.process_pool_reuse_rate
    """
    return asyncio.run(_monitor(place, once=once, interval=interval, as_json=as_json))


async def _monitor(place: Place, *, once: bool, interval: float, as_json: bool) -> int:
    async with reach(place.request(), view=View(rows=False, workers=(), interval=interval), stored=False) as reached:
        session = reached.session
        with session.subscribe() as events:
            while session.connected:
                if session.projection.metrics is not None or not once:
                    _show(session.projection, as_json=as_json, clear=not once and sys.stdout.isatty())
                    if once:
                        return 0
                    await asyncio.sleep(interval)
                else:  # the engine has not measured yet
                    await anext(events)
    return 0


def _show(projection: Any, *, as_json: bool, clear: bool) -> None:
    metrics, findings = projection.metrics or {}, projection.findings
    if as_json:
        say_json({"metrics": metrics, "bottlenecks": findings, "counts": projection.counts})
        return
    if clear:
        sys.stdout.write(_CLEAR)
    say([*metric_lines(metrics), "", *finding_lines(findings)])


def metric_lines(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """One line for each number, named as in the report."""
    if not metrics and not prefix:
        yield "no metrics yet"
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            yield from metric_lines(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix + name:<40} {f'{value:,.2f}' if isinstance(value, float) else value}"


def finding_lines(findings: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What slows the engine down, with what to do about it."""
    if not findings:
        yield "no bottleneck seen"
    for finding in findings:
        yield f"{finding.get('severity', '')}: {finding.get('description', '')}"
        yield f"  -> {finding.get('recommendation', '')}"
