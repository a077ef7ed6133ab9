"""TOML: tables ``[[task]]`` or ``[[tasks]]``, one for each task, strictly.

The standard library's parser tells no lines; where a fault must be told, a second walk over the text finds the tables and their keys.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any

from .records import INT_RANGE, MAX_DEPTH, UNUSABLE, ExactFloat, Places, Records, bad_number, name_of, show

TABLES = ("task", "tasks")
"""Names that the list of tasks may have."""
_SHAPE = "write each task as a table below [[task]]"
_PLACE = re.compile(r"\(at (?:line (\d+), column \d+|end of document)\)")
_TEXT = r'"""(?:[^\\]|\\.)*?"""|' + r"'''.*?'''"
_HEAD = re.compile(
    _TEXT
    + r"|^[ \t]*\[\[[ \t]*(?P<task>\"?tasks?\"?)[ \t]*\]\]|^[ \t]*\[(?P<other>[^\n]*)|^[ \t]*(?P<key>[\w-]+)[ \t]*[=.]",
    re.DOTALL | re.MULTILINE,
)


def read_toml(text: str) -> Records:
    """All tasks of a TOML document."""
    try:
        root = tomllib.loads(text, parse_float=ExactFloat.of)
    except tomllib.TOMLDecodeError as error:
        return Records(faults=[_syntax(error, text)])
    except ValueError as error:  # a whole number of thousands of digits, or a date that no calendar has
        return Records(faults=[(None, f"not valid TOML: {str(error).partition(';')[0]}")])
    except RecursionError:
        return Records(faults=[(None, f"nested deeper than {MAX_DEPTH} levels")])
    items, wrong = _tasks_of(root)
    records = Records(locate=lambda: _places(text, len(items)))
    records.faults += [(None, wrong)] if wrong else []
    found: list[tuple[int, str]] = []
    for number, item in enumerate(items):
        messages: list[str] = []
        records.items.append(_plain(item, 0, messages))
        found += [(number, message) for message in messages]
    places = records.locate() if found else []
    records.faults += [(places[number][""] if places else None, message) for number, message in found]
    return records


def _syntax(error: tomllib.TOMLDecodeError, text: str) -> tuple[int | None, str]:
    said = str(error)
    place = _PLACE.search(said)
    what = said[: place.start()].strip() if place else said
    line = int(place[1]) if place and place[1] else text.rstrip("\n").count("\n") + 1
    return line, f"not valid TOML: {what[:1].lower()}{what[1:200]}"


def _tasks_of(root: dict[str, Any]) -> tuple[list[Any], str]:
    """The list of tasks, or an empty one and what is wrong."""
    given = [name for name in TABLES if name in root]
    if not given:
        held = ", ".join(map(show, list(root)[:3])) or "nothing"
        return [], f"holds {held}; {_SHAPE}"
    if len(given) == 2:
        return [], f"[[task]] and [[tasks]] mean the same; keep one ({_SHAPE})"
    items = root[given[0]]
    if not isinstance(items, list):
        return [], f"{given[0]!r} holds {name_of(items)}; {_SHAPE}, with two brackets"
    others = [name for name in root if name not in TABLES and not name.startswith("x-")]
    return items, f'unknown key {show(others[0])} beside the tasks; own keys begin with "x-"' if others else ""


def _plain(value: Any, depth: int, found: list[str]) -> Any:
    """The value in the terms of the other formats; what cannot travel is `UNUSABLE` and told in `found`."""
    if isinstance(value, dict | list):
        if depth > MAX_DEPTH:
            found.append(f"nested deeper than {MAX_DEPTH} levels")
            return UNUSABLE
        if isinstance(value, list):
            return [_plain(item, depth + 1, found) for item in value]
        return {key: _plain(item, depth + 1, found) for key, item in value.items()}
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bool | str):
        return value
    if math.isfinite(value) if isinstance(value, float) else INT_RANGE[0] <= value <= INT_RANGE[1]:
        return value
    found.append(bad_number(value.text if isinstance(value, ExactFloat) else _digits(value)))
    return UNUSABLE


def _digits(value: int) -> str:
    return str(value) if value.bit_length() < 4000 else "with more than 1,200 digits"


def _places(text: str, count: int) -> Places:
    """The lines of the tasks and their keys; empty where the tasks are written in another way than as `[[task]]` tables."""
    places: Places = []
    inside = False
    for line, kind, name in _heads(text):
        if kind == "task":
            places.append({"": line})
            inside = True
        elif kind == "other":
            first, _, key = name.partition(".")
            inside = False
            if places and key and first.strip(" [\"'") in TABLES:
                places[-1].setdefault(key.partition(".")[0].strip(" ]\"'"), line)
        elif inside:
            places[-1].setdefault(name, line)
    return places if len(places) == count else []


def _heads(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, kind and name of each table and key that begins a line outside of the long texts."""
    line, counted = 1, 0
    for match in _HEAD.finditer(text):
        if match.lastgroup is not None:
            line += text.count("\n", counted, match.start())
            counted = match.start()
            yield line, match.lastgroup, match[match.lastgroup]
