"""What the tests of the house share: the source of both packages, parsed once."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Module:
    """One source file of the packages."""

    path: Path
    """Relative to the repository."""
    name: str
    """Dotted name."""
    tree: ast.Module

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"


@pytest.fixture(scope="session")
def modules(repository: Path) -> list[Module]:
    """Every module of `engine` and `mi4_tui`."""
    found = []
    for package in ("engine", "mi4_tui"):
        for path in sorted((repository / package).rglob("*.py")):
            relative = path.relative_to(repository)
            parts = relative.with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found.append(Module(relative, name, ast.parse(path.read_text(), filename=str(relative))))
    assert len(found) > 40
    return found
