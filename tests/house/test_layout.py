"""The shape of the source tree: tests mirror it, and nothing prints, sleeps or shadows where it must not."""

from __future__ import annotations

import ast
import importlib
import inspect
import types
from pathlib import Path

import pytest

TESTED_ELSEWHERE: dict[str, str] = {
    "engine/__init__.py": "tests/house/test_layout.py",
    "engine/events/events.py": "tests/engine/events/test_bus.py",
    "engine/events/rows.py": "tests/engine/events/test_projection.py",
    "engine/events/run_board.py": "tests/engine/events/test_projection.py",
    "engine/events/task_board.py": "tests/engine/events/test_projection.py",
    "engine/events/worker_board.py": "tests/engine/events/test_projection.py",
    "engine/session/protocol.py": "tests/engine/session/test_wire.py",
    "engine/storage/cache_table.py": "tests/engine/caching/test_result_cache.py",
    "engine/storage/rows.py": "tests/engine/storage/test_task_store.py",
    "engine/workers/attempt.py": "tests/engine/workers/host/test_shell.py",
    "engine/workers/runners/python_call.py": "tests/engine/workers/host/test_python.py",
    "engine/workers/runners/python_child.py": "tests/engine/workers/host/test_python.py",
    "engine/workers/runners/python_process.py": "tests/engine/workers/host/test_python.py",
    "engine/session/connection.py": "tests/engine/session/test_server.py",
    "engine/workers/runners/slate.py": "tests/engine/workers/host/test_batches.py",
    "engine/workers/workshop.py": "tests/engine/workers/host/test_shell.py",
    "mi4_tui/__main__.py": "tests/acceptance/test_command_line.py",
    "mi4_tui/screens/dialog.py": "tests/mi4_tui/screens/test_main.py",
    "mi4_tui/screens/explain.py": "tests/mi4_tui/screens/test_main.py",
    "mi4_tui/screens/help.py": "tests/mi4_tui/screens/test_main.py",
    "mi4_tui/screens/log.py": "tests/mi4_tui/screens/test_main.py",
    "mi4_tui/screens/task_actions.py": "tests/mi4_tui/screens/test_main.py",
    "mi4_tui/screens/workers.py": "tests/mi4_tui/screens/test_main.py",
    "mi4_tui/verbs/asking.py": "tests/mi4_tui/verbs/test_steer.py",
    "mi4_tui/verbs/completions.py": "tests/mi4_tui/test_cli.py",
    "mi4_tui/verbs/help.py": "tests/mi4_tui/test_cli.py",
    "mi4_tui/verbs/options.py": "tests/mi4_tui/verbs/test_run.py",
    "mi4_tui/widgets/hints.py": "tests/mi4_tui/screens/test_main.py",
    "mi4_tui/widgets/lines.py": "tests/mi4_tui/widgets/test_board.py",
    "mi4_tui/widgets/tail.py": "tests/mi4_tui/screens/test_main.py",
    "mi4_tui/demo.py": "tests/mi4_tui/verbs/test_demo.py",
}
"""Modules that have no test file of their own: structs without behaviour, and parts that only mean something together. Each with
the file that tests it. Package roots that only import need none."""

MAY_PRINT = {
    "mi4_tui/cli.py",
    "mi4_tui/headless.py",
    "engine/plain.py",
    "engine/orchestrator.py",
    "engine/performance_monitor.py",
    "engine/workers/runners/python_call.py",  # the stderr of a callable's own process: where its traceback belongs
}


def test_no_package_marker_below_tests(repository: Path):
    """`tests/engine/__init__.py` would shadow the engine."""
    assert list((repository / "tests").rglob("__init__.py")) == []


def expected_test(path: Path) -> Path:
    stem = path.parent.name if path.name == "__init__.py" else path.stem
    return Path("tests") / path.parent / f"test_{stem.strip('_')}.py"


def find_tests(path: Path, repository: Path) -> list[Path]:
    """Its test file, parts of it (`test_pool_deaths.py` of `pool.py`), or a folder of its name."""
    expected = repository / expected_test(path)
    parts = (f"{expected.stem}.py", f"{expected.stem}_*.py", f"{path.stem}/test_*.py")
    return [found for part in parts for found in expected.parent.glob(part)]


def has_code(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in ast.walk(tree))


def test_every_module_has_its_test_file(modules, repository: Path):
    missing = []
    for module in modules:
        if str(module.path) in TESTED_ELSEWHERE or (module.is_package and not has_code(module.tree)):
            continue
        if not find_tests(module.path, repository):
            missing.append(f"{module.path} has no {expected_test(module.path)}")

    assert missing == []


def test_exceptions_are_still_exceptions(repository: Path):
    gone = [path for path in TESTED_ELSEWHERE if not (repository / path).exists()]
    tested = [path for path in TESTED_ELSEWHERE if find_tests(Path(path), repository)]
    nowhere = [where for where in TESTED_ELSEWHERE.values() if not (repository / where).exists()]

    assert (gone, tested, nowhere) == ([], [], [])


def test_only_the_allowed_modules_print(modules):
    printing = set()
    for module in modules:
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called in {"print", "pprint", "click.echo", "click.secho", "sys.stdout.write", "sys.stderr.write"}:
                printing.add(str(module.path))

    assert {path for path in printing if not path.startswith("mi4_tui/verbs/")} <= MAY_PRINT


def test_every_module_says_what_it_is(modules):
    assert [str(module.path) for module in modules if not ast.get_docstring(module.tree)] == []


@pytest.fixture(scope="session")
def imported(modules) -> dict[str, types.ModuleType]:
    return {
        module.name: importlib.import_module(module.name) for module in modules if not module.name.endswith("__main__")
    }


def test_lists_of_public_names_are_exact(imported):
    """Each listed name exists; and a package root that has a list shows nothing else."""
    wrong = []
    for name, module in imported.items():
        listed = getattr(module, "__all__", None)
        if listed is None:
            continue
        if sorted(listed) != sorted(set(listed)):
            wrong.append(f"{name}.__all__ names something twice")
        wrong += [
            f"{name}.__all__ names {entry}, which does not exist" for entry in listed if not hasattr(module, entry)
        ]
        shown = {
            entry
            for entry, value in vars(module).items()
            if not entry.startswith("_")
            and not inspect.ismodule(value)
            and str(getattr(value, "__module__", "")).partition(".")[0] in {"engine", "mi4_tui"}
        }
        if hasattr(module, "__path__"):
            wrong += [f"{name} shows {entry}, which its __all__ does not name" for entry in sorted(shown - set(listed))]

    assert wrong == []


def test_the_engine_shows_its_public_names(imported):
    promised = {
        "Orchestrator",
        "orchestrator_lifecycle",
        "PerformanceMonitor",
        "Settings",
        "Task",
        "TaskQueue",
        "ProcessPool",
    }

    assert promised <= set(imported["engine"].__all__)


def test_loggers_carry_the_name_of_the_program(modules):
    """`mi4.engine.<module>` and not a bare `engine`, which could be anybody's."""
    wrong = []
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("getLogger") and node.args:
                given = node.args[0]
                if not (
                    isinstance(given, ast.Constant)
                    and str(given.value).startswith(f"mi4.{module.name.partition('.')[0]}")
                ):
                    wrong.append(f"{module.path}:{node.lineno}: {ast.unparse(node)}")

    assert wrong == []


def test_no_test_sleeps_for_a_fixed_time(repository: Path):
    """A test polls for what it waits for (tests/acceptance/conftest.py: `eventually`); it never hopes that some seconds are enough.

    Short sleeps remain for polling, and for showing that something does not happen; very long ones are what hangs on purpose.
    """
    long = []
    for path in (repository / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"time.sleep", "asyncio.sleep"} and node.args:
                seconds = node.args[0]
                if (
                    isinstance(seconds, ast.Constant)
                    and isinstance(seconds.value, int | float)
                    and 1 <= seconds.value < 60
                ):
                    long.append(f"{path.relative_to(repository)}:{node.lineno}")

    assert long == []
