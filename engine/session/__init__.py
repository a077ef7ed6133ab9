"""A running engine seen from outside: the lock on its folder, the socket it listens on, and the two ways to talk to it."""

from .client import Client, attach
from .interface import Session
from .local import LocalSession
from .protocol import (
    AddTasks,
    AnyCommand,
    Cancel,
    Explain,
    FindLog,
    Hold,
    Move,
    Pause,
    Release,
    Reply,
    Reprioritise,
    Resize,
    RestoreOrder,
    Resume,
    Retry,
    StopEngine,
    View,
    WriteReport,
)
from .server import SessionServer

__all__ = [
    "AddTasks",
    "AnyCommand",
    "Cancel",
    "Client",
    "Explain",
    "FindLog",
    "Hold",
    "LocalSession",
    "Move",
    "Pause",
    "Release",
    "Reply",
    "Reprioritise",
    "Resize",
    "RestoreOrder",
    "Resume",
    "Retry",
    "Session",
    "SessionServer",
    "StopEngine",
    "View",
    "WriteReport",
    "attach",
]
