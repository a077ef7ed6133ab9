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


# config init


def test_init_writes_a_file_that_changes_nothing(mi4):
    before = mi4("config", "--json").json

    written = mi4("config", "init")

    assert (written.code, written.err) == (0, "")
    assert written.out == (
        f"mi4.toml explains {len(before)} settings; each is commented out and stands at its default\n"
    )
    assert mi4("config", "--json").json == before


def test_init_never_overwrites_unless_it_is_told_to(mi4):
    Path("mi4.toml").write_text("[orchestration]\nmax_agents = 'wrong'\n")

    kept = mi4("config", "init")

    assert (kept.code, kept.out) == (64, "")
    assert kept.err == "mi4-tui: mi4.toml exists and was not changed; --force replaces it\n"
    assert "wrong" in Path("mi4.toml").read_text()
    assert mi4("config", "init", "--force").code == 0
    assert "wrong" not in Path("mi4.toml").read_text()


def test_init_where_nothing_can_be_written_is_one_line(mi4):
    Path("mi4.toml").mkdir()

    failed = mi4("config", "init", "--force")

    assert (failed.code, failed.err) == (74, "mi4-tui: mi4.toml: Is a directory\n")


def test_another_word_behind_config_is_an_error(mi4):
    wrong = mi4("config", "inti")

    assert wrong.code == 64
    assert "No such command 'inti'" in wrong.err
