from __future__ import annotations

import json

import numpy as np
import pytest
from tiny import snippets, write_backbone, write_static

from textlabel.choose.backbone import Judged, choose_backbone, decide
from textlabel.choose.rows import sample
from textlabel.corpus.dedup import groups
from textlabel.engine.head import fit_head
from textlabel.engine.predict import predict
from textlabel.engine.run import Task
from textlabel.errors import BackboneError, CorpusError, RecipeError
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.recipe import Recipe
from textlabel.trust.transferability import h_score, logme
from textlabel.types import LabelSchema


def judged(name, wrong=(), n=100, speed=100.0, logme=0.0, h_score=0.0):
    right = np.ones(n, dtype=bool)
    right[list(wrong)] = False
    return Judged(name, right, np.where(right, 0.1, 2.0), logme, h_score, speed, 1.0)


# --- the rule -------------------------------------------------------------------------------------


def test_within_one_paired_standard_error_logme_decides_then_the_h_score():
    best, close = judged("best", range(10)), judged("close", range(9, 20), logme=0.1)
    far = judged("far", range(40), logme=0.9)
    found = decide([best, close, far])
    assert found.best == "close"
    assert found.reason == (
        "close is, of the 2 within one standard error of the most accurate, best (0.900), "
        "the one that LogME prefers"
    )
    assert decide([close, judged("tied", range(9, 20), logme=0.1, h_score=0.5)]).best == "tied"
    kept = decide([judged("best", range(10), logme=0.2), close])
    assert kept.best == "best"
    assert kept.reason == (
        "best is the most accurate (0.900), and of the 2 within one standard error the one that LogME prefers"
    )
    assert decide([best, judged("fast", range(9, 20), logme=-1, speed=1e5)]).best == "best"


def test_where_speed_is_preferred_the_fastest_within_one_paired_standard_error_is_taken():
    found = decide([judged("slow", range(10)), judged("fast", range(9, 20), speed=1000.0)], "speed")
    assert found.best == "fast"
    assert found.reason == (
        "fast is, of the 2 within one standard error of the most accurate, slow (0.900), the fastest"
    )
    behind = np.zeros(100)
    behind[:9], behind[10:20] = -1, 1
    assert found.rows[1].behind == pytest.approx(behind.mean())
    assert found.rows[1].behind_error == pytest.approx(behind.std(ddof=1) / 10)


def test_errors_are_paired():
    """Two candidates that err on the same rows are told apart by few others."""
    slow, fast = judged("slow", range(40)), judged("fast", range(43), speed=1000.0)
    found = decide([slow, fast], "speed")
    assert found.rows[1].accuracy_error > found.rows[1].behind  # what would not tell them apart
    assert found.best == "slow"
    assert found.reason == (
        "slow (0.600) is the most accurate, and no other is within one standard error of it"
    )


def test_equally_fast_ones_are_told_apart_by_logme_then_by_the_h_score():
    near = {"n": 50, "wrong": range(5)}
    best = judged("best", **near, speed=100)
    quick = [judged("a", **near, speed=990, logme=0.1), judged("b", **near, speed=1000, logme=0.0)]
    found = decide([best, *quick], "speed")
    assert found.best == "a"
    assert found.reason.endswith("; 2 are about as fast, and LogME prefers it among them")
    assert decide([*quick, judged("c", **near, speed=900, logme=0.1, h_score=1.0)], "speed").best == "c"
    slower = judged("a", **near, speed=500, logme=9)
    assert decide([best, judged("b", **near, speed=1000), slower], "speed").best == "b"


def test_the_most_accurate_may_be_the_fastest():
    several = [judged("best", range(3), speed=50), judged("other", range(3), speed=10, logme=-1)]
    found = decide(several, "speed")
    assert found.best == "best"
    assert found.reason.endswith("and of the 2 within one standard error the fastest")
    assert decide([judged("alone")]).best == "alone"


# --- on real rows ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def candidates(tmp_path_factory, tiny_backbone):
    folder = tmp_path_factory.mktemp("candidates")
    other = write_backbone(folder / "other", "distilbert", seed=3)
    return [str(tiny_backbone), str(other), str(write_static(folder / "static"))]


def test_numbers_are_those_of_the_head_recipe_and_the_scores(candidates):
    rows = snippets(60)
    found = choose_backbone(rows, candidates, seed=2)
    y = np.array([["negative", "positive"].index(row["label"]) for row in rows])
    texts = [row["text"] for row in rows]
    for name, score in zip(candidates, found.rows, strict=True):
        classifier = Classifier(load_backbone(name), LabelSchema("single", ("negative", "positive")))
        x = predict(classifier, texts)[1].astype(np.float64)
        fitted = fit_head(x, y, groups(texts), 2, Recipe.load("head").stages[0], 2)
        assert score.backbone == name
        assert score.accuracy == pytest.approx(np.mean(fitted.out_of_fold.argmax(axis=1) == y))
        z = fitted.out_of_fold[:, 1] - fitted.out_of_fold[:, 0]
        assert score.nll == pytest.approx(np.mean(np.log1p(np.exp(np.where(y, -z, z)))), rel=1e-6)
        assert score.logme == pytest.approx(logme(x, y), rel=1e-5)
        assert score.h_score == pytest.approx(h_score(x, y), rel=1e-5)
        assert score.texts_per_second > 0
        assert 0 < score.megabytes < 1
    assert found.best in candidates
    assert json.loads(json.dumps(found.to_json()))["best"] == found.best


def test_a_second_look_reads_the_cache_and_still_measures_speed(candidates, tmp_path, monkeypatch):
    monkeypatch.setenv("TEXTLABEL_CACHE", str(tmp_path / "own"))
    rows = snippets(80)
    first, again = (choose_backbone(rows, candidates[:1]) for _ in range(2))
    assert list((tmp_path / "own").rglob("*"))
    assert again.rows[0].accuracy == first.rows[0].accuracy
    assert again.rows[0].texts_per_second < 50 * first.rows[0].texts_per_second  # not that of the disk
    monkeypatch.setenv("TEXTLABEL_CACHE", str(tmp_path / "none"))
    choose_backbone(rows, candidates[:1], cache=False)
    assert not (tmp_path / "none").exists()


def test_by_default_those_on_this_machine(candidates, monkeypatch):
    from textlabel.models import catalog, fetch

    monkeypatch.setattr(fetch, "present", lambda name: False)
    with pytest.raises(BackboneError, match="no registered backbone is on this machine; name candidates"):
        choose_backbone(snippets(40))
    monkeypatch.setattr(catalog, "entries", lambda: dict.fromkeys(candidates[:2]))
    monkeypatch.setattr(fetch, "present", lambda name: name == candidates[1])
    monkeypatch.setattr("textlabel.models.backbone.locate", lambda name: (_folder(name), "path"))
    assert [row.backbone for row in choose_backbone(snippets(40)).rows] == candidates[1:2]


def _folder(name):
    from pathlib import Path

    return Path(name)


def test_a_candidate_named_twice_is_tried_once(candidates):
    assert len(choose_backbone(snippets(40), [candidates[0], candidates[0]]).rows) == 1


def test_a_sample_keeps_rare_classes():
    targets = np.repeat([0, 1, 2], [500, 480, 6])
    task = Task([str(i) for i in range(len(targets))], targets, LabelSchema("single", ("a", "b", "c")))
    kept = [sample(task, 60, seed) for seed in range(5)]
    for part in kept:
        assert len(part.texts) == 60
        assert np.bincount(part.targets).min() >= 5
        assert np.array_equal(targets[[int(text) for text in part.texts]], part.targets)
    assert len({tuple(part.texts) for part in kept}) == 5
    assert abs(np.mean([(part.targets == 0).sum() for part in kept]) - 28) < 5
    assert sample(task, 2000, 0) is task


def test_a_row_that_cannot_be_held_out_is_not_judged(candidates):
    """A class of a single text is learned, and never counted as wrong."""
    rows = snippets(40)
    alone = {"text": "the plot was poor", "label": "bland"}
    known, more = (choose_backbone(r, candidates[:1], seed=1).rows[0] for r in (rows, [*rows, alone]))
    assert more.accuracy * 40 == pytest.approx(round(more.accuracy * 40))
    assert more.accuracy == pytest.approx(known.accuracy, abs=0.1)


def test_max_rows_are_looked_at(candidates):
    few = choose_backbone(snippets(200), candidates[:1], max_rows=50)
    assert few.rows[0].accuracy * 50 == pytest.approx(round(few.rows[0].accuracy * 50))
    assert few.rows[0].nll != choose_backbone(snippets(200), candidates[:1]).rows[0].nll


ONE_CLASS = [{**row, "label": "good"} for row in snippets(40)]


@pytest.mark.parametrize(
    ("rows", "names", "error", "message"),
    [
        (ONE_CLASS, None, CorpusError, "expected at least two: add labeled rows of another class"),
        (snippets(4), None, CorpusError, "4 rows are of a class with two distinct texts"),
        (snippets(40)[:2], None, CorpusError, "0 rows are of a class .* expected 10 or more to compare"),
        (snippets(40), ["all-MiniLM-L6"], BackboneError, "unknown backbone 'all-MiniLM-L6': did you mean"),
        ([{"text": "good film"}], None, CorpusError, "there is no column 'label'"),
    ],
)
def test_what_cannot_be_judged_is_said(candidates, rows, names, error, message):
    with pytest.raises(error, match=message):
        choose_backbone(rows, names or candidates[:1])


def test_a_preference_that_is_unknown_is_said(candidates):
    with pytest.raises(RecipeError, match="prefer = 'sped' is unknown: did you mean 'speed'"):
        choose_backbone(snippets(40), candidates[:1], prefer="sped")


def test_an_unknown_candidate_is_told_before_anything_is_computed(candidates, monkeypatch):
    monkeypatch.setattr("textlabel.models.backbone.load_backbone", lambda name: pytest.fail("too early"))
    with pytest.raises(BackboneError, match="unknown backbone 'nothing'"):
        choose_backbone(snippets(40), [candidates[0], "nothing"])
