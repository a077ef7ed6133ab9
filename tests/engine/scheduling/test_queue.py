import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine.scheduling.queue import TaskQueue


def drain(queue: TaskQueue, blocked: set[str] | None = None) -> list[int]:
    keys = []
    while (key := queue.get_next_task(blocked or set())) is not None:
        keys.append(key)
    return keys


def test_the_best_rank_comes_first_and_equals_in_order_of_arrival() -> None:
    queue = TaskQueue()
    for key, rank in ((1, 5.0), (2, 9.0), (3, 5.0), (4, 1.0)):
        queue.put(key, rank)

    assert drain(queue) == [2, 1, 3, 4]


def test_an_empty_queue_has_no_next_task() -> None:
    assert TaskQueue().get_next_task() is None


def test_a_blocked_category_is_skipped_and_keeps_its_order() -> None:
    queue = TaskQueue(["build"])
    queue.put(1, 9.0, "build")
    queue.put(2, 8.0, "build")
    queue.put(3, 1.0, "docs")

    assert drain(queue, {"build"}) == [3]
    assert drain(queue) == [1, 2]


def test_a_category_can_get_a_lane_while_its_tasks_wait() -> None:
    queue = TaskQueue()
    queue.put(1, 9.0, "docs")
    queue.put(2, 8.0)

    queue.give_lane("docs")

    assert queue.peek({"docs"}) == 2
    assert drain(queue) == [1, 2]


def test_removed_and_moved_tasks_do_not_come_out_at_their_old_place() -> None:
    queue = TaskQueue()
    for key in range(5):
        queue.put(key, float(key))
    queue.remove(4)
    queue.put(0, 10.0)

    assert queue.ordered() == [0, 3, 2, 1]
    assert queue.place(1) == 3
    assert drain(queue) == [0, 3, 2, 1]


def test_many_moves_do_not_let_the_heap_grow() -> None:
    queue = TaskQueue()
    for _ in range(1000):
        for key in range(10):
            queue.put(key, random.random())

    assert sum(len(lane) for lane in queue._lanes.values()) < 200


class QueueAgainstRescanning(RuleBasedStateMachine):
    """The queue equals a list that is sorted anew at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = TaskQueue(["limited"])
        self.model: dict[int, tuple[float, str]] = {}
        self.next_key = 0

    @rule(rank=st.integers(0, 5), category=st.sampled_from(["", "limited", "other"]))
    def put(self, rank: int, category: str) -> None:
        self.queue.put(self.next_key, float(rank), category)
        self.model[self.next_key] = (float(rank), category)
        self.next_key += 1

    @rule(pick=st.integers(0, 100), rank=st.integers(0, 5))
    def move(self, pick: int, rank: int) -> None:
        if self.model:
            key = sorted(self.model)[pick % len(self.model)]
            category = self.model[key][1]
            self.queue.put(key, float(rank), category)
            self.model[key] = (float(rank), category)

    @rule(pick=st.integers(0, 100))
    def remove(self, pick: int) -> None:
        key = sorted(self.model)[pick % len(self.model)] if self.model else -1
        assert self.queue.remove(key) == (self.model.pop(key, None) is not None)

    @rule(blocked=st.sampled_from([set(), {"limited"}]))
    def take(self, blocked: set[str]) -> None:
        allowed = [(-rank, key) for key, (rank, category) in self.model.items() if category not in blocked]
        expected = min(allowed)[1] if allowed else None
        assert self.queue.get_next_task(blocked) == expected
        if expected is not None:
            del self.model[expected]

    @invariant()
    def same_order(self) -> None:
        assert self.queue.ordered() == [key for _, key in sorted((-rank, key) for key, (rank, _) in self.model.items())]


TestQueueAgainstRescanning = QueueAgainstRescanning.TestCase
TestQueueAgainstRescanning.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
