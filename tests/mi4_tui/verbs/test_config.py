"""``mi4-tui config``."""

from pathlib import Path


def test_every_value_with_its_source(mi4, monkeypatch):
    Path("mi4.toml").write_text("[orchestration]\nmin_agents = 1\n")
    Path(".env").write_text("ORCHESTRATION__CRASH_LIMIT=5\n")
    monkeypatch.setenv("ORCHESTRATION__WORKER_TIMEOUT", "12")
    told = {one["name"]: one for one in mi4("config", "--set", "orchestration.max_agents=9", "--json").json}
    found = {
        name.partition(".")[2]: (one["value"], one["source"]) for name, one in told.items() if "orchestration" in name
    }
    assert found["max_agents"] == (9, "command line")
    assert found["min_agents"] == (1, "mi4.toml")
    assert found["crash_limit"] == (5, ".env")
    assert found["worker_timeout"] == (12.0, "environment ORCHESTRATION__WORKER_TIMEOUT")
    assert found["schedule"] == ("score", "default")


def test_as_text(mi4):
    line = next(line for line in mi4("config").lines if line.startswith("orchestration.max_agents"))
    assert line.split() == ["orchestration.max_agents", "3", "default"]


def test_a_wrong_value_is_one_line(mi4):
    wrong = mi4("config", "--set", "orchestration.max_agents=none")
    assert (wrong.code, wrong.out) == (64, "")
    assert len(wrong.err.splitlines()) == 1
    assert "orchestration.max_agents from command line" in wrong.err


def test_a_variable_that_is_no_setting_is_warned_of(mi4, monkeypatch):
    monkeypatch.setenv("CODEX__ENABLE_CACHNG", "true")
    warned = mi4("config")
    assert warned.code == 0
    assert "CODEX__ENABLE_CACHNG" in warned.err
