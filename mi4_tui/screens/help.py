"""The help: the keys of a screen, made from the table of keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest

from rich.cells import cell_len

from ..formatting import fit
from ..keymap import SCOPE_TITLES, help_rows
from ..view_models import LOOKS, Piece
from .dialog import Reading

KEY_CELLS = 14
STATES_A_LINE = 3


def help_lines(
    scope: str, overrides: Mapping[str, str] | None = None, *, ascii_only: bool = False
) -> list[list[Piece]]:
    """Every key of the screen by group, then what the glyphs mean."""
    lines = _groups(help_rows(scope, overrides))
    return [*lines, *_states(ascii_only=ascii_only)] if scope == "main" else lines[:-1]


def help_columns(
    scope: str, overrides: Mapping[str, str] | None = None, *, ascii_only: bool = False
) -> list[list[Piece]]:
    """The same in two columns, for wide terminals."""
    rows = help_rows(scope, overrides)
    left = _groups(rows[:1]) + (_states(ascii_only=ascii_only) if scope == "main" else [])
    right = _groups(rows[1:])
    width = 4 + max(sum(cell_len(piece.text) for piece in line) for line in left)
    return [_beside(one or [], two or [], width) for one, two in zip_longest(left, right)]


def _beside(left: list[Piece], right: list[Piece], width: int) -> list[Piece]:
    used = sum(cell_len(piece.text) for piece in left)
    return [*left, Piece(" " * (width - used)), *right]


def _groups(rows: Sequence[tuple[str, list[tuple[str, str]]]]) -> list[list[Piece]]:
    lines: list[list[Piece]] = []
    for group, keys in rows:
        lines.append([Piece(group, bold=True)])
        lines += [[Piece("  "), Piece(fit(key, KEY_CELLS), "key", bold=True), Piece(text)] for key, text in keys]
        lines.append([])
    return lines


def _states(*, ascii_only: bool) -> list[list[Piece]]:
    shapes = list(LOOKS.values())
    lines: list[list[Piece]] = [[Piece("States", bold=True)]]
    for start in range(0, len(shapes), STATES_A_LINE):
        pieces = [
            Piece(fit(f"{shape.letter if ascii_only else shape.glyph} {shape.word}", KEY_CELLS - 2), shape.role)
            for shape in shapes[start : start + STATES_A_LINE]
        ]
        lines.append([Piece("  "), *pieces])
    return [*lines, [Piece("  ~ "), Piece("asked for, not confirmed by the engine yet", "muted")]]


class Help(Reading):
    """The keys of one screen."""

    def __init__(self, scope: str, overrides: Mapping[str, str] | None = None, *, ascii_only: bool, wide: bool) -> None:
        lines = help_columns if wide else help_lines
        super().__init__(f"Keys: {SCOPE_TITLES[scope]}", lines(scope, overrides, ascii_only=ascii_only))
