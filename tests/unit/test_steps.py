from __future__ import annotations

import json

import pytest
from tiny import snippets

from textlabel.errors import BundleError, CorpusError, RecipeError
from textlabel.steps import Annotate, Evaluate, Fit, require_free


def test_a_new_place_is_free_and_its_parent_is_made(tmp_path):
    assert require_free(tmp_path / "a" / "b", BundleError) == tmp_path / "a" / "b"
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]
    assert not (tmp_path / "a" / "b").exists()


def test_an_empty_folder_and_an_earlier_output_are_free(tmp_path):
    assert require_free(tmp_path, BundleError) == tmp_path
    (tmp_path / "textlabel.json").write_text("{}")
    assert require_free(tmp_path, BundleError) == tmp_path


@pytest.mark.parametrize(
    ("place", "message"),
    [("file", "is a file"), ("full", "is not empty"), ("file/below", "cannot be written")],
)
def test_other_places_are_refused_untouched(tmp_path, place, message):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    with pytest.raises(BundleError, match=message):
        require_free(tmp_path / place, BundleError)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "full", "mine"]


def test_fit_refuses_a_bad_place_before_it_reads_anything(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(BundleError, match="is a file"):
        Fit(train="nowhere.csv", out=str(tmp_path / "out")).run()


def test_forgetting_rows_refuses_a_reference_before_it_reads_anything(tmp_path):
    with pytest.raises(RecipeError, match="forget_rows = true and keep_reference = true"):
        Fit(train="nowhere.csv", out=str(tmp_path / "out"), forget_rows=True, keep_reference=True).run()


def test_evaluate_wants_a_folder_of_ours(tmp_path):
    with pytest.raises(CorpusError, match=r"textlabel\.json"):
        Evaluate(str(tmp_path), "gold.csv").run()


def test_rows_off_the_map_are_counted_as_out_of_scope(tiny_backbone, tmp_path):
    rows, model = tmp_path / "rows.jsonl", tmp_path / "model"
    rows.write_text("".join(json.dumps(row) + "\n" for row in snippets(60)))
    fit = {"train": str(rows), "backbone": str(tiny_backbone), "off_map": "knn"}
    Fit(**fit, out=str(model), keep_reference=True).run()
    told = Annotate(
        str(rows), str(model), str(tmp_path / "out"), min_confidence=0, out_of_scope_rate=0.2
    ).run()
    assert 0 < told["decisions"]["out_of_scope"] <= 18
    assert told["decisions"]["accepted"] == 60 - told["decisions"]["out_of_scope"]
