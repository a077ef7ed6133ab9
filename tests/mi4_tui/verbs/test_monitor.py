"""``mi4-tui monitor``."""

import threading

from mi4_tui.verbs.monitor import finding_lines, metric_lines


def test_numbers_named_as_in_the_report():
    assert list(metric_lines({"tasks_completed": 1200, "cpu_usage": 12.345, "unknown": None, "pool": {"idle": 2}})) == [
        f"{'tasks_completed':<40} 1200",
        f"{'cpu_usage':<40} 12.35",
        f"{'pool.idle':<40} 2",
    ]
    assert list(metric_lines({})) == ["no metrics yet"]


def test_findings_say_what_to_do():
    finding = {"severity": "high", "description": "40 % of tasks fail", "recommendation": "look at the logs"}
    assert list(finding_lines([finding])) == ["high: 40 % of tasks fail", "  -> look at the logs"]
    assert list(finding_lines([])) == ["no bottleneck seen"]


def test_once(mi4, write, engine, eventually):
    engine(write(("a", "true"), ("b", "exit 1")))
    eventually(lambda: mi4("status", "--plain").out.count("\t") and "running" not in mi4("status", "--plain").out)
    eventually(lambda: mi4("monitor", "--once", "--json").json["metrics"]["tasks_completed"] == 1)
    told = mi4("monitor", "--once", "--json").json
    assert told["metrics"]["tasks_failed"] == 1
    assert told["counts"]["failed"] == 1
    assert mi4("monitor", "--once").lines[0].split()[0] in told["metrics"]


def test_following_ends_with_the_engine(mi4, write, engine):
    started = engine(write(("a", "true")))
    threading.Timer(1.5, started.process.terminate).start()
    followed = mi4("monitor", "--interval", "0.2", "--json")
    assert followed.code == 0
    assert len(followed.lines) > 1


def test_it_needs_an_engine(mi4):
    assert mi4("monitor", "--once").err == "mi4-tui: no engine works on this folder; start one with 'mi4-tui FILE'\n"
