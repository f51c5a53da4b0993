"""Row checks are pure; class counts are checked before anything is trained."""

import datasets
import numpy as np
import pyarrow as pa
import pytest

from textlabel.corpus.check import (
    bad_scores,
    blank_values,
    infer_schema,
    repeated_ids,
    require_rows_per_class,
    unknown_labels,
)
from textlabel.errors import CorpusError
from textlabel.types import LabelSchema


def test_sound_columns_have_no_problem() -> None:
    words = pa.chunked_array([["a", "b"], ["c"]])
    assert blank_values(words, "text") == {}
    assert unknown_labels(words, ["a", "b", "c"]) == {}
    assert bad_scores(pa.chunked_array([[0.0, -1.5]])) == {}
    assert repeated_ids(words) == {}


def test_problems_are_numbered_over_chunks() -> None:
    words = pa.chunked_array([["a", None], ["\u3000\n", "a"]])
    assert blank_values(words, "label") == {1: "the label is missing", 2: "the label is empty"}
    assert repeated_ids(pa.chunked_array([["a"], ["a", "b"], ["a"]])) == {1: 0, 3: 0}
    assert list(unknown_labels(words, ["b"])) == [0, 2, 3]
    assert list(bad_scores(pa.chunked_array([[1.0], [float("inf")]]))) == [1]


def corpus(**columns: list) -> datasets.Dataset:
    return datasets.Dataset.from_dict(columns)


def test_infer_schema() -> None:
    assert infer_schema(corpus(label=["b", "a", "b"]), "single") == LabelSchema("single", ("a", "b"))
    assert infer_schema(corpus(label=["b", "a", "c"]).select([2, 0]), "single").names == ("b", "c")
    assert infer_schema(corpus(label=[0.5]), "score") == LabelSchema("score")


def test_infer_schema_needs_two_classes() -> None:
    with pytest.raises(
        CorpusError, match=r"column 'label' holds 1 class \['a'\] in 2 rows; expected at least two"
    ):
        infer_schema(corpus(label=["a", "a"]), "single")
    with pytest.raises(CorpusError, match=r"no column 'label' but \['text'\]; load it with label_column="):
        infer_schema(corpus(text=["a"]), "single")


def test_require_rows_per_class() -> None:
    schema = LabelSchema("single", ("a", "b"))
    require_rows_per_class(np.array([0, 1, 0, 1]), np.arange(4), schema)
    with pytest.raises(CorpusError, match="class 'b' has 1 row, expected 2 or more with different texts"):
        require_rows_per_class(np.array([0, 1, 0]), np.arange(3), schema)
    with pytest.raises(CorpusError, match="class 'b' has 2 rows, expected 2 or more with different texts"):
        require_rows_per_class(np.array([0, 1, 0, 1]), np.array([0, 1, 2, 1]), schema)
    with pytest.raises(CorpusError, match=r"class 'a' has 1 row, .*; 2 classes have too few"):
        require_rows_per_class(np.array([0, 1]), np.arange(2), schema)
    with pytest.raises(CorpusError, match="class 'b' has 0 rows"):
        require_rows_per_class(np.array([0, 0]), np.arange(2), schema)
