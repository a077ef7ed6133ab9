"""Identical cacheable tasks that are under way at the same time: the first runs, the others wait for its result.

Each stays its own task. When the leader has ended, the followers ask the cache again: after a success they find its result there,
otherwise the first of them becomes the leader.
"""

from __future__ import annotations

from .entry import Entry


class InFlight:
    """Leaders by cache key, and who waits for each."""

    def __init__(self) -> None:
        # Mutable state, owned by the scheduler.
        self._leaders: dict[str, Entry] = {}
        self._followers: dict[str, list[Entry]] = {}

    def join(self, entry: Entry) -> Entry | None:
        """The leader that this task has to wait for; None when it leads itself (also for a task without a key)."""
        if entry.cache_key is None:
            return None
        digest = entry.cache_key.digest
        leader = self._leaders.setdefault(digest, entry)
        if leader is entry:
            return None
        self._followers.setdefault(digest, []).append(entry)
        entry.joined_to = leader.id
        return leader

    def leave(self, entry: Entry) -> list[Entry]:
        """This task no longer runs or waits to; returns the followers that have to ask the cache again, in their order."""
        if entry.cache_key is None:
            return []
        digest = entry.cache_key.digest
        if self._leaders.get(digest) is not entry:
            self._followers[digest] = [other for other in self._followers.get(digest, ()) if other is not entry]
            entry.joined_to = ""
            return []
        del self._leaders[digest]
        followers = self._followers.pop(digest, [])
        for follower in followers:
            follower.joined_to = ""
        return followers
