"""The state machine of a task, as one table.

`TRANSITIONS` holds every arrow that exists; the database refuses the rest as well (`engine.storage.migrations`). A task in a final
state stays there: ``retry`` makes a new generation, which is another row.
"""

from __future__ import annotations

from ..errors import IllegalTransitionError
from .model import State

FINAL = frozenset({State.SUCCEEDED, State.FAILED, State.TIMED_OUT, State.CANCELLED, State.SKIPPED})
"""States that a task never leaves."""
OPEN = frozenset(State) - FINAL
ACTIVE = frozenset({State.LEASED, State.RUNNING, State.CANCELLING})
"""States in which a worker has, or may have, the task."""
WAITING = frozenset({State.PENDING, State.QUEUED, State.BACKOFF, State.HELD})

_S = State
TRANSITIONS: dict[State, frozenset[State]] = {
    _S.PENDING: frozenset({_S.QUEUED, _S.SKIPPED, _S.HELD, _S.CANCELLED}),
    _S.QUEUED: frozenset({_S.LEASED, _S.SUCCEEDED, _S.HELD, _S.CANCELLED, _S.SKIPPED}),
    _S.LEASED: frozenset(
        {_S.RUNNING, _S.QUEUED, _S.SUCCEEDED, _S.FAILED, _S.TIMED_OUT, _S.BACKOFF, _S.HELD, _S.CANCELLING, _S.CANCELLED}
    ),
    _S.RUNNING: frozenset(
        {_S.SUCCEEDED, _S.FAILED, _S.TIMED_OUT, _S.BACKOFF, _S.QUEUED, _S.HELD, _S.CANCELLING, _S.CANCELLED}
    ),
    _S.BACKOFF: frozenset({_S.QUEUED, _S.HELD, _S.CANCELLED}),
    _S.HELD: frozenset({_S.PENDING, _S.QUEUED, _S.CANCELLED, _S.SKIPPED}),
    _S.CANCELLING: frozenset({_S.CANCELLED, _S.SUCCEEDED, _S.FAILED, _S.TIMED_OUT, _S.HELD}),
    **{state: frozenset() for state in FINAL},
}
"""Allowed targets of each state. On disk a running task is ``leased``: whether it had begun is in the progress page."""


def check(source: State, target: State) -> None:
    """Raise `IllegalTransitionError` unless a task may go from `source` to `target`."""
    if target not in TRANSITIONS[source]:
        raise IllegalTransitionError(f"a task cannot go from {source.value} to {target.value}")
