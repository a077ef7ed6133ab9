"""``mi4-tui attach``."""

import pytest

from engine.errors import SessionLostError
from mi4_tui.verbs.attach import run_attached
from mi4_tui.verbs.options import Place


def test_it_needs_a_terminal(mi4):
    wrong = mi4("attach")
    assert wrong.code == 64
    assert "mi4-tui status" in wrong.err


def test_it_needs_an_engine(folder):
    with pytest.raises(SessionLostError, match="no engine works on this folder"):
        run_attached(Place(".mi4").request())


def test_the_app_gets_a_session_and_its_folders(folder, write, engine, monkeypatch):
    got = {}

    async def run_app(session, **more):
        got.update(more, pid=session.projection.run.pid)
        return 7

    monkeypatch.setattr("mi4_tui.app.run_app", run_app)
    started = engine(write(("a", "true")))
    assert run_attached(Place(".mi4").request()) == 7
    assert got["pid"] == started.process.pid
    assert (got["folder"], got["state_folder"]) == (folder, folder / ".mi4")
    assert got["settings"].ui.theme
