"""The command line, within the process of a test."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import CliRunner

from textlabel.cli.app import app


def run(*words: object, code: int = 0) -> Any:
    """Run a command that is to end with an exit code, and return its output and streams."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done


def told(*words: object) -> Any:
    """Run a command with ``--json`` and return what it tells."""
    return json.loads(run(*words, "--json").stdout)
