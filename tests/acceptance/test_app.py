"""The app in a real terminal: what is on the screen, what keys do to the run, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
SIZES = [(80, 24), (120, 40), (140, 45)]
WAIT = "while [ ! -e go ]; do sleep 0.05; done"


class Terminal:
    """One tmux server with one shell in it, for one test."""

    def __init__(self, socket: Path, folder: Path, columns: int, rows: int, eventually):
        self._tmux = ["tmux", "-S", str(socket), "-f", "/dev/null"]
        self._eventually = eventually
        self._call(
            "new-session", "-d", "-x", str(columns), "-y", str(rows), "-c", str(folder),
            "env", "PS1=ready> ", "TERM=tmux-256color", "sh",
        )  # fmt: skip

    def _call(self, *arguments: str) -> str:
        return subprocess.run([*self._tmux, *arguments], check=True, capture_output=True, text=True).stdout

    def screen(self) -> str:
        return self._call("capture-pane", "-p")

    def type(self, line: str) -> None:
        self._call("send-keys", "-l", line)
        self._call("send-keys", "Enter")

    def press(self, *keys: str) -> None:
        for key in keys:
            self._call("send-keys", key)

    def shows(self, pattern: str, seconds: float = 60.0) -> re.Match[str]:
        """Wait until the screen matches; the pattern is multi-line."""
        return self._eventually(lambda: re.search(pattern, self.screen(), re.MULTILINE), pattern, seconds, self.screen)

    def hides(self, pattern: str) -> None:
        self._eventually(lambda: not re.search(pattern, self.screen(), re.MULTILINE), f"the end of {pattern}")

    def value(self, name: str) -> str:
        return self._call("display-message", "-p", f"#{{{name}}}").strip()

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], check=False, capture_output=True)


@pytest.fixture
def terminal(program, processes) -> Iterator:
    """A function that opens a terminal of a size in the program's folder."""
    opened: list[Terminal] = []
    # A socket path has at most about 100 characters; pytest's folders are longer.
    with tempfile.TemporaryDirectory(prefix="mi4-tmux-") as folder:

        def open_terminal(columns: int, rows: int) -> Terminal:
            socket = Path(folder) / f"s{len(opened)}"
            opened.append(Terminal(socket, program.folder, columns, rows, processes.eventually))
            return opened[-1]

        yield open_terminal
        program.run("stop", "--now")
        for each in opened:
            each.close()


def backlog():
    """Two that wait for the test, and four in the queue behind them."""
    busy = [
        {"id": f"busy-{i}", "kind": "shell", "shell": True, "command": f"echo hello from {i}; {WAIT}", "priority": 400}
        for i in (1, 2)
    ]
    rest = [
        {"id": f"task-{i}", "kind": "shell", "command": ["echo", f"output of {i}"], "priority": 200}
        for i in (1, 2, 3, 4)
    ]
    return [*busy, *rest]


def order(screen: str, *names: str) -> list[str]:
    """Names by the line on which they first stand."""
    lines = screen.splitlines()
    place = {name: next((n for n, line in enumerate(lines) if name in line), len(lines)) for name in names}
    return sorted(names, key=place.__getitem__)


@pytest.mark.parametrize(("columns", "rows"), SIZES, ids=str)
def test_board_lives_keys_change_the_order_and_the_report_agrees(program, processes, terminal, columns: int, rows: int):
    program.write(backlog())
    shown = terminal(columns, rows)
    shown.type(" ".join(program.command("backlog.json", "-j", "2")))
    shown.shows("busy-1")
    shown.shows("task-4")
    assert shown.value("alternate_on") == "1"
    waiting = ("task-1", "task-2", "task-3", "task-4")
    assert order(shown.screen(), *waiting) == list(waiting)

    shown.press("G", "t")
    processes.eventually(lambda: order(shown.screen(), *waiting)[0] == "task-4", "task-4 at the top")
    shown.press("u")
    processes.eventually(lambda: order(shown.screen(), *waiting)[0] == "task-1", "the old order")

    (program.folder / "go").touch()
    shown.shows(r"\b6\b")
    processes.eventually(lambda: program.json("status")["counts"]["succeeded"] == 6, "the end of the run")
    shown.press("E")
    (report,) = processes.eventually(lambda: [*program.folder.glob("mi4-report-*.json")], "the report")
    metrics = json.loads(report.read_text())["current_metrics"]
    assert (metrics["tasks_completed"], metrics["tasks_failed"], metrics["tasks_in_progress"]) == (6, 0, 0)

    shown.press("q")
    leave(shown)


def leave(shown: Terminal) -> None:
    """Answer the question of `q`, if one is asked, and find the shell again in a sane terminal."""
    if not re.search(r"^ready>", shown.screen(), re.MULTILINE):
        shown._eventually(
            lambda: re.search(r"[Dd]etach|ready>", shown.screen()), "the question how to leave, or the shell"
        )
        if "ready>" not in shown.screen():
            shown.press("d")
    sane(shown)


def sane(shown: Terminal) -> None:
    """The shell answers, the cursor is back, and no mode of the app is left on."""
    shown._eventually(lambda: shown.value("alternate_on") == "0", "the main screen")
    shown.type("stty -a | tr ';' '\\n' | grep -w -e echo -e icanon; echo status=done")
    shown.shows("^status=done")
    screen = shown.screen()
    assert re.search(r"(^| )echo\b", screen, re.MULTILINE)
    assert re.search(r"(^| )icanon\b", screen, re.MULTILINE)
    for mode in ("mouse_any_flag", "mouse_sgr_flag", "keypad_flag"):
        assert shown.value(mode) == "0", mode
    assert shown.value("cursor_flag") == "1"


def app_of(shown: Terminal, processes) -> int:
    """Process id of the app in the terminal."""
    (app,) = [p for p in processes.below(int(shown.value("pane_pid"))) if "mi4-tui" in p.command][:1]
    return app.pid


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["terminated", "killed"])
def test_the_run_goes_on_without_the_app(program, processes, terminal, number: int):
    program.write(backlog())
    shown = terminal(100, 30)
    shown.type(" ".join(program.command("backlog.json", "-j", "2")))
    shown.shows("busy-1")

    os.kill(app_of(shown, processes), number)

    if number == signal.SIGTERM:
        sane(shown)
    (program.folder / "go").touch()
    processes.eventually(lambda: program.json("status")["counts"]["succeeded"] == 6, "the end of the run")
    assert program.json("status")["counts"]["failed"] == 0


def test_a_closed_terminal_detaches(program, processes, terminal):
    program.write(backlog())
    shown = terminal(100, 30)
    shown.type(" ".join(program.command("backlog.json", "-j", "2")))
    shown.shows("busy-1")
    app = processes.alive(app_of(shown, processes))

    shown.close()

    processes.eventually(lambda: not app.is_alive, "the end of the app")
    again = terminal(100, 30)
    again.type(" ".join(program.command("attach")))
    again.shows("busy-1")
    (program.folder / "go").touch()
    processes.eventually(lambda: program.json("status")["counts"]["succeeded"] == 6, "the end of the run")


def test_hostile_text_is_drawn_as_text(program, terminal):
    evil = "[bold red]markup[/] \x1b[2J\x1b]0;owned\x07 \u202egnol"
    program.write(
        [
            {
                "id": "evil[/]",
                "title": evil,
                "kind": "shell",
                "shell": True,
                "command": f"printf '%s\\n' '[blink]out[/]'; {WAIT}",
            }
        ]
    )
    shown = terminal(120, 40)
    shown.type(" ".join(program.command("backlog.json")))

    shown.shows(r"\[bold red\]markup\[/\]")
    shown.shows(r"\[blink\]out\[/\]")
    assert shown.value("pane_title") != "owned"
    (program.folder / "go").touch()
    shown.press("q")
    leave(shown)


def test_an_engine_that_dies_is_told(program, processes, terminal):
    program.write(backlog())
    shown = terminal(120, 40)
    shown.type(" ".join(program.command("backlog.json", "-j", "2")))
    shown.shows("busy-1")
    lock = json.loads((program.state / "engine.lock").read_text())

    os.kill(lock["pid"], signal.SIGKILL)

    shown.shows("(?i)engine.*(gone|lost|ended|died)|(gone|lost|ended).*engine")
    shown.press("q")
    leave(shown)
