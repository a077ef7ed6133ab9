"""What comes out of the sink is redacted in every copy, and counted as it was printed."""

from __future__ import annotations

from engine.streaming.redaction import MASK, Redactor
from engine.streaming.sink import OutputSink

SECRET = b"sk-canary-0123456789"


def sink(folder, secrets=()):
    return OutputSink(folder, "a.log", 1 << 20, Redactor(secrets))


def test_small_output_with_a_secret_across_chunks(tmp_path):
    out = sink(tmp_path, [SECRET])
    out.write(b"token " + SECRET[:7])
    out.write(SECRET[7:] + b"\n")
    summary, output, log = out.close()
    assert (output, log) == (b"token " + MASK + b"\n", "")
    assert summary.tail == (f"token {MASK.decode()}",)
    assert out.raw_bytes == 6 + len(SECRET) + 1


def test_log_file_has_no_secret(tmp_path):
    out = sink(tmp_path, [SECRET])
    for _ in range(2000):
        out.write(b"token " + SECRET)
    _, output, log = out.close()
    assert (output, log) == (b"", "a.log")
    assert (tmp_path / log).read_bytes() == (b"token " + MASK) * 2000


def test_what_was_held_back_comes_at_the_end(tmp_path):
    out = sink(tmp_path, [SECRET])
    out.write(b"a\n" + SECRET[:5])
    assert out.snapshot().tail == ("a",)
    summary, output, _ = out.close()
    assert output == b"a\n" + SECRET[:5]
    assert summary.lines == 2


def test_dropped_bytes_are_told(tmp_path):
    out = OutputSink(tmp_path, "a.log", 40_000, Redactor())
    for _ in range(10):
        out.write(b"x" * 10_000)
    summary, _, log = out.close()
    assert summary.dropped_bytes > 50_000
    assert (tmp_path / log).stat().st_size <= 40_000
