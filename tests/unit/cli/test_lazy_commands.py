"""Commands are there under their names, and are imported when they are called."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from commands import run

from textlabel.cli.commands import COMMANDS, Loaded

NAMES = [name for group in COMMANDS.values() for name in group]


@pytest.mark.parametrize("name", NAMES)
def test_each_command_loads_under_its_name(name):
    command = Loaded()[name]
    assert command.name == name
    assert len(command.help.splitlines()[0]) > 20


def test_help_lists_each_command_once_and_under_a_heading():
    lines = run("--help").stdout.splitlines()
    assert [heading for heading in COMMANDS if f"{heading}:" in lines] == list(COMMANDS)
    listed = [line.split()[0] for line in lines if line.startswith("  ") and line.split()[0] in NAMES]
    assert listed == NAMES
    assert max(map(len, lines)) <= 100


def test_a_mistyped_command_has_its_nearest_named():
    assert "Did you mean 'annotate'?" in run("anotate", code=2).stderr


def test_an_unknown_command_is_not_imported():
    assert Loaded().get("nonsense") is None
    assert isinstance(run("nonsense", code=2).stderr, str)


def complete(line: str, without: str = "torch") -> list[str]:
    words = line.split(" ")
    asked = {
        "_TEXTLABEL_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    code = "import sys; from textlabel.cli import main\ntry: main()\n"
    code += f"finally: print({without!r} in sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **asked}, capture_output=True, text=True
    )
    assert done.stderr.splitlines()[-1] == "False", done.stderr  # nothing heavy for a Tab key
    return done.stdout.splitlines()


def test_tab_completes_commands_options_and_names_of_recipes():
    assert complete("textlabel choose-", without="numpy") == ["choose-backbone", "choose-source"]
    assert complete("textlabel fit --rec") == ["--recipe"]
    assert "self_training" in complete("textlabel fit --recipe self")
    assert complete("textlabel audit dr") == ["draw"]
    assert "all-MiniLM-L6-v2" in complete("textlabel fit --backbone all-")


def test_push_says_what_may_be_pushed(tmp_path):
    assert (
        "`textlabel fit` or `textlabel annotate` wrote, or a sheet"
        in run("push", tmp_path / "nowhere", "user/name", "--dry-run", code=1).stderr
    )
