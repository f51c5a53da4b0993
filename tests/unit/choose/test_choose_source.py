from __future__ import annotations

import json

import numpy as np
import pytest
from tiny import snippets

from textlabel.choose.source import Compared, SourceScore, choose_source, rank
from textlabel.engine.predict import predict
from textlabel.errors import CorpusError, RecipeError
from textlabel.gap import Gap
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.trust.discrepancy import median_squared_distance, mmd, vocabulary_overlap
from textlabel.types import LabelSchema


def compared(name, mmd, likelihood=None, leep=None):
    rows = {"likelihood": likelihood, "leep": leep if leep is not None else likelihood}
    return Compared(
        SourceScore(name, 50, mmd, 0.0, 0.0, 0.0, 0.0),
        **{key: None if value is None else np.array(value) for key, value in rows.items()},
    )


def order(choice):
    return [row.source for row in choice.rows]


# --- the rule -------------------------------------------------------------------------------------


def test_without_labels_the_nearest_is_first():
    found = rank([compared("far", 0.3), compared("near", -0.01), compared("between", 0.1)])
    assert order(found) == ["near", "between", "far"]
    assert (found.best, found.decided_by) == ("near", "mmd")
    assert found.reason.startswith("near: its texts are the nearest")


def test_with_labels_the_nearest_of_those_within_the_noise_is_first():
    best, close = [-0.1, -0.3, -0.2, -0.4], [-0.4, -0.1, -0.5, -0.1]
    worse, worst = [-1.1, -1.0, -1.2, -1.0], [-2.1, -2.0, -2.2, -2.0]
    several = {"best": (0.3, best), "worst": (0.0, worst), "close": (0.1, close), "worse": (0.4, worse)}
    found = rank([compared(name, *values) for name, values in several.items()])
    assert order(found) == ["close", "best", "worse", "worst"]
    assert found.decided_by == "likelihood, then mmd"
    assert "of the 2 within one standard error of the highest likelihood" in found.reason
    alone = rank([compared("best", 0.3, best), compared("worst", 0.0, worst)])
    assert order(alone) == ["best", "worst"]
    assert "beyond one standard error" in alone.reason


def test_leep_stands_in_for_all_where_one_has_other_names():
    good, bad = [-0.1, -0.1, -0.2], [-1.0, -1.1, -1.2]
    found = rank([compared("named", 0.1, likelihood=good, leep=bad), compared("other", 0.2, leep=good)])
    assert order(found) == ["other", "named"]
    assert found.decided_by == "leep, then mmd"
    assert "LEEP" in found.reason


# --- on real rows ---------------------------------------------------------------------------------

TARGET = snippets(80, seed=1)
NEAR = snippets(100, seed=2)
FAR = [{**row, "text": f"{row['text']} phone screen phone"} for row in snippets(100, seed=3)]
RENAMED = [{**row, "label": {"positive": "up", "negative": "down"}[row["label"]]} for row in NEAR]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    swapped = [
        {**row, "label": {"positive": "negative", "negative": "positive"}[row["label"]]} for row in NEAR
    ]
    corpora = {"target": TARGET, "near": NEAR, "far": FAR, "renamed": RENAMED, "swapped": swapped}
    corpora |= {"few": snippets(19), "one": [{**row, "label": "good"} for row in NEAR]}
    for name, rows in corpora.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {name: str(folder / f"{name}.jsonl") for name in corpora}


def test_numbers_without_labels(files, tiny_backbone):
    found = choose_source(files["target"], [files["far"], files["near"]], backbone=str(tiny_backbone), seed=4)
    assert order(found) == [files["near"], files["far"]]
    classifier = Classifier(load_backbone(tiny_backbone), LabelSchema("score"))
    texts = {name: [r["text"] for r in rows] for name, rows in (("target", TARGET), ("far", FAR))}
    x = {name: predict(classifier, several)[1].astype(np.float64) for name, several in texts.items()}
    far = found.rows[1]
    width = median_squared_distance(x["target"])
    assert far.mmd == pytest.approx(mmd(x["far"], x["target"], width), abs=1e-6)
    assert (far.jaccard, far.known_words) == vocabulary_overlap(texts["far"], texts["target"])
    gap = Gap(files["far"], files["target"], str(tiny_backbone), seed=4).run()
    assert far.distance == pytest.approx(gap["distance"], abs=1e-4)
    assert far.distance_error == pytest.approx(gap["standard_error"], abs=1e-4)
    assert far.rows == 100
    assert (far.leep, far.nce, far.accuracy, far.likelihood) == (None,) * 4
    assert json.loads(json.dumps(found.to_json()))["best"] == files["near"]


def test_labels_of_the_target_outweigh_distance(files, tiny_backbone):
    """The nearest source calls everything by the other name; its classes still tell the target's apart."""
    found = choose_source(
        files["target"],
        [files["swapped"], files["far"], files["near"]],
        TARGET[:40],
        backbone=str(tiny_backbone),
    )
    rows = {row.source: row for row in found.rows}
    assert order(found)[-1] == files["swapped"]
    assert found.decided_by == "likelihood, then mmd"
    near, swapped = rows[files["near"]], rows[files["swapped"]]
    assert near.accuracy > 0.6 > 0.4 > swapped.accuracy
    assert near.leep == pytest.approx(swapped.leep, abs=0.05)
    assert near.likelihood > swapped.likelihood


def test_other_names_are_compared_by_leep(files, tiny_backbone):
    found = choose_source(
        files["target"], [files["renamed"], files["near"]], TARGET[:40], backbone=str(tiny_backbone)
    )
    rows = {row.source: row for row in found.rows}
    assert found.decided_by == "leep, then mmd"
    assert rows[files["renamed"]].accuracy is None
    assert rows[files["renamed"]].leep == pytest.approx(rows[files["near"]].leep)
    assert rows[files["near"]].accuracy > 0.6


def test_labeled_rows_of_the_target_are_not_learned_from(files, tiny_backbone):
    """A source that holds them with wrong labels gives the same as one that lacks them."""
    labeled = TARGET[:30]
    wrong = [{**row, "id": f"w{i}", "label": "negative"} for i, row in enumerate(labeled)]
    args = {"backbone": str(tiny_backbone), "max_rows": 1000}
    clean = choose_source(TARGET, [NEAR], labeled, **args).rows[0]
    mixed = choose_source(TARGET, [[*NEAR, *wrong]], labeled, **args).rows[0]
    assert mixed.likelihood == pytest.approx(clean.likelihood, abs=1e-4)
    assert mixed.rows == clean.rows + 30
    with pytest.raises(CorpusError, match="source 1: only 0 of its rows are not among the labeled rows"):
        choose_source(TARGET, [labeled], labeled, **args)


def test_the_seed_decides_the_rows(files, tiny_backbone):
    def told(seed):
        one = [files["near"]]
        return choose_source(files["target"], one, backbone=str(tiny_backbone), max_rows=30, seed=seed).rows[
            0
        ]

    assert told(1) == told(1)
    assert told(1).rows == 30
    assert told(1).mmd != told(2).mmd


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"sources": []}, RecipeError, "no sources; expected one labeled corpus or more"),
        ({"sources": ["few"]}, CorpusError, r"few\.jsonl: 19 rows; expected 20 or more to compare"),
        ({"target": "few"}, CorpusError, "the target: 19 rows; expected 20 or more"),
        ({"sources": ["nowhere.csv"]}, CorpusError, "no such file"),
        ({"sources": ["one"], "target_labels": "target"}, CorpusError, "expected at least two"),
        ({"target_labels": "one"}, CorpusError, "expected at least two"),
        ({"max_rows": 5}, RecipeError, "max_rows = 5: expected 20 or more"),
        ({"text_column": "review"}, CorpusError, "there is no column 'review'"),
        ({"target_labels": "target", "label_column": "sign"}, CorpusError, "there is no column 'sign'"),
    ],
)
def test_what_cannot_be_compared_is_said(files, tiny_backbone, change, error, message):
    given = {"target": "target", "sources": ["near"], "backbone": str(tiny_backbone), **change}
    for key in ("target", "target_labels"):
        if key in given:
            given[key] = files.get(given[key], given[key])
    given["sources"] = [files.get(name, name) for name in given["sources"]]
    with pytest.raises(error, match=message):
        choose_source(**given)
