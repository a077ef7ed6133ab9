"""Output while it is printed: exact counts, few frames, little memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.workers.protocol import Output

LINES = 3_000_000


def peak(host) -> int:
    """Most resident bytes that the host ever had."""
    status = Path(f"/proc/{host.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def test_three_hundred_megabytes(host):
    line = "x" * 99
    work = host.sh(f"yes {line} | head -n {LINES}")
    result = host.one(work)
    assert (result.outcome, result.summary.lines, result.summary.bytes) == ("succeeded", LINES, 100 * LINES)
    assert result.summary.tail == (line,) * 40
    assert (host.logs / result.log).stat().st_size + result.summary.dropped_bytes == pytest.approx(100 * LINES, abs=100)
    assert peak(host) < 60_000_000
    assert len(host.printed(work)) <= 10 * result.duration + 2


@pytest.mark.parametrize("newlines", [True, False])
def test_huge_lines_and_tiny_writes_stay_small(host, newlines):
    work = host.sh("head -c 100000000 /dev/zero | tr '\\0' y" + ("; echo" if newlines else ""))
    result = host.one(work)
    assert result.summary.lines == 1
    assert result.summary.bytes == 100_000_000 + newlines
    assert peak(host) < 60_000_000


def test_summaries_while_it_runs(host, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    work = host.sh(f"echo one; read x <{gate}; seq 1 30; read x <{gate}")
    host.give(work)
    host.until(lambda: host.printed(work))
    assert host.printed(work)[0].summary.tail == ("one",)
    gate.write_text("go\n")
    host.until(lambda: host.printed(work)[-1].summary.lines == 31)
    gate.write_text("go\n")
    assert host.result(work).summary.lines == 31
    names = [type(m).__name__ for m in host.said]
    assert names.index("Started") < names.index("Output") < names.index("Results")


def test_a_prompt_without_newline_is_shown(host):
    work = host.sh("printf 'Continue? '; sleep 60")
    host.give(work)
    host.until(lambda: host.printed(work))
    summary = host.printed(work)[0].summary
    assert (summary.lines, summary.last_line) == (0, "Continue? ")


def test_progress_bars_do_not_flood(host):
    work = host.sh("i=0; while [ $i -lt 20000 ]; do printf '\\r%d/20000' $i; i=$((i+1)); done; printf '\\rall done\\n'")
    result = host.one(work)
    assert (result.summary.lines, result.summary.last_line) == (1, "all done")
    assert len(host.printed(work)) <= 10 * result.duration + 2


def test_no_summary_when_nothing_is_printed(host):
    host.one(host.sh("sleep 0.7"))
    assert not host.heard(Output)


def test_invalid_bytes(host):
    result = host.one(host.sh(r"printf 'a\377\000b\n\303'"))
    assert result.summary.tail == ("a\ufffdb", "\ufffd")
    assert result.output == b"a\xff\0b\n\xc3"
