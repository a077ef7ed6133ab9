"""Callables: warm, captured, and never able to harm the next one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.workers.protocol import Cancel, Ping, Pong

JOBS = """
import asyncio, ctypes, os, signal, sys, threading, time, subprocess, resource
IMPORTED = os.getpid()
calls = 0

def count():
    global calls
    calls += 1
    return calls

def pid(): return os.getpid()
def echo(*args, **kwargs): return [list(args), kwargs]
def say(text): print(text); print("err", file=sys.stderr); return text
def say_below(): os.write(1, b"by fd\\n"); subprocess.run(["echo", "by child"]); return 1
def say_in_c():
    ctypes.CDLL(None).puts(b"by C")
def fail(): raise ValueError("bad luck")
def leave(code): sys.exit(code)
def vanish(code): os._exit(code)
def crash(): os.kill(os.getpid(), signal.SIGSEGV)
def segfault(): ctypes.string_at(0)
def close_all(): os.closerange(0, 4096); return "closed"
def close_some(): os.closerange(0, 101); return "closed some"
def reuse():
    os.closerange(3, 4096)
    for n in range(600): os.open(sys.argv[1] if len(sys.argv) > 1 else "/dev/null", os.O_RDONLY)
    return "reused"
def close_streams(): sys.stdout.close(); sys.stderr.close(); return 1
def redirect():
    fd = os.open("/dev/null", os.O_WRONLY); os.dup2(fd, 1); return 1
def mess():
    os.chdir("/"); os.environ.clear(); os.environ["X"] = "left"; os.umask(0o777)
    signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGUSR1, lambda *a: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    sys.path[:] = []; sys.argv = []; sys.stdout = None; sys.stdin = None
    return os.getpid()
def look():
    mask = os.umask(0); os.umask(mask)
    return {"pid": os.getpid(), "cwd": os.getcwd(), "x": os.environ.get("X"), "home": os.environ.get("HOME"), "umask": mask,
            "term": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, "usr1": signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL,
            "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, ())), "path": len(sys.path) > 2, "argv": sys.argv,
            "task": os.environ["MI4_TASK_ID"], "timer": signal.getitimer(signal.ITIMER_REAL)[0]}
def thread(): threading.Thread(target=time.sleep, args=(60,), daemon=True).start(); return os.getpid()
def background(): subprocess.Popen(["sleep", "300"]); return os.getpid()
def daemonise():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0: time.sleep(300)
        os._exit(0)
    os.wait()
    return os.getpid()
def fork_and_wait():
    copy = os.fork()
    if copy == 0: return "copy"
    os.waitpid(copy, 0)
    return "original"
def zombie(): subprocess.Popen(["true"]); time.sleep(0.1); return os.getpid()
def hog():
    print("hogging", flush=True)
    ctypes.PyDLL(None).usleep(2_000_000_000 % 2**32)
def spin():
    print("spinning", flush=True)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True: pass
async def later(x): await asyncio.sleep(0.01); return x
class Box:
    @staticmethod
    def method(): return "boxed"
not_callable = 3
def text(): return sys.stdin.read()
def value(name):
    loop = []; loop.append(loop)
    deep = []
    for _ in range(5000): deep = [deep]
    return {"set": {1}, "nan": float("nan"), "bytes": b"x", "loop": loop, "deep": deep, "object": object(), "huge": "x" * 20_000_000,
            "big": 2**70, "surrogate": "\\ud800", "generator": (n for n in ())}[name]
def mapping(): return {1: (1, 2), "n": None, "f": 1.5}
def nasty():
    class Nasty(Exception):
        def __str__(self): raise RuntimeError
    raise Nasty
def interrupt(): raise KeyboardInterrupt
def memory(): raise MemoryError
def environment(): return dict(os.environ)
def who(): return [__name__, sys.modules["__main__"].__dict__.get("__file__"), [n for n in sys.modules if n.partition(".")[0] == "engine"]]
def write_channel():
    for n in range(3, 1024):
        try: os.write(n, b"\\xff" * 100)
        except OSError: pass
    return 1
"""


@pytest.fixture
def call(host, project):
    """Call a function of the module and give the result."""
    folder = project(jobs=JOBS)

    def run(name: str, *args: object, **fields: object):
        fields.setdefault("cwd", folder)
        return host.one(host.call(f"jobs:{name}", *args, **fields))

    return run


def test_warm_and_imported_once(call):
    pids = {call("pid").value for _ in range(5)}
    assert len(pids) == 1
    assert [call("count").value for _ in range(3)] == [1, 2, 3]


def test_arguments_and_value(call):
    result = call("echo", 1, "two", [3.5, None], kwargs={"a": {"b": True}})
    assert (result.outcome, result.value, result.exit_code) == (
        "succeeded",
        [[1, "two", [3.5, None]], {"a": {"b": True}}],
        None,
    )
    assert call("mapping").value == {"1": [1, 2], "n": None, "f": 1.5}
    assert call("Box.method").value == "boxed"
    assert call("later", 5).value == 5


def test_prints_of_every_kind_belong_to_their_call(call):
    for n in range(3):
        assert call("say", f"call {n}").output == f"call {n}\nerr\n".encode()
        assert call("say_below").output == b"by fd\nby child\n"
        assert call("say_in_c").output == b"by C\n"
        assert call("pid").output == b""


def test_exception(call):
    result = call("fail")
    line = JOBS[: JOBS.index("def fail")].count("\n") + 1
    assert (result.outcome, result.cause, result.error) == ("failed", "", f"ValueError: bad luck (jobs.py:{line})")
    assert b"Traceback" in result.output
    assert b"python_child" not in result.output
    assert result.retryable


@pytest.mark.parametrize("name", ["nasty", "interrupt", "memory"])
def test_strange_exceptions(call, name):
    assert call(name).outcome == "failed"
    assert call("pid").outcome == "succeeded"


@pytest.mark.parametrize(
    ("code", "outcome", "status"), [(0, "succeeded", 0), (None, "succeeded", 0), (3, "failed", 3), ("why", "failed", 1)]
)
def test_sys_exit(call, code, outcome, status):
    before = call("pid").value
    result = call("leave", code)
    assert (result.outcome, result.exit_code) == (outcome, status)
    assert call("pid").value == before


@pytest.mark.parametrize(
    ("name", "args", "words", "status"),
    [
        ("vanish", (0,), "exit status 0", 0),
        ("vanish", (7,), "exit status 7", 7),
        ("crash", (), "SIGSEGV", 139),
        ("segfault", (), "SIGSEGV", 139),
    ],
)
def test_end_of_the_process(call, name, args, words, status):
    before = call("pid").value
    result = call(name, *args)
    assert (result.outcome, result.exit_code) == ("failed", status)
    assert words in result.error
    assert call("pid").value not in {None, before}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("close_all", "closed"),
        ("close_some", "closed some"),
        ("reuse", "reused"),
        ("close_streams", 1),
        ("redirect", 1),
    ],
)
def test_closed_descriptors(call, name, value):
    before = call("pid").value
    result = call(name)
    assert (result.outcome, result.value) == ("succeeded", value)
    after = call("say", "on")
    assert (after.value, after.output) == ("on", b"on\nerr\n")
    assert call("pid").value != before


def test_what_a_call_changes_is_put_back(call, project, tmp_path):
    home = str(tmp_path)
    child = call("mess").value
    look = call("look", task_id="me").value
    assert look == {
        "pid": child, "cwd": project(), "x": None, "home": home, "umask": look["umask"], "term": True, "usr1": True, "blocked": 0,
        "path": True, "argv": ["jobs:look"], "task": "me", "timer": 0.0,
    }  # fmt: skip
    assert look["umask"] != 0o777
    assert call("say", "still").output == b"still\nerr\n"


@pytest.mark.parametrize("name", ["thread", "background", "daemonise"])
def test_what_a_call_leaves_running_ends(call, host, until, name):
    child = call(name).value
    until(lambda: not host.marked(), "something was left")
    assert call("pid").value != child


def test_only_the_original_of_a_forked_call_answers(call):
    before = call("pid").value
    assert call("fork_and_wait", timeout=20).value == "original"
    assert call("pid").value == before


def test_a_finished_child_process_is_no_reason_for_a_new_one(call):
    assert call("zombie").value == call("pid").value


def test_hog_of_the_interpreter(call, host, project, until):
    work = host.call("jobs:hog", cwd=project(jobs=JOBS))
    host.give(work)
    host.until(lambda: host.printed(work))
    host.send(Ping(1))
    host.until(lambda: host.heard(Pong))
    host.send(Cancel(work.key))
    assert host.result(work).outcome == "cancelled"
    assert call("pid").outcome == "succeeded"


def test_timeout_of_a_deaf_loop(call):
    result = call("spin", timeout=0.4)
    assert (result.outcome, result.output) == ("timed_out", b"spinning\n")
    assert call("pid").outcome == "succeeded"


@pytest.mark.parametrize(
    "name", ["set", "nan", "bytes", "loop", "deep", "object", "huge", "big", "surrogate", "generator"]
)
def test_values_that_json_cannot_hold(call, name):
    before = call("pid").value
    result = call("value", name)
    assert (result.outcome, result.retryable, result.value) == ("failed", False, None)
    assert "returned" in result.error
    assert call("pid").value == before


@pytest.mark.parametrize(
    ("callable_", "words"),
    [
        ("nothing_here:f", "no module 'nothing_here'"),
        ("jobs:nothing", "has no 'nothing'"),
        ("jobs:not_callable", "not something that can be called"),
        ("jobs", "module:function"),
        ("needs:f", "needs 'absent_package'"),
        ("broken:f", "cannot be read"),
    ],
)
def test_callables_that_cannot_be_had(host, project, callable_, words):
    folder = project(jobs=JOBS, needs="import absent_package\n", broken="def f(:\n")
    result = host.one(host.call(callable_, cwd=folder))
    assert (result.outcome, result.cause, result.retryable) == ("failed", "start_failed", False)
    assert words in result.error
    assert host.one(host.call("jobs:pid", cwd=folder)).outcome == "succeeded"


def test_a_failing_import_can_be_tried_again(host, project, tmp_path):
    folder = project(
        shaky=f"import os\nassert os.path.exists({str(tmp_path / 'flag')!r}), 'not yet'\ndef f(): return 1\n"
    )
    first = host.one(host.call("shaky:f", cwd=folder))
    assert (first.outcome, first.retryable) == ("failed", True)
    assert "not yet" in first.error
    (tmp_path / "flag").touch()
    assert host.one(host.call("shaky:f", cwd=folder)).value == 1


@pytest.mark.parametrize("has_init", [True, False])
def test_a_package_called_engine_is_the_users_own(host, tmp_path, has_init):
    (tmp_path / "engine").mkdir()
    if has_init:
        (tmp_path / "engine" / "__init__.py").touch()
    (tmp_path / "engine" / "jobs.py").write_text("def f():\n    import sys\n    return [__file__, sys.path[0]]\n")
    result = host.one(host.call("engine.jobs:f", cwd=str(tmp_path)))
    assert result.value == [f"{tmp_path}/engine/jobs.py", str(tmp_path)], result.error


def test_without_a_package_of_that_name_ours_can_be_used(host, project):
    folder = project(uses="def f():\n    from engine.tasks.model import Task\n    return Task(id='x').id\n")
    assert host.one(host.call("uses:f", cwd=folder)).value == "x"


def test_the_child_is_a_plain_process(call):
    assert call("who").value == ["jobs", None, []]


def test_search_order(host, tmp_path):
    for name in ("cwd", "source", "path"):
        (tmp_path / name).mkdir()
    for name, where in [("a", ("cwd", "source", "path")), ("b", ("source", "path")), ("c", ("path",))]:
        for folder in where:
            (tmp_path / folder / f"{name}.py").write_text(f"def f(): return {folder!r}\n")
    places = {
        "cwd": str(tmp_path / "cwd"),
        "source_dir": str(tmp_path / "source"),
        "set_env": {"PYTHONPATH": str(tmp_path / "path")},
    }
    assert [host.one(host.call(f"{name}:f", **places)).value for name in "abc"] == ["cwd", "source", "path"]


def test_modules_of_two_projects_are_not_mixed_up(host, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.py").write_text(f"def f(): return {name!r}\n")
    assert [host.one(host.call("same:f", cwd=str(tmp_path / name))).value for name in ("one", "two", "one")] == [
        "one",
        "two",
        "one",
    ]


def test_a_changed_file_is_imported_again(host, project, until):
    folder = project(changing="def f(): return 1\n")
    assert host.one(host.call("changing:f", cwd=folder)).value == 1
    project(changing="def f(): return 'two'\n")
    until(lambda: host.one(host.call("changing:f", cwd=folder)).value == "two")


def test_environment(start_host, project):
    host = start_host({"PATH": os.environ["PATH"], "KEEP": "kept", "OTHER": "o"})
    folder = project(jobs=JOBS)
    seen = host.one(
        host.call("jobs:environment", cwd=folder, task_id="x", idempotency_key="k", set_env={"MINE": "1"})
    ).value
    assert (seen["MI4_RUN"], seen["MI4_TASK_ID"], seen["MI4_ATTEMPT"], seen["MI4_IDEMPOTENCY_KEY"]) == (
        host.run_id,
        "x",
        "1",
        "k",
    )
    assert (seen["KEEP"], seen["MINE"]) == ("kept", "1")
    clean = host.one(host.call("jobs:environment", cwd=folder, clean_env=True, keep_env=("KEEP",))).value
    assert {name for name in clean if not name.startswith("MI4_")} - {"LC_CTYPE"} == {"KEEP"}


def test_stdin(call):
    assert call("text").value == ""
    assert call("text", stdin="given\n" * 50_000).value == "given\n" * 50_000
    assert call("text").value == ""


def test_secret_in_a_value(start_host, project):
    host = start_host({"PATH": os.environ["PATH"], "API_KEY": "sk-canary-0123456789"})
    result = host.one(host.call("jobs:environment", cwd=project(jobs=JOBS)))
    assert result.value["API_KEY"] == "[redacted]"


def test_missing_folder(host):
    result = host.one(host.call("jobs:pid", cwd="/no/such/folder"))
    assert (result.cause, result.retryable) == ("start_failed", False)


def test_big_arguments(call):
    assert len(call("echo", "x" * 3_000_000).value[0][0]) == 3_000_000


def test_user_code_that_writes_to_every_descriptor_harms_only_itself(call):
    before = call("pid").value
    assert call("write_channel").value == 1
    assert call("pid").value != before
    assert call("pid").outcome == "succeeded"


def test_verify_after_a_call(host, project):
    folder = project(jobs=JOBS)
    assert host.one(host.call("jobs:pid", cwd=folder, verify=("true",))).value
    assert host.one(host.call("jobs:pid", cwd=folder, verify=("false",))).cause == "verify_failed"


@pytest.mark.parametrize("busy", [False, True])
def test_the_child_ends_with_the_host(host, project, until, busy):
    folder = project(jobs=JOBS)
    child = host.one(host.call("jobs:pid", cwd=folder)).value
    if busy:
        work = host.call("jobs:spin", cwd=folder)
        host.give(work)
        host.until(lambda: host.printed(work))
    host.process.kill()
    until(lambda: is_gone(child))


def is_gone(pid: int) -> bool:
    """Whether it has ended; a zombie has, and waits for whoever adopted it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def test_prints_are_seen_while_the_call_runs(host, project):
    folder = project(slow="import time\ndef f():\n    print('first')\n    time.sleep(60)\n")
    work = host.call("slow:f", cwd=folder)
    host.give(work)
    host.until(lambda: host.printed(work))
    assert host.printed(work)[0].summary.tail == ("first",)
    host.send(Cancel(work.key, force=True))
    assert host.result(work).outcome == "cancelled"
