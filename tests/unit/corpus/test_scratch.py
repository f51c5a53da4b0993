"""Scratch folders go with their process, and those of killed ones with the next process."""

from __future__ import annotations

import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from textlabel.corpus import scratch
from textlabel.corpus.scratch import Scratch

HOLD = """
from textlabel.corpus.scratch import Scratch
held = Scratch()
(held.folder / "rows").write_text("rows")
print(held.folder, flush=True)
input()
"""


@pytest.fixture
def place(monkeypatch, tmp_path):
    """Return the folder in which scratch folders are made, for processes started here, too."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def another() -> tuple[subprocess.Popen[str], Path]:
    """Return another process that holds a scratch folder, and that folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process, Path(process.stdout.readline().strip())


def ended(process: subprocess.Popen[str], signal_: int) -> None:
    process.send_signal(signal_)
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_a_folder_goes_with_what_holds_it(place):
    one, two = Scratch(), Scratch()
    assert one.folder != two.folder
    (one.folder / "rows").write_text("rows")
    one.remove()
    one.remove()
    assert list(place.iterdir()) == [two.folder]
    del two
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_nothing_else(place):
    others = {place / "textlabel-scratch-elsewhere~x", place / f"textlabel-scratch-{platform.node()}-1~x"}
    for other in others:  # of other machines that have the same disk
        other.mkdir()
    (place / "mine").mkdir()
    living, its = another()
    killed, left = another()
    try:
        assert left.is_dir()
        ended(killed, signal.SIGKILL)
        assert (left / "rows").is_file()
        scratch_ = Scratch()
        assert not left.exists()
        assert (its / "rows").is_file()  # that one still runs
        kept = {scratch_.folder, its, place / "mine", *others}
        assert set(place.iterdir()) == kept
    finally:
        ended(living, signal.SIGKILL)


def test_a_folder_that_was_taken_for_left_behind_is_made_again(place, monkeypatch):
    locked, taken = scratch._locked, []

    def late(folder, wait):
        if wait and not taken:  # another process gets the lock first, and removes the folder
            taken.append(folder)
            folder.rmdir()
        return locked(folder, wait)

    monkeypatch.setattr(scratch, "_locked", late)
    held = Scratch()
    assert taken != [held.folder]
    assert held.folder.is_dir()


def test_links_are_left_alone(place):
    (place / "mine").mkdir()
    prefix = Scratch().folder.name.rpartition("-")[0]
    (place / f"{prefix}-link").symlink_to(place / "mine")
    held = Scratch()
    assert held.folder.is_dir()
    assert (place / "mine").is_dir()
