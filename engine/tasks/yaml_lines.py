"""The plain part of YAML, line by line: what a file of 100,000 tasks consists of, read three times as fast as by the parser.

A record is read here when it stands in the simplest form: one ``key: value`` a line, the value a plain or quoted text on that line or a
list of such texts, in brackets or one an indented line. Everything else (blocks of text, tables, anchors, tags, escapes, comments behind
a value, faults) is left to the parser, record by record, so this module knows no rule of YAML that it could get wrong in between:
a line that is not certainly plain is not plain.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from .records import INT_RANGE, ExactFloat

_INT = re.compile(r"-?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_SPECIAL = frozenset("-+.0123456789~nNtTfF") | {""}
"""What a text that is not only a text begins with."""

_QUOTED = r"""'[^']*'|"[^"\\]*\""""
_WORD = r"[\w./+=@%~-]+(?::[\w./+=@%~-]+)*"
_FLOW_ITEM = rf"(?:-{{0,2}}[\w./](?:{_WORD})?(?: +{_WORD})*|{_QUOTED})"
_FLOW = rf"\[ *(?:{_FLOW_ITEM}(?: *, *{_FLOW_ITEM})*)? *\]"
_PLAIN = r"-{0,2}[\w./(+$~][^:#\t]*(?:(?::(?=\S)|(?<=\S)#)[^:#\t]*)*"
_PAIR = rf"([A-Za-z_][A-Za-z0-9_-]{{0,99}}):(?: +(?:({_PLAIN})|({_QUOTED}) *|({_FLOW}) *)| *)"
_ITEM = re.compile(rf"( *)- (?:({_PLAIN})|({_QUOTED}) *)")
_FLOW_ITEMS = re.compile(_FLOW_ITEM)
_BLANK = r"(?: *(?:#.*)?\n)*"
_HEAD = re.compile(rf"{_BLANK}(?:--- *\n{_BLANK})?(tasks: *\n{_BLANK})?( *)- ")
_MARKER = re.compile(r"^(?:---|\.\.\.|%)", re.MULTILINE)
_OTHER_BREAK = re.compile("[\r\x85\u2028\u2029\ufeff]")
"""Characters that end a line for YAML, or may: a file with one is left to the parser."""
_IS_PLAIN, _IS_QUOTED, _IS_FLOW = 2, 3, 4
"""Groups of `_PAIR`."""


def plain_value(text: str) -> Any:
    """What a text without quotes stands for; raises `ValueError` for a number that is not finite or does not fit 64 bits."""
    if text[:1] not in _SPECIAL:
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] in "~nNtTfF":
        return text
    if text.isdecimal() and text.isascii() and text[0] != "0" and len(text) < 19:
        return int(text)
    if _INT.fullmatch(text) and text != "-0":
        if len(text) <= 20 and INT_RANGE[0] <= int(text) <= INT_RANGE[1]:
            return int(text)
    elif _FLOAT.fullmatch(text) and not text.isdigit():
        number = ExactFloat.of(text)
        if math.isfinite(number):
            return number
    elif not _NOT_FINITE.fullmatch(text):
        return text
    raise ValueError("must be finite and fit 64 bits")


def read_lines(text: str, parse: Callable[[str, int], list[Any] | None]) -> list[Any] | None:
    """The records of a document, or None where it has to be parsed as a whole.

    `parse(part, depth)` reads a part that is not plain: a list of complete records below `depth` open levels; its None ends the attempt.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    head = _HEAD.match(text)
    if head is None or _MARKER.search(text, head.end()) or _OTHER_BREAK.search(text):
        return None
    return _Lines(text[head.start(2) :], head[2], int(head[1] is not None), parse).read()


class _Lines:
    """One walk over the lines of a list of records. State: the records so far, and the lines that the parser has to read."""

    def __init__(self, text: str, indent: str, depth: int, parse: Callable[[str, int], list[Any] | None]) -> None:
        self._lines = text.split("\n")
        self._start = indent + "- "
        self._width = len(indent) + 2
        self._pair = re.compile(f"{indent}[ -] {_PAIR}").fullmatch
        self._depth = depth
        self._parse = parse
        self._records: list[Any] = []
        self._left: list[str] = []

    def read(self) -> list[Any] | None:
        """All records, or None."""
        lines, start = self._lines, self._start
        firsts = [number for number, line in enumerate(lines) if line.startswith(start)]
        for first, last in zip(firsts, [*firsts[1:], len(lines)], strict=True):
            try:
                record = self._record(first, last)
            except ValueError:  # a number that cannot be used
                record = None
            if record is None:
                self._left += lines[first:last]
            elif self._left and not self._parse_left():
                return None
            else:
                self._records.append(record)
        return self._records if self._parse_left() else None

    def _parse_left(self) -> bool:
        if self._left:
            records = self._parse("\n".join(self._left), self._depth)
            if records is None:
                return False
            self._records += records
            self._left.clear()
        return True

    def _record(self, number: int, last: int) -> dict[str, Any] | None:
        """The record in the lines from `number` to before `last`, or None where it is not plain; raises `ValueError`."""
        record: dict[str, Any] = {}
        lines, match, pairs = self._lines, self._pair, 0
        while number < last:
            pair = match(lines[number])
            if pair is None:
                line, number = number, self._skip_blank(number, last)
                if line == number:
                    return None
                continue
            pairs += 1
            number += 1
            kind = pair.lastindex
            if kind == _IS_PLAIN:
                record[pair[1]] = plain_value(pair[2].rstrip(" "))
            elif kind == _IS_FLOW:
                record[pair[1]] = _flow_list(pair[4])
            elif kind == _IS_QUOTED:
                record[pair[1]] = pair[3][1:-1]
            else:
                number, record[pair[1]] = self._items(number, last)
        return record if len(record) == pairs else None

    def _items(self, number: int, last: int) -> tuple[int, list[Any] | None]:
        """The list that begins at a line, or None where none does, and the line after it; raises `ValueError`."""
        items: list[Any] = []
        indent = ""
        number = self._skip_blank(number, last)
        while number < last and (item := _ITEM.fullmatch(self._lines[number])):
            indent = indent or item[1]
            if item[1] != indent or len(indent) < self._width:
                break
            items.append(plain_value(item[2].rstrip(" ")) if item[2] is not None else item[3][1:-1])
            number = self._skip_blank(number + 1, last)
        return number, items or None

    def _skip_blank(self, number: int, last: int) -> int:
        """The next line that says something."""
        lines = self._lines
        while number < last and (not (text := lines[number].lstrip(" ")) or text[0] == "#"):
            number += 1
        return number


def _flow_list(text: str) -> list[Any]:
    """The list that stands in brackets."""
    if "'" in text or '"' in text:
        return [item[1:-1] if item[0] in "\"'" else plain_value(item) for item in _FLOW_ITEMS.findall(text)]
    inner = text[1:-1].strip(" ")
    return [plain_value(item.strip(" ")) for item in inner.split(",")] if inner else []
