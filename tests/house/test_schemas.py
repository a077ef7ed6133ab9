"""The JSON Schemas in docs/ are those of the code, and say the same as the readers of task files and settings."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from engine.config import default_settings, load_settings
from engine.errors import SettingsError, TaskFileError
from engine.tasks.fields import FIELDS, Folders, read_task
from engine.tasks.json_text import read_json
from engine.tasks.taskfile import read_task_files

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
VALUES = (
    None, True, False, 0, 1, -1, 7, 1000, 1001, 150, 400, 401, 99, 1.5, 10**12, 10**12 + 1,
    "", " ", "a", "a b", "a\0b", "a=b", "~", "~/x", "x\x07y", "x" * 300, "x" * 301, "é",
    "open", "Done", "closed", "CRITICAL", "high", "urgent", "shell", "python", "simulated", "Shell", "success", "never", "on-crash",
    "worktree", "m:f", "a.b:c.d", "m", "m:", "1m:f", "2026-01-31", "2026-01-31T09:30:00+01:00", "2026-01-31 09:30", "now",
    [], ["a"], ["a", 1], ["a", 1.5], [""], ["a", ""], ["a", None], ["a", ["b"]], [1], [1.5], [True], ["a\0"], ["a=b"],
    {}, {"a": "b"}, {"a": 1}, {"a": 1.5}, {"a": None}, {"a": True}, {"a=b": "c"}, {"": "x"}, {"a": {"b": 1}}, {"a": ["b"]},
)  # fmt: skip
TASKS = {
    "a command": {"id": "t", "command": ["x"]},
    "only a kind": {"id": "t", "kind": "shell"},
    "a callable": {"id": "t", "callable": "m:f"},
    "an agent's task": {"id": "t", "kind": "simulated", "title": "t"},
    "done": {"id": "t", "status": "done"},
}


def validator(name: str) -> Draft202012Validator:
    schema = json.loads((DOCS / name).read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.fixture(scope="module")
def tasks() -> Draft202012Validator:
    return validator("tasks.schema.json")


@pytest.fixture(scope="module")
def settings() -> Draft202012Validator:
    return validator("mi4.schema.json")


def schemas_module():
    spec = importlib.util.spec_from_file_location("docs_schemas", DOCS / "schemas.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# The files


def test_the_files_agree_with_the_code(repository: Path):
    done = subprocess.run(
        [sys.executable, "-P", repository / "docs" / "schemas.py", "--check"],
        cwd=repository, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr


def test_an_old_file_is_seen_and_written_anew(tmp_path, monkeypatch, capsys):
    module = schemas_module()
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["schemas.py", "--check"])
    assert module.main() == 1
    assert capsys.readouterr().out == "old: tasks.schema.json, mi4.schema.json; run python docs/schemas.py\n"

    monkeypatch.setattr(sys, "argv", ["schemas.py"])
    assert module.main() == 0
    (tmp_path / "mi4.schema.json").write_text("{}")
    monkeypatch.setattr(sys, "argv", ["schemas.py", "--check"])
    assert module.main() == 1
    assert "old: mi4.schema.json;" in capsys.readouterr().out


def test_a_field_that_the_schema_does_not_know_stops_it(monkeypatch):
    monkeypatch.setitem(FIELDS, "colour", ("colour", str))

    with pytest.raises(SystemExit, match="colour"):
        schemas_module().task()


# Tasks


def same(tasks: Draft202012Validator, record: dict) -> bool:
    """Whether both take it; fails if only one does."""
    text = json.dumps([record])
    task, faults = read_task(read_json(text).items[0], Folders("/work", "/work"))
    errors = [error.message[:100] for error in tasks.iter_errors(json.loads(text))]
    assert (task is not None) == (not errors), (record, faults, errors)
    return not errors


@pytest.mark.parametrize("field", [*FIELDS, "unknown"])
def test_schema_and_reader_agree_on_every_value(field, tasks):
    taken = [same(tasks, {**base, field: value}) for base in TASKS.values() for value in VALUES]

    assert not all(taken), "no value is wrong for it: the values above prove nothing"
    assert any(taken) == (field != "unknown")


@pytest.mark.parametrize(
    ("record", "right"),
    [
        ({"id": 1, "name": "a", "title": "b"}, False),
        ({"id": 1, "name": "a", "title": None}, True),
        ({"id": 1, "title": "x", "deps": ["a"], "depends_on": ["b"]}, False),
        ({"id": 1, "command": ["x"], "callable": "m:f"}, False),
        ({"id": 1, "command": ["x"], "callable": "m:f", "kind": "shell"}, False),
        ({"id": 1, "command": "make test"}, False),
        ({"id": 1, "cmd": "make test", "shell": True}, True),
        ({"id": 1, "command": ["make"], "shell": True}, False),
        ({"id": 1, "title": "x", "args": [1]}, False),
        ({"id": 1, "title": "x", "kind": "codex", "stdin": "y"}, False),
        ({"id": 1, "status": "closed", "command": "make test"}, True),
        ({"title": "x"}, False),
        ({}, False),
    ],
)
def test_fields_together(record, right, tasks):
    assert same(tasks, record) is right


@pytest.mark.parametrize("moment", ["2026-13-01", "2026-01-31T25:00:00"])
def test_the_schema_knows_no_calendar(moment, tasks):
    """The one thing that the reader refuses and the schema does not."""
    record = {"id": 1, "title": "x", "due_at": moment}

    assert tasks.is_valid([record])
    assert read_task(record, Folders("/", "/"))[0] is None


@pytest.mark.parametrize(
    ("document", "right"),
    [
        ([], True),
        ({"tasks": []}, True),
        ({"$schema": "docs/tasks.schema.json", "tasks": [{"id": 1, "title": "x"}]}, True),
        ({"tasks": [], "x-note": {"any": 1}}, True),
        ({"tasks": [], "taks": 1}, False),
        ({"tasks": {}}, False),
        ({}, False),
        ("x", False),
        ([7], False),
    ],
)
def test_schema_and_reader_agree_on_files(document, right, tasks, tmp_path):
    (tmp_path / "t.json").write_text(json.dumps(document))
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(document))

    assert tasks.is_valid(document) is right
    for name in ("t.json", "t.yaml"):
        if right:
            read_task_files([Path(name)], cwd=tmp_path)
        else:
            with pytest.raises(TaskFileError):
                read_task_files([Path(name)], cwd=tmp_path)


def test_the_samples_follow_the_schema(tasks, repository: Path):
    samples = [path for path in (repository / "sample_tasks").iterdir() if path.suffix in (".json", ".yaml")]
    assert samples
    for path in samples:
        document = yaml.safe_load(path.read_text()) if path.suffix == ".yaml" else json.loads(path.read_text())
        assert [error.message for error in tasks.iter_errors(document)] == [], path.name


# Settings


def read_settings(name: str, value: object, folder: Path) -> bool:
    try:
        load_settings(overrides={name: value}, cwd=folder, environ={})
    except SettingsError:
        return False
    return True


def is_lenient(value: object) -> bool:
    """Readers take more than the schema tells people to write: numbers and truth values in quotes, ``a,b`` for a list, 1 for true."""
    return isinstance(value, str) or value in (0, 1)


@pytest.mark.parametrize("name", [row.name for row in default_settings()])
def test_schema_and_reader_agree_on_every_setting(name, settings, tmp_path):
    section, _, key = name.partition(".")
    values = [
        None,
        True,
        False,
        0,
        1,
        2,
        -1,
        0.05,
        7.5,
        5000,
        10**6,
        "auto",
        "fifo",
        "hold",
        "64MiB",
        "1.5 GB",
        "huge",
        "",
        "1",
        "true",
    ]
    values += [[], ["json"], ["json", "os.path"], ["1x"], [1], {}, {"a": 1}, {"a": 0}, {"a": "x"}, {"a": {}}]
    right = 0
    for value in values:
        by_schema = settings.is_valid({section: {key: value}})
        by_reader = read_settings(name, value, tmp_path)
        right += by_schema
        assert by_schema == by_reader or (by_reader and is_lenient(value)), (value, by_schema, by_reader)
    assert 0 < right < len(values)


def test_names_of_settings_are_checked(settings):
    assert settings.is_valid({})
    assert settings.is_valid({"orchestration": {"max_agents": "auto"}, "ui": {}})
    assert not settings.is_valid({"orchestration": {"max_agnets": 1}})
    assert not settings.is_valid({"orchestrat": {}})
