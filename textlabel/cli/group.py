"""How every command ends: one readable message and an exit code, whatever went wrong."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from textlabel.cli.output import complain
from textlabel.errors import TextlabelError

STOPPED = "nothing is half-written, and a repeated `fit` or `annotate` goes on from where it was"


class Terminated(KeyboardInterrupt):
    """Somebody asked the process to end by SIGTERM."""


class Commands(TyperGroup):
    """The command group: exit code 0 done, 1 failed, 2 wrong usage, 130 or 143 stopped."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take what concerns all commands from anywhere: people add it at the end of the line."""
        return super().parse_args(ctx, _first(args))

    def invoke(self, ctx: Any) -> Any:
        """Run the command; ``--debug`` lets errors through with their traceback."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # a closed pipe shows here, where it is still handled
            return result
        except KeyboardInterrupt as stop:
            complain(f"stopped: {str(stop) or STOPPED}")
            raise typer.Exit(143 if isinstance(stop, Terminated) else 130) from None
        except TextlabelError as error:
            _unless_debug(ctx, error)
            complain(str(error))
            raise typer.Exit(1) from None
        except Exception as error:
            if isinstance(error, typer.Abort | BrokenPipeError) or hasattr(error, "exit_code"):
                raise  # typer's own: usage errors, --help, a reader that has gone
            _unless_debug(ctx, error)
            complain(
                f"unexpected {type(error).__name__}: {error}\n"
                "This is a fault in textlabel or in a library it uses: repeat with --debug and report it."
            )
            raise typer.Exit(1) from None


class Several(TyperCommand):
    """A command whose ``--candidates``, ``--sources`` or ``--strategies`` takes all words up to the next."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option before each of its words, as click wants it."""
        return super().parse_args(ctx, repeated(args, ("--candidates", "--sources", "--strategies")))


def repeated(words: Sequence[str], options: Sequence[str]) -> list[str]:
    """Return a command line in which each word of a list option has the option before it.

    Examples
    --------
    >>> repeated(["t.csv", "--sources", "a", "b", "--json"], ["--sources"])
    ['t.csv', '--sources', 'a', '--sources', 'b', '--json']
    """
    found: list[str] = []
    option, fresh = "", False
    for word in words:
        if word.startswith("-"):
            option, fresh = word if word in options else "", True
        elif option and not fresh:
            found.append(option)
        else:
            fresh = False
        found.append(word)
    return found


def _first(args: list[str]) -> list[str]:
    """Return a line with ``--debug``, ``--config FILE.toml`` and ``--tracker NAME`` before all else.

    Where a command reads from the Hub, ``--config`` with another word is the configuration of a dataset.
    """
    front, rest, place = [], [], 0
    while place < len(args):
        word, value = args[place], args[place + 1 : place + 2]
        if word == "--debug" or word.startswith("--tracker=") or _is_file(word):
            front.append(word)
        elif value and (word == "--tracker" or (word == "--config" and value[0].endswith(".toml"))):
            front += [word, value[0]]
            place += 1
        else:
            rest.append(word)
        place += 1
    return [*front, *rest]


def _is_file(word: str) -> bool:
    return word.startswith("--config=") and word.endswith(".toml")


def _unless_debug(ctx: Any, error: Exception) -> None:
    if ctx.params.get("debug"):
        raise error
