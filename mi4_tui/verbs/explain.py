"""``explain``: why a task has its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from engine.session.protocol import Explain

from .asking import ask, say, say_json
from .options import Place, json_option, place_options


@click.command()
@click.argument("task_id", metavar="ID")
@json_option
@place_options
def explain(task_id: str, place: Place, as_json: bool) -> int:
    r"""Say why a task has its place: each term of its score, what it waits for, how its attempts went.

    \b
      mi4-tui explain build
    """
    reply, _ = ask(place, Explain(id=task_id))
    if as_json:
        say_json(reply.data)
    else:
        say(list(explanation_lines(reply.data)))
    return 0


def explanation_lines(data: Mapping[str, Any]) -> Iterator[str]:
    """The explanation for people."""
    cause = f" ({data['cause']})" if data.get("cause") else ""
    yield f"{data.get('id', '')}: {data.get('state', '')}{cause}"
    if data.get("reason"):
        yield f"  {data['reason']}"
    yield f"  score {data.get('score', 0.0):.1f}"
    for name, value in data.get("terms", {}).items():
        if abs(value) >= 0.05:
            yield f"    {name:<14} {value:+8.1f}"
    if data.get("place") is not None:
        yield f"  tasks before it: {data['place']}"
    if data.get("waits_for"):
        yield f"  waits for: {', '.join(data['waits_for'])}"
    for attempt in data.get("attempts", ()):
        yield _attempt_line(attempt)


def _attempt_line(attempt: Mapping[str, Any]) -> str:
    words = [f"  attempt {attempt.get('attempt', '?')}: {attempt.get('outcome') or attempt.get('state') or 'open'}"]
    duration = attempt.get("duration")
    words += [f"{duration:.2f} s"] if duration else []
    words += [str(attempt["error"])] if attempt.get("error") else []
    return "  ".join(words)
