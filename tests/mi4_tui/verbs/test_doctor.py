"""``mi4-tui doctor``."""

import os
import shutil
from types import SimpleNamespace

from mi4_tui.verbs import doctor
from mi4_tui.verbs.options import Place


def test_a_folder_that_is_fit(mi4, folder):
    told = mi4("doctor", "--json").json
    assert mi4("doctor").code == 0
    verdicts = {one["check"]: one["verdict"] for one in told}
    assert verdicts["settings"] == verdicts["state folder"] == verdicts["python"] == "ok"
    assert list(folder.iterdir()) == [], "a look must change nothing"


def test_a_wrong_setting_is_bad(mi4, monkeypatch):
    monkeypatch.setenv("ORCHESTRATION__MAX_AGENTS", "none")
    told = mi4("doctor")
    assert told.code == 1
    assert any(line.startswith("bad") and "max_agents" in line for line in told.lines)


def test_a_folder_that_cannot_be_written(mi4, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    told = mi4("doctor")
    assert told.code == 1
    assert any("--state-dir" in line for line in told.lines)


def test_a_full_disk_is_a_warning(folder, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1))
    assert doctor.check_space(Place(".mi4").request()).verdict == "warning"


def test_a_small_terminal_is_a_warning(folder, monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((40, 10)))
    assert doctor.check_terminal(Place(".mi4").request()).verdict == "warning"


def test_a_running_engine_is_seen(mi4, write, engine):
    started = engine(write(("a", "true")))
    assert any(f"pid {started.process.pid}" in line for line in mi4("doctor").lines)
