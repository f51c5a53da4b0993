"""The command line: one module a command; nothing heavy is imported before a command runs."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn


def main() -> None:
    """Run the command line and exit."""
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")  # ours say it
    from textlabel.cli.app import app

    signal.signal(signal.SIGTERM, _terminate)
    try:
        app(prog_name="textlabel")
    finally:
        _leave_process_group()


def _terminate(*_: object) -> NoReturn:
    """End as after Ctrl-C, with one message."""
    from textlabel.cli.group import Terminated

    raise Terminated


def _leave_process_group() -> None:
    """Part from the other processes of a launch; torch warns about those that just vanish."""
    if "torch.distributed" in sys.modules:
        import torch.distributed

        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
