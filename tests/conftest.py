from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import fsspec
import pytest
from tiny import write_backbone

ALLOWED_SKIPS = Path(__file__).with_name("allowed_skips.txt")


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer BERT with its tokenizer, on disk."""
    return write_backbone(tmp_path_factory.mktemp("tiny-bert"))


@pytest.fixture
def store():
    """Return a store in memory, and empty it."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    yield files
    files.store.clear()


# In CI a skipped test is a test that nobody runs: it fails, unless tests/allowed_skips.txt says why not.


def _refuse_silent_skip(report: Any) -> Any:
    known = [line.split(maxsplit=1)[0] for line in ALLOWED_SKIPS.read_text().splitlines() if line.strip()]
    expected = hasattr(report, "wasxfail") or any(fnmatch(report.nodeid, pattern) for pattern in known)
    if os.environ.get("CI") and report.skipped and not expected:
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, and not in {ALLOWED_SKIPS.name}: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    return _refuse_silent_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    return _refuse_silent_skip((yield))


@pytest.fixture(scope="session", autouse=True)
def no_cache_of_the_user(tmp_path_factory):
    """Keep features that fixtures of a whole module compute out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEXTLABEL_CACHE", str(tmp_path_factory.mktemp("features")))
        patch.delenv("TEXTLABEL_CACHE_GB", raising=False)
        yield


@pytest.fixture(autouse=True)
def own_ledger(tmp_path, monkeypatch):
    """Count looks at a test's corpus in the test's own folder, not in the user's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Keep a test's features in the test's own folder."""
    monkeypatch.setenv("TEXTLABEL_CACHE", str(tmp_path / "features"))
