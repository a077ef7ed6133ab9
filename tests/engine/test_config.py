"""Settings: order of sources, one line for each wrong value, and where a value came from."""

import os
import stat
import subprocess
import sys

import pytest

from engine.config import (
    LoadedSettings,
    Settings,
    default_settings,
    describe_sections,
    effective_settings,
    load_settings,
)
from engine.errors import SettingsError


def load(tmp_path, **options) -> LoadedSettings:
    options.setdefault("environ", {})
    return load_settings(cwd=tmp_path, **options)


def fault(tmp_path, **options) -> str:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, **options)
    assert caught.value.exit_code == 64
    return str(caught.value)


def test_defaults_need_no_file(tmp_path):
    loaded = load(tmp_path)

    assert loaded.settings.orchestration.max_agents == 3
    assert loaded.settings.codex.enable_process_reuse is True
    assert set(loaded.sources.values()) == {"default"}
    assert loaded.warnings == []


@pytest.mark.parametrize("highest", range(4))
def test_each_source_beats_those_below_it(tmp_path, highest):
    (tmp_path / "mi4.toml").write_text("[orchestration]\nmax_agents = 11\n")
    if highest >= 1:
        (tmp_path / ".env").write_text("ORCHESTRATION__MAX_AGENTS=12\n")
    environ = {"ORCHESTRATION__MAX_AGENTS": "13"} if highest >= 2 else {}
    overrides = {"orchestration.max_agents": "14"} if highest >= 3 else {}

    loaded = load(tmp_path, environ=environ, overrides=overrides)

    assert loaded.settings.orchestration.max_agents == 11 + highest
    sources = ["mi4.toml", ".env", "environment ORCHESTRATION__MAX_AGENTS", "command line"]
    assert loaded.sources["orchestration.max_agents"] == sources[highest]
    assert loaded.sources["orchestration.min_agents"] == "default"


def test_settings_alone_read_the_same_sources(tmp_path, monkeypatch):
    (tmp_path / "mi4.toml").write_text(
        "[cache]\nttl_seconds = 5\nmax_bytes = '1MiB'\n[orchestration]\nmin_agents = 1\n"
    )
    (tmp_path / ".env").write_text("CODEX__ENABLE_CACHING=false\nORCHESTRATION__MIN_AGENTS=2\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORCHESTRATION__LIMITS__Gpu", "2")

    settings = Settings()

    assert settings == load_settings().settings
    assert settings.cache.ttl_seconds == 5
    assert settings.cache.max_bytes == 2**20
    assert settings.codex.enable_caching is False
    assert settings.orchestration.min_agents == 2
    assert settings.orchestration.limits == {"Gpu": 2}
    assert Settings(orchestration={"min_agents": 3}).orchestration.min_agents == 3


def test_names_may_have_any_case_but_entries_of_tables_keep_theirs(tmp_path):
    loaded = load(tmp_path, environ={"orchestration__Limits__GPU": "2", "ORCHESTRATION__LIMITS__net": "3"})

    assert loaded.settings.orchestration.limits == {"GPU": 2, "net": 3}


def test_tables_of_several_sources_become_one(tmp_path):
    (tmp_path / "mi4.toml").write_text("[orchestration.limits]\ngpu = 1\nnet = 1\n")

    loaded = load(tmp_path, environ={"ORCHESTRATION__LIMITS": '{"gpu": 4}'})

    assert loaded.settings.orchestration.limits == {"gpu": 4, "net": 1}
    assert loaded.sources["orchestration.limits"] == "environment ORCHESTRATION__LIMITS, mi4.toml"


@pytest.mark.parametrize("text", ["json,re", '["json", "re"]', " json , re "])
def test_lists_are_json_or_comma_separated(tmp_path, text):
    assert load(tmp_path, environ={"ORCHESTRATION__PRELOAD": text}).settings.orchestration.preload == ["json", "re"]


def test_overrides_may_be_tables(tmp_path):
    loaded = load(tmp_path, overrides={"ui": {"ascii": True}, "ui.theme": "x", "orchestration.max_agents": "auto"})

    assert (loaded.settings.ui.ascii, loaded.settings.ui.theme) == (True, "x")
    assert loaded.settings.orchestration.max_agents == "auto"


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("orchestration.max_agents", "0", "a whole number from 1 to 1024 or auto"),
        ("orchestration.max_agents", "many", "a whole number from 1 to 1024 or auto"),
        ("orchestration.max_agents", "2.5", "a whole number from 1 to 1024 or auto"),
        ("orchestration.schedule", "random", "score or fifo"),
        ("orchestration.limits", "3", "a table of names, each with a whole number of at least 1"),
        ("orchestration.limits", '{"gpu": 0}', "a table of names, each with a whole number of at least 1"),
        ("orchestration.preload", "a b", "a list of Python module names"),
        ("codex.enable_caching", "maybe", "true or false"),
        ("codex.timeout_seconds", "0", "a number above 0"),
        ("codex.timeout_seconds", "nan", "a number above 0"),
        ("codex.retry_delay_seconds", "-1", "a number of at least 0"),
        ("codex.default_agent", "gpt", "auto or codex or claude or acp or simulated"),
        ("cache.max_bytes", "1", "a size of at least 4096 bytes, such as 64MiB"),
        ("monitoring.failure_rate_percent", "101", "a number from 0 to 100"),
        ("ui.theme", "", "a text"),
    ],
)
def test_a_wrong_value_is_one_line_with_setting_source_and_what_is_allowed(tmp_path, name, value, allowed):
    variable = name.replace(".", "__").upper()

    line = fault(tmp_path, environ={variable: value})

    assert line.startswith(f"{name} from environment {variable} is ")
    assert line.endswith(f"; allowed: {allowed}")


def test_a_truth_value_is_no_number(tmp_path):
    (tmp_path / "mi4.toml").write_text("[orchestration]\nmax_agents = true\n")

    assert fault(tmp_path) == (
        "orchestration.max_agents from mi4.toml is True; allowed: a whole number from 1 to 1024 or auto"
    )


def test_every_wrong_setting_has_its_line(tmp_path):
    (tmp_path / "mi4.toml").write_text("[ui]\nrefresh_hz = 60\n[codex]\nmax_retry = 1\n[cach]\nx = 1\n")

    lines = fault(tmp_path, environ={"CACHE__TTL_SECONDS": "-1"}).splitlines()

    assert len(lines) == 4
    assert "mi4.toml: no setting is named 'codex.max_retry'; did you mean 'codex.max_retries'?" in lines
    assert "mi4.toml: no section is named 'cach'; did you mean 'cache'?" in lines
    assert "ui.refresh_hz from mi4.toml is 60; allowed: a number from 1 to 10" in lines


def test_settings_that_contradict_each_other_name_their_sources(tmp_path):
    assert fault(tmp_path, overrides={"orchestration.min_agents": 9}) == (
        "orchestration: min_agents 9 must not be greater than max_agents 3 (min_agents from command line)"
    )


def test_unknown_names_on_the_command_line_are_faults(tmp_path):
    assert "did you mean 'orchestration.max_agents'" in fault(tmp_path, overrides={"orchestration.max_agent": 3})
    assert fault(tmp_path, overrides={"ui": 3}) == "command line: ui must be a table, such as [ui]"


def test_unknown_variables_of_our_sections_are_warnings(tmp_path):
    (tmp_path / ".env").write_text("UI__COLOUR=red\nDATABASE__URL=x\n")

    loaded = load(tmp_path, environ={"CODEX__ENABLE_TURBO": "1", "OTHER__THING": "1", "UI": "1"})

    assert len(loaded.warnings) == 2
    assert loaded.warnings[0].startswith("environment: no setting is named 'CODEX__ENABLE_TURBO'")
    assert loaded.warnings[1].startswith(".env: no setting is named 'UI__COLOUR'")


def test_hostile_values_are_shown_harmlessly(tmp_path):
    line = fault(tmp_path, environ={"UI__REFRESH_HZ": "\x1b[2J\u202eevil\n" + "x" * 500})

    assert line.isprintable()
    assert len(line) < 200


def test_a_named_config_file_stands_in_for_the_usual_one(tmp_path):
    (tmp_path / "mi4.toml").write_text("[ui]\ntheme = 'a'\n")
    (tmp_path / "other.toml").write_text("[ui]\nascii = true\n")

    loaded = load(tmp_path, config_file=tmp_path / "other.toml")

    assert (loaded.settings.ui.theme, loaded.settings.ui.ascii) == ("mi4-dark", True)
    assert loaded.sources["ui.ascii"] == str(tmp_path / "other.toml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"[ui\n", "not valid TOML"),
        (b"[ui]\ntheme = 'a'\ntheme = 'b'\n", "not valid TOML"),
        (b"\xff\xfe", "not UTF-8 text"),
    ],
)
def test_an_unusable_config_file_is_one_line(tmp_path, content, message):
    path = tmp_path / "my.toml"
    if content is not None:
        path.write_bytes(content)

    line = fault(tmp_path, config_file=path)

    assert line.startswith(f"{path}: {message}")
    assert "\n" not in line


def test_a_folder_is_no_config_file(tmp_path):
    (tmp_path / "mi4.toml").mkdir()

    assert "not a file" in fault(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_one_line(tmp_path):
    (tmp_path / ".env").write_text("A=1")
    (tmp_path / ".env").chmod(stat.S_IWUSR)

    assert "cannot be read" in fault(tmp_path)


def test_a_byte_order_mark_does_no_harm(tmp_path):
    (tmp_path / "mi4.toml").write_bytes(b"\xef\xbb\xbf[ui]\nascii = true\n")

    assert load(tmp_path).settings.ui.ascii is True


def test_dotenv_values_are_not_interpolated(tmp_path):
    (tmp_path / ".env").write_text("HOME_THEME=x\nUI__THEME='${HOME_THEME}'\n")

    assert load(tmp_path).settings.ui.theme == "${HOME_THEME}"


def test_every_setting_is_listed_with_value_source_and_description(tmp_path):
    loaded = load(tmp_path, environ={"UI__ASCII": "true"})

    rows = {row.name: row for row in effective_settings(loaded)}

    assert set(rows) == set(loaded.sources)
    assert (rows["ui.ascii"].value, rows["ui.ascii"].source) == (True, "environment UI__ASCII")
    for row in rows.values():
        assert row.description.endswith(".")
        assert row.allowed


def test_settings_cannot_be_changed(tmp_path):
    settings = load(tmp_path).settings

    with pytest.raises(ValueError, match="frozen"):
        settings.ui.ascii = True


def test_only_config_imports_the_settings_library():
    code = (
        "import sys, engine.tasks.taskfile, engine.events.events, engine.workers.protocol\n"
        "print('pydantic' in sys.modules)\n"
        "import engine.config\n"
        "print('pydantic' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["False", "True"]


def test_defaults_are_those_of_an_empty_folder(tmp_path):
    loaded = load(tmp_path)

    assert default_settings() == effective_settings(loaded)
    assert {row.name for row in default_settings() if row.is_size} >= {"cache.max_bytes", "storage.log_max_bytes"}


def test_every_section_is_described():
    sections = describe_sections()

    assert list(sections) == list(Settings.model_fields)
    assert all(about.endswith(".") for about in sections.values())
