"""One call of a user's function: finding it, awaiting it, what it returned as JSON, what it raised in words.

Used by the warm child only, after our modules have left ``sys.modules``: nothing here may import one of ours.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

LONGEST_VALUE = 16 * 1024 * 1024
"""Characters of JSON that a function may return."""
OUR_FILES = {__file__, "<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>"}
"""Code whose frames at the top of a traceback are none of the user's business; the child adds its own file."""


class NotFoundError(Exception):
    """The callable cannot be had; the message says why."""


def enter_folder(folder: str) -> None:
    """Work in `folder`; raises `NotFoundError`. A folder that we are in already, by this very name, costs half as much."""
    try:
        if os.getcwd() == folder:  # noqa: PTH109 -- in the way of every call
            return
    except OSError:
        pass  # it was removed
    try:
        os.chdir(folder)
    except OSError as error:
        raise NotFoundError(f"cannot work in the folder {folder!r}: {error.strerror}") from error


def give_stdin(text: str) -> None:
    """Let the call read `text`, then end of file."""
    with tempfile.TemporaryFile() as file:
        file.write(text.encode("utf-8", "surrogateescape"))
        file.seek(0)
        os.dup2(file.fileno(), 0)
    sys.stdin = open(0, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115 -- lives as long as the call


def find_callable(name: str, path: list[str]) -> Callable[..., Any]:
    """The function ``module:name``; raises `NotFoundError` with what to do, or what the import raises."""
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise NotFoundError(f"callable must be 'module:function', not {name!r}")
    module = sys.modules.get(module_name) or _import(module_name, path)
    found: Any = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
        if found is None:
            raise NotFoundError(
                f"the module {module_name!r} ({getattr(module, '__file__', None)}) has no {attribute!r}"
            )
    if not callable(found):
        raise NotFoundError(f"{name!r} is {type(found).__name__}, not something that can be called")
    return found  # type: ignore[no-any-return]


def _import(name: str, path: list[str]) -> types.ModuleType:
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise NotFoundError(f"no module {name!r} in {', '.join(path[:2])} or on PYTHONPATH") from error
        raise NotFoundError(f"the module {name!r} needs {error.name!r}, which is not installed here") from error
    except SyntaxError as error:
        raise NotFoundError(f"the module {name!r} cannot be read: {error}") from error


def await_value(value: Any) -> Any:
    """`value`, or what it gives when it is awaitable."""
    if not hasattr(value, "__await__"):
        return value

    async def outcome() -> Any:
        return await value

    return importlib.import_module("asyncio").run(outcome())


class NotJSONError(Exception):
    """The value cannot be handed back; the message says why."""


def json_value(value: Any) -> Any:
    """`value` as JSON would carry it; raises `NotJSONError`."""
    if value is None or value is True or value is False:
        return value
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise NotJSONError(f"the callable returned a {type(value).__name__} that JSON cannot hold: {error}") from error
    if len(text) > LONGEST_VALUE:
        raise NotJSONError(
            f"the callable returned {len(text):,} characters of JSON; at most {LONGEST_VALUE:,} can be handed back: "
            "write large results to a file and return its name"
        )
    return json.loads(text)


def words(error: BaseException) -> str:
    """One line: type, message and the place in the user's code."""
    message = text_of(error)
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    place = ""
    if last is not None and last.tb_frame.f_code.co_filename not in OUR_FILES:
        place = f" ({Path(last.tb_frame.f_code.co_filename).name}:{last.tb_lineno})"
    return f"{type(error).__name__}: {message}{place}" if message else type(error).__name__ + place


def text_of(value: object) -> str:
    """`value` as text, whatever its own `str` does."""
    try:
        return str(value)[:2000]
    except Exception:  # noqa: BLE001 -- str() of a foreign object may do anything
        return f"<{type(value).__name__} that cannot be printed>"


def print_traceback(error: BaseException) -> None:
    """The traceback into the captured output, from the user's first frame on."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename in OUR_FILES:
        frames = frames.tb_next
    try:
        sys.stderr.write("".join(traceback.format_exception(type(error), error, frames)))
    except Exception:  # noqa: BLE001 -- the stream or the exception may be broken; the reply says what happened
        return
