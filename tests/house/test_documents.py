"""The documents say what is: tables agree with the code, and every file or test that is named exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from engine.tasks.model import Task

DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/architecture.md",
    "docs/journey.md",
    "docs/glossary.md",
    "docs/performance.md",
)
NOT_FOR_USERS = {"source_dir", "external_ref", "meta"}
"""Fields of a task that the program fills in itself."""


def test_tables_of_readme_agree_with_the_code(repository: Path):
    done = subprocess.run(
        [sys.executable, "-P", repository / "docs" / "tables.py", "--check"],
        cwd=repository, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr


def test_readme_explains_every_field_of_a_task(repository: Path):
    section = (repository / "README.md").read_text().partition("## A task")[2].partition("\n## ")[0]
    explained = set()
    for row in section.splitlines():
        if row.startswith("| `"):
            explained.update(re.findall(r"`(\w+)`", row.split("|")[1]))

    assert explained == set(Task.__struct_fields__) - NOT_FOR_USERS


def named_paths(text: str) -> set[str]:
    """Relative paths of the repository in code spans and links."""
    pattern = r"[`(]((?:engine|mi4_tui|tests|docs|sample_tasks|benchmarks|screenshots)/[\w./*-]+)[`):]"
    return set(re.findall(pattern, text))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_that_a_document_names_exists(document: str, repository: Path):
    text = (repository / document).read_text()
    paths = named_paths(text)

    assert sorted(path for path in paths if not any(repository.glob(path.rstrip("/")))) == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document: str, repository: Path):
    base = (repository / document).parent
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", (repository / document).read_text())

    assert [link for link in links if "://" not in link and not (base / link).exists()] == []


def test_named_tests_exist(repository: Path):
    wrong = []
    for document in DOCUMENTS:
        for path, name in re.findall(r"`(tests/[\w/.]+)::(\w+)", (repository / document).read_text()):
            if f"def {name}(" not in (repository / path).read_text():
                wrong.append(f"{document}: {path}::{name}")

    assert wrong == []


def test_set_up_is_two_commands(repository: Path):
    section = (repository / "README.md").read_text().partition("## Set up")[2].partition("```")[2].partition("```")[0]

    assert [line.split("#")[0].strip() for line in section.strip().splitlines()] == ["make demo", "make test"]


def test_contributing_is_short(repository: Path):
    assert len((repository / "CONTRIBUTING.md").read_text().splitlines()) <= 150
