"""Explanations: the words that matter come first, and taking them away changes the label."""

import numpy as np
import pytest
from tiny import several, snippets, write_static

from textlabel import Labeler
from textlabel.engine.explain import Explainer, nearest
from textlabel.explaining import Why, why


@pytest.fixture(scope="module")
def labeler(tmp_path_factory):
    """Return a model whose label hangs on single words: a static backbone."""
    static = write_static(tmp_path_factory.mktemp("static") / "static")
    return Labeler(static, cache=False).fit(snippets(200))


def test_the_words_without_which_the_label_is_another_do_that(labeler):
    explainer, seen = Explainer(labeler.bundle), 0
    texts = [row["text"] for row in snippets(30, seed=5)]
    for text, one in zip(texts, explainer.explain(texts), strict=True):
        assert one.label == labeler.schema.names[explainer.logits([text])[0].argmax()]
        if one.becomes is None:
            assert one.removed == ()
            continue
        seen += 1
        left = text
        for word in one.removed:
            assert word in left.split()
            left = " ".join(left.split()).replace(word, "", 1)
        assert labeler.schema.names[explainer.logits([left])[0].argmax()] == one.becomes != one.label
    assert seen >= 5


def test_strong_words_matter_more_than_random_ones(labeler):
    texts = [row["text"] for row in snippets(30, seed=5)]
    told = [one.faithful for one in Explainer(labeler.bundle).explain(texts)]
    known = [value for value in told if not np.isnan(value)]
    assert np.mean(known) > 0.1
    worst = Explainer(labeler.bundle)
    worst.attribute = lambda asked: -labeler_scores(asked)
    turned = [one.faithful for one in worst.explain(texts)]
    assert np.nanmean(turned) < 0


def labeler_scores(asked):
    from textlabel.attribution.leave_one_out import attribute

    return attribute(asked)


def test_the_seed_decides_the_random_words(labeler):
    texts = [snippets(1)[0]["text"]]
    runs = [next(Explainer(labeler.bundle, seed=seed).explain(texts)) for seed in (0, 0, 1)]
    assert runs[0].faithful == runs[1].faithful
    np.testing.assert_array_equal(runs[0].scores, runs[2].scores)


def test_nothing_to_read_is_told_as_such(labeler):
    one = next(Explainer(labeler.bundle).explain(["..."]))
    assert len(one.words) == 3
    assert one.top(9)
    empty = next(Explainer(labeler.bundle).explain(["   "]))
    assert empty.words == ()
    assert empty.becomes is None
    assert np.isnan(empty.faithful)


@pytest.mark.parametrize("kind", ["multi", "score"])
def test_other_kinds_of_labels_are_explained_without_another_label(tmp_path, kind):
    static = write_static(tmp_path / "static")
    if kind == "multi":
        labeler = Labeler(static, recipe="multilabel", cache=False).fit(several(60))
    else:
        rows = [{**row, "label": float(i % 5)} for i, row in enumerate(snippets(60))]
        labeler = Labeler(static, recipe="regression", cache=False).fit(rows)
    one = next(Explainer(labeler.bundle).explain([snippets(1)[0]["text"]]))
    assert one.becomes is None
    assert (one.label is None) == (kind == "score")
    assert np.isfinite(one.scores).all()


def test_neighbors_are_the_nearest_labeled_rows_but_not_the_text(labeler):
    known = snippets(50, seed=2)
    text = known[3]["text"]
    [told] = why(labeler, [{"text": text}], neighbors=known)
    found = told["neighbors"]
    assert 1 <= len(found) <= 3
    assert text not in {one["text"] for one in found}
    similar = [one["similarity"] for one in found]
    assert similar == sorted(similar, reverse=True)
    explainer = Explainer(labeler.bundle)
    others = [row["text"] for row in known if row["text"] != text]
    index, _ = nearest(explainer.features([text]), explainer.features(others), 1)
    assert found[0]["text"] == others[index[0, 0]]


def test_a_step_writes_what_it_tells(labeler, tmp_path):
    model = labeler.save(tmp_path / "model")
    out = tmp_path / "why.jsonl"
    told = Why(texts=("a good plot", "a bad plot"), model=str(model), out=str(out), top=2).run()
    assert [one["text"] for one in told] == ["a good plot", "a bad plot"]
    assert all(len(one["words"]) == len(one["word_scores"]) == 2 for one in told)
    assert len(out.read_text().splitlines()) == 2


def test_the_column_of_texts_is_the_one_that_is_named(labeler):
    [one] = why(labeler, [{"review": "a good plot"}], text_column="review")
    assert one["text"] == "a good plot"


def test_copies_of_a_text_are_no_neighbors_and_take_no_places(labeler):
    text = snippets(1)[0]["text"]
    others = [{"text": row["text"], "label": row["label"]} for row in snippets(20, seed=4)]
    known = [{"text": text, "label": "negative"}] * 6 + others
    [one] = why(labeler, [{"text": text}], neighbors=known)
    assert len(one["neighbors"]) == 3
    assert text not in [near["text"] for near in one["neighbors"]]


def test_neighbors_and_corpus_are_read_by_their_columns(labeler, tmp_path):
    labeler.save(tmp_path / "model")
    for name in ("corpus", "known"):
        rows = [f"{row['text']},{row['label']}" for row in snippets(8, seed=len(name))]
        (tmp_path / f"{name}.csv").write_text("\n".join(["review,verdict", *rows]) + "\n")
    files = {"corpus": str(tmp_path / "corpus.csv"), "neighbors": str(tmp_path / "known.csv")}
    told = Why(**files, model=str(tmp_path / "model"), text_column=("review",), label_column="verdict").run()
    assert {near["label"] for one in told for near in one["neighbors"]} <= {"negative", "positive"}
