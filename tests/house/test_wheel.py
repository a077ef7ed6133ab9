"""What is delivered: both packages, their data, and nothing else; and the installed program from anywhere."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def wheel_names(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, repository],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_the_two_packages_and_nothing_else(wheel_names: set[str]):
    tops = {name.partition("/")[0] for name in wheel_names}

    assert {top for top in tops if not top.endswith(".dist-info")} == {"engine", "mi4_tui"}
    assert len(tops) == 3


def test_the_wheel_holds_what_is_not_python(wheel_names: set[str], repository: Path):
    styles = {str(path.relative_to(repository)) for path in (repository / "mi4_tui").rglob("*.tcss")}

    assert styles
    assert wheel_names >= {"engine/py.typed", "mi4_tui/py.typed", *styles}


def test_every_module_of_the_source_is_in_the_wheel(wheel_names: set[str], modules):
    assert {str(module.path) for module in modules} == {name for name in wheel_names if name.endswith(".py")}


def test_the_wheel_carries_the_licence_and_the_command(wheel_names: set[str]):
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel_names)
    assert any(name.endswith(".dist-info/entry_points.txt") for name in wheel_names)
