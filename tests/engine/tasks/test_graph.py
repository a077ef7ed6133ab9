"""Dependencies as a graph."""

import random

from engine.tasks.graph import check_graph, circle_path, circles
from engine.tasks.model import Task


def tasks(**dependencies: str) -> list[Task]:
    return [Task(id=task_id, dependencies=tuple(names.split())) for task_id, names in dependencies.items()]


def messages(found) -> list[str]:
    return [fault.message for fault in found]


def test_a_graph_without_faults():
    assert check_graph(tasks(a="", b="a", c="a b", d="c a")) == []


def test_unknown_and_self_dependencies():
    found = check_graph(tasks(first="", b="frist b x"), known={"x"})

    assert [(fault.task_id, fault.message) for fault in found] == [
        ("b", "depends on 'frist', which does not exist; did you mean 'first'?"),
        ("b", "the task depends on itself"),
    ]


def test_a_cycle_is_a_path_from_its_first_task():
    assert messages(check_graph(tasks(start="a", a="b", b="c", c="a x", x=""))) == [
        "the tasks wait for each other: a -> b -> c -> a"
    ]


def test_every_separate_cycle_is_told_once():
    assert messages(check_graph(tasks(start="a d", a="b", b="a", d="start", e="f", f="e start"))) == [
        "the tasks wait for each other: a -> b -> a",
        "the tasks wait for each other: start -> d -> start",
        "the tasks wait for each other: e -> f -> e",
    ]


def test_a_long_cycle_is_cut_short():
    ring = [Task(id=str(i), dependencies=(str((i + 1) % 50_000),)) for i in range(50_000)]

    (message,) = messages(check_graph(ring))

    assert message.endswith("9 -> 10 -> ... (49,989 more) -> 0")


def test_ids_that_could_drive_a_terminal_are_escaped():
    ring = [Task(id="\u202ea", dependencies=("b",)), Task(id="b", dependencies=("\u202ea",))]

    (message,) = messages(check_graph(ring))

    assert message.isprintable()


def test_cycles_are_found_exactly_when_there_is_one():
    rng = random.Random(7)
    for _ in range(300):
        size = rng.randint(1, 8)
        graph = {str(i): {str(rng.randrange(size)) for _ in range(rng.randint(0, 2))} - {str(i)} for i in range(size)}
        found = check_graph([Task(id=name, dependencies=tuple(sorted(needs))) for name, needs in graph.items()])

        assert bool(found) == _has_cycle(graph)


def _has_cycle(graph: dict[str, set[str]]) -> bool:
    """By taking away what waits for nothing until nothing changes."""
    left = {name: set(needs) for name, needs in graph.items()}
    while ready := [name for name, needs in left.items() if not needs]:
        for name in ready:
            del left[name]
        for needs in left.values():
            needs.difference_update(ready)
    return bool(left)


def test_circles_are_whole_components():
    graph = {"a": ("b",), "b": ("c", "d"), "c": ("a",), "d": ("b", "e"), "e": (), "s": ("s",), "x": ("a", "gone")}

    assert circles(graph) == [["a", "b", "c", "d"], ["s"]]
    assert circle_path(graph, ["a", "b", "c", "d"]) == "a -> b -> c -> a"


def test_a_circle_of_any_length_is_found_without_recursion():
    graph = {str(n): (str((n + 1) % 20_000),) for n in range(20_000)}

    (group,) = circles(graph)
    assert len(group) == 20_000
    assert circles({**graph, "19999": ()}) == []
