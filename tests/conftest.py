from __future__ import annotations

from pathlib import Path

import pytest
from tiny import write_backbone


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer BERT with its tokenizer, on disk."""
    return write_backbone(tmp_path_factory.mktemp("tiny-bert"))
