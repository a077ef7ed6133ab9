"""What the readers of all formats hand on: plain values, and where they stand in the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

MAX_DEPTH: Final = 64
"""Levels of lists and tables inside each other; no task needs more, and less stack than any code here has."""
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


def records_of(root: Any) -> tuple[list[Any], str]:
    """The list of tasks in a whole document, or an empty one and what is wrong."""
    if isinstance(root, list):
        return root, ""
    if not isinstance(root, dict) or "tasks" not in root:
        return [], f"holds {name_of(root)}; {SHAPE}"
    if not isinstance(root["tasks"], list):
        return [], f'"tasks" holds {name_of(root["tasks"])}; {SHAPE}'
    others = [key for key in root if key != "tasks" and not key.startswith("x-")]
    if others:
        return root["tasks"], f'unknown key {show(others[0])} beside "tasks"; own keys begin with "x-"'
    return root["tasks"], ""


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
