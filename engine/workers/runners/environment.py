"""The environment that a task sees, as bytes: encoded once for the host, not once for each task."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..protocol import Work

RUN, TASK_ID, ATTEMPT, IDEMPOTENCY_KEY = b"MI4_RUN", b"MI4_TASK_ID", b"MI4_ATTEMPT", b"MI4_IDEMPOTENCY_KEY"
MARKS = (RUN, TASK_ID, ATTEMPT, IDEMPOTENCY_KEY)
"""Names that we set in every task."""


def encode_environment(environ: Mapping[str, str]) -> dict[bytes, bytes]:
    """An environment as bytes, without our own marks (a run inside a task has its own)."""
    encoded = {os.fsencode(name): os.fsencode(value) for name, value in environ.items()}
    for name in MARKS:
        encoded.pop(name, None)
    return encoded


def task_environment(base: Mapping[bytes, bytes], work: Work, run_id: str) -> dict[bytes, bytes]:
    """What the processes of this attempt get: the base (or the kept names of it), ``set_env`` and the marks."""
    if work.clean_env:
        kept = {os.fsencode(name) for name in work.keep_env}
        environment = {name: value for name, value in base.items() if name in kept}
    else:
        environment = dict(base)
    for name, value in work.set_env.items():
        environment[os.fsencode(name)] = os.fsencode(value)
    environment[RUN] = run_id.encode()
    environment.update(task_marks(work))
    return environment


def task_marks(work: Work) -> dict[bytes, bytes]:
    """The marks that differ from attempt to attempt."""
    return {
        TASK_ID: work.task_id.encode("utf-8", "replace"),
        ATTEMPT: b"%d" % work.attempt,
        IDEMPOTENCY_KEY: work.idempotency_key.encode("utf-8", "replace"),
    }


def fault_in_set_env(set_env: Mapping[str, str]) -> str:
    """What no environment can hold in these names and values, in words; empty when all is well."""
    for name, value in set_env.items():
        if not name or "=" in name or "\0" in name:
            return f"set_env: {name!r} cannot be the name of a variable"
        if "\0" in value:
            return f"set_env: the value of {name!r} has a NUL character"
    return ""
