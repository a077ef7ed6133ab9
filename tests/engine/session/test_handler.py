"""Commands on stored state: each becomes a call, and is answered once it is durable."""

import pytest

from engine.errors import CommandRefusedError, EngineError, TaskFileError, UnknownTaskError
from engine.orchestrator import Orchestrator
from engine.session import protocol as ask
from engine.tasks.model import Task


def shell(task_id: str, **fields) -> Task:
    return Task(id=task_id, kind="shell", command=("true",), **fields)


@pytest.fixture
async def offline(tmp_path):
    async with Orchestrator(folder=tmp_path / "state", work=False) as orchestrator:
        await orchestrator.submit([shell("a"), shell("b"), shell("c", dependencies=("a",))])
        yield orchestrator


def state(orchestrator: Orchestrator, task_id: str) -> str:
    return orchestrator.projection.row(task_id).state


async def test_add_says_what_became_of_each_task(offline) -> None:
    reply = await offline.handle(ask.AddTasks(tasks=(shell("new"), shell("a"))))

    assert reply.message == "1 added, 1 already open"
    assert reply.data["accepted"] == ["new"]


async def test_add_refuses_an_unknown_dependency_and_takes_nothing(offline) -> None:
    with pytest.raises(TaskFileError, match="nobody"):
        await offline.handle(ask.AddTasks(tasks=(shell("new"), shell("bad", dependencies=("nobody",)))))

    assert offline.projection.row("new") is None


async def test_a_priority_change_tells_the_new_place_and_can_be_undone(offline) -> None:
    reply = await offline.handle(ask.Reprioritise(ids=("b",), delta=100))
    assert reply.message == "b has priority 300, 0 before it"

    await offline.handle(ask.RestoreOrder(values=reply.data["previous"]))

    assert offline.projection.row("b").priority == 200


async def test_moves_are_answered_with_what_was_before(offline) -> None:
    reply = await offline.handle(ask.Move(ids=("b",), where="top"))

    assert reply.data["previous"] == {"b": (200.0, 0.0)}
    assert offline.projection.row("b").manual > 0


async def test_hold_release_and_cancel(offline) -> None:
    assert (await offline.handle(ask.Hold(ids=("a", "b")))).message == "held 2 tasks"
    assert (await offline.handle(ask.Release(ids=()))).data["ids"] == ["a", "b"]
    assert (await offline.handle(ask.Cancel(ids=("a",)))).ok
    assert (state(offline, "a"), state(offline, "b"), state(offline, "c")) == ("cancelled", "queued", "skipped")

    refused = await offline.handle(ask.Cancel(ids=("a",)))

    assert (refused.ok, refused.message) == (False, "tasks that have ended cannot be cancelled")


async def test_retry_brings_back_what_went_wrong(offline) -> None:
    await offline.handle(ask.Cancel(ids=("a",)))

    reply = await offline.handle(ask.Retry(ids=()))

    assert sorted(reply.data["ids"]) == ["a", "c"]
    assert state(offline, "c") == "pending"
    assert not (await offline.handle(ask.Retry(ids=("b",)))).ok


async def test_an_unknown_id_is_named(offline) -> None:
    with pytest.raises(UnknownTaskError, match="nobody"):
        await offline.handle(ask.Cancel(ids=("nobody",)))


async def test_the_place_of_a_task_that_ended_cannot_be_changed(offline) -> None:
    await offline.handle(ask.Cancel(ids=("a",)))

    with pytest.raises(CommandRefusedError, match="only waiting tasks"):
        await offline.handle(ask.Move(ids=("a",), where="top"))


async def test_explain_gives_terms_reason_and_attempts(offline) -> None:
    reply = await offline.handle(ask.Explain(id="c"))

    assert reply.message == "it waits for a"
    assert reply.data["terms"]["dependencies"] == -3
    assert reply.data["attempts"] == []


async def test_the_log_of_a_task_that_never_ran_is_empty_and_says_so(offline) -> None:
    reply = await offline.handle(ask.FindLog(id="a"))

    assert (reply.message, reply.data["path"]) == ("it has printed nothing yet", "")


async def test_a_report_is_written_and_a_folder_that_is_missing_is_refused(offline, tmp_path) -> None:
    reply = await offline.handle(ask.WriteReport(path=str(tmp_path / "report.json")))

    assert (tmp_path / "report.json").exists()
    assert reply.data["path"] == str(tmp_path / "report.json")
    assert {row["id"] for row in reply.data["report"]["tasks"]} == {"a", "b", "c"}
    with pytest.raises(EngineError):
        await offline.handle(ask.WriteReport(path=str(tmp_path / "missing" / "report.json")))


async def test_without_workers_the_pool_cannot_be_resized(offline) -> None:
    with pytest.raises(CommandRefusedError, match="no engine runs"):
        await offline.handle(ask.Resize(size=4))


async def test_pause_and_resume_are_seen(offline) -> None:
    await offline.handle(ask.Pause(category="docs"))
    assert offline.projection.run.paused_categories == ("docs",)
    await offline.handle(ask.Pause())
    assert offline.projection.run.state == "paused"

    await offline.handle(ask.Resume())
    await offline.handle(ask.Resume(category="docs"))

    assert (offline.projection.run.state == "paused", offline.projection.run.paused_categories) == (False, ())


async def test_stop_is_noted(offline) -> None:
    await offline.handle(ask.StopEngine())

    assert offline.stopping
