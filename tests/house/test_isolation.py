"""The tests run on no one's own settings: see tests/conftest.py."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path


def test_a_test_starts_in_a_folder_of_its_own(tmp_path: Path):
    assert Path.cwd() == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_home_is_empty_and_not_the_developers():
    assert Path(os.environ["HOME"]) != Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert Path.home().name.startswith("mi4-home-")


def test_variables_that_set_the_program_are_removed_before_collection(repository: Path, tmp_path: Path):
    case = tmp_path / "test_environment.py"
    case.write_text(
        "import os\n"
        "def test_it():\n"
        "    left = {'ORCHESTRATION__MAX_AGENTS', 'MI4_RUN', 'NO_COLOR', 'PYTHONPATH', 'TEXTUAL'} & set(os.environ)\n"
        "    assert not left, left\n"
    )
    dirty = {
        **os.environ,
        "ORCHESTRATION__MAX_AGENTS": "7",
        "MI4_RUN": "x",
        "NO_COLOR": "1",
        "PYTHONPATH": "/",
        "TEXTUAL": "debug",
    }
    (tmp_path / "conftest.py").write_text((repository / "tests" / "conftest.py").read_text())

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(case)],
        env=dirty, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout
