"""Our processes run our code, whatever the user's folder holds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import engine
from engine.workers.launch import PACKAGE, package_root, python_command, start_process

PROBE = """
import sys
def main(arguments):
    import engine.workers.protocol
    print(engine.__file__, arguments, sys.argv, sys.path[0], sep="|")
    return 7
"""


@pytest.fixture
def decoy(tmp_path: Path) -> Path:
    """A folder with packages that are called as ours are."""
    for name in ("engine", "mi4_tui", "engine/workers"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the wrong package')")
    return tmp_path


def run(command: list[str], folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **environ}, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture
def probe(tmp_path_factory, monkeypatch) -> Path:
    """A package root in which our package has one module more."""
    root = tmp_path_factory.mktemp("root")
    (root / "engine").mkdir()
    for entry in (package_root() / "engine").iterdir():
        (root / "engine" / entry.name).symlink_to(entry)
    (root / "engine" / "probe.py").write_text(PROBE)
    monkeypatch.setattr("engine.workers.launch.package_root", lambda: root)
    return root


def test_a_foreign_package_of_our_name_is_not_run(decoy: Path, probe: Path):
    done = run(python_command("engine.probe", "a", "b c"), decoy, PYTHONPATH=str(decoy))

    assert done.returncode == 7, done.stderr
    where, arguments, argv, first = done.stdout.strip().split("|")
    assert where == str(probe / "engine" / "__init__.py")
    assert arguments == "['a', 'b c']"
    assert argv == "['engine.probe', 'a', 'b c']"
    assert first == str(decoy)  # PYTHONPATH still counts, for what is not ours


def test_the_working_folder_is_not_searched(decoy: Path, probe: Path):
    (decoy / "json.py").write_text("raise SystemExit('a shadow')")

    assert run(python_command("engine.probe"), decoy).returncode == 7


def test_our_folder_does_not_come_before_the_standard_library(decoy: Path, probe: Path):
    (probe / "json.py").write_text("raise SystemExit('a shadow')")

    assert run(python_command("engine.probe"), decoy).returncode == 7


def test_the_package_is_where_this_one_is():
    assert PACKAGE == "engine"
    assert package_root() / "engine" / "__init__.py" == Path(engine.__file__)


def test_a_process_gets_the_descriptors_it_is_given_and_a_session(tmp_path: Path):
    (tmp_path / "in").write_text("hello")
    with (
        (tmp_path / "in").open() as source,
        (tmp_path / "out").open("w") as sink,
        (tmp_path / "err").open("w") as error,
    ):
        script = "import os; print(os.read(3, 9), os.getsid(0) == os.getpid(), sorted(os.environ)); os.write(2, b'e')"
        descriptors = {3: source.fileno(), 1: sink.fileno(), 2: error.fileno()}
        pid = start_process([sys.executable, "-I", "-c", script], {"ONLY": "this"}, descriptors)
        assert os.waitpid(pid, 0)[1] == 0

    out = (tmp_path / "out").read_text()
    assert out.startswith("b'hello' True ")
    assert "'ONLY'" in out
    assert "'HOME'" not in out
    assert (tmp_path / "err").read_text() == "e"


def test_descriptors_may_swap_places():
    a_read, a_write = os.pipe()
    b_read, b_write = os.pipe()
    try:
        os.write(a_write, b"a")
        os.write(b_write, b"b")
        script = f"import os; raise SystemExit(os.read({a_read}, 1) != b'b' or os.read({b_read}, 1) != b'a')"
        command = [sys.executable, "-I", "-c", script]
        pid = start_process(command, {}, {a_read: b_read, b_read: a_read})
        assert os.waitpid(pid, 0)[1] == 0
    finally:
        for fd in (a_read, a_write, b_read, b_write):
            os.close(fd)


def test_a_missing_program_raises():
    with pytest.raises(FileNotFoundError):
        start_process(["/no/such/program"], {}, {})
