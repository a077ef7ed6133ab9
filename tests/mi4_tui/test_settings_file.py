"""The ``mi4.toml`` that is written for people: it names every setting, changes none, and each line is right when it is uncommented."""

import re
import tomllib

import pytest

from engine.config import EffectiveSetting, default_settings, describe_sections, load_settings
from mi4_tui.settings_file import commented_settings, write_settings_file

UNCOMMENT = re.compile(r"^# (?=[a-z_]+ = )", re.MULTILINE)


def load(tmp_path, text):
    (tmp_path / "mi4.toml").write_text(text)
    return load_settings(cwd=tmp_path, environ={})


def test_as_written_it_changes_nothing(tmp_path):
    loaded = load(tmp_path, commented_settings())

    assert set(loaded.sources.values()) == {"default"}
    assert list(tomllib.loads(commented_settings())) == list(describe_sections())


def test_uncommented_it_sets_every_setting_to_its_default(tmp_path):
    loaded = load(tmp_path, UNCOMMENT.sub("", commented_settings()))

    assert set(loaded.sources.values()) == {"mi4.toml"}
    assert loaded.settings == load_settings(cwd=tmp_path / "none", environ={}).settings


@pytest.mark.parametrize("setting", default_settings(), ids=lambda setting: setting.name)
def test_every_setting_is_explained(setting: EffectiveSetting):
    section, _, name = setting.name.partition(".")
    part = commented_settings().partition(f"[{section}]\n")[2].partition("\n[")[0]
    lines = part.splitlines()
    (at,) = [number for number, line in enumerate(lines) if line.startswith(f"# {name} = ")]

    assert lines[at - 2 : at] == [f"# {setting.description}", f"# Allowed: {setting.allowed}."]


def test_sizes_are_written_for_people():
    assert '\n# log_max_bytes = "64MiB"\n' in commented_settings()


def test_a_file_that_is_there_stays(tmp_path):
    path = tmp_path / "mi4.toml"
    path.write_text("mine")

    with pytest.raises(FileExistsError):
        write_settings_file(path)

    assert path.read_text() == "mine"
    write_settings_file(path, force=True)
    assert path.read_text() == commented_settings()
