"""CSV and TSV: a header row that names the fields, then one task a row.

Every cell is a text; the header says what it is for, so that numbers, truth values and lists (with ``;`` between their items) are made of
it here. A command is one text, as a shell would get it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .fields import FIELDS, unknown_field
from .json_text import decode_document
from .records import MAX_LINE, UNUSABLE, ExactFloat, Places, Records, show, too_long

_DELIMITERS = (",", ";", "\t", "|")
_CALL = re.compile(r"[+\-@]\w{1,40}\(", re.ASCII)
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"-?(?:[0-9]{1,300}(?:\.[0-9]{0,300})?|\.[0-9]{1,300})(?:[eE][-+]?[0-9]{1,3})?")
_LISTS = {"dependencies", "tags", "env", "inputs", "outputs"}
_TRUTHS = {"shell", "clean_env", "idempotent", "cache"}
_NUMBERS = {"priority", "timeout_seconds", "stall_seconds", "max_retries", "token_budget"}
_JSON = {"args", "kwargs", "set_env", "agent_options", "meta"}


def read_csv(text: str, *, delimiter: str = "") -> Records:
    """All tasks of a table; without a `delimiter` it is the one that the header row uses."""
    fault = _first_fault(text)
    if fault:
        return Records(faults=[fault])
    records = Records()
    places: Places = []
    records.locate = lambda: places
    with _field_limit():
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter or _delimiter(text), strict=True)
        try:
            header, start = _header(rows)
            records.faults += [(start, message) for message in _check_header(header)]
            if not records.faults:
                _read_rows(rows, header, records, places)
        except csv.Error as error:
            records.faults.append((rows.line_num or 1, f"not valid CSV: {error}"))
    return records


def _first_fault(text: str) -> tuple[int, str] | None:
    """What keeps the text from being read as a table at all."""
    if "\0" in text:
        return text.count("\n", 0, text.index("\0")) + 1, "holds a NUL character, which no table does"
    longest = next((n for n, line in enumerate(text.split("\n"), 1) if len(line) > MAX_LINE), None)
    return (longest, too_long(len(text.split("\n")[longest - 1]))) if longest else None


@contextmanager
def _field_limit() -> Iterator[None]:
    """The module's own limit is 131,072 characters; it is one for the whole process, so it is put back."""
    before = csv.field_size_limit(MAX_LINE)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _delimiter(text: str) -> str:
    """The delimiter that makes the most known fields of the header row."""
    line = next((line for line in text.split("\n") if line.strip()), "")

    def known(delimiter: str) -> int:
        return sum(_name(cell.strip('"\r')) in FIELDS for cell in line.split(delimiter))

    return max(_DELIMITERS, key=known)


def _name(cell: str) -> str:
    return cell.strip().lower().replace(" ", "_")


def _header(rows: Any) -> tuple[list[str], int]:
    for row in rows:
        if any(cell.strip() for cell in row):
            return [_name(cell) for cell in row], rows.line_num
    return [], 1


def _check_header(header: list[str]) -> list[str]:
    """What is wrong with the names of the columns; trailing columns without a name are none."""
    while header and not header[-1]:
        header.pop()
    if not any(name in FIELDS for name in header):
        return ["the first row must name the columns, such as id,title,prompt,priority,category,depends_on"]
    faults = [f"column {n} has no name" for n, name in enumerate(header, 1) if not name]
    faults += [unknown_field(name) for name in header if name and name not in FIELDS]
    for n, name in enumerate(header):
        twins = [
            other for other in header[:n] if other in FIELDS and name in FIELDS and FIELDS[other][0] == FIELDS[name][0]
        ]
        if twins:
            faults.append(
                f"the column {show(name)} stands twice"
                if twins[0] == name
                else f"{twins[0]} and {name} mean the same; keep one"
            )
    return faults


def _read_rows(rows: Any, header: list[str], records: Records, places: Places) -> None:
    targets = [FIELDS[name][0] for name in header]
    makers = [_maker(target) for target in targets]
    by_shell = "command" in targets and "shell" not in targets
    width = len(header)
    line = rows.line_num + 1
    for row in rows:
        here, line = line, rows.line_num + 1
        if not any(row):
            continue
        if any(cell.strip() for cell in row[width:]):
            records.faults.append(
                (
                    here,
                    f"the row has {len(row)} cells and the header {width}; put quotes around a cell that holds the delimiter",
                )
            )
            continue
        record: dict[str, Any] = {}
        for name, make, cell in zip(header, makers, row, strict=False):
            if not (text := cell.strip()):
                continue
            record[name] = make(text)
            if record[name] is UNUSABLE or _is_formula(text):
                record[name] = UNUSABLE
                records.faults.append((here, _bad_cell(name, text)))
        if not record:
            continue
        if by_shell and isinstance(record.get("command") or record.get("cmd"), str):
            record["shell"] = True
        records.items.append(record)
        places.append({"": here})


def _is_formula(text: str) -> bool:
    """Whether a spreadsheet would run the cell; there it is the text of a formula, and here it can only be a mistake or worse."""
    if text[0] == "=" or _CALL.match(text):
        return True
    return text[0] in "+-@" and "!" in text.partition("|")[2]


def _bad_cell(name: str, text: str) -> str:
    if _is_formula(text):
        return f"{name} holds the formula {show(text)}; save values, not formulas"
    return f"{name} must hold JSON here, not {show(text)}"


def _maker(target: str) -> Callable[[str], Any]:
    """What makes a value of a cell that is not empty; what it cannot read stays a text, for the check of the fields to name."""
    if target in _LISTS:
        return lambda text: [item.strip() for item in text.split(";") if item.strip()]
    if target in _TRUTHS:
        return lambda text: {"true": True, "false": False}.get(text.lower(), text)
    if target in _NUMBERS:
        return _number
    return _json if target in _JSON else lambda text: text


def _number(text: str) -> Any:
    if _INTEGER.fullmatch(text):
        return int(text)
    return ExactFloat.of(text) if _NUMBER.fullmatch(text) else text


def _json(text: str) -> Any:
    document = decode_document(text)
    return UNUSABLE if document.faults or document.noticed else document.root
