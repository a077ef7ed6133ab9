"""The command line: what is loaded when, which verb is meant, and how errors end."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from engine.errors import Fault, StateFolderError, TaskFileError
from mi4_tui import cli as command_line
from mi4_tui.cli import SECTIONS, VERBS, check_identity, cli, main, suggestion

ROOT = Path(command_line.__file__).parent.parent


def loaded_after(*arguments, code=0):
    """The modules that a fresh interpreter has loaded after this command line."""
    program = (
        "import sys; from mi4_tui.cli import main; code = main(sys.argv[1:]); "
        "print('\\n'.join(sys.modules), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == code
    return set(done.stderr.splitlines())


# What is loaded


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--version"], ["help"]])
def test_the_overview_loads_neither_app_nor_engine(arguments):
    loaded = loaded_after(*arguments)
    for heavy in ("textual", "rich", "pydantic", "msgspec", "asyncio", "yaml", "engine"):
        assert heavy not in loaded


def test_the_help_of_a_verb_loads_no_app():
    loaded = loaded_after("run", "--help")
    assert "textual" not in loaded
    assert "rich" not in loaded


def test_a_headless_run_loads_no_app(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("t.json").write_text('[{"id": "a", "kind": "shell", "command": ["true"]}]')
    loaded = loaded_after("t.json", "--dry-run")
    assert "textual" not in loaded


# Which verb is meant


@pytest.fixture
def called(monkeypatch):
    """Replace the default verb and record what it got."""
    calls = []

    @click.command("run")
    @click.argument("files", nargs=-1)
    @click.option("-j", "jobs")
    @click.option("--no-ui", is_flag=True)
    def run(**given):
        calls.append(given)
        return 5

    real = cli.get_command
    monkeypatch.setattr(cli, "get_command", lambda ctx, name: run if name == "run" else real(ctx, name))
    return calls


@pytest.mark.parametrize(
    ("arguments", "files"),
    [
        ([], ()),
        (["a.json"], ("a.json",)),
        (["run", "a.json", "b.json"], ("a.json", "b.json")),
        (["--no-ui", "a.json"], ("a.json",)),
        (["-j", "4", "a.json"], ("a.json",)),
        (["./status"], ("./status",)),
        (["run", "status"], ("status",)),
    ],
)
def test_run_is_the_default_verb(called, arguments, files):
    assert main(arguments) == 5
    assert called[0]["files"] == files


def test_a_verb_is_not_a_file(called, capsys):
    assert main(["help", "prio"]) == 0
    assert not called
    assert "mi4-tui prio build critical" in capsys.readouterr().out


@pytest.mark.parametrize(("word", "verb"), [("statsu", "status"), ("retyr", "retry"), ("xyzzy", "")])
def test_a_slip_of_the_finger_is_guessed(word, verb):
    assert suggestion(word) == verb


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["statsu"], "did you mean 'mi4-tui status'?"),
        (["-q", "status"], "a verb comes first: mi4-tui status"),
        (["prio"], "Missing argument"),
        (["run", "--wrong"], "see 'mi4-tui run --help'"),
        (["logs", "a", "--attempt", "0"], "--attempt"),
        (["completions", "tcsh"], "tcsh"),
        (["help", "nothing"], "no verb is named nothing"),
        (["--set", "nonsense"], "write section.key=value"),
        (["add"], "mi4-tui add -- make test"),
        (["prio", "a", "9999"], "is no priority"),
    ],
)
def test_a_wrong_call_is_one_line_and_status_64(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 64
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("mi4-tui: ")
    assert words in err
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


# The overview


def test_the_overview_says_what_the_verbs_say_of_themselves():
    assert cli.list_commands(click.Context(cli)) == list(VERBS)
    for name in VERBS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        assert command.name == name
        assert command.help
        assert command.callback is not None


def test_every_verb_is_in_one_section():
    names = [name for section in SECTIONS.values() for name in section]
    assert len(names) == len(set(names)) == len(VERBS)


def test_help_shows_every_verb_and_examples(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, verb in VERBS.items():
        assert f"\n  {name} " in shown
        assert verb.summary.split()[0] in shown
    assert "mi4-tui tasks.yaml --no-ui" in shown
    assert "Exit status: 0 all done" in shown


def test_every_verb_has_help_that_fits_the_screen(capsys):
    for name in VERBS:
        assert main([name, "--help"]) == 0
        shown = capsys.readouterr().out
        assert shown.startswith(f"Usage: mi4-tui {name}")
        assert max(map(len, shown.splitlines())) <= 100


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("mi4-tui 0.")


# Completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell, capsys):
    assert main(["completions", shell]) == 0
    assert "_MI4_TUI_COMPLETE" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "number", "expected"),
    [("mi4-tui st", "1", {"status", "stop"}), ("mi4-tui status --js", "2", {"--json"}), ("mi4-tui ", "1", set(VERBS))],
)
def test_completion(words, number, expected):
    environment = {**os.environ, "_MI4_TUI_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": number}
    program = "import sys; from mi4_tui.cli import main; sys.exit(main([]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == expected


# Whose engine it is


def test_the_engine_beside_the_app_is_ours():
    assert check_identity() == ""


def test_an_engine_of_the_working_folder_is_not_taken(tmp_path):
    """PYTHONPATH and the working folder may hold another package of that name."""
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "__init__.py").write_text("raise SystemExit('the wrong engine')")
    (tmp_path / "t.json").write_text('[{"id": "a", "kind": "shell", "command": ["true"]}]')
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    for command in ([sys.executable, "-m", "mi4_tui"], [str(Path(sys.executable).with_name("mi4-tui"))]):
        done = subprocess.run(
            [*command, "t.json", "--dry-run"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "priority" in done.stdout


def test_an_app_without_its_engine_says_so(tmp_path):
    shutil.copytree(ROOT / "mi4_tui", tmp_path / "mi4_tui", ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, "-m", "mi4_tui", "status"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 70
    assert "install mi4-tui again" in done.stderr
    assert len(done.stderr.splitlines()) == 1


# Errors


def failing(error, monkeypatch):
    @click.command("run")
    @click.argument("files", nargs=-1)
    @click.option("-v", is_flag=True)
    def run(**_):
        raise error

    monkeypatch.setattr(cli, "get_command", lambda ctx, name: run)


def test_an_error_of_the_engine_is_its_line_and_status(monkeypatch, capsys):
    failing(StateFolderError("/x cannot be written; name another with --state-dir"), monkeypatch)
    assert main(["x"]) == 73
    assert capsys.readouterr().err == "mi4-tui: /x cannot be written; name another with --state-dir\n"


def test_every_fault_has_its_line(monkeypatch, capsys):
    failing(ExceptionGroup("x", [TaskFileError([Fault("a", 1, "one"), Fault("b", None, "two\x1b[2J")])]), monkeypatch)
    assert main(["x"]) == 65
    first, second = capsys.readouterr().err.splitlines()
    assert first == "mi4-tui: a:1: one"
    assert "\x1b" not in second


def test_a_fault_of_our_own_is_one_line_without_v(monkeypatch, capsys):
    failing(RuntimeError("oh"), monkeypatch)
    assert main(["x"]) == 70
    assert capsys.readouterr().err == "mi4-tui: internal error: RuntimeError: oh; -v shows where\n"
    assert main(["x", "-v"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_a_fault_of_the_system_names_its_file(monkeypatch, capsys):
    failing(PermissionError(13, "Permission denied", "/root/x"), monkeypatch)
    assert main(["x"]) == 74
    assert capsys.readouterr().err == "mi4-tui: /root/x: Permission denied\n"


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (click.Abort(), 130), (BrokenPipeError(), 0)])
def test_leaving_early_is_quiet(monkeypatch, capsys, error, code):
    failing(error, monkeypatch)
    assert main(["x"]) == code
    assert capsys.readouterr().err.strip() == ""


def test_python_m_is_the_same_program(tmp_path):
    (tmp_path / "t.json").write_text('[{"id": "a", "kind": "shell", "command": ["true"]}]')
    done = subprocess.run(
        [sys.executable, "-m", "mi4_tui", "t.json", "--dry-run", "--json"],
        capture_output=True,
        cwd=tmp_path,
        check=True,
    )
    assert json.loads(done.stdout)["id"] == "a"
