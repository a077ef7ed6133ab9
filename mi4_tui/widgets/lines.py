"""Lines of coloured pieces: the simplest widget of the app, and what the other line widgets draw with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from ..view_models import Piece

ROLES = ("plain", "muted", "error", "warning", "accent", "success", "secondary", "key")
ROLE_CLASSES = {f"role--{role}" for role in ROLES}
"""Component classes that give each colour role its colour; the style sheet of the app defines them."""


def role_style(widget: Widget, role: str, *, bold: bool = False) -> Style:
    """The style of a role on a widget that has `ROLE_CLASSES` among its component classes."""
    style = widget.get_component_rich_style(f"role--{role}")
    return style + Style(bold=True) if bold else style


def strip_of(widget: Widget, pieces: Iterable[Piece], width: int, *, gap: str = "") -> Strip:
    """One line of exactly `width` cells."""
    segments: list[Segment] = []
    for piece in pieces:
        if segments and gap:
            segments.append(Segment(gap, widget.rich_style))
        segments.append(Segment(piece.text, role_style(widget, piece.role, bold=piece.bold)))
    return Strip(segments).adjust_cell_length(width, widget.rich_style)


class Lines(Widget):
    """Shows lines of pieces. State: the lines last given, compared so that equal content costs no repaint."""

    COMPONENT_CLASSES = ROLE_CLASSES

    def __init__(self, *, id: str | None = None, classes: str | None = None, gap: str = "") -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id, classes=classes, markup=False)
        self._gap = gap
        self._lines: list[list[Piece]] = []

    @property
    def text(self) -> str:
        """What is shown, without colours; lines separated by line breaks."""
        return "\n".join(self._gap.join(piece.text for piece in line) for line in self._lines)

    def show(self, *lines: Sequence[Piece]) -> bool:
        """Show these lines. Returns whether anything changed."""
        fresh = [list(line) for line in lines]
        if fresh == self._lines:
            return False
        self._lines = fresh
        self.refresh(layout=self.styles.auto_dimensions)
        return True

    def get_content_width(self, container: object, viewport: object) -> int:  # noqa: ARG002 - Textual's form
        """Cells of the longest line."""
        gap = len(self._gap)
        widths = (sum(cell_len(piece.text) + gap for piece in line) - (gap if line else 0) for line in self._lines)
        return max(widths, default=0)

    def get_content_height(self, container: object, viewport: object, width: int) -> int:  # noqa: ARG002 - Textual's form
        """One row for each line."""
        return max(1, len(self._lines))

    def render_line(self, y: int) -> Strip:
        """The line at `y`, blank below the last one."""
        pieces = self._lines[y] if y < len(self._lines) else ()
        return strip_of(self, pieces, self.size.width, gap=self._gap)
