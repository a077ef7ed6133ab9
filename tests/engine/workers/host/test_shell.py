"""Commands: what they get, how they end, what they leave."""

from __future__ import annotations

import os
import signal
import time

import pytest

from engine.tasks.model import INLINE_OUTPUT
from engine.workers.protocol import Cancel


def test_success(host):
    result = host.one(host.work(command=("echo", "hi there")))
    assert (result.outcome, result.exit_code, result.output, result.error) == ("succeeded", 0, b"hi there\n", "")
    assert result.summary.last_line == "hi there"
    assert 0 < result.duration < 60
    assert abs(result.started_at - time.time()) < 60


def test_failure_names_status_and_last_line(host):
    result = host.one(host.sh("echo 'no such luck' >&2; exit 3"))
    assert (result.outcome, result.exit_code, result.error) == ("failed", 3, "exit status 3: no such luck")
    assert result.retryable
    assert result.cause == ""


@pytest.mark.parametrize(
    ("number", "words"),
    [(9, "killed by SIGKILL (perhaps out of memory)"), (11, "killed by SIGSEGV"), (15, "killed by SIGTERM")],
)
def test_signals_have_names(host, number, words):
    result = host.one(host.sh(f"kill -{number} $$"))
    assert (result.outcome, result.exit_code, result.error) == ("failed", 128 + number, words)


def test_a_status_that_tells_of_a_signal(host):
    assert "SIGKILL" in host.one(host.sh("sh -c 'kill -9 $$'; exit $?")).error


def test_stdout_and_stderr_keep_their_order(host):
    result = host.one(host.sh("for i in 1 2 3; do echo out$i; echo err$i >&2; done"))
    assert result.output == b"out1\nerr1\nout2\nerr2\nout3\nerr3\n"


def test_environment(start_host):
    host = start_host({"PATH": os.environ["PATH"], "KEEP": "kept", "MI4_RUN": "outer", "MI4_TASK_ID": "outer"})
    result = host.one(host.sh("env", task_id="the id", set_env={"MINE": "1"}, idempotency_key="k"))
    lines = set(result.output.decode().splitlines())
    assert {
        f"MI4_RUN={host.run_id}",
        "MI4_TASK_ID=the id",
        "MI4_ATTEMPT=1",
        "MI4_IDEMPOTENCY_KEY=k",
        "KEEP=kept",
        "MINE=1",
    } <= lines
    clean = host.one(
        host.work(command=("/usr/bin/env",), clean_env=True, keep_env=("KEEP", "NONE"), set_env={"X": "y"})
    )
    names = {line.partition("=")[0] for line in clean.output.decode().splitlines()}
    assert names == {"KEEP", "X", "MI4_RUN", "MI4_TASK_ID", "MI4_ATTEMPT", "MI4_IDEMPOTENCY_KEY"}


@pytest.mark.parametrize("set_env", [{"A=B": "x"}, {"": "x"}, {"A": "x\0y"}])
def test_impossible_environment(host, set_env):
    result = host.one(host.sh("true", set_env=set_env))
    assert (result.outcome, result.cause, result.retryable) == ("failed", "start_failed", False)
    assert "set_env" in result.error


def test_working_folder(host, tmp_path):
    assert host.one(host.sh("pwd", cwd=str(tmp_path))).output == f"{tmp_path}\n".encode()
    assert host.one(host.sh("pwd")).output == f"{tmp_path}/host0\n".encode()


def test_stdin_is_empty_unless_given(host):
    assert host.one(host.sh("cat; echo end")).output == b"end\n"
    text = "words\n" * 50_000
    assert host.one(host.sh("wc -c", stdin=text)).output.strip() == str(len(text)).encode()


def test_default_signals_and_no_foreign_descriptors(host):
    script = "grep -E 'Sig(Ign|Blk)' /proc/self/status; ls /proc/self/fd | wc -l"
    out = host.one(host.sh(script)).output.decode()
    # The two highest of the first 33 belong to the C library.
    masks = [int(line.split()[1], 16) & 0x7FFFFFFF for line in out.splitlines() if line.startswith("Sig")]
    assert masks == [0, 0], out
    assert out.splitlines()[-1].strip() == "4"  # 0, 1, 2 and the folder that ls reads


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("no-such-program-here",), "not found on PATH"),
        (("/no/such/file",), "no such file"),
        (("/etc/passwd",), "may not be executed"),
        (("x" * 300,), "not found on PATH"),
        (("echo", "x" * 3_000_000), "too long"),
        (("echo", "a\0b"), "cannot start"),
        ((), "no command"),
        (None, "no command"),
    ],
)
def test_what_cannot_start(host, command, words):
    result = host.one(host.work(command=command))
    assert (result.outcome, result.cause, result.retryable) == ("failed", "start_failed", False)
    assert words in result.error
    assert "\n" not in result.error
    assert host.one(host.sh("echo on")).output == b"on\n"


def test_missing_folder(host):
    result = host.one(host.sh("true", cwd="/no/such/folder"))
    assert (result.cause, result.retryable) == ("start_failed", False)
    assert "/no/such/folder" in result.error


def test_unknown_kind(host):
    assert "codex" in host.one(host.work("codex")).error


def test_a_shortage_of_descriptors_is_worth_another_attempt(host):
    os.system(f"prlimit --pid {host.pid} --nofile=5:")
    result = host.one(host.sh("true"))
    assert (result.outcome, result.cause, result.retryable) == ("failed", "start_failed", True)
    os.system(f"prlimit --pid {host.pid} --nofile=1024:")
    assert host.one(host.sh("true")).outcome == "succeeded"


def test_exit_counts_not_the_end_of_the_pipe(host, until):
    result = host.one(host.sh("sleep 300 & echo done"))
    assert (result.outcome, result.output) == ("succeeded", b"done\n")
    until(lambda: not host.marked())


@pytest.mark.parametrize(
    "script",
    [
        "sleep 301 >/dev/null 2>&1 &",
        "setsid sleep 302 &",
        "(setsid sh -c 'sleep 303 & sleep 303 &' &)",
        "trap '' TERM; sleep 304 &",
    ],
)
@pytest.mark.parametrize("warm", [False, True])
def test_nothing_is_left_and_the_next_task_is_undisturbed(host, until, project, script, warm):
    if warm:
        folder = project(jobs="import os\ndef pid(): return os.getpid()\n")
        child = host.one(host.call("jobs:pid", cwd=folder)).value
    assert host.one(host.sh(script)).outcome == "succeeded"
    if warm:
        assert host.one(host.call("jobs:pid", cwd=folder)).value == child, "the warm child must survive the sweep"
    else:
        assert not host.marked()
    assert host.one(host.sh("echo next")).output == b"next\n"


def test_what_still_prints_may_finish(host):
    result = host.one(host.sh("(i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done; echo late) & echo early"))
    assert result.summary.last_line == "late"
    assert result.summary.lines == 3002


def test_a_task_that_closes_its_output_goes_on(host):
    result = host.one(host.sh("exec >&- 2>&-; sleep 0.1; exit 4"))
    assert result.exit_code == 4


def test_big_output_goes_to_the_log(host):
    result = host.one(host.sh("seq 1 20000", log="t.log"))
    assert (result.output, result.log) == (b"", "t.log")
    assert (host.logs / "t.log").read_bytes() == b"".join(b"%d\n" % n for n in range(1, 20001))
    assert result.summary.lines == 20000
    assert len(host.one(host.sh(f"head -c {INLINE_OUTPUT} /dev/zero")).output) == INLINE_OUTPUT


def test_the_log_has_a_cap(start_host):
    host = start_host(log_max_bytes=100_000)
    result = host.one(host.sh("seq 1 200000"))
    assert (host.logs / result.log).stat().st_size <= 100_000
    assert result.summary.dropped_bytes > 1_000_000
    assert result.summary.lines == 200_000


def test_secrets_are_in_no_copy(start_host):
    secret = "sk-canary-0123456789"
    host = start_host({"PATH": os.environ["PATH"], "API_KEY": secret})
    script = "printf 'k '; printf '%s' \"$API_KEY\" | cut -c1-8 | tr -d '\\n'; sleep 0.05; printf '%s\\n' \"$API_KEY\" | cut -c9-; exit 1"
    result = host.one(host.sh(script))
    assert result.output == b"k [redacted]\n"
    assert secret not in repr(result)
    own = host.one(host.sh('echo "$MY_TOKEN"; exit 1', set_env={"MY_TOKEN": "another-secret-1"}))
    assert "another-secret-1" not in repr(own)


def test_hostile_output_never_reaches_error_or_tail(host):
    result = host.one(host.sh(r"printf '\033]0;evil\007bad \033[31mnews\233\n'; exit 1"))
    assert result.error.startswith("exit status 1: bad news")
    assert b"\033" in result.output
    assert all(c.isprintable() for line in (result.error, *result.summary.tail) for c in line)


def test_verify(host, tmp_path):
    good = host.one(host.sh("touch made", cwd=str(tmp_path), verify=("test", "-f", "made")))
    assert good.outcome == "succeeded"
    bad = host.one(host.sh("true", cwd=str(tmp_path), verify="echo wrong; exit 9"))
    assert (bad.outcome, bad.cause, bad.error) == ("failed", "verify_failed", "verify: exit status 9: wrong")
    assert bad.exit_code == 0
    missing = host.one(host.sh("true", verify=("no-such-checker",)))
    assert (missing.cause, missing.retryable) == ("verify_failed", False)
    unneeded = host.one(host.sh("exit 1", cwd=str(tmp_path), verify="touch verified"))
    assert unneeded.cause == ""
    assert not (tmp_path / "verified").exists()


def test_cancel_by_term(host):
    work = host.sh("trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done")
    host.give(work)
    host.until(lambda: host.printed(work))
    host.send(Cancel(work.key))
    result = host.result(work)
    assert (result.outcome, result.error) == ("cancelled", "")
    assert b"bye" in result.output


def test_a_deaf_task_is_killed_after_the_grace_time(host):
    work = host.sh("trap '' TERM INT; echo ready; sleep 60 & while :; do sleep 0.05; done")
    host.give(work)
    host.until(lambda: host.printed(work))
    host.send(Cancel(work.key))
    result = host.result(work)
    assert (result.outcome, result.exit_code) == ("cancelled", 128 + signal.SIGKILL)


def test_a_stopped_task_is_killed_too(host):
    work = host.sh("trap '' TERM; echo ready; kill -STOP $$; sleep 60")
    host.give(work)
    host.until(lambda: host.printed(work))
    host.send(Cancel(work.key))
    assert host.result(work).outcome == "cancelled"


def test_forced_cancel_does_not_wait(start_host):
    host = start_host(grace_seconds=3600)
    work = host.sh("trap '' TERM; echo ready; sleep 60; sleep 60")
    host.give(work)
    host.until(lambda: host.printed(work))
    host.send(Cancel(work.key))
    host.send(Cancel(work.key, force=True))
    assert host.result(work).exit_code == 128 + signal.SIGKILL


def test_timeout(host, until):
    result = host.one(host.sh("echo before; (setsid sleep 300 &); sleep 300", timeout=0.2))
    assert (result.outcome, result.cause, result.output) == ("timed_out", "", b"before\n")
    assert "0.2 s" in result.error
    assert result.duration >= 0.2
    until(lambda: not host.marked())


def test_timeout_counts_for_verify(host):
    result = host.one(host.sh("true", verify="sleep 300", timeout=0.2))
    assert result.outcome == "timed_out"


def test_stall_timeout(host):
    result = host.one(host.sh("for i in 1 2 3; do echo $i; sleep 0.1; done; sleep 300", stall=1.5))
    assert (result.outcome, result.cause, result.output) == ("timed_out", "stalled", b"1\n2\n3\n")
    assert result.duration >= 1.7


def test_a_talkative_task_does_not_stall(host):
    assert host.one(host.sh("for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.3; done", stall=2.0)).outcome == "succeeded"
