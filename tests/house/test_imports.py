"""Who may import whom, and what an import must not drag in."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOREIGN_TO_THE_ENGINE = ("textual", "rich", "click", "mi4_tui")
HEAVY = (
    "asyncio",
    "sqlite3",
    "pydantic",
    "pydantic_settings",
    "psutil",
    "yaml",
    "tiktoken",
    "textual",
    "rich",
    "click",
)
"""What would make each worker process bigger and slower to start."""
LIGHT_MODULES = (
    "engine.workers.host",
    "engine.workers.progress",
    "engine.workers.protocol",
    "engine.workers.sweep",
    "engine.workers.zygote",
    "engine.streaming",
)


def loaded_by(statement: str, repository: Path) -> set[str]:
    """Top-level names of the modules that a fresh interpreter has loaded after `statement`."""
    code = f"{statement}\nimport sys\nprint(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=repository, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_import_contracts_hold(repository: Path):
    lint = Path(sys.executable).parent / "lint-imports"

    done = subprocess.run([lint, "--no-cache"], cwd=repository, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_contracts_refuse_an_import_that_points_up(repository: Path, tmp_path: Path):
    """A contract that cannot fail would say nothing: the same file, with one wrong import in a copy of the source."""
    for package in ("engine", "mi4_tui"):
        shutil.copytree(repository / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(repository / "pyproject.toml", tmp_path)
    with (tmp_path / "engine" / "tasks" / "model.py").open("a") as model:
        model.write("\nfrom ..storage import database as _database\n")

    code = (
        "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command; lint_imports_command()"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, "--no-cache"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1, done.stdout + done.stderr
    assert "engine.tasks is not allowed to import engine.storage" in " ".join(done.stdout.split())


def test_import_engine_loads_no_terminal(repository: Path):
    loaded = loaded_by("import engine", repository)

    assert "engine" in loaded
    assert loaded.isdisjoint(FOREIGN_TO_THE_ENGINE)


def test_every_public_name_of_the_engine_loads_no_terminal(repository: Path):
    loaded = loaded_by("from engine import *\nimport engine.foreground, engine.plain, engine.testing", repository)

    assert loaded.isdisjoint(FOREIGN_TO_THE_ENGINE)


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_what_worker_processes_import_is_light(module: str, repository: Path):
    heavy = loaded_by(f"import {module}", repository) & set(HEAVY)

    assert heavy == set()


@pytest.mark.parametrize("option", ["--help", "--version", "run --help"])
def test_help_and_version_answer_without_the_app(option: str, repository: Path):
    code = (
        f"import sys; sys.argv = ['mi4-tui', *{option.split()!r}]\n"
        "from mi4_tui.cli import main\n"
        "assert main() == 0\n"
        "print('loaded:', *{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=repository, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    answer, _, loaded = done.stdout.rpartition("loaded:")
    assert "mi4-tui" in answer
    assert set(loaded.split()).isdisjoint({"textual", "rich"})
    if option != "run --help":
        assert set(loaded.split()).isdisjoint({"engine", "pydantic", "asyncio", "sqlite3"})


def test_the_engine_never_names_itself(modules):
    """Relative imports only, so that the package can be renamed or vendored by moving a folder."""
    absolute = []
    for module in modules:
        if not module.name.startswith("engine"):
            continue
        for node in ast.walk(module.tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            if any(name == "engine" or name.startswith("engine.") for name in names):
                absolute.append(f"{module.path}:{node.lineno}")

    assert absolute == []
