"""One task as it stands in a file: each field, and fields together."""

import string
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.tasks.fields import FIELDS, Folders, read_task
from engine.tasks.model import KINDS, Task
from engine.tasks.records import ExactFloat

FOLDERS = Folders("/work", "/files")


def task(**fields) -> Task:
    read, faults = read_task({"id": "a", **fields}, FOLDERS)
    assert faults == []
    assert read is not None
    return read


def shell(**fields) -> Task:
    return task(command=["true"], **fields)


def faults(**fields) -> list[str]:
    read, found = read_task({"id": "a", **fields}, FOLDERS)
    assert read is None
    return [message for _, message in found]


def fault(**fields) -> str:
    (message,) = faults(**fields)
    return message


def shell_fault(**fields) -> str:
    return fault(command=["true"], **fields)


def test_the_well_known_form_is_a_full_task():
    read = task(id="bench-1", title="Simple task", description="Quick fix", status="open")

    assert (read.id, read.kind, read.status, read.priority) == ("bench-1", "", "open", 200.0)


def test_every_field_of_a_task_can_be_given():
    internal = {"source_dir"}

    assert {target for target, _ in FIELDS.values()} == set(Task.__struct_fields__) - internal


def test_nothing_is_the_same_as_not_given():
    assert shell(title=None, timeout_seconds=None, tags=None) == shell()


@pytest.mark.parametrize(
    ("alias", "value", "target", "read"),
    [
        ("name", "x", "title", "x"),
        ("prompt", "x", "description", "x"),
        ("depends_on", ["b"], "dependencies", ("b",)),
        ("deps", [1], "dependencies", ("1",)),
        ("labels", ["x"], "tags", ("x",)),
        ("timeout", 5, "timeout_seconds", 5.0),
        ("retries", 2, "max_retries", 2),
    ],
)
def test_names_that_people_use(alias, value, target, read):
    assert getattr(shell(**{alias: value}), target) == read
    assert f"{alias} and {target} mean the same" in shell_fault(**{alias: value, target: value})


def test_cmd_is_command():
    assert task(cmd=["ls"]).command == ("ls",)


# Kinds


def test_the_kind_follows_from_what_is_given():
    assert task(command=["x"]).kind == "shell"
    assert task(callable="m:f").kind == "python"
    assert task(description="do it").kind == ""


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("shell", "python")])
def test_agents_take_a_prompt_and_nothing_else(kind):
    assert task(kind=kind, description="x").kind == kind
    assert f"command has no meaning for {'an' if kind == 'acp' else 'a'} {kind} task" in faults(
        kind=kind, title="x", command=["x"]
    )
    assert "nothing to do" in fault(kind=kind)


def test_a_shell_task_needs_a_command():
    assert fault(kind="shell", title="x") == "a shell task needs a command, such as command: [make, test]"


def test_a_python_task_needs_a_callable():
    assert (
        fault(kind="python", title="x") == "a python task needs a callable, such as callable: package.module:function"
    )


def test_command_and_callable_are_one_too_many():
    assert fault(command=["x"], callable="m:f") == "there is a command and a callable; keep one, or say which by kind"
    assert fault(kind="shell", command=["x"], callable="m:f") == "callable has no meaning for a shell task"
    assert fault(kind="python", command=["x"], callable="m:f") == "command has no meaning for a python task"


def test_arguments_belong_to_callables():
    assert task(callable="m:f", args=[1, "a"], kwargs={"k": [1.5]}).args == (1, "a")
    assert shell_fault(args=["x"]) == "args has no meaning for a shell task"
    assert fault(title="x", kwargs={"a": 1}) == "kwargs has no meaning for a task for the default agent"


def test_an_unknown_kind_is_named_with_the_nearest():
    assert fault(kind="bash").startswith(
        "kind must be one of shell, python, codex, claude, acp, simulated, not the text 'bash'"
    )
    assert fault(kind="Shell", command=["x"]).endswith("did you mean 'shell'?")


# Commands


def test_a_text_command_needs_a_shell():
    assert fault(command="make test") == "command is one text; write a list, or add shell: true to have a shell run it"
    assert task(command="a | b", shell=True).command == "a | b"
    assert fault(command=["a"], shell=True) == "shell: true needs a command that is one text, not a list"


def test_numbers_in_commands_stay_as_they_were_written():
    assert task(command=["pip", ExactFloat.of("1.10"), 7]).command == ("pip", "1.10", "7")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ([], "command is empty; the first item is the program"),
        ([""], "command is empty; the first item is the program"),
        ("  ", "command must not be empty"),
        (["a", None], "command has an item that must be a text, not nothing"),
        (["a", True], "command has an item that must be a text, not the truth value true; put it in quotes"),
        (["a", ["b"]], "command has an item that must be a text, not a list"),
        (["a\0"], "command has an item that must not hold a NUL character"),
        ({"run": "x"}, "command must be a list, such as [make, test], not a table"),
    ],
)
def test_commands_that_nothing_can_run(command, message):
    assert message in faults(command=command, shell=isinstance(command, str))


@pytest.mark.parametrize("name", ["m:f", "pkg.mod:Class.method", "päckchen:läuf", "_m:_f"])
def test_callables(name):
    assert task(callable=name).callable == name


@pytest.mark.parametrize(
    "name", ["f", "m.f", "m:", ":f", "m:f()", "m:f:g", "a/b:f", "m :f", "1m:f", "m:f\n", 5, ["m:f"], ""]
)
def test_callables_that_cannot_be_looked_up(name):
    assert fault(callable=name).startswith("callable must be written package.module:function, not ")


def test_verify_is_a_command_too():
    assert shell(verify=["test", "-f", "x"]).verify == ("test", "-f", "x")
    assert shell(verify="grep -q x y").verify == "grep -q x y"
    assert shell_fault(verify=[]) == "verify is empty; the first item is the program"


# Single fields


@pytest.mark.parametrize(
    ("written", "read"), [("a", "a"), (7, "7"), ("ä b", "ä b"), ("\u202eevil", "\u202eevil"), ("[b]", "[b]")]
)
def test_ids(written, read):
    assert shell(id=written).id == read


@pytest.mark.parametrize("bad", ["", " ", "a\nb", "\x1b[2J", "a\0", "\x7f", "\x9b", "x" * 301, 1.5, True, ["a"], None])
def test_ids_that_are_refused(bad):
    message = shell_fault(id=bad)

    assert message.startswith("id ")
    assert message.isprintable()


def test_an_id_is_needed():
    assert read_task({"title": "x"}, FOLDERS)[1] == [("id", "id is missing")]


@pytest.mark.parametrize("status", ["open", "todo", "pending", "Open"])
def test_open_tasks(status):
    assert shell(status=status).status == "open"


@pytest.mark.parametrize("status", ["done", "closed", "completed", "DONE"])
def test_done_tasks_need_nothing_and_wait_for_nothing(status):
    read = task(status=status, dependencies=["long-gone"])

    assert (read.status, read.dependencies) == ("done", ())


@pytest.mark.parametrize("status", ["in_progress", "", 1, True])
def test_other_states_are_faults(status):
    assert shell_fault(status=status).startswith(
        "status must be open (or todo, pending), held, or done (or closed, completed), not "
    )


@pytest.mark.parametrize(
    ("written", "read"),
    [("low", 100), ("normal", 200), ("HIGH", 300), ("critical", 400), (100, 100), (250.5, 250.5), (400, 400)],
)
def test_priorities(written, read):
    assert shell(priority=written).priority == read


@pytest.mark.parametrize("bad", ["urgent", "300", 99, 401, True, float("nan"), [], ""])
def test_priorities_that_are_refused(bad):
    assert shell_fault(priority=bad).startswith(
        "priority must be low, normal, high, critical or a number from 100 to 400, not "
    )


@pytest.mark.parametrize("field", ["timeout_seconds", "stall_seconds"])
@pytest.mark.parametrize("bad", [0, -1, "5m", True, float("inf"), float("nan"), [1]])
def test_durations_are_positive_seconds(field, bad):
    assert getattr(shell(**{field: 0.5}), field) == 0.5
    assert shell_fault(**{field: bad}).startswith(f"{field} must be a number of seconds above 0")


@pytest.mark.parametrize("bad", [-1, 1001, 1.5, "3", True])
def test_retries_are_whole_numbers(bad):
    assert shell(max_retries=0).max_retries == 0
    assert shell_fault(max_retries=bad).startswith("max_retries must be a whole number from 0 to 1,000")


@pytest.mark.parametrize("field", ["shell", "clean_env", "idempotent", "cache"])
@pytest.mark.parametrize("bad", ["yes", 1, "true", []])
def test_truth_values_are_strict(field, bad):
    assert f"{field} must be true or false" in faults(command="x", **{"shell": True, field: bad})[0]


@pytest.mark.parametrize("field", ["created_at", "not_before", "due_at"])
def test_moments_are_iso_8601(field):
    assert getattr(shell(**{field: "1970-01-02T00:00:00Z"}), field) == 86400.0
    assert getattr(shell(**{field: "1970-01-01T01:00:00+01:00"}), field) == 0.0
    assert getattr(shell(**{field: "2026-05-01"}), field) == datetime.fromisoformat("2026-05-01T00:00").timestamp()
    for bad in ("tomorrow", 5, "2026-13-01", "2026-01-31T09:30+99:00", ""):
        assert shell_fault(**{field: bad}).startswith(f"{field} must be a time such as 2026-01-31T09:30:00+01:00")


@pytest.mark.parametrize("field", ["tags", "inputs", "outputs", "dependencies", "env"])
def test_lists_of_texts(field):
    assert getattr(shell(**{field: ["x", 2]}), field) == ("x", "2")
    assert shell_fault(**{field: "x"}).startswith(f"{field} must be a list, such as [")
    assert shell_fault(**{field: [""]}) == f"{field} has an item that must not be empty"
    assert shell_fault(**{field: [None]}) == f"{field} has an item that must be a text, not nothing"


def test_dependencies_are_named_once():
    assert shell(dependencies=["b", "c", "b"]).dependencies == ("b", "c")


def test_a_task_may_not_depend_on_itself():
    assert shell_fault(depends_on=["a"]) == "the task depends on itself"
    assert shell_fault(id=5, depends_on=["5"]) == "the task depends on itself"


def test_the_environment():
    assert shell(set_env={"A": 1, "B": "x", "C": ExactFloat.of("1.50")}).set_env == {"A": "1", "B": "x", "C": "1.50"}
    assert "values belong in set_env" in shell_fault(env={"A": "1"})
    assert "values belong in set_env" in shell_fault(env=["A=1"])
    assert "put it in quotes" in shell_fault(set_env={"A": True})
    assert "NUL" in shell_fault(set_env={"A": "\0"})
    assert "is no name of a variable" in shell_fault(set_env={"A=B": "x"})
    assert shell_fault(set_env=["A"]) == "set_env must be a table of names and values, not a list"


def test_a_home_folder_is_not_expanded():
    assert shell_fault(cwd="~/x") == "cwd is not expanded: write the whole path instead of ~"


@pytest.mark.parametrize(("field", "good"), [("run_if", "always"), ("restart", "never"), ("workspace", "scratch")])
def test_fields_with_a_few_names(field, good):
    assert getattr(shell(**{field: good}), field) == good
    assert shell_fault(**{field: good + "x"}).endswith(f"did you mean {good!r}?")
    assert shell_fault(**{field: 1}).startswith(f"{field} must be one of ")


def test_json_values_become_plain():
    read = task(callable="m:f", kwargs={"x": ExactFloat.of("1.50"), "l": [None, True, {"y": 2}]})

    assert read.kwargs == {"x": 1.5, "l": [None, True, {"y": 2}]}
    assert type(read.kwargs["x"]) is float
    assert fault(callable="m:f", args={"a": 1}) == "args must be a list, not a table"
    assert fault(callable="m:f", kwargs=[1]) == "kwargs must be a table, not a list"


def test_texts_take_whole_numbers_only():
    assert shell(title=2024, version=3).title == "2024"
    assert shell_fault(version=1.1) == "version must be a text, not the number 1.1; put it in quotes"
    assert shell_fault(title=False) == "title must be a text, not the truth value false; put it in quotes"


def test_unknown_fields_name_the_nearest():
    assert shell_fault(priorty="high") == "unknown field 'priorty'; did you mean 'priority'?"
    assert shell_fault(qwxyz=1) == "unknown field 'qwxyz'; what only you need belongs in 'meta'"


def test_all_faults_of_a_task_come_at_once():
    assert len(faults(command="x", priority=1, timeout=0, nonsense=1, tags="x")) == 4


def test_messages_never_hold_what_could_drive_a_terminal():
    hostile = "\x1b]0;x\x07\u202e\n" * 50
    records = [{"id": "a", hostile: 1}, *({"id": "a", name: hostile} for name in FIELDS)]

    for record in records:
        for _, message in read_task(record, FOLDERS)[1]:
            assert message.isprintable()
            assert len(message) < 300


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(FIELDS)) | st.text(string.ascii_letters), _json, max_size=6))
def test_any_record_is_a_task_or_a_fault(record):
    read, found = read_task(record, FOLDERS)

    assert (read is None) == bool(found)
    if read is not None:
        assert len(read.digest()) == 64
