"""One worker pane: what it runs, the end of what that prints, and a summary. Draws the lines in view and keeps no history."""

from __future__ import annotations

from textual.content import Content
from textual.strip import Strip
from textual.widget import Widget

from ..formatting import fit, join_fitting
from ..run_models import PaneText
from ..view_models import Piece
from .lines import ROLE_CLASSES, strip_of


class Tail(Widget, can_focus=True):
    """The live end of a worker's output. State: the text last given."""

    COMPONENT_CLASSES = ROLE_CLASSES

    def __init__(self, *, id: str | None = None, ascii_only: bool = False) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id, markup=False)
        self._ascii = ascii_only
        self._shown = PaneText("", (), (), "muted")

    @property
    def text(self) -> PaneText:
        """What is shown."""
        return self._shown

    def show(self, text: PaneText) -> None:
        """Show this; equal text costs nothing."""
        if text == self._shown:
            return
        if text.title != self._shown.title:
            self.border_title = Content(text.title)
        if text.facts != self._shown.facts:
            self._show_facts(text)
        self._shown = text
        self.refresh()

    def _show_facts(self, text: PaneText) -> None:
        self.border_subtitle = Content(join_fitting(list(text.facts), max(0, self.size.width - 4)))

    def on_resize(self) -> None:
        """Another width holds other facts."""
        self._show_facts(self._shown)

    def render_line(self, y: int) -> Strip:
        """The last lines, the newest at the bottom of what is filled; the note where there are none."""
        width, height = self.size
        lines = self._shown.lines[-height:] if height else ()
        if y < len(lines):
            return strip_of(self, [Piece(fit(lines[y], width, ascii_only=self._ascii))], width)
        if not lines and y == 0 and self._shown.note:
            return strip_of(self, [Piece(fit(self._shown.note, width, ascii_only=self._ascii), "muted")], width)
        return Strip.blank(width, self.rich_style)
