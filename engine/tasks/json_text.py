"""JSON and JSON Lines, strictly: no key twice, no NaN, no number or nesting that later code cannot carry.

The fast way is the standard library's decoder with hooks that only notice that something is wrong. Only then a slow scan of the text
finds out where.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .records import (
    INT_RANGE,
    MAX_DEPTH,
    MAX_LINE,
    UNUSABLE,
    ExactFloat,
    Places,
    Records,
    bad_number,
    records_of,
    show,
    too_long,
)

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+', re.DOTALL)
_DEEP = f"nested deeper than {MAX_DEPTH} levels"


class _StrictDecoder:
    """Decodes with hooks. State: what the hooks noticed in the present text."""

    def __init__(self) -> None:
        self.noticed: list[str] = []
        self._decoder = json.JSONDecoder(
            object_pairs_hook=self._pairs,
            parse_constant=self._constant,
            parse_float=self._float,
            parse_int=self._int,
        )

    def decode(self, text: str) -> Any:
        """The value; raises `json.JSONDecodeError` or `RecursionError`."""
        self.noticed.clear()
        return self._decoder.decode(text)

    def _pairs(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) != len(pairs):
            seen: set[str] = set()
            self.noticed += [_twice(key) for key, _ in pairs if key in seen or seen.add(key)]  # type: ignore[func-returns-value]
        return table

    def _constant(self, text: str) -> Any:
        self.noticed.append(bad_number(text))
        return UNUSABLE

    def _float(self, text: str) -> Any:
        number = ExactFloat.of(text)
        if math.isfinite(number):
            return number
        return self._constant(text)

    def _int(self, text: str) -> Any:
        return int(text) if _fits(text) else self._constant(text)


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON text that was decoded as one value, or why it could not be."""

    text: str
    root: Any = None
    noticed: bool = False
    """Whether something in it is wrong all the same; a scan finds out what."""
    faults: tuple[tuple[int | None, str], ...] = ()
    """Why there is no value."""
    more: bool = False
    """Whether more text follows a first value."""

    def records(self) -> Records:
        """The tasks of the document, strictly."""
        if self.faults:
            return Records(faults=[*self.faults])
        items, wrong = records_of(self.root)
        faults: list[tuple[int | None, str]] = [(1, wrong)] if wrong else []
        if self.noticed:
            faults += _Scan(self.text).faults
        return Records(items, faults, lambda: _Scan(self.text).places)

    def scan(self) -> list[tuple[int | None, str]]:
        """All that was noticed, with lines."""
        return _Scan(self.text).faults if self.noticed else []


def decode_document(text: str) -> Document:
    """Decode one JSON value."""
    decoder = _StrictDecoder()
    try:
        return Document(text, decoder.decode(text), bool(decoder.noticed))
    except json.JSONDecodeError as error:
        return Document(text, faults=((error.lineno, _syntax(error)),), more=error.msg == "Extra data")
    except RecursionError:
        return Document(text, faults=tuple(_Scan(text).faults or [(None, _DEEP)]))


def read_json(text: str) -> Records:
    """All tasks of a JSON document."""
    return decode_document(text).records()


@dataclass(frozen=True, slots=True)
class Line:
    """One line of JSON Lines that is not blank."""

    number: int
    value: Any
    faults: tuple[str, ...] = ()
    readable: bool = True
    """Whether `value` is what the line says; else only `faults` are."""


def decode_lines(text: str) -> Iterator[Line]:
    """Decode line by line; a bad one does not hide the next."""
    decoder = _StrictDecoder()
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > MAX_LINE:
            yield Line(number, None, (too_long(len(line)),), readable=False)
        elif line.strip():
            try:
                value = decoder.decode(line)
                yield Line(number, value, tuple(decoder.noticed))
            except json.JSONDecodeError as error:
                yield Line(number, None, (_syntax(error, place=f" at column {error.colno}"),), readable=False)
            except RecursionError:
                yield Line(number, None, (_DEEP,), readable=False)


def read_json_lines(text: str) -> Records:
    """One task a line; blank lines are skipped."""
    return records_of_lines(decode_lines(text))


def records_of_lines(lines: Iterable[Line]) -> Records:
    """The tasks of decoded lines, strictly."""
    records = Records()
    places: Places = []
    for line in lines:
        records.faults += [(line.number, message) for message in line.faults]
        if line.readable:
            records.items.append(line.value)
            places.append({"": line.number})
    records.locate = lambda: places
    return records


# Values that know where they stand


class Located(dict[str, Any]):
    """An object of a document; `number` counts the objects in the order of their ends."""

    __slots__ = ("number",)
    number: int


_BRACES = re.compile(r'"(?:[^"\\]|\\.)*"|[{}]', re.DOTALL)


def decode_located(text: str) -> tuple[Any, Callable[[Located], int]]:
    """A document that can be decoded, its objects `Located`, and what tells the line on which one of them begins."""
    found = 0

    def located(pairs: list[tuple[str, Any]]) -> Located:
        nonlocal found
        table = Located(pairs)
        table.number, found = found, found + 1
        return table

    decoder = json.JSONDecoder(
        object_pairs_hook=located,
        parse_constant=lambda _: None,
        parse_float=lambda word: number if math.isfinite(number := ExactFloat.of(word)) else None,
        parse_int=lambda word: int(word) if _fits(word) else None,
    )
    lines: list[int] = []

    def line_of(table: Located) -> int:
        if not lines:
            lines.extend(_lines_of_objects(text))
        return lines[table.number]

    return decoder.decode(text), line_of


def _lines_of_objects(text: str) -> Iterator[int]:
    breaks = [match.start() for match in re.finditer("\n", text)]
    open_at: list[int] = []
    for match in _BRACES.finditer(text):
        if match[0] == "{":
            open_at.append(match.start())
        elif match[0] == "}":
            yield bisect_right(breaks, open_at.pop()) + 1


def _fits(text: str) -> bool:
    return len(text) < 19 or (len(text) <= 20 and INT_RANGE[0] <= int(text) <= INT_RANGE[1])


def _twice(key: str) -> str:
    return f"the key {show(key)} stands twice in one object"


def _syntax(error: json.JSONDecodeError, place: str = "") -> str:
    if error.msg == "Extra data":
        return "not valid JSON: there is more than one value; name the file .jsonl if each line is a task"
    return f"not valid JSON: {error.msg[:1].lower()}{error.msg[1:]}{place or f' at column {error.colno}'}"


class _Frame:
    """An object or array that is open during a scan."""

    __slots__ = ("holds_records", "is_object", "key", "keys", "place", "wants_key")

    def __init__(self, *, is_object: bool, place: dict[str, int] | None, holds_records: bool) -> None:
        self.is_object = is_object
        self.wants_key = is_object
        self.key = ""
        self.keys: set[str] = set()
        self.place = place
        """Where the lines of its keys go, when it is a task."""
        self.holds_records = holds_records


class _Scan:
    """A second walk over JSON text that has already been decoded (or is too deep for it), keeping the lines."""

    def __init__(self, text: str) -> None:
        self.places: Places = []
        self.faults: list[tuple[int | None, str]] = []
        self._breaks = [match.start() for match in re.finditer("\n", text)]
        self._stack: list[_Frame] = []
        for match in _TOKEN.finditer(text):
            if not self._take(match[0], match.start()):
                break

    def _line(self, offset: int) -> int:
        return bisect_right(self._breaks, offset) + 1

    def _take(self, token: str, offset: int) -> bool:
        """Digest one token; False ends the scan."""
        frame = self._stack[-1] if self._stack else None
        if token in "]}":
            self._stack.pop()
        elif token == ",":
            if frame:
                frame.wants_key = frame.is_object
        elif token == ":":
            return True
        elif frame and frame.wants_key:
            self._take_key(frame, token, offset)
        else:
            return self._take_value(frame, token, offset)
        return True

    def _take_key(self, frame: _Frame, token: str, offset: int) -> None:
        key = json.loads(token)
        if key in frame.keys:
            self.faults.append((self._line(offset), _twice(key)))
        frame.keys.add(key)
        frame.key, frame.wants_key = key, False
        if frame.place is not None:
            frame.place[key] = self._line(offset)

    def _take_value(self, frame: _Frame | None, token: str, offset: int) -> bool:
        place = None
        if frame and frame.holds_records:
            place = {"": self._line(offset)}
            self.places.append(place)
        if token in "[{":
            return self._open(frame, token, offset, place)
        if token[0] in "-0123456789NI" and not _is_usable(token):
            self.faults.append((self._line(offset), bad_number(token)))
        return True

    def _open(self, frame: _Frame | None, token: str, offset: int, place: dict[str, int] | None) -> bool:
        if len(self._stack) >= MAX_DEPTH:
            self.faults.append((self._line(offset), _DEEP))
            return False
        under_tasks = len(self._stack) == 1 and frame is not None and frame.is_object and frame.key == "tasks"
        holds_records = token == "[" and (frame is None or under_tasks)
        self._stack.append(_Frame(is_object=token == "{", place=place, holds_records=holds_records))
        return True


def _is_usable(token: str) -> bool:
    if token in ("NaN", "Infinity", "-Infinity"):
        return False
    return _fits(token) if token.lstrip("-").isdigit() else math.isfinite(float(token))
