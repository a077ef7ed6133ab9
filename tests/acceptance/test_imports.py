"""Every file in sample_tasks/imports/ gives the counts that a person counts in it, by ``import --dry-run`` and as the file of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

EXPECTED = {
    # file: format, open, held, done, skipped, unmet dependencies, cycles
    "beads.jsonl": ("beads", 5, 2, 1, 2, 0, 0),
    "beads-envelope.json": ("beads", 2, 0, 0, 0, 0, 0),
    "checklist.md": ("markdown", 6, 1, 1, 3, 0, 0),
    "github-cli.json": ("github", 3, 0, 1, 1, 1, 0),
    "github-rest.json": ("github", 2, 0, 1, 1, 0, 0),
    "issues.jsonl": ("beads", 2, 0, 0, 4, 1, 0),
    "speckit-tasks.md": ("spec-kit", 7, 0, 1, 3, 0, 0),
    "taskmaster-legacy.json": ("task-master", 1, 1, 0, 1, 0, 0),
    "taskmaster-tagged.json": ("task-master", 5, 3, 1, 3, 1, 1),
    "tasks.csv": ("csv", 3, 0, 0, 0, 0, 0),
    "tasks.toml": ("toml", 3, 0, 0, 0, 0, 0),
    "tasks.tsv": ("tsv", 2, 0, 0, 0, 0, 0),
}


@pytest.fixture(scope="session")
def samples(repository: Path) -> Path:
    return repository / "sample_tasks" / "imports"


def test_every_sample_is_counted_here(samples: Path):
    assert {path.name for path in samples.iterdir()} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_counts(program, samples: Path, name: str):
    record = program.json("import", "--dry-run", samples / name)

    (file,) = record["files"]
    counts = ("open", "held", "done", "skipped", "unmet_dependencies", "cycles")
    told = (file["format"], *(record["totals"][count] for count in counts))
    assert told == EXPECTED[name]
    assert record["totals"]["new"] == record["totals"]["tasks"] == sum(EXPECTED[name][1:4])
    assert not program.state.exists()


@pytest.mark.parametrize("name", EXPECTED)
def test_as_the_file_of_a_run(program, samples: Path, name: str):
    done = program.run(samples / name, "--dry-run", "--agent", "simulated")

    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == sum(EXPECTED[name][1:4])


def test_all_at_once_and_then_again(program, samples: Path):
    files = [samples / name for name in EXPECTED]
    first = program.json("import", "--agent", "simulated", *files)
    second = program.json("import", "--agent", "simulated", *files)

    assert first["totals"]["refused"] == 0
    assert len(first["added"]) == first["totals"]["tasks"] > 40
    assert (second["added"], second["updated"]) == ([], [])
    assert len(second["unchanged"]) == len(first["added"])
