"""The progress page says what has begun, and survives its writer."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from engine.workers.launch import package_root
from engine.workers.progress import ProgressPage, read_progress

WRITER = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from engine.workers.progress import ProgressPage
page = ProgressPage(Path(sys.argv[2]))
page.begin(41); page.begin(42)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_new_page_has_begun_nothing(tmp_path):
    ProgressPage(tmp_path / "page")
    progress = read_progress(tmp_path / "page")
    assert progress.lease == 0
    assert progress.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert stat.S_IMODE((tmp_path / "page").stat().st_mode) == 0o600


def test_the_last_lease_is_there_after_kill_9(tmp_path):
    done = subprocess.run(
        [sys.executable, "-P", "-c", WRITER, str(package_root()), str(tmp_path / "page")], check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert read_progress(tmp_path / "page").lease == 42


def test_an_old_page_starts_again(tmp_path):
    ProgressPage(tmp_path / "page").begin(2**63 + 5)
    assert read_progress(tmp_path / "page").lease == 2**63 + 5
    ProgressPage(tmp_path / "page")
    assert read_progress(tmp_path / "page").lease == 0


@pytest.mark.parametrize("content", [None, b"", b"MI4PAGE1", b"x" * 4096])
def test_no_page_or_a_broken_one(tmp_path, content):
    if content is not None:
        (tmp_path / "page").write_bytes(content)
    assert read_progress(tmp_path / "page") is None


def test_links_fifos_and_folders_are_refused(tmp_path):
    (tmp_path / "victim").write_text("precious" * 2000)
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    for name in ("link", "fifo", "folder"):
        with pytest.raises(OSError, match=r".+"):
            ProgressPage(tmp_path / name)
        assert read_progress(tmp_path / name) is None
    assert (tmp_path / "victim").read_text() == "precious" * 2000
