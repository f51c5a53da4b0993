from __future__ import annotations

import pytest

from textlabel.demo import NAMES, PRODUCTS, Demo, draw
from textlabel.errors import ExportError, RecipeError


@pytest.mark.parametrize("classes", [2, 3])
def test_rows_to_learn_from_and_rows_to_label_are_different_rows(classes):
    train, corpus, answers = draw(NAMES[classes], films=200, seed=1)
    learned, labeled = {row["id"] for row in train}, {row["id"] for row in corpus}
    assert len(learned) == len(train) == 200 + PRODUCTS * classes
    assert len(labeled) == len(corpus) == 3686 - PRODUCTS * classes
    assert not learned & labeled
    assert {row["label"] for row in train} == set(NAMES[classes])
    assert set(answers) <= labeled


def test_the_annotated_rows_hold_no_answer():
    _, corpus, _ = draw(NAMES[3], films=10, seed=0)
    assert {key for row in corpus for key in row} == {"id", "text"}


def test_rows_rated_zero_have_no_answer_among_two_classes():
    assert len(draw(NAMES[2], 10, 0)[2]) == 3622 - 98
    assert len(draw(NAMES[3], 10, 0)[2]) == 3590


def test_the_seed_decides_the_draw():
    assert draw(NAMES[2], 50, 0) == draw(NAMES[2], 50, 0)
    assert draw(NAMES[2], 50, 0)[0] != draw(NAMES[2], 50, 1)[0]


@pytest.mark.parametrize("demo", [Demo(recipe="regression"), Demo(classes=4)])
def test_what_it_cannot_run_is_refused(demo):
    with pytest.raises(RecipeError, match="2 or 3 classes"):
        demo.run()


def test_a_used_folder_is_refused_before_anything_is_trained(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine").write_text("precious")
    with pytest.raises(ExportError, match="not an earlier output"):
        Demo(out=str(tmp_path)).run()
