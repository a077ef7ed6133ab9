"""``mi4-tui cancel``, ``retry``, ``pause``, ``resume`` and ``stop``."""

import pytest


def counts(mi4):
    return mi4("status", "--json").json["counts"]


@pytest.mark.parametrize("verb", ["pause", "resume", "stop"])
def test_they_need_an_engine(mi4, verb):
    for _ in range(2):  # without a state folder, then with one
        wrong = mi4(verb)
        assert (wrong.code, wrong.out) == (1, "")
        assert wrong.err == "mi4-tui: no engine works on this folder; start one with 'mi4-tui FILE'\n"
        mi4("add", "--id", f"x-{verb}", "--", "true")


def test_cancel_on_the_stored_state(mi4):
    mi4("add", "--id", "a", "--", "true")
    assert mi4("cancel", "a").code == 0
    assert counts(mi4)["cancelled"] == 1
    again = mi4("cancel", "a")
    assert again.code == 1
    assert "cannot be cancelled" in again.err


def test_retry_on_the_stored_state(mi4, write):
    mi4("run", write(("a", "exit 1"), ("b", "exit 1"), ("c", "true")), "--no-ui", "-q")
    assert mi4("retry", "a").code == 0
    assert (counts(mi4)["queued"], counts(mi4)["failed"]) == (1, 1)
    assert mi4("retry").code == 0
    assert (counts(mi4)["queued"], counts(mi4)["failed"]) == (2, 0)
    assert mi4("retry").code == 0


def test_a_running_task_is_cancelled(mi4, write, engine, eventually):
    engine(write(("long", "sleep 60")))
    eventually(lambda: counts(mi4).get("running"))
    assert mi4("cancel", "--force", "long").code == 0
    eventually(lambda: counts(mi4).get("cancelled"))


def test_pause_and_resume(mi4, write, engine, eventually):
    engine(write(("a", "true")))
    eventually(lambda: counts(mi4).get("succeeded"))
    assert mi4("pause").code == 0
    mi4("add", "--id", "b", "--", "true")
    assert counts(mi4)["queued"] == 1
    assert mi4("status").lines[0].split(",")[0].split()[2] == "paused"
    assert mi4("resume").code == 0
    eventually(lambda: counts(mi4).get("succeeded") == 2)


def test_stop_waits_until_the_engine_is_gone(mi4, write, engine):
    started = engine(write(("a", "sleep 0.5"), ("b", "sleep 0.5")), overrides={"orchestration.max_agents": 1})
    stopped = mi4("stop")
    assert (stopped.code, stopped.out) == (0, "the engine has stopped\n")
    assert started.process.wait(30) in (0, 1)
    rest = counts(mi4)
    assert rest["succeeded"] + rest["queued"] == 2
    assert rest["queued"] >= 1, "it should not have started what waited"


def test_stop_now_cancels_what_runs(mi4, write, engine, eventually):
    started = engine(write(("long", "sleep 60")))
    eventually(lambda: counts(mi4).get("running"))
    assert mi4("stop", "--now", "--json").json["ok"]
    started.process.wait(30)
    assert counts(mi4)["cancelled"] == 1
