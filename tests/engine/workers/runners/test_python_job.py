"""The host's view of a batch, against a slate that the test writes as a child would."""

from __future__ import annotations

import os
import socket
from types import SimpleNamespace

import msgspec
import pytest

from engine.workers.progress import ProgressPage
from engine.workers.protocol import FrameSplitter, Work
from engine.workers.runners.python_job import CallBatch, PythonJob
from engine.workers.runners.slate import ALL, Reply, Slate

NUMBER = 7


@pytest.fixture
def scene(tmp_path):
    """A batch of three works in the hands of a child that is played by the test."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    output, inner = os.pipe()
    os.set_blocking(output, False)
    slate = Slate()
    child = SimpleNamespace(
        pid=0, slate=slate, output=output, channel=ours, watched=(), alive=True, stale=False, broken=False,
        splitter=FrameSplitter(), ended=lambda: False,
    )  # fmt: skip
    works = tuple(Work(key=n, attempt=1, lease=n, task_id=f"t{n}", kind="python") for n in (1, 2, 3))
    slate.begin(NUMBER, watched=False)
    slate.open(NUMBER)

    def answer(lease: int, text: bytes = b"", **fields: object) -> None:
        slate.announce(lease, 0.0)
        os.write(inner, text)
        assert slate.put(msgspec.msgpack.encode(Reply(lease, True, printed=len(text), **fields)))

    yield SimpleNamespace(
        slate=slate, batch=CallBatch(child, NUMBER, works, ProgressPage(tmp_path / "page"), lambda: None), works=works,
        answer=answer, write=lambda text: os.write(inner, text), theirs=theirs, child=child,
    )  # fmt: skip
    for end in (ours, theirs):
        end.close()
    os.close(output)
    os.close(inner)


def heard(scene) -> bytes:
    try:
        return scene.theirs.recv(100)
    except BlockingIOError:
        return b""


def test_the_child_is_told_before_printed_bytes_are_taken_from_under_it(scene):
    scene.answer(1, b"abc")
    job = PythonJob(scene.batch, scene.works[0])
    assert job.ready(0).outcome == "succeeded"
    assert not scene.slate.watched(NUMBER)
    scene.write(b"of the next")
    assert job.read(100) == b"abc"
    assert scene.slate.watched(NUMBER)
    with pytest.raises(BlockingIOError):
        job.read(100)


def test_a_child_that_waits_goes_on_when_the_output_is_read(scene):
    scene.answer(1, b"abc", waits=True)
    job = PythonJob(scene.batch, scene.works[0])
    assert job.ready(0) is not None
    assert job.read(100) == b"abc"
    assert heard(scene) == b""
    job.close()
    assert heard(scene) == b"\0\0\0\0"
    assert not scene.slate.watched(NUMBER)


def test_a_child_that_waits_after_its_answer_was_passed_on_goes_on_at_once(scene):
    scene.answer(1)
    job = PythonJob(scene.batch, scene.works[0])
    assert job.ready(0) is not None
    job.close()
    scene.slate.put(msgspec.msgpack.encode(Reply(0, True, waits=True)))
    assert PythonJob(scene.batch, scene.works[1]).ready(0) is None
    assert heard(scene) == b"\0\0\0\0"


def test_bytes_of_a_later_call_are_kept_for_it(scene):
    job = PythonJob(scene.batch, scene.works[0])
    assert job.look(0) is None
    scene.answer(1)
    scene.slate.announce(2, 0.0)
    scene.write(b"second")
    with pytest.raises(BlockingIOError):
        job.read(100)
    assert job.ready(0) is not None
    with pytest.raises(BlockingIOError):
        job.read(100)
    job.close()
    scene.slate.put(msgspec.msgpack.encode(Reply(2, True, printed=ALL)))
    second = PythonJob(scene.batch, scene.works[1])
    assert second.ready(0) is not None
    assert second.read(100) == b"second"


def test_hold_gives_back_exactly_what_has_not_begun(scene):
    scene.answer(1)
    scene.slate.announce(2, 0.0)
    scene.batch.hold()
    assert scene.batch.unbegun == [scene.works[2]]
    assert scene.slate.held(NUMBER)


def test_nonsense_in_the_channel_holds_the_batch_and_keeps_its_answers(scene):
    scene.answer(1)
    scene.slate.announce(2, 0.0)
    scene.theirs.send(b"\xff" * 50)
    assert PythonJob(scene.batch, scene.works[0]).ready(0).outcome == "succeeded"
    assert scene.child.alive
    assert scene.child.stale
    assert scene.batch.unbegun == [scene.works[2]]
