"""The app on a real pseudo-terminal: whatever ends it, the terminal is left as it was and the exit status is right."""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
from time import monotonic

import pytest

PROGRAM = """
import asyncio, sys
from pathlib import Path
from types import SimpleNamespace
sys.path[:0] = {paths!r}
from engine.testing import FakeSession, make_added, run_of
from mi4_tui.app import Mi4App, run_app

def crash(self):
    raise RuntimeError("it broke")

async def main():
    Mi4App.action_help = crash
    ui = SimpleNamespace(theme="mi4-dark", ascii=False, keymap={{}}, refresh_hz=10.0)
    session = FakeSession(*run_of("w1"), make_added(1, "one"))
    return await run_app(session, settings=SimpleNamespace(ui=ui), folder=Path({folder!r}))

sys.exit(asyncio.run(main()))
"""


def run(folder, act):
    """Start the app, do something to it once it is painted, and return its exit status and all that it wrote."""
    program = folder / "program.py"
    program.write_text(PROGRAM.format(paths=sys.path, folder=str(folder)))
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execv(sys.executable, [sys.executable, str(program)])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    written, acted, deadline = b"", False, monotonic() + 60
    while monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                data = os.read(terminal, 65536)
            except OSError:
                break
            written += data
        elif not acted and b"Quit" in written:
            acted = True
            act(pid, terminal)
        elif acted and b"comes back" in written:  # the question before leaving
            os.write(terminal, b"d")
    else:
        os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(terminal)
    return status, written


@pytest.mark.parametrize(
    ("act", "status"),
    [
        pytest.param(lambda pid, _: os.kill(pid, signal.SIGTERM), 143, id="SIGTERM"),
        pytest.param(lambda pid, _: os.kill(pid, signal.SIGHUP), 129, id="SIGHUP"),
        pytest.param(lambda _, terminal: os.write(terminal, b"q"), 0, id="detach"),
        pytest.param(lambda _, terminal: os.write(terminal, b"?"), 1, id="crash"),
    ],
)
def test_the_terminal_is_left_as_it_was(tmp_path, act, status):
    (tmp_path / ".mi4").mkdir()
    ended, written = run(tmp_path, act)
    assert ended == status
    assert written.rfind(b"\x1b[?1049l") > written.rfind(b"\x1b[?1049h") >= 0
    assert b"\x1b[?25h" in written[-2000:]
    assert b"Traceback" not in written
    assert (b"mi4-tui crashed (RuntimeError: it broke)" in written) == (status == 1)
