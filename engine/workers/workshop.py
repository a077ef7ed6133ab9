"""What all attempts of a host share, and how they keep secrets out of what they hand on."""

from __future__ import annotations

import select
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ..clock import Clock
from ..streaming.redaction import Redactor, secret_values
from .runners.python import PythonRunner
from .runners.shell import ProgramPaths


@dataclass(frozen=True, slots=True)
class Workshop:
    """What all attempts of a host share."""

    clock: Clock
    poll: select.poll
    logs: Path
    log_max_bytes: int
    grace_seconds: float
    run_id: str
    home: str
    """Working folder of tasks that name none."""
    base: Mapping[bytes, bytes]
    """The environment that tasks inherit."""
    secrets: frozenset[bytes]
    paths: ProgramPaths
    python: PythonRunner


_NO_SECRETS = Redactor()


def stream_redactor(secrets: frozenset[bytes], set_env: Mapping[str, str]) -> Redactor:
    """A redactor for one stream; those without secrets share one, which has no state then."""
    own = secret_values(set_env) if set_env else set()
    return Redactor(secrets | own) if secrets or own else _NO_SECRETS


def clean_value(value: Any, redactor: Redactor) -> Any:
    """`value` with secrets in its texts masked."""
    if value is None or not redactor:
        return value
    encoded = msgspec.json.encode(value)
    cleaned = redactor.clean(encoded)
    return value if cleaned == encoded else msgspec.json.decode(cleaned)
