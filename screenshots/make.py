"""Draws the app on the tour: `make shots`, or `python screenshots/make.py --png` for PNG pictures of all screens.

A real engine runs sample_tasks/tour.yaml in a folder of its own; the real app is attached to it as a client, without a terminal, and
its screens are saved beside this file as SVG; the first one, which README shows, as PNG too where chromium is installed.
"""
# ruff: noqa: T201 - it says what it drew

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from textual.pilot import Pilot

from engine.config import load_settings
from engine.errors import SessionLostError, StateFolderError
from engine.events.projection import Projection
from engine.session import Client, attach
from engine.session.protocol import View
from mi4_tui.app import Mi4App

HERE = Path(__file__).resolve().parent
TOUR = HERE.parent / "sample_tasks" / "tour.yaml"
PATIENCE = 60.0


async def drawn(state: Path) -> list[Path]:
    """Attach the app once work is going on, press keys, save what is seen."""
    written: list[Path] = []
    settings = load_settings(cwd=state).settings
    client = await attached(state)
    app = Mi4App(client, settings=settings, folder=state)
    async with app.run_test(size=(140, 45)) as pilot:
        await until(lambda: busy(client.projection), pilot)
        await pilot.press("g")
        await pilot.pause(0.8)
        for name, size, keys in (
            ("app", (140, 45), ()),
            ("why", (120, 40), ("j", "j", "j", "i")),
            ("app-120x40", (120, 40), ("escape", "g")),
            ("app-80x24", (80, 24), ()),
            ("log", (120, 40), ("l",)),
            ("help", (120, 40), ("escape", "question_mark")),
        ):
            await pilot.resize_terminal(*size)
            await pilot.press(*keys)
            await pilot.pause(0.3)
            path = HERE / f"{name}.svg"
            path.write_text(steady(app.export_screenshot(title="mi4-tui sample_tasks/tour.yaml")), encoding="utf-8")
            written.append(path)
    await client.aclose()
    return written


def steady(svg: str) -> str:
    """The picture with the same internal names every time, so that two equal screens are equal files."""
    return re.sub(r"terminal-\d+-", "terminal-", svg)


async def attached(state: Path) -> Client:
    """A client of the engine, as soon as there is one."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await attach(state, View())
            except (SessionLostError, StateFolderError):
                await asyncio.sleep(0.05)


def busy(projection: Projection) -> bool:
    """Whether the picture is worth taking: something has ended and the workers are at work."""
    done, running = projection.counts.get("succeeded", 0), projection.counts.get("running", 0)
    return done >= 6 and running >= 2


async def until(holds: Callable[[], bool], pilot: Pilot[int]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await pilot.pause(0.05)


def to_png(svg: Path) -> bool:
    """Draw the SVG with a browser, the only renderer that keeps the columns straight."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    view_box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg.read_text(encoding="utf-8"))
    if browser is None or view_box is None:
        return False
    width, height = (int(float(number)) + 1 for number in view_box.groups())
    png = svg.with_suffix(".png")
    with tempfile.TemporaryDirectory() as profile:
        page = Path(profile) / "page.html"
        page.write_text(f'<body style="margin:0">{svg.read_text(encoding="utf-8")}</body>', encoding="utf-8")
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}/chromium",
            f"--window-size={width},{height}", f"--screenshot={png}", page.as_uri(),
        ]  # fmt: skip
        subprocess.run(command, check=False, capture_output=True, timeout=120)
    return png.exists()


def main() -> int:
    """Run the tour and draw it."""
    program = Path(sys.executable).parent / "mi4-tui"
    with tempfile.TemporaryDirectory(prefix="mi4-shots-") as folder:
        state = Path(folder) / "state"
        engine = subprocess.Popen(
            [program, TOUR, "--no-ui", "-q", "--state-dir", state],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=folder,
        )  # fmt: skip
        try:
            pictures = asyncio.run(drawn(state))
        finally:
            engine.terminate()
            engine.wait(PATIENCE)
    for number, picture in enumerate(pictures):
        wanted = number == 0 or "--png" in sys.argv
        print(picture.name, ("and PNG" if to_png(picture) else "(no browser for a PNG)") if wanted else "")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
