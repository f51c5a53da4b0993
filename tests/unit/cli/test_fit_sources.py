"""`textlabel fit-sources`: sources by name, what was chosen, and a model that annotates."""

from __future__ import annotations

import json

import pytest
from commands import run, told
from tiny import snippets

from textlabel import Labeler


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    for name, rows in {"one": snippets(40, seed=1), "two": snippets(40, seed=2), "few": snippets(16)}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def words(home, backbone, out, *more):
    named = ("--source", f"one={home / 'one.jsonl'}", "--source", f"two={home / 'two.jsonl'}")
    rest = ("--target-labels", home / "few.jsonl", "--out", home / out, "--backbone", backbone, "--no-cache")
    return ("fit-sources", *named, *rest, *more)


def test_it_tells_candidates_and_writes_an_ordinary_model(home, tiny_backbone):
    summary = told(*words(home, tiny_backbone, "model", "--nearest", "0.8"))
    assert summary["rows"] == {"one": 32, "two": 32}
    assert set(summary["candidates"]) == {"all_rows", "pool", "best_single_source", "target_alone"}
    labeled = Labeler.load(home / "model").annotate([{"text": snippets(1, seed=9)[0]["text"]}])
    assert labeled.features["label"].names == ["negative", "positive"]


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [(("--nearest", "0"), 1, "expected a share"), (("--source", "three"), 1, "three")],
)
def test_wrong_use_is_told(home, tiny_backbone, more, code, message):
    assert message in run(*words(home, tiny_backbone, "never", *more), code=code).stderr
    assert not (home / "never").exists()
