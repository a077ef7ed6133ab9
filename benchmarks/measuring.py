"""What the benchmarks share: subjects that are run in interleaved rounds, rows that set two of them against each other, and the table.

A subject is a function that measures once and returns a number (or None where its program is not installed). All subjects of a group
are run right after each other in every round, in turned order in every other round, so that a machine that is slow for a minute
slows all of them; a ratio is taken within a round, and the median of the ratios is what is held against the bar.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LINE = "12:00:01 INFO build/step: compiled src/parser/tokens.c (next of 4 files) without a change to headers"[:99]
"""What a task prints again and again: as ordinary a line as can be, 100 bytes with its end."""
Measure = Callable[[], float | None]


@dataclass
class Subject:
    """One thing that is measured, and what it gave in each round."""

    name: str
    measure: Measure
    samples: list[float | None] = field(default_factory=list)
    after: Subject | None = None
    """Measured right after this one, in every round: it reads what that one found out."""

    @property
    def values(self) -> list[float]:
        return [value for value in self.samples if value is not None]


@dataclass(frozen=True)
class Row:
    """A line of the table: `ours` against `peer`, or alone, and the bar for the ratio (or for the number itself)."""

    title: str
    unit: str
    ours: Subject
    peer: Subject | None = None
    at_least: float | None = None
    at_most: float | None = None

    def ratios(self) -> list[float]:
        """One for each round in which both were measured."""
        if self.peer is None:
            return []
        pairs = zip(self.ours.samples, self.peer.samples, strict=False)
        return sorted(ours / peer for ours, peer in pairs if ours is not None and peer)

    def judged(self) -> list[float]:
        """The numbers whose median is held against the bar."""
        return sorted(self.ours.values) if self.peer is None else self.ratios()

    def bar(self) -> str:
        if self.at_least is not None:
            return f">= {self.at_least:g}{'' if self.peer is None else 'x'}"
        if self.at_most is not None:
            return f"<= {self.at_most:g}{'' if self.peer is None else 'x'}"
        return "-"

    def verdict(self) -> str:
        numbers = self.judged()
        if not numbers:
            return "not installed" if self.peer is not None and self.ours.values else "not measured"
        middle = statistics.median(numbers)
        if self.at_least is not None:
            return "pass" if middle >= self.at_least else "MISSED"
        if self.at_most is not None:
            return "pass" if middle <= self.at_most else "MISSED"
        return ""

    def cells(self) -> list[str]:
        ratios = self.ratios()
        return [
            self.title,
            f"{_middle(self.ours.values)} {self.unit}" if self.ours.values else "-",
            "" if self.peer is None else f"{self.peer.name}: {_middle(self.peer.values)}",
            "" if not ratios else f"{statistics.median(ratios):.2f}x",
            _spread(self.judged()),
            self.bar(),
            self.verdict(),
        ]


HEADINGS = ["work", "MI4", "peer", "ratio", "lowest-highest", "bar", ""]


def run_rounds(groups: Sequence[Sequence[Subject]], rounds: int) -> None:
    """Measure every subject once a round; progress goes to stderr."""
    for number in range(rounds):
        for group in groups:
            free = [subject for subject in group if subject.after is None]
            for first in free if number % 2 == 0 else reversed(free):
                for subject in (first, *(other for other in group if other.after is first)):
                    value = subject.measure()
                    subject.samples.append(value)
                    shown = "not installed" if value is None else f"{value:,.3f}"
                    print(f"round {number + 1}/{rounds}  {subject.name}: {shown}", file=sys.stderr, flush=True)


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table whose columns also line up as plain text."""
    cells = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADINGS))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"


def figures_of(
    script: str, *arguments: object, python: str | Path = sys.executable, timeout: float = 600
) -> dict[str, Any]:
    """Run a script of this folder in a process of its own and return the JSON object that it prints."""
    done = subprocess.run(
        [python, HERE / script, *map(str, arguments)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False, timeout=timeout,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{script} {' '.join(map(str, arguments))} ended with status {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _middle(values: Sequence[float]) -> str:
    return "-" if not values else _number(statistics.median(values))


def _spread(values: Sequence[float]) -> str:
    return "" if not values else f"{_number(values[0])}-{_number(values[-1])}"


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
