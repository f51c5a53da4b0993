"""Every way a command can end: what is printed where, and the exit code."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from textlabel.cli.group import STOPPED, Commands, Terminated
from textlabel.errors import CorpusError


def make_app(ending):
    app = typer.Typer(cls=Commands, rich_markup_mode=None, pretty_exceptions_enable=False)

    @app.callback()
    def start(debug: bool = False) -> None:
        pass

    @app.command()
    def work() -> None:
        typer.echo("before")
        if ending is not None:
            raise ending

    return app


@pytest.mark.parametrize(
    ("ending", "code", "message"),
    [
        (None, 0, ""),
        (CorpusError("rows.csv, row 3: no"), 1, "textlabel: rows.csv, row 3: no\n"),
        (KeyboardInterrupt(), 130, f"textlabel: stopped: {STOPPED}\n"),
        (Terminated("3 of 4 shards are done"), 143, "textlabel: stopped: 3 of 4 shards are done\n"),
        (typer.Exit(7), 7, ""),
    ],
)
def test_ending(ending, code, message):
    done = CliRunner().invoke(make_app(ending), ["work"])
    assert (done.exit_code, done.stdout, done.stderr) == (code, "before\n", message)


def test_a_fault_of_ours_says_so_in_one_message():
    done = CliRunner().invoke(make_app(KeyError("lost")), ["work"])
    assert done.exit_code == 1
    assert done.stderr.startswith("textlabel: unexpected KeyError: 'lost'\n")
    assert "--debug" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["--debug", "work"], ["work", "--debug"]])
@pytest.mark.parametrize("error", [CorpusError("no"), KeyError("lost")])
def test_debug_lets_the_traceback_through_wherever_it_stands(words, error):
    done = CliRunner().invoke(make_app(error), words)
    assert done.exception is error


def test_another_process_of_a_launch_says_which_it_is(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    done = CliRunner().invoke(make_app(CorpusError("no")), ["work"])
    assert done.stderr == "textlabel (process 1): no\n"
