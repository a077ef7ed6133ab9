"""Options of the pool."""

from __future__ import annotations

from pathlib import Path

from engine.workers.pool_contract import PoolOptions, progress_file


def test_a_process_has_the_tasks_that_it_may():
    assert PoolOptions(recycle_after_tasks=7).task_limit == 7
    assert PoolOptions(recycle_after_tasks=0).task_limit == 0
    assert PoolOptions(reuse=False, recycle_after_tasks=7).task_limit == 1


def test_each_host_has_a_page_of_its_own():
    assert progress_file(Path("/s/progress"), "w1.3") == Path("/s/progress/w1.3.page")
