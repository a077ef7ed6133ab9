"""Single values of foreign files, taken as far as they make sense; nothing here raises."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from ..records import UNUSABLE, ExactFloat

_DEEPEST = 16
"""Levels of a value that is only kept."""
_LONGEST_TITLE = 500


def text_of(value: Any) -> str:
    """A text without what no text can hold; a list becomes its items, line by line."""
    if isinstance(value, str):
        whole: str = value.replace("\0", "\ufffd") if "\0" in value else value
        return (whole if whole.isascii() else whole.encode("utf-8", "replace").decode()).strip()
    if isinstance(value, list):
        return "\n".join(f"- {text}" for item in value if (text := text_of(item)))
    if isinstance(value, bool) or value is None:
        return ""
    return str(getattr(value, "text", value)) if isinstance(value, int | float) else ""


def title_of(value: Any) -> str:
    """One line of a text, not too long for a list."""
    line = " ".join(text_of(value).split())
    return line if len(line) <= _LONGEST_TITLE else line[: _LONGEST_TITLE - 1] + "\u2026"


def id_of(value: Any) -> str:
    """An id as a text: ``3``, ``"3"`` and ``3.2`` are written in all these ways."""
    if isinstance(value, bool):
        return ""
    if isinstance(value, int | str):
        return str(value).replace("\0", "\ufffd").strip()
    return value.text if isinstance(value, ExactFloat) else ""


def items_of(value: Any) -> list[Any]:
    """A list; a single value is a list of one, nothing is an empty one."""
    if isinstance(value, list):
        return value
    return [] if value is None or value == "" else [value]


def table_of(value: Any) -> Mapping[str, Any]:
    """A table, or an empty one."""
    return value if isinstance(value, dict) else {}


def moment_of(value: Any) -> str | None:
    """A time that a task can have, or None."""
    text = text_of(value)
    try:
        datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
    return text


def prompt_of(title: str, *sections: tuple[str, Any]) -> str:
    """The title and then each section that says something, below its name if it has one."""
    parts = [title]
    for name, value in sections:
        text = text_of(value)
        if text and text != title:
            parts.append(f"{name}:\n{text}" if name else text)
    return "\n\n".join(part for part in parts if part)


def rest_of(record: Mapping[str, Any], used: Collection[str]) -> dict[str, Any]:
    """The fields that have no meaning here and say something, as plain values."""
    kept = {str(key): _plain(value, 0) for key, value in record.items() if key not in used}
    return {text_of(key): value for key, value in kept.items() if value not in (None, "", [], {})}


def tags_of(values: Iterable[Any]) -> list[str]:
    """Tags that say something, each once."""
    return list(dict.fromkeys(tag for value in values if (tag := title_of(value))))


def _plain(value: Any, depth: int) -> Any:
    if value is UNUSABLE or depth > _DEEPEST:
        return None
    if isinstance(value, str):
        return text_of(value)
    if isinstance(value, list):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {text_of(key): _plain(item, depth + 1) for key, item in value.items()}
    return float(value) if isinstance(value, ExactFloat) else value
