"""docs/journey.md quotes the events of one task; here they come from a real run."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def quoted(document: str) -> list[str]:
    block = document.partition("<!-- events:begin -->")[2].partition("<!-- events:end -->")[0]
    return [" ".join(line.split()) for line in block.strip().strip("`").strip().splitlines()]


def described(event: dict[str, Any]) -> str:
    """One event as the document writes it."""
    name = event["event"]
    if name == "task_added":
        return f"{name} {event['state']}"
    if name == "task_finished":
        return f"{name} {event['state']}, attempt {event['attempt']}"
    return f"{name} attempt {event['attempt']}" if "attempt" in event else name


def test_the_journey_is_what_happens(program, repository: Path):
    run = program.start(repository / "sample_tasks" / "tour.yaml")
    assert run.join() == 0, run.complaints

    about = [e for e in run.events if e.get("task_id") == "publish" and e["event"] != "output_summary"]

    assert [described(event) for event in about] == quoted((repository / "docs" / "journey.md").read_text())
    assert_steps_follow_each_other(run)


def assert_steps_follow_each_other(run) -> None:
    """Added before queued before leased before started before finished, for every task, and leases only after dependencies."""
    ended = {e["task_id"]: e["seq"] for e in run.named("task_finished")}
    order = ("task_added", "task_queued", "task_leased", "task_started", "task_finished")
    for task_id in ended:
        first = [min((e["seq"] for e in run.named(name, task_id)), default=None) for name in order]
        seen = [seq for seq in first if seq is not None]
        assert seen == sorted(seen), task_id
    for added in run.named("task_added"):
        for leased in run.named("task_leased", added["task_id"]):
            assert all(ended[name] < leased["seq"] for name in added["task"].get("dependencies", ())), added["task_id"]
