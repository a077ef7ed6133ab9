"""How a process of ours is exec'ed so that it is ours: whatever the working folder or ``PYTHONPATH`` hold.

A user's project may have its own ``engine`` package, and ``python -m engine...`` would run that one. So the new interpreter loads
our packages from the folder that this process has them from; ``sys.path`` stays as it is, and nothing shadows the standard library.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from pathlib import Path

PACKAGE = __name__.partition(".")[0]
"""Our package: ``engine``."""
_BOOT = """
import importlib, importlib.util, os, sys
root, own, module, *arguments = sys.argv[1:]
for name in dict.fromkeys((own, module.partition(".")[0])):
    folder = os.path.join(root, name)
    spec = importlib.util.spec_from_file_location(name, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder])
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
sys.argv[:] = [module, *arguments]
sys.exit(importlib.import_module(module).main(arguments))
"""
_FIRST_FREE = 10
"""Descriptor numbers below this may be targets of `start_process`."""
_DEFAULT_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD, signal.SIGXFSZ)


def package_root() -> Path:
    """The folder that holds our packages."""
    return Path(__file__).resolve().parent.parent.parent


def python_command(module: str, *arguments: str) -> list[str]:
    """Argument list of a new interpreter that calls ``main(arguments)`` of a module of ours and exits with what that returns.

    `module` is its full name (``engine.workers.zygote``); ``main`` takes a list of strings.
    """
    return [sys.executable, "-P", "-c", _BOOT, str(package_root()), PACKAGE, module, *arguments]


def start_process(command: list[str], environ: dict[str, str], descriptors: dict[int, int]) -> int:
    """Start a command in a session of its own and return its pid; raises OSError.

    `descriptors` maps numbers in the new process to ours; standard input and output are ``/dev/null`` unless it names them, and
    everything else of ours is closed there.
    """
    # Sources move out of the way first, or one dup2 could overwrite the source of the next.
    sources = {target: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE) for target, fd in descriptors.items()}
    actions: list[tuple[int, int, str, int, int] | tuple[int, int, int]] = [
        (os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)
    ]
    actions += [(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in sources.items()]
    try:
        return os.posix_spawn(
            command[0], command, environ, file_actions=actions, setsid=True, setsigmask=(), setsigdef=_DEFAULT_SIGNALS
        )
    finally:
        for fd in sources.values():
            os.close(fd)
