"""The small windows over a screen: a question with one key for each answer, and a text to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen

from ..formatting import plain
from ..view_models import Piece
from ..widgets.lines import Lines


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer."""

    key: str
    """Textual key name."""
    label: str


class Question(ModalScreen[str]):
    """Asks, and returns the key of the answer; Esc returns an empty string."""

    CSS_PATH = "dialog.tcss"

    def __init__(self, title: str, lines: Sequence[str], choices: Sequence[Choice]) -> None:
        super().__init__()
        self._title = title
        self._lines_text = tuple(lines)
        self._choices = tuple(choices)

    def compose(self) -> ComposeResult:
        """The window."""
        with Vertical(classes="dialog") as window:
            window.border_title = Content(plain(self._title))
            yield Lines(id="question-text")
            yield Lines(id="question-choices")

    def on_mount(self) -> None:
        """Fill it."""
        self.query_one("#question-text", Lines).show(*[[Piece(plain(line))] for line in self._lines_text], [])
        rows = [[Piece(f" {choice.key:<4}", "key", bold=True), Piece(choice.label)] for choice in self._choices]
        self.query_one("#question-choices", Lines).show(
            *rows, [Piece(" esc ", "key", bold=True), Piece("back, change nothing")]
        )

    def on_key(self, event: events.Key) -> None:
        """Only the named keys answer."""
        event.stop()
        if event.key == "escape":
            self.dismiss("")
        elif event.key in {choice.key for choice in self._choices}:
            self.dismiss(event.key)


class Reading(ModalScreen[None]):
    """Shows text; any of the leaving keys closes it."""

    CSS_PATH = "dialog.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,question_mark,f1,i", "dismiss", "Close", show=False),
        Binding("j,down", "scroll(1)", show=False),
        Binding("k,up", "scroll(-1)", show=False),
        Binding("pagedown,space", "scroll(10)", show=False),
        Binding("pageup", "scroll(-10)", show=False),
    ]

    def __init__(self, title: str, lines: Sequence[Sequence[Piece]]) -> None:
        super().__init__()
        self._title = title
        self._pieces = [list(line) for line in lines]

    def compose(self) -> ComposeResult:
        """The window; the text scrolls when it is longer."""
        with VerticalScroll(classes="dialog reading", can_focus=False) as window:
            window.border_title = Content(plain(self._title))
            window.border_subtitle = Content("esc closes")
            yield Lines(id="reading-text")

    def on_mount(self) -> None:
        """Fill it."""
        self.show(self._pieces)

    def show(self, lines: Sequence[Sequence[Piece]]) -> None:
        """Show other text."""
        self.query_one("#reading-text", Lines).show(*lines)

    def action_scroll(self, lines: int) -> None:
        """Move the text by so many lines."""
        self.query_one(".reading", VerticalScroll).scroll_relative(y=lines, animate=False)
