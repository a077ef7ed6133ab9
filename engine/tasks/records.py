"""What the readers of all formats hand on: plain values, and where they stand in the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

MAX_DEPTH: Final = 64
"""Levels of lists and tables inside each other; no task needs more, and less stack than any code here has."""
MAX_LINE: Final = 2**20
"""Characters of a line of the formats that are read line by line."""
INT_RANGE: Final = (-(2**63), 2**64 - 1)
"""Whole numbers that survive the way to a worker."""
SHAPE: Final = 'a task file is a list of tasks, or a table with the one key "tasks" that holds the list'


class ExactFloat(float):
    """A float that remembers how it was written, so that ``pip install x 1.10`` does not become 1.1."""

    __slots__ = ("text",)
    text: str

    @classmethod
    def of(cls, text: str) -> ExactFloat:
        """The number that `text` says."""
        number = cls(text)
        number.text = text
        return number


class Unusable:
    """Stands where a value was that a reader has already called a fault."""


UNUSABLE: Final = Unusable()

Places = list[dict[str, int]]
"""For each record the line of each field, and under ``""`` that of its beginning."""


@dataclass(slots=True)
class Records:
    """One file after reading. `faults` are (line from 1 or None, message)."""

    items: list[Any] = field(default_factory=list)
    faults: list[tuple[int | None, str]] = field(default_factory=list)
    locate: Callable[[], Places] = list
    """Reads the file a second time for the lines: only called when a fault must be told."""
    format: str = ""
    """Name of the format for people."""
    foreign: bool = False
    """Written by another program: what is wrong with one task leaves that task out and not the file."""
    warnings: list[tuple[int | None, str]] = field(default_factory=list)
    """What was understood, and perhaps not as it was meant."""
    skipped: list[tuple[int | None, str]] = field(default_factory=list)
    """What stands in the file and is no task, each with the reason."""
    repositories: frozenset[str] = frozenset()
    """Of GitHub issues: where they are from, as far as that is known."""
    qualified: Callable[[], Records] | None = None
    """Reads the issues once more with the repository in each id, for when other files are of other repositories."""


def records_of(root: Any) -> tuple[list[Any], str]:
    """The list of tasks in a whole document, or an empty one and what is wrong."""
    if isinstance(root, list):
        return root, ""
    if not isinstance(root, dict) or "tasks" not in root:
        return [], f"holds {name_of(root)}; {SHAPE}"
    if not isinstance(root["tasks"], list):
        return [], f'"tasks" holds {name_of(root["tasks"])}; {SHAPE}'
    others = [key for key in root if key not in ("tasks", "$schema") and not key.startswith("x-")]
    if others:
        return root["tasks"], f'unknown key {show(others[0])} beside "tasks"; own keys begin with "x-"'
    return root["tasks"], ""


def too_long(length: int) -> str:
    """What is wrong with a line of so many characters."""
    return f"the line has {length:,} characters; the limit is {MAX_LINE:,}"


def bad_number(text: str) -> str:
    """What is wrong with a number that cannot travel."""
    shown = text if len(text) <= 40 else text[:37] + "..."
    return f"the number {shown} cannot be used: it must be finite and fit 64 bits"


def name_of(value: Any) -> str:
    """The kind of a value in the words of a task file."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the truth value {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {show(value)}"
    if isinstance(value, str):
        return f"the text {show(value)}"
    return "a list" if isinstance(value, list) else "a table"


def show(value: Any) -> str:
    """A short printable form: what stands in a file must not drive a terminal, and a deep value must not be walked."""
    if isinstance(value, list | dict):
        return name_of(value)
    text = getattr(value, "text", None) or repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
