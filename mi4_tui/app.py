"""The terminal app: a client of a running engine. It draws what the session's projection holds and asks for what the user wants.

Losing the app loses nothing: the engine goes on, and `run_app` leaves a sane terminal and a right exit status whatever happens.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App
from textual.binding import BindingType
from textual.command import Provider
from textual.filter import LineFilter
from textual.screen import Screen

from engine.events.bus import merge_views
from engine.events.events import ViewChanged
from engine.events.projection import WorkerRow
from engine.session import Session, StopEngine

from . import themes
from .commands import KeyCommands, Orders
from .formatting import plain
from .keymap import bindings, unknown_ids
from .run_models import is_finished, open_tasks
from .screens.dialog import Choice, Question
from .screens.help import Help
from .screens.main import MainScreen
from .screens.workers import WorkersScreen

UNFOCUSED_HZ = 2.0
"""Redraws a second while the terminal is not the one in front."""
_SIGNALS = {signal.SIGTERM: 143, signal.SIGHUP: 129}


class Mi4App(App[int], inherit_bindings=False):
    """The app on one session.

    Mutable state, owned here: the changes that wait for the next drawing, and the orders (undo, pending). Screens own what they show.
    """

    TITLE = "mi4"
    CSS_PATH = ["app.tcss", "screens/main.tcss"]  # noqa: RUF012 - Textual's form; it does not load the default screen's own
    WIDE = 110
    """Cells from which worker panes stand beside the board."""
    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (60, "-narrow"), (WIDE, "-wide"), (180, "-huge")]  # noqa: RUF012 - Textual's form
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (16, "-short"), (32, "-tall")]  # noqa: RUF012 - Textual's form
    BINDINGS: ClassVar[list[BindingType]] = list(bindings("everywhere"))
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {KeyCommands}

    def __init__(self, session: Session, *, settings: Any, folder: Path, state_folder: Path | None = None) -> None:
        super().__init__()
        self.session = session
        self.folder = folder
        """Where the user works: reports are written here."""
        self.state_folder = state_folder or folder / ".mi4"
        """The engine's folder: logs, and the report of a crash."""
        ui = settings.ui
        self.ascii_only: bool = ui.ascii
        self.key_overrides: Mapping[str, str] = dict(ui.keymap)
        self.orders = Orders(session, self._show_pending)
        self._hz = float(ui.refresh_hz)
        self._theme_wanted: str = ui.theme
        self._waiting: ViewChanged | None = None
        self._no_colour = themes.NoColour()
        self.crash_file: Path | None = None
        """Where the report of a crash was written."""

    # Life.

    def get_default_screen(self) -> Screen[None]:
        """The board."""
        return MainScreen(self)

    def on_mount(self) -> None:
        """Themes, keys, signals, and the watch on the session."""
        for theme in themes.THEMES:
            self.register_theme(theme)
        self.theme = self._theme_wanted if self._theme_wanted in self.available_themes else themes.DEFAULT
        self.set_keymap(dict(self.key_overrides))
        if unknown := unknown_ids(self.key_overrides):
            self.say(f"ui.keymap has unknown keys: {', '.join(unknown)}; '?' lists what there is", "warning")
        loop = asyncio.get_running_loop()
        for number, status in _SIGNALS.items():
            loop.add_signal_handler(number, self._end_by_signal, status)
        self.run_worker(self._watch(), group="watch")

    def on_unmount(self) -> None:
        """Give the signals back."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)

    def _end_by_signal(self, status: int) -> None:
        self.exit(status, return_code=status)

    async def _watch(self) -> None:
        """Collect what the session tells and draw it at most so often."""
        async with self.session.subscribe() as subscription:
            async for event in subscription:
                if isinstance(event, ViewChanged):
                    self._note(event)

    def _note(self, change: ViewChanged) -> None:
        first = self._waiting is None
        self._waiting = change if self._waiting is None else merge_views(self._waiting, change)
        if first:
            self.set_timer(1.0 / (self._hz if self.app_focus else UNFOCUSED_HZ), self.draw_waiting)

    def draw_waiting(self) -> None:
        """Draw what has changed since the last time, on the screens that show it."""
        change, self._waiting = self._waiting, None
        if change is None or not self.is_running:
            return
        for screen in self.screen_stack:
            if isinstance(screen, MainScreen | WorkersScreen) and self._is_seen(screen):
                screen.draw(change)

    def _is_seen(self, screen: Screen[Any]) -> bool:
        """Whether the screen is on top, or only dialogs are above it."""
        above = self.screen_stack[self.screen_stack.index(screen) + 1 :]
        return all(other.is_modal for other in above)

    def _show_pending(self) -> None:
        if self.is_running and (main := self.main_screen) is not None:
            main.board.show_pending(self.orders.pending)

    @property
    def main_screen(self) -> MainScreen | None:
        """The board's screen, once it is there."""
        screens = [screen for screen in self.screen_stack if isinstance(screen, MainScreen) and screen.is_mounted]
        return screens[0] if screens else None

    # What the screens share.

    def say(self, text: str, severity: Any = "information", *, timeout: float | None = None) -> None:
        """One line for a few seconds."""
        self.notify(plain(text), severity=severity, timeout=timeout, markup=False)

    def slots(self) -> list[WorkerRow]:
        """The slots in the order of their numbers."""
        return sorted(self.session.projection.workers.values(), key=_slot_order)

    def report_path(self) -> Path:
        """Where the next report goes."""
        return self.folder / f"mi4-report-{time.strftime('%Y%m%d-%H%M%S', time.localtime(self.session.now()))}.json"

    def log_path(self, name: str) -> Path:
        """The log that the engine named, by its path or by its name below the logs folder."""
        path = Path(name)
        return path if path.is_absolute() else self.state_folder / "logs" / path

    def next_theme(self) -> None:
        """The next of our themes."""
        self.theme = themes.next_theme(self.theme)
        self.say(f"theme: {self.theme}")

    def show_workers(self) -> None:
        """All workers."""
        self.push_screen(WorkersScreen(self))

    def get_line_filters(self) -> Sequence[LineFilter]:
        """With ``NO_COLOR``, no colour at all."""
        return (self._no_colour,) if self.no_color else super().get_line_filters()

    # Actions that every screen has.

    def action_help(self) -> None:
        """``?``."""
        scope = getattr(self.screen, "SCOPE", "main")
        self.push_screen(
            Help(
                scope,
                self.key_overrides,
                ascii_only=self.ascii_only,
                wide=self.size.width >= self.WIDE and self.size.height >= 24,
            )
        )

    def action_leave(self) -> None:
        """``q``: at once when there is nothing left to decide, else asks."""
        projection = self.session.projection
        if not self.session.connected or is_finished(projection.run, projection.counts):
            self.exit(0)
            return
        choices = [
            Choice("d", "detach: the engine goes on; 'mi4-tui attach' comes back"),
            Choice("s", "stop: end what runs first, start nothing new"),
            Choice("X", "stop now: cancel what runs"),
        ]
        self.push_screen(Question("Leave?", [open_tasks(projection.counts)], choices), self._left)

    def _left(self, answer: str | None) -> None:
        if answer == "d":
            self.exit(0)
        elif answer in ("s", "X"):
            self.run_worker(self._stop(now=answer == "X"), group="commands")

    async def _stop(self, *, now: bool) -> None:
        reply = await self.orders.ask(StopEngine(now=now))
        if reply.ok:
            self.exit(0)
        else:
            self.say(reply.message, "error")

    # Crashes.

    def _fatal_error(self) -> None:
        """Write a report without the values of variables (they may be secrets), say so in one line, and leave with status 1."""
        error = sys.exc_info()[1] or self._exception
        self.crash_file = write_crash(self.state_folder, error, self.session.now())
        where = f"; report: {self.crash_file}" if self.crash_file else ""
        name = plain(f"{type(error).__name__}: {error}")[:200]
        if not self._exit_renderables:
            self._exit_renderables.append(
                Text(f"mi4-tui crashed ({name}); the engine goes on: 'mi4-tui attach'{where}")
            )
        self._close_messages_no_wait()


def write_crash(folder: Path, error: BaseException | None, now: float) -> Path | None:
    """Write the traceback, without local variables, readable by its owner only. Returns None where it cannot be written."""
    path = folder / f"app-crash-{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}.txt"
    lines = traceback.format_exception(error) if error is not None else ["unknown error\n"]
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(number, "w", encoding="utf-8", errors="replace") as file:
            file.writelines(lines)
    except OSError:
        return None
    return path


def _slot_order(slot: WorkerRow) -> tuple[int, str]:
    digits = re.search(r"\d+", slot.name)
    return (int(digits.group()) if digits else 0, slot.name)


async def run_app(session: Session, *, settings: Any, folder: Path, state_folder: Path | None = None) -> int:
    """Show the app on a session until the user leaves. Returns the exit status; the session stays open.

    `folder` is where the user works (reports go there), `state_folder` the engine's (``.mi4`` below it, unless given).
    """
    app = Mi4App(session, settings=settings, folder=folder, state_folder=state_folder)
    await app.run_async()
    return app.return_code or 0
