"""Which keys changed after which point: O(1) to note, O(what changed) to ask, however many readers there are and wherever they stand.

A reader keeps one number, the version up to which it knows everything. A reader that stays away costs nothing.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

K = TypeVar("K", int, str)


class ChangeLog(Generic[K]):
    """The keys of one table, by the version of their last change."""

    # Mutable state, owned by the Projection: last change per key (oldest first), and the most recent removals.

    def __init__(self, keep_removed: int = 10_000) -> None:
        self.horizon = 0
        """A reader that knows less than this has missed removals and must start afresh."""
        self._changed: dict[K, int] = {}
        self._removed: deque[tuple[int, K]] = deque()
        self._keep_removed = keep_removed

    def note(self, key: K, version: int) -> None:
        """`key` is new or changed; `version` is larger than any before."""
        changed = self._changed
        changed.pop(key, None)
        changed[key] = version

    def note_removed(self, key: K, version: int) -> None:
        """`key` is gone."""
        self._changed.pop(key, None)
        self._removed.append((version, key))
        if len(self._removed) > self._keep_removed:
            self.horizon = self._removed.popleft()[0]

    def version_of(self, key: K) -> int:
        """Version of the last change of a key that is there."""
        return self._changed[key]

    def changed(self, since: int) -> list[K]:
        """Keys that are there and changed after version `since`, oldest change first."""
        keys: list[K] = []
        for key, version in reversed(self._changed.items()):
            if version <= since:
                break
            keys.append(key)
        keys.reverse()
        return keys

    def removed(self, since: int) -> list[K]:
        """Keys that went after version `since`, oldest first."""
        keys: list[K] = []
        for version, key in reversed(self._removed):
            if version <= since:
                break
            keys.append(key)
        keys.reverse()
        return keys
