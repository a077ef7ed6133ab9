"""Writes the tables of README that come from the code: `python docs/tables.py`, or `--check` to only say whether they agree."""
# ruff: noqa: T201 - it says what it did

from __future__ import annotations

import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"


def keys() -> str:
    """Every key of the app."""
    from mi4_tui.keymap import markdown_table  # noqa: PLC0415 - each table loads what it needs

    return markdown_table()


def settings() -> str:
    """Every setting with its default."""
    from engine.config import LoadedSettings, Settings, effective_settings  # noqa: PLC0415

    plain = Settings.model_construct()
    names = [f"{s}.{k}" for s, info in Settings.model_fields.items() for k in info.annotation.model_fields]  # type: ignore[union-attr]
    rows = effective_settings(LoadedSettings(plain, dict.fromkeys(names, "default")))
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    lines += [f"| `{row.name}` | `{_plain(row.value)}` | {row.description} Allowed: {row.allowed}. |" for row in rows]
    return "\n".join(lines) + "\n"


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def verbs() -> str:
    """Every verb of the command line."""
    from mi4_tui.cli import VERBS  # noqa: PLC0415

    return "| | |\n|---|---|\n" + "".join(f"| `mi4-tui {name}` | {verb.summary} |\n" for name, verb in VERBS.items())


TABLES = {"keys": keys, "settings": settings, "verbs": verbs}


def filled(text: str) -> str:
    """`text` with every table as the code says it now."""
    for name, table in TABLES.items():
        begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
        if begin not in text or end not in text:
            raise SystemExit(f"README.md has no place for the table {name}")
        head, _, rest = text.partition(begin)
        text = head + begin + table() + end + rest.partition(end)[2]
    return text


def main() -> int:
    """Write or check; 1 when a check finds an old table."""
    old = README.read_text(encoding="utf-8")
    new = filled(old)
    if "--check" in sys.argv:
        print(
            "the tables of README.md agree with the code"
            if new == old
            else "README.md is old: run python docs/tables.py"
        )
        return int(new != old)
    README.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
