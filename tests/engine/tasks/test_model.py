import msgspec
import pytest

from engine.tasks.model import Task, Tokens


def test_the_digest_is_of_the_content_and_not_of_where_or_when_it_was_added() -> None:
    task = Task(id="a", command=("true",), set_env={"x": "1", "y": "2"})

    assert task.digest() == Task(id="a", command=("true",), set_env={"y": "2", "x": "1"}).digest()
    assert task.digest() == msgspec.structs.replace(task, source_dir="/elsewhere", created_at=5.0).digest()


@pytest.mark.parametrize(
    "change",
    [{"command": ("false",)}, {"priority": 300.0}, {"dependencies": ("b",)}, {"kind": "shell"}, {"title": "t"}],
)
def test_any_other_change_is_another_content(change) -> None:
    task = Task(id="a", command=("true",))

    assert msgspec.structs.replace(task, **change).digest() != task.digest()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [({"kind": "simulated"}, 3), ({"kind": "shell"}, 0), ({"kind": "shell", "max_retries": 7}, 7)],
)
def test_agents_retry_three_times_and_commands_not_at_all_unless_told(fields, expected) -> None:
    assert Task(id="a", **fields).retries_allowed() == expected
    assert Task(id="a", kind="simulated").retries_allowed(5) == 5


@pytest.mark.parametrize(
    ("fields", "expected"),
    [({}, False), ({"cache": True}, True), ({"inputs": ("a",)}, True), ({"outputs": ("b",)}, True)],
)
def test_caching_must_be_declared(fields, expected) -> None:
    assert Task(id="a", **fields).is_cacheable is expected


def test_a_python_worker_is_warm_for_a_module() -> None:
    assert Task(id="a", kind="python", callable="pkg.mod:run").worker_key == "python:pkg.mod"
    assert Task(id="a", kind="shell").worker_key == "shell"


def test_a_task_survives_its_way_to_disk_and_back() -> None:
    task = Task(id="a", kind="python", callable="m:f", args=(1, None, "x"), kwargs={"n": {"deep": [1.5]}}, tags=("t",))

    assert msgspec.json.decode(msgspec.json.encode(task), type=Task) == task


def test_the_parts_of_input_and_output_are_not_counted_twice() -> None:
    assert Tokens(input=100, cached=40, output=20, reasoning=5).total == 120
