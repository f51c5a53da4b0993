from __future__ import annotations

import pytest

from textlabel.errors import BundleError, CorpusError
from textlabel.steps import Evaluate, Fit, require_free


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


def test_evaluate_wants_a_folder_of_ours(tmp_path):
    with pytest.raises(CorpusError, match=r"textlabel\.json"):
        Evaluate(str(tmp_path), "gold.csv").run()
