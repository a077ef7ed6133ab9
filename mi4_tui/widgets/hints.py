"""The bottom line: the keys that matter most on this screen, in two tones. A hint that does not fit is left out whole."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from ..keymap import Hint
from .lines import ROLE_CLASSES, role_style


class Hints(Widget):
    """Shows hints and tells when one is clicked."""

    COMPONENT_CLASSES = ROLE_CLASSES

    class Chosen(Message):
        """A hint was clicked."""

        def __init__(self, action: str) -> None:
            self.action = action
            super().__init__()

    def __init__(self, hints: Sequence[Hint], *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id, markup=False)
        self._hints = tuple(hints)

    def fitting(self, width: int) -> list[Hint]:
        """The hints that fit, in order; the last two (help and quit) are kept before any other."""
        kept: list[Hint] = []
        room = width
        for hint in (*self._hints[-2:], *self._hints[:-2]):
            needed = cell_len(hint.key) + cell_len(hint.label) + 3
            if needed > room:
                continue
            room -= needed
            kept.append(hint)
        return [hint for hint in self._hints if hint in kept]

    def render_line(self, y: int) -> Strip:
        """All on one line."""
        segments: list[Segment] = []
        if y == 0:
            for hint in self.fitting(self.size.width):
                segments.append(Segment(f" {hint.key}", role_style(self, "key", bold=True)))
                segments.append(Segment(f" {hint.label} ", role_style(self, "plain")))
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)

    def on_click(self, event: events.Click) -> None:
        """Run what the hint under the pointer says."""
        x = 0
        for hint in self.fitting(self.size.width):
            x += cell_len(hint.key) + cell_len(hint.label) + 3
            if event.x < x:
                self.post_message(self.Chosen(hint.action))
                return
