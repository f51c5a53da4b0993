"""Every way from a source to a target side by side: what it tells, and what it must never do."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from tiny import WORDS

from textlabel.engine.shared_features import SharedFeatures
from textlabel.errors import CorpusError, RecipeError
from textlabel.transfer import Transfer
from textlabel.transfer.corpora import read_corpora
from textlabel.transfer.variants import Maker


def plain(n, name):
    """Return n labeled texts of hardly more than words of one mood, which random weights tell apart, too."""
    rng = np.random.default_rng(len(name))
    moods = {"negative": WORDS[3:6], "positive": WORDS[:3]}
    labels = [("negative", "positive")[i % 2] for i in range(n)]
    texts = [f"{' '.join(rng.choice(moods[label], 4))} {name}{i}" for i, label in enumerate(labels)]
    return [{"text": text, "label": label} for text, label in zip(texts, labels, strict=True)]


SOURCE, GOLD = plain(120, "s"), plain(100, "gold")
TARGET = [{"text": row["text"]} for row in plain(60, "target")]
OTHER = {"negative": "positive", "positive": "negative"}


def flipped(rows):
    return [{**row, "label": OTHER[row["label"]]} for row in rows]


@pytest.fixture
def report(tiny_backbone):
    return partial(Transfer, backbone=str(tiny_backbone), budget="0")


def by_name(told):
    return {one["variant"]: one for one in told["variants"]}


@pytest.fixture(scope="module")
def whole(tiny_backbone):
    """The report of a source of the same domain, and of wrong class shares; 7 gold rows are in it."""
    gold = [{**row, "brand": "one" if i < 30 else "two"} for i, row in enumerate([*GOLD, *SOURCE[:7]])]
    shares = "positive=.95,negative=.05"
    return Transfer(
        SOURCE, TARGET, gold, ("auto",), str(tiny_backbone), class_shares=shares, by="brand", budget="0"
    ).run()


def test_the_table_of_a_source_of_the_same_domain(whole):
    found = by_name(whole)
    assert list(found) == ["source only", "no transfer", "auto", "class shares stated", "target only"]
    for one in found.values():
        assert one["accuracy"] == one["right"] / one["rows"]
        assert one["low"] <= one["accuracy"] <= one["high"]
        assert one["high"] - one["low"] > 0.03
        assert one["seconds"] >= 0
    base, other = found["source only"], found["auto"]
    assert base["difference"] is None
    assert base["accuracy_on_source"] > 0.8
    assert base["estimate"]["promise"] == "estimate, not a guarantee"
    assert other["difference"]["value"] == pytest.approx(other["accuracy"] - base["accuracy"])
    assert found["target only"]["accuracy_on_source"] is None
    assert "negative transfer" not in found["auto"]["verdict"] + found["target only"]["verdict"]
    assert "train, calibrate and choose nothing" in whole["promises"][0]
    assert "Bonferroni" in whole["promises"][1]


def test_gold_rows_of_the_source_are_told_and_left_out(whole):
    assert (whole["source_rows"], whole["target_rows"]) == (120, 60)
    assert (whole["gold_rows"], whole["gold_rows_left_out"]) == (100, 7)
    assert {one["rows"] for one in whole["variants"]} == {100}
    with pytest.raises(CorpusError, match="all 5 texts are among"):
        Transfer(SOURCE, TARGET, SOURCE[:5], backbone="no such backbone").run()


def test_adapting_that_harms_is_called_negative_transfer(whole):
    harmed = by_name(whole)["class shares stated"]
    assert harmed["difference"]["high"] < 0
    assert harmed["verdict"].startswith("negative transfer: ")
    assert harmed["verdict"].endswith("worse than the source alone")


def test_slices_tell_errors_and_accepted_rows_before_and_after(whole):
    assert [(one["slice"], one["rows"]) for one in whole["slices"]] == [("one", 30), ("two", 70)]
    for name, one in by_name(whole).items():
        lines = [next(v for v in part["variants"] if v["variant"] == name) for part in whole["slices"]]
        assert sum(line["wrong"] for line in lines) == 100 - one["right"]
        assert sum(line["accepted"] for line in lines) == pytest.approx(100 * one["fraction_accepted"])
        assert lines[0]["error"] == lines[0]["wrong"] / 30
    first, other = (whole["slices"][0]["variants"][i] for i in (0, 3))
    assert first["difference"] is None
    assert other["difference"]["value"] == pytest.approx(first["error"] - other["error"]) != 0


@pytest.mark.slow
def test_a_source_of_the_other_polarity_hurts(report):
    told = report(flipped(SOURCE), TARGET, GOLD, recipes=()).run()
    assert by_name(told)["target only"]["verdict"].startswith("negative transfer: the source hurts: ")
    assert by_name(told)["source only"]["accuracy"] < 0.3


@pytest.mark.slow
def test_gold_never_reaches_what_the_source_taught(tiny_backbone):
    logits, told = [], []
    for gold in (None, flipped(GOLD)):
        corpora = read_corpora(SOURCE, TARGET, gold, reading={})
        maker = Maker(corpora, str(tiny_backbone), "0", 0, SharedFeatures())
        variants = [maker.source_only(), maker.no_transfer(), maker.adapted("auto")]
        told.append([(one.name, one.on_source, one.estimate) for one in variants])
        logits.append([maker.models[name].predict(TARGET).logits for name in maker.models])
    assert told[0] == told[1]
    assert all(np.array_equal(one, two) for one, two in zip(*logits, strict=True))


@pytest.mark.slow
def test_without_gold_estimates_are_told_and_promise_nothing(report):
    told = report(SOURCE, TARGET, recipes=()).run()
    verdict = by_name(told)["no transfer"]["verdict"]
    assert verdict.startswith("estimated ")
    assert verdict.endswith("estimate, not a guarantee")
    assert told["gold_rows"] == 0
    assert "accuracy" not in by_name(told)["source only"]
    assert len(told["promises"]) == 1


@pytest.mark.slow
def test_a_poisoned_part_of_the_source_is_found(report):
    good = [{**row, "part": "good"} for row in plain(100, "good")]
    poisoned = [{**row, "part": "poisoned"} for row in flipped(plain(160, "poison"))]
    told = report([*good, *poisoned], TARGET, GOLD, recipes=(), source_by="part").run()
    worst = told["parts"][0]
    assert (worst["part"], worst["rows"]) == ("poisoned", 160)
    assert worst["verdict"].startswith("hurts: ")
    assert worst["alone"] < 0.4 < 0.7 < worst["without"]
    assert worst["loss"] == pytest.approx(by_name(told)["source only"]["accuracy"] - worst["without"])
    assert told["parts"][1]["verdict"].startswith("helps: ")


@pytest.mark.slow
def test_parts_without_gold_are_estimated_and_one_of_one_class_says_so(report):
    rows = [
        {**row, "part": "ab"[i % 4 // 2] if i >= 30 or i % 2 else "negative"} for i, row in enumerate(SOURCE)
    ]
    told = report(rows, TARGET, recipes=(), source_by="part").run()
    found = {one["part"]: one for one in told["parts"]}
    assert found["a"]["verdict"].endswith("estimate, not a guarantee")
    assert found["negative"]["alone"] is None
    assert "at least two" in found["negative"]["note"]


def test_gold_of_too_few_rows_for_a_model_of_its_own_still_scores(report):
    told = report(SOURCE, [*TARGET, *GOLD], [GOLD[0]], recipes=()).run()
    found = by_name(told)["target only"]
    assert found["verdict"].startswith("not fitted: ")
    assert "accuracy" not in found
    assert by_name(told)["source only"]["rows"] == 1


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"gold": [{"text": "fine", "label": "neutral"}]}, CorpusError, "'neutral', which no row of the sou"),
        ({"by": "brand"}, RecipeError, "there are none: give gold"),
        ({"by": "brand", "gold": GOLD}, CorpusError, "the gold rows: there is no column 'brand'"),
        (
            {"by": "text_id", "gold": [{**r, "text_id": i} for i, r in enumerate(GOLD)]},
            CorpusError,
            "100 dif",
        ),
        ({"source_by": "stars"}, CorpusError, "the source: there is no column"),
        ({"source_by": "label"}, RecipeError, "column of the labels"),
        ({"recipes": ("lora",)}, RecipeError, "reads no texts of the target"),
        ({"recipes": ("auto", "auto")}, RecipeError, "there twice"),
        ({"class_shares": "neutral=.7"}, CorpusError, "no class 'neutral'"),
    ],
)
def test_what_makes_no_sense_is_refused_before_a_model_is_fitted(options, error, words):
    with pytest.raises(error, match=words):
        Transfer(SOURCE, TARGET, **options, backbone="no such backbone").run()


def test_more_than_twelve_parts_are_refused():
    rows = [{**row, "part": str(i % 13)} for i, row in enumerate(SOURCE)]
    with pytest.raises(RecipeError, match="13 different values in the source; expected 2 to 12"):
        Transfer(rows, TARGET, source_by="part", backbone="no such backbone").run()


@pytest.mark.slow
def test_a_source_free_recipe_goes_on_from_the_source_alone(report):
    found = by_name(report(SOURCE, TARGET, [GOLD[0]], recipes=("tent",)).run())["tent"]
    assert found["accuracy_on_source"] is None
    assert found["fraction_accepted"] == 0
    assert found["verdict"].endswith("not calibrated")
