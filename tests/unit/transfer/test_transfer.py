"""Every way from a source to a target side by side: what it tells, and what it must never do."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from tiny import snippets

from textlabel.engine.shared_features import SharedFeatures
from textlabel.errors import CorpusError, RecipeError
from textlabel.transfer import Transfer
from textlabel.transfer.corpora import read_corpora
from textlabel.transfer.variants import Maker

SOURCE = snippets(120)
TARGET = [{"text": f"{row['text']} target"} for row in snippets(60, seed=1)]
GOLD = [{**row, "text": f"{row['text']} gold"} for row in snippets(100, seed=2)]
OTHER = {"negative": "positive", "positive": "negative"}


def flipped(rows):
    return [{**row, "label": OTHER[row["label"]]} for row in rows]


@pytest.fixture
def report(tiny_backbone):
    return partial(Transfer, backbone=str(tiny_backbone), budget="0")


def by_name(told):
    return {one["variant"]: one for one in told["variants"]}


def test_the_table_of_a_source_of_the_same_domain(report):
    told = report(SOURCE, TARGET, GOLD).run()
    found = by_name(told)
    assert list(found) == ["source only", "no transfer", "auto", "target only"]
    counts = (told["source_rows"], told["target_rows"], told["gold_rows"], told["gold_rows_left_out"])
    assert counts == (120, 60, 100, 0)
    for one in found.values():
        assert one["low"] < one["accuracy"] == one["right"] / 100 < one["high"] or one["accuracy"] == 1
        assert one["seconds"] >= 0
    assert found["source only"]["difference"] is None
    assert found["source only"]["accuracy_on_source"] > 0.8
    assert found["source only"]["estimate"]["promise"] == "estimate, not a guarantee"
    assert found["target only"]["accuracy_on_source"] is None
    base, other = found["source only"], found["no transfer"]
    assert other["difference"]["value"] == pytest.approx(other["accuracy"] - base["accuracy"])
    assert "negative transfer" not in found["auto"]["verdict"] + found["target only"]["verdict"]
    assert "train, calibrate and choose nothing" in told["promises"][0]
    assert "Bonferroni" in told["promises"][1]


def test_adapting_that_harms_is_called_negative_transfer(report):
    told = report(SOURCE, TARGET, GOLD, class_shares="positive=.999,negative=.001").run()
    harmed = by_name(told)["class shares stated"]
    assert harmed["difference"]["high"] < 0
    assert harmed["verdict"].startswith("negative transfer: ")
    assert "points" in harmed["verdict"]
    assert harmed["verdict"].endswith("worse than the source alone")


def test_a_source_of_the_other_polarity_hurts(report):
    told = report(flipped(SOURCE), TARGET, GOLD, recipes=()).run()
    assert by_name(told)["target only"]["verdict"].startswith("negative transfer: the source hurts: ")
    assert by_name(told)["source only"]["accuracy"] < 0.3


def test_gold_never_reaches_what_the_source_taught(report, tiny_backbone):
    with_gold = by_name(report(SOURCE, TARGET, flipped(GOLD)).run())
    without = by_name(report(SOURCE, TARGET).run())
    assert list(without) == ["source only", "no transfer", "auto"]
    for name, one in without.items():
        assert {key: with_gold[name][key] for key in ("accuracy_on_source", "estimate")} == {
            key: one[key] for key in ("accuracy_on_source", "estimate")
        }
        assert "accuracy" not in one
    logits = []
    for gold in (None, GOLD, flipped(GOLD)):
        corpora = read_corpora(SOURCE, TARGET, gold, reading={})
        maker = Maker(corpora, str(tiny_backbone), "0", 0, SharedFeatures())
        maker.source_only()
        maker.adapted("auto")
        logits.append([maker.models[name].predict(TARGET).logits for name in ("source only", "auto")])
    for again in logits[1:]:
        assert all(np.array_equal(one, two) for one, two in zip(logits[0], again, strict=True))


def test_without_gold_estimates_are_told_and_promise_nothing(report):
    told = report(SOURCE, TARGET, recipes=()).run()
    verdict = by_name(told)["no transfer"]["verdict"]
    assert verdict.startswith("estimated ")
    assert verdict.endswith("estimate, not a guarantee")
    assert told["gold_rows"] == 0
    assert len(told["promises"]) == 1


def test_slices_tell_errors_and_accepted_rows_before_and_after(report):
    gold = [{**row, "brand": "one" if i < 30 else "two"} for i, row in enumerate(GOLD)]
    told = report(SOURCE, TARGET, gold, recipes=(), by="brand").run()
    assert [(one["slice"], one["rows"]) for one in told["slices"]] == [("one", 30), ("two", 70)]
    for name, one in by_name(told).items():
        lines = [next(v for v in part["variants"] if v["variant"] == name) for part in told["slices"]]
        assert sum(line["wrong"] for line in lines) == 100 - one["right"]
        assert sum(line["accepted"] for line in lines) == pytest.approx(100 * one["fraction_accepted"])
        assert lines[0]["error"] == lines[0]["wrong"] / 30
    first, other = told["slices"][0]["variants"][:2]
    assert first["difference"] is None
    assert other["difference"]["value"] == pytest.approx(first["error"] - other["error"])


def test_a_poisoned_part_of_the_source_is_found(report):
    good = [{**row, "part": ("one", "two")[i % 2]} for i, row in enumerate(snippets(100, seed=4))]
    poisoned = [{**row, "part": "poisoned"} for row in flipped(snippets(160, seed=5))]
    told = report([*good, *poisoned], TARGET, GOLD, recipes=(), source_by="part").run()
    worst = told["parts"][0]
    assert (worst["part"], worst["rows"]) == ("poisoned", 160)
    assert worst["verdict"].startswith("hurts: ")
    assert worst["alone"] < 0.4 < 0.7 < worst["without"]
    assert worst["loss"] == pytest.approx(by_name(told)["source only"]["accuracy"] - worst["without"])
    assert not any(one["verdict"].startswith("hurts") for one in told["parts"][1:])


def test_parts_without_gold_are_estimated_and_one_of_one_class_says_so(report):
    rows = [{**row, "part": "mixed" if i % 4 else row["label"]} for i, row in enumerate(SOURCE)]
    told = report(rows, TARGET, recipes=(), source_by="part").run()
    found = {one["part"]: one for one in told["parts"]}
    assert found["mixed"]["verdict"].endswith("estimate, not a guarantee")
    assert found["negative"]["alone"] is None
    assert "at least two" in found["negative"]["note"]


def test_gold_rows_of_the_source_are_told_and_left_out(report):
    told = report(SOURCE, TARGET, [*GOLD, *SOURCE[:7]], recipes=()).run()
    assert (told["gold_rows"], told["gold_rows_left_out"]) == (100, 7)
    alone = report(SOURCE, TARGET, GOLD, recipes=()).run()
    assert by_name(told)["source only"]["right"] == by_name(alone)["source only"]["right"]
    with pytest.raises(CorpusError, match="all 5 texts are among"):
        report(SOURCE, TARGET, SOURCE[:5]).run()


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
        ({"source_by": "stars_"}, CorpusError, "the source: there is no column"),
        ({"source_by": "label"}, RecipeError, "column of the labels"),
        ({"recipes": ("lora",)}, RecipeError, "reads no texts of the target"),
        ({"recipes": ("auto", "auto")}, RecipeError, "there twice"),
        ({"class_shares": "positive=.7"}, CorpusError, "negative"),
    ],
)
def test_what_makes_no_sense_is_refused_before_a_model_is_fitted(options, error, words):
    with pytest.raises(error, match=words):
        Transfer(SOURCE, TARGET, **options, backbone="no such backbone").run()


def test_more_than_twelve_parts_are_refused():
    rows = [{**row, "part": str(i % 13)} for i, row in enumerate(SOURCE)]
    with pytest.raises(RecipeError, match="13 different values in the source; expected 2 to 12"):
        Transfer(rows, TARGET, source_by="part", backbone="no such backbone").run()


def test_a_source_free_recipe_goes_on_from_the_source_alone(report):
    found = by_name(report(SOURCE, TARGET, GOLD, recipes=("tent",)).run())["tent"]
    assert found["accuracy_on_source"] is None
    assert found["fraction_accepted"] == 0
    assert found["verdict"].endswith("not calibrated")
