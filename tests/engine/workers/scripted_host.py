"""A worker host that does what a test wants: the pool, the zygote and the spawner are tested with it.

What it does with an attempt is in the work's option `do`; what it does at its start in the variable SCRIPT.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from engine.errors import ProtocolError
from engine.tasks.model import AttemptResult
from engine.workers.progress import ProgressPage
from engine.workers.protocol import (
    VERSION,
    Cancel,
    FrameSplitter,
    Hello,
    Ping,
    Pong,
    Recall,
    Recalled,
    Results,
    Run,
    Started,
    Stop,
    decode_to_host,
    encode,
)
from engine.workers.sweep import sweep

SHAPES = (
    "sleep 301",
    "sleep 302 & sleep 302",
    "setsid sleep 303 & sleep 303",
    "(setsid sh -c 'sleep 304 & sleep 304 &' &); sleep 304",
    "trap '' TERM; sleep 305 & wait",
)
"""Ways in which processes escape from whoever started them."""


class ScriptedHost:
    def __init__(self, sock, name, progress, environ, options):
        self.sock, self.name, self.environ, self.options = sock, name, environ, options
        self.page = ProgressPage(progress)
        self.splitter, self.queue, self.running, self.leaving = FrameSplitter(), [], None, False
        self.memory = int(environ.get("MEMORY", "0"))

    def say(self, message):
        self.sock.sendall(encode(message))

    def result(self, work, outcome, **more):
        value = {"pid": os.getpid(), "name": self.name, "mark": self.environ.get("MI4_RUN"), "options": self.options}
        self.say(Results((AttemptResult(key=work.key, attempt=work.attempt, outcome=outcome, value=value, **more),)))

    def run(self):
        self.say(Hello(0 if self.environ.get("SCRIPT") == "old" else VERSION, os.getpid()))
        while True:
            busy = self.running is not None
            if select.select([self.sock], [], [], 0.02 if busy else 0 if self.queue else None)[0]:
                data = self.sock.recv(65536)
                if not data:
                    sweep()
                    os._exit(0)
                for body in self.splitter.feed(data):
                    self.obey(decode_to_host(body))
            busy = self.running is not None
            if busy and Path(self.running.options.get("until", "/nonexistent")).exists():
                self.end("succeeded")
            elif not busy and self.queue:
                self.begin(self.queue.pop(0))
            elif not busy and self.leaving:
                os._exit(0)

    def obey(self, message):
        match message:
            case Run(items=items):
                self.queue += items
            case Recall(keys=keys):
                back = tuple(work.key for work in self.queue if work.key in keys)
                self.queue = [work for work in self.queue if work.key not in back]
                self.say(Recalled(back))
            case Ping(token=token):
                self.say(Pong(token, self.memory))
            case Cancel(key=key) if self.running is not None and self.running.key == key:
                self.end("cancelled")
            case Stop(force=force):
                self.leaving = True
                if force and self.running is not None:
                    self.queue.clear()
                    self.end("cancelled")

    def end(self, outcome):
        work, self.running = self.running, None
        sweep()
        self.result(work, outcome)

    def begin(self, work):
        self.page.begin(work.lease)
        do = work.options.get("do", "ok")
        self.memory = work.options.get("memory", self.memory)
        if do == "ok":
            self.result(work, "succeeded")
            return
        if do == "die":
            sys.stderr.write("first words\nboom of the host\n")
            os._exit(7)
        if do == "garbage":
            self.sock.sendall(b"\xff" * 64)
        if do == "close":
            self.sock.shutdown(2)
            signal.pause()
        if do == "shapes":
            for shape in SHAPES:
                subprocess.Popen(["/bin/sh", "-c", shape], start_new_session=True)
        self.running = work
        self.say(Started(work.key, work.attempt, 1.5))
        if do == "freeze":
            os.kill(os.getpid(), signal.SIGSTOP)


def host_main(sock, *, name: str, logs: Path, progress: Path, environ: dict[str, str], options: dict[str, Any]):
    script = environ.get("SCRIPT", "")
    if script == "die":
        raise RuntimeError("the host cannot start today")
    if script == "silent":
        signal.pause()
    if script == "leave":
        raise SystemExit(5)
    try:
        ScriptedHost(sock, name, progress, environ, options).run()
    except (BrokenPipeError, ConnectionError, ProtocolError):
        sweep()
