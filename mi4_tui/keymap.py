"""Every key of the app, once: the bindings, the hints at the bottom, the help, the palette and README's table all come from here.

A key has a stable `id` by which ``ui.keymap`` in ``mi4.toml`` gives it another key. Nothing here knows what an action does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from textual.binding import Binding

SHOWN = {
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "plus": "+",
    "equals_sign": "=",
    "minus": "-",
    "underscore": "_",
    "slash": "/",
    "colon": ":",
    "question_mark": "?",
    "asterisk": "*",
    "exclamation_mark": "!",
    "enter": "Enter",
    "escape": "Esc",
    "space": "Space",
    "tab": "Tab",
    "shift+tab": "Shift+Tab",
    "home": "Home",
    "end": "End",
    "f1": "F1",
}
"""How a key is written for people, where that is not its own name."""


@dataclass(frozen=True, slots=True)
class Key:
    """One thing that a key does."""

    id: str
    """Stable name for ``ui.keymap``."""
    keys: str
    """Textual key names, separated by commas; the first is the one that is shown."""
    action: str
    """Textual action string, run on the screen or the app."""
    label: str
    """One or two words, for the hints."""
    help: str
    """One line, for the help and README."""
    group: str
    scope: str = "main"
    """The screen that has it: ``main``, ``log``, ``workers`` or ``everywhere``."""
    hint: bool = False
    """Whether the bottom line names it."""

    def shown(self, override: str | None = None) -> str:
        """The key as people write it; two at most."""
        names = [name.strip() for name in (override or self.keys).split(",")]
        return " ".join(SHOWN.get(name, name.replace("ctrl+", "^")) for name in names[:2])


MOVE, ORDER, RUN, LOOK, APP = "Move", "Order", "Run", "Look", "App"
GROUPS = (MOVE, ORDER, RUN, LOOK, APP)

KEYS: tuple[Key, ...] = (
    Key("down", "j,down", "cursor(1)", "Down", "next task", MOVE),
    Key("up", "k,up", "cursor(-1)", "Up", "previous task", MOVE),
    Key("first", "g,home", "cursor_to('first')", "First", "first task, and stay at the top", MOVE),
    Key("last", "G,end", "cursor_to('last')", "Last", "last task", MOVE),
    Key("page_down", "pagedown,ctrl+d", "page(1)", "Page down", "one page down", MOVE),
    Key("page_up", "pageup,ctrl+u", "page(-1)", "Page up", "one page up", MOVE),
    Key("next_panel", "tab", "panel(1)", "Next panel", "next panel", MOVE),
    Key("previous_panel", "shift+tab", "panel(-1)", "Previous panel", "previous panel", MOVE),
    Key("board", "1", "focus_panel('board')", "Tasks", "the task board", MOVE),
    Key("pane_1", "2", "focus_panel('pane-0')", "Worker pane 1", "the first worker pane", MOVE),
    Key("pane_2", "3", "focus_panel('pane-1')", "Worker pane 2", "the second worker pane", MOVE),
    Key("pane_3", "4", "focus_panel('pane-2')", "Worker pane 3", "the third worker pane", MOVE),
    Key("pane_4", "5", "focus_panel('pane-3')", "Worker pane 4", "the fourth worker pane", MOVE),
    Key("advice", "6", "focus_panel('advice')", "Bottleneck", "the bottleneck panel", MOVE),
    Key(
        "raise", "plus,equals_sign", "raise_priority(100)", "Raise", "raise the priority by one level", ORDER, hint=True
    ),
    Key("lower", "minus,underscore", "raise_priority(-100)", "Lower", "lower the priority by one level", ORDER),
    Key("reset", "0", "reset_order", "Reset", "back to normal priority and no manual move", ORDER),
    Key("top", "t", "move('top')", "Top", "to the top of the queue", ORDER),
    Key("bottom", "b", "move('bottom')", "Bottom", "to the bottom of the queue", ORDER),
    Key("undo", "u", "undo", "Undo", "undo the last change of order", ORDER),
    Key("mark", "space", "mark", "Mark", "mark the task; the next action is for all marked", ORDER),
    Key("mark_all", "asterisk", "mark_all", "Mark all", "mark all tasks shown, or none", ORDER),
    Key("pause", "p", "pause", "Pause", "start nothing new, or go on", RUN, hint=True),
    Key("cancel", "x", "cancel", "Cancel", "cancel the task (asks: y)", RUN, hint=True),
    Key("retry", "R", "retry", "Retry", "run a finished task again", RUN),
    Key("why", "i", "explain", "Why", "why this score and place, and what it waits for", LOOK, hint=True),
    Key("log", "l,enter", "log", "Log", "the whole output of the task", LOOK, hint=True),
    Key(
        "filter", "slash", "filter", "Filter", "filter: text, status:failed, cat:docs, worker:2, !not", LOOK, hint=True
    ),
    Key("zoom", "z", "zoom", "Zoom", "the focused panel on the whole screen, and back", LOOK),
    Key("workers", "w", "workers", "Workers", "all workers with their live output", LOOK),
    Key("report", "E", "report", "Report", "write the JSON report into the working folder", APP),
    Key("theme", "T", "next_theme", "Theme", "next theme: dark, light, high contrast", APP),
    Key("palette", "colon,ctrl+p", "app.command_palette", "Commands", "every action by name", APP, "everywhere"),
    Key("help", "question_mark,f1", "app.help", "Help", "this list", APP, "everywhere", hint=True),
    Key("quit", "q,ctrl+c", "app.leave", "Quit", "leave: detach or stop", APP, "everywhere", hint=True),
    Key("suspend", "ctrl+z", "app.suspend_process", "Suspend", "to the shell; fg comes back", APP, "everywhere"),
    Key("back", "escape", "back", "Back", "one step back: filter, marks, zoom", LOOK),
    Key("log_down", "j,down", "scroll(1)", "Down", "one line down", MOVE, "log"),
    Key("log_up", "k,up", "scroll(-1)", "Up", "one line up", MOVE, "log"),
    Key("log_page_down", "pagedown,ctrl+d", "page(1)", "Page down", "one page down", MOVE, "log"),
    Key("log_page_up", "pageup,ctrl+u", "page(-1)", "Page up", "one page up", MOVE, "log"),
    Key("log_first", "g,home", "first", "Start", "start of the log", MOVE, "log", hint=True),
    Key("log_last", "G,end", "last", "End", "end of the log", MOVE, "log", hint=True),
    Key("log_follow", "f", "follow", "Follow", "follow new output, or stop following", LOOK, "log", hint=True),
    Key("log_right", "right", "sideways(20)", "Right", "further right in long lines", MOVE, "log"),
    Key("log_left", "left", "sideways(-20)", "Left", "further left", MOVE, "log"),
    Key("log_back", "escape", "back", "Back", "back to the board", APP, "log", hint=True),
    Key("workers_back", "escape,w", "back", "Back", "back to the board", APP, "workers", hint=True),
)
"""The table. Within a screen (with ``everywhere``) no key stands twice; a test says so."""

BY_ID = {key.id: key for key in KEYS}
SCOPES = ("main", "log", "workers")
SCOPE_TITLES = {"main": "Board", "log": "Log", "workers": "Workers", "everywhere": "Everywhere"}


def in_scope(scope: str) -> list[Key]:
    """The keys of a screen, then those that work everywhere."""
    return [key for key in KEYS if key.scope == scope] + [key for key in KEYS if key.scope == "everywhere"]


def bindings(scope: str) -> list[Binding]:
    """Textual bindings of exactly this scope. They are not shown: the hints have their own line."""
    return [
        Binding(key.keys, key.action, key.label, show=False, id=key.id, tooltip=key.help)
        for key in KEYS
        if key.scope == scope
    ]


@dataclass(frozen=True, slots=True)
class Hint:
    """One entry of the bottom line."""

    key: str
    label: str
    action: str


def hints(scope: str, overrides: Mapping[str, str] | None = None) -> list[Hint]:
    """The entries of the bottom line of a screen: at most eight, those that work everywhere last."""
    chosen = [key for key in in_scope(scope) if key.hint]
    return [Hint(key.shown((overrides or {}).get(key.id)).split(" ")[0], key.label, key.action) for key in chosen]


def help_rows(scope: str, overrides: Mapping[str, str] | None = None) -> list[tuple[str, list[tuple[str, str]]]]:
    """For the help: each group of a screen with its (keys, help) rows, in the order of `GROUPS`."""
    keys = in_scope(scope)
    rows = [
        (group, [(key.shown((overrides or {}).get(key.id)), key.help) for key in keys if key.group == group])
        for group in GROUPS
    ]
    return [(group, lines) for group, lines in rows if lines]


def unknown_ids(names: Iterable[str]) -> list[str]:
    """Which of these names are no key of ours."""
    return sorted(set(names) - set(BY_ID))


def markdown_table() -> str:
    """README's table of keys, ending with a line break."""
    lines = ["| key | what it does | screen |", "|---|---|---|"]
    for key in KEYS:
        shown = " or ".join(f"`{name}`" for name in key.shown().split(" "))
        lines.append(f"| {shown} | {key.help} | {SCOPE_TITLES[key.scope].lower()} |")
    return "\n".join(lines) + "\n"
