"""The text of a ``mi4.toml`` that says everything that can be set and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine.config import CONFIG_FILE, EffectiveSetting, default_settings, describe_sections

_MIB = 2**20
_HEADER = f"""\
# Settings of mi4-tui. It reads this file when it lies in the working folder under the name {CONFIG_FILE}.
#
# Every setting stands here with its default, behind "# ": take that away and change the value.
# The command line (--set section.name=value), the environment (SECTION__NAME=value) and .env win over this file;
# 'mi4-tui config' prints every value in force and where it comes from.
"""


def commented_settings() -> str:
    """Every setting with its meaning, what is allowed and its default, by section; all of it commented out."""
    sections = {name: [f"\n# {about}\n[{name}]\n"] for name, about in describe_sections().items()}
    for setting in default_settings():
        section, _, name = setting.name.partition(".")
        sections[section].append(
            f"\n# {setting.description}\n# Allowed: {setting.allowed}.\n# {name} = {_as_toml(setting)}\n"
        )
    return _HEADER + "".join(text for texts in sections.values() for text in texts)


def write_settings_file(path: Path, *, force: bool = False) -> None:
    """Write the file; raises `FileExistsError` where there is one, unless it is to be replaced."""
    with path.open("w" if force else "x", encoding="utf-8") as file:
        file.write(commented_settings())


def _as_toml(setting: EffectiveSetting) -> str:
    value: Any = setting.value
    if setting.is_size and value % _MIB == 0:
        value = f"{value // _MIB}MiB"
    # What settings hold by default is written alike in JSON and TOML: texts, numbers, truth values, lists, and tables without entries.
    return json.dumps(value, ensure_ascii=False)
