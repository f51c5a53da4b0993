"""Several sources and a few target rows: what is chosen, and that a pool is one linear head."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tiny import snippets

from textlabel import Labeler
from textlabel.engine.comparison import tempered_losses
from textlabel.engine.source_pool import (
    ALL,
    POOL,
    SINGLE,
    TARGET,
    candidates,
    combine_sources,
    combined,
    taken,
)
from textlabel.engine.task import load_task
from textlabel.errors import CorpusError
from textlabel.models.backbone import load_backbone
from textlabel.models.bundle import Bundle
from textlabel.models.heads import Linear
from textlabel.trust.calibration import softmax

FLIP = {"negative": "positive", "positive": "negative"}


def task(rows):
    return load_task(rows, None, None, "single")[0]


@pytest.fixture(scope="module")
def given():
    source = snippets(60, seed=1)
    flipped = [{**row, "label": FLIP[row["label"]]} for row in snippets(60, seed=2)]
    return {"like": task(source), "poisoned": task(flipped)}, task(snippets(24, seed=3))


@pytest.fixture(scope="module")
def bundle(tiny_backbone, given):
    return combine_sources(load_backbone(tiny_backbone), *given, 0)


def test_a_pool_of_heads_is_one_head():
    rng = np.random.default_rng(0)
    heads = [Linear(rng.normal(size=(3, 5)), rng.normal(size=3)) for _ in range(3)]
    weights, x = rng.dirichlet(np.ones(3)), rng.normal(size=(20, 5))
    product = np.prod([softmax(head(x)) ** w for head, w in zip(heads, weights, strict=True)], axis=0)
    wanted = product / product.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(softmax(combined(heads, weights)(x)), wanted, atol=1e-12)


def test_it_tells_weights_and_candidates_and_a_poisoned_source_has_none(bundle):
    told = bundle.record["sources"]
    assert list(told["candidates"]) == [ALL, POOL, SINGLE, TARGET]
    assert told["chosen"] in told["candidates"]
    assert told["pool_weights"]["poisoned"] == 0
    assert sum(told["pool_weights"].values()) == pytest.approx(1, abs=1e-3)
    assert told["candidates"][TARGET]["gain"] == 0


def test_it_is_an_ordinary_model_and_the_same_each_time(bundle, given, tiny_backbone, tmp_path):
    again = combine_sources(load_backbone(tiny_backbone), *given, 0)
    assert again.digest() == bundle.digest() == Bundle.load(bundle.save(tmp_path / "model")).digest()


def test_target_texts_in_a_source_do_not_judge_themselves(given, tiny_backbone):
    _, target = given
    rows = [
        {"id": f"t{i}", "text": text, "label": target.schema.names[y]}
        for i, (text, y) in enumerate(zip(target.texts, target.targets, strict=True))
    ]
    more = {"both": task([*rows, *({**row, "id": f"s{row['id']}"} for row in snippets(40, seed=5))])}
    found = combine_sources(load_backbone(tiny_backbone), more, target, 0).record["sources"]["rows"]["both"]
    assert found <= 40


def test_a_source_of_the_targets_own_rows_is_refused_by_name(given, tiny_backbone):
    sources, target = given
    for copies in ({"copy": target, **sources}, {**sources, "copy": target}):
        with pytest.raises(CorpusError, match=r"'copy'.* of other texts than the target rows"):
            combine_sources(load_backbone(tiny_backbone), copies, target, 0)


def test_copies_of_target_rows_take_no_place_among_the_nearest(given, tiny_backbone):
    _, target = given
    copies = [
        {"id": f"t{i}", "text": text, "label": target.schema.names[y]}
        for i, (text, y) in enumerate(zip(target.texts, target.targets, strict=True))
    ]
    known = {row["text"] for row in copies}
    others = [
        {"id": f"s{i}", **row} for i, row in enumerate(snippets(60, seed=5)) if row["text"] not in known
    ]
    found = [
        combine_sources(load_backbone(tiny_backbone), {"x": task(rows)}, target, 0, nearest=0.5)
        for rows in (others, [*copies, *others])
    ]
    rows = [one.record["sources"]["rows"]["x"] for one in found]
    assert rows[0] == rows[1]


def test_another_label_set_or_no_source_is_refused(given, tiny_backbone):
    _, target = given
    other = task([{**row, "label": row["label"][:3]} for row in snippets(20)])
    for sources, says in (({"x": other}, "map the labels first"), ({}, "got none")):
        with pytest.raises(CorpusError, match=says):
            combine_sources(load_backbone(tiny_backbone), sources, target, 0)


def test_the_facade_fits_and_annotates(tiny_backbone):
    labeler = Labeler(tiny_backbone, cache=False).fit_sources(
        {"like": snippets(40, seed=1)}, snippets(24, seed=3)
    )
    assert set(labeler.record()["sources"]["pool_weights"]) == {"like", TARGET}
    assert len(labeler.annotate([{"text": "a great film"}])) == 1


def test_only_the_nearest_rows_of_a_source_are_used(given, tiny_backbone):
    sources, few = given
    near = dataclasses.replace(few, unlabeled=[row["text"] for row in snippets(50, seed=4)])
    bundle = combine_sources(load_backbone(tiny_backbone), sources, near, 0, nearest=0.5)
    told = bundle.record["sources"]
    assert told["rows"] == {name: len(task.texts) // 2 for name, task in sources.items()}
    assert told["nearest"] == 0.5


def test_a_class_that_is_never_near_is_told(given, tiny_backbone):
    with pytest.raises(CorpusError, match=r"source 'like': of class '\w+' \d rows are among the nearest 2%"):
        combine_sources(load_backbone(tiny_backbone), *given, 0, nearest=0.02)


@pytest.mark.parametrize("flipped", [False, True])
def test_all_rows_stand_unless_a_source_means_something_else(flipped):
    rows = 60
    chosen = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        y = np.arange(32 + rows) % 2
        x = rng.normal(size=(32 + rows, 6)) + 1.2 * np.eye(2, 6)[y]
        of = (np.arange(len(y)) >= 32).astype(np.int64)
        y[of == 1] ^= flipped
        found, _ = candidates(x, y, np.arange(len(y)), of, 2, 0)
        losses = {name: tempered_losses(one.out_of_fold, y[:32]) for name, one in found.items()}
        chosen.append(taken(losses))
        if flipped:  # nothing is left of the pile but the target's own rows
            alone = found[TARGET].head.weight
            np.testing.assert_allclose(found[ALL].head.weight, alone, atol=1e-9)
    assert sum(name == ALL for name in chosen) >= 3


@pytest.mark.parametrize("seed", range(4))
def test_a_source_that_means_something_else_does_not_spoil_the_pile(seed):
    """Two good sources and one with its classes the other way around."""
    rng = np.random.default_rng(seed)
    of = np.repeat([0, 1, 2, 3, 4], [32, 80, 80, 80, 400])  # 4: unseen rows of the target
    y = np.arange(len(of)) % 2
    x = rng.normal(size=(len(of), 6)) + 0.8 * np.eye(2, 6)[y]
    y = np.where(of == 3, 1 - y, y)
    test = of == 4
    found, _ = candidates(x[~test], y[~test], np.arange((~test).sum()), of[~test], 2, 0)
    right = {name: np.mean(one.head(x[test]).argmax(axis=1) == y[test]) for name, one in found.items()}
    clean = of[~test] != 3
    without, _ = candidates(x[~test][clean], y[~test][clean], np.arange(clean.sum()), of[~test][clean], 2, 0)
    assert right[ALL] == np.mean(without[ALL].head(x[test]).argmax(axis=1) == y[test])
    assert right[ALL] > right[TARGET] - 0.03
