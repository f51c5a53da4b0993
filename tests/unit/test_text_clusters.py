from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score
from tiny import WORDS, snippets, write_static

from textlabel.errors import CorpusError, ExportError, RecipeError
from textlabel.text_clusters import TextClusters

TOPICS = ("good", "film", "the")


def about(n=90, seed=0):
    """Return n different texts, each of one word and a few others, more of the first than of the last."""
    rng = np.random.default_rng(seed)
    topics = rng.choice(TOPICS, n, p=[0.5, 0.3, 0.2]).tolist()
    others = rng.choice([word for word in WORDS if word not in TOPICS], (n, 2)).tolist()
    return [
        {"id": f"r{i}", "text": f"{topic} {one} {topic} {other} {topic} {i}", "topic": topic}
        for i, (topic, (one, other)) in enumerate(zip(topics, others, strict=True))
    ]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """Return a backbone of one vector a word, which tells texts of other words apart."""
    return write_static(tmp_path_factory.mktemp("static") / "backbone")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write(tmp_path_factory.mktemp("corpus") / "corpus.jsonl", about())


def test_topics_are_found_named_and_counted(corpus, backbone, tmp_path):
    out = tmp_path / "groups.jsonl"
    told = TextClusters(corpus, str(out), clusters=3, backbone=str(backbone)).run()
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    topics = [row["topic"] for row in about()]
    assert adjusted_rand_score(topics, [row["cluster"] for row in rows]) > 0.9
    sizes = [group["rows"] for group in told["groups"]]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) == told["rows"] == len(rows) == 90
    assert sum(group["share"] for group in told["groups"]) == pytest.approx(1, abs=1e-3)
    for group, topic in zip(told["groups"], TOPICS, strict=True):
        assert topic in group["terms"][0]
        assert len(group["texts"]) == 2
        own = [row for row in rows if row["cluster"] == group["cluster"]]
        assert {row["name"] for row in own} == {group["name"]} == {"/".join(group["terms"][:3])}
        near = sorted(own, key=lambda row: row["distance"])
        assert near[0]["text"] in group["texts"]
        assert sum(row["central"] for row in own) == (len(own) + 1) // 2
        assert near[0]["central"] > near[-1]["central"]
    assert "stability" not in told


def test_the_number_is_chosen_where_none_is_given(corpus, backbone):
    told = TextClusters(corpus, max_clusters=4, backbone=str(backbone)).run()
    assert [one["clusters"] for one in told["stability"]] == [2, 3, 4]
    best = max(told["stability"], key=lambda one: one["gain"])
    least = best["gain"] - best["standard_error"]
    assert told["clusters"] == max(one["clusters"] for one in told["stability"] if one["gain"] >= least)
    assert told["verdict"].startswith(("clear", "blurred", "none found"))


def test_few_texts_allow_few_clusters(tmp_path, backbone):
    rows = write(tmp_path / "few.jsonl", about(24))
    told = TextClusters(rows, backbone=str(backbone)).run()
    assert [one["clusters"] for one in told["stability"]] == [2, 3, 4, 5]  # 4 texts each


def test_the_nearest_name_is_told_and_taken(corpus, backbone):
    names = ("the the the", "good good good", "film film film")
    told = TextClusters(corpus, clusters=3, names=names, backbone=str(backbone)).run()
    assert [group["nearest"] for group in told["groups"]] == [names[1], names[2], names[0]]
    assert [group["name"] for group in told["groups"]] == [names[1], names[2], names[0]]
    assert all(0.34 < group["score"] <= 1 for group in told["groups"])


def test_the_seed_decides(corpus, backbone):
    def told(seed):
        return TextClusters(corpus, max_clusters=2, backbone=str(backbone), seed=seed).run()

    assert told(1) == told(1)
    assert told(1)["stability"] != told(2)["stability"]


def test_a_text_that_is_there_often_counts_once(tmp_path, backbone):
    rows = [*about(60), *({"id": f"x{i}", "text": "good very good it good 7"} for i in range(300))]
    corpus = write(tmp_path / "spam.jsonl", rows)
    found = TextClusters(corpus, clusters=3, backbone=str(backbone)).group([row["text"] for row in rows])
    assert adjusted_rand_score([row["topic"] for row in about(60)], found.number[:60]) > 0.8
    assert len(set(found.number[60:])) == 1
    assert found.groups[0].rows >= 300  # rows are told, not different texts


def test_only_some_rows_make_the_clusters_and_all_are_assigned(corpus, backbone, monkeypatch):
    monkeypatch.setattr("textlabel.text_clusters.ROWS", 45)
    texts = [row["text"] for row in about()]
    found = TextClusters(corpus, clusters=3, backbone=str(backbone)).group(texts)
    assert adjusted_rand_score([row["topic"] for row in about()], found.number) > 0.9
    assert [one.rows for one in found.groups] == np.bincount(found.number)[1:].tolist()


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_every_format_is_read_back_as_it_was(corpus, backbone, tmp_path, suffix):
    from textlabel import load_corpus

    out = tmp_path / "new" / f"groups.{suffix}"
    TextClusters(corpus, str(out), clusters=2, backbone=str(backbone)).run()
    rows = load_corpus(str(out), label_column="cluster")
    assert set(rows.column_names) == {"id", "text", "label", "name", "distance", "central"}
    assert rows["id"][:] == [row["id"] for row in about()]
    assert rows["text"][:] == [row["text"] for row in about()]
    assert set(rows["label"][:]) == {"1", "2"}
    assert {str(value) for value in rows["central"]} == {"True", "False"}
    with pytest.raises(ExportError, match="is there already"):
        TextClusters(corpus, str(out), clusters=2, backbone=str(backbone)).run()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"clusters": 1}, RecipeError, "clusters = 1: expected 2 or more, or 0"),
        ({"clusters": -3}, RecipeError, "clusters = -3: expected 2 or more"),
        ({"max_clusters": 1}, RecipeError, "max_clusters = 1: expected 2 or more"),
        ({"names": ("refund", " ")}, RecipeError, "names: ' ' is no name"),
        ({"names": ("refund",)}, RecipeError, "names: only 'refund'; expected two or more"),
        ({"names": ("a", "b", "a")}, RecipeError, "names: 'a' is there twice"),
        ({"clusters": 46}, CorpusError, r"corpus\.jsonl: 90 different texts; expected 92 or more for 46"),
        ({"text_column": ("review",)}, CorpusError, "there is no column 'review'"),
        ({"id_column": "nr"}, CorpusError, "there is no column 'nr'"),
        ({"split": "train"}, CorpusError, "has no split 'train'"),
        ({"corpus": "nowhere.csv"}, CorpusError, "no such file"),
        (
            {"out": "s3://bucket/groups.csv"},
            ExportError,
            "is a URL; expected a path on this machine",
        ),
        (
            {"out": "groups.xlsx"},
            ExportError,
            r"groups\.xlsx: expected a file that ends in \.csv, \.jsonl or",
        ),
    ],
)
def test_what_makes_no_sense_is_said(corpus, backbone, change, error, message):
    given = {"corpus": corpus, "backbone": str(backbone), **change}
    with pytest.raises(error, match=message):
        TextClusters(**given).run()


@pytest.mark.parametrize("out", ["nowhere/groups.xls", "groups"])
def test_the_file_is_checked_before_the_work(out):
    with pytest.raises(ExportError, match="expected a file that ends in"):
        TextClusters("no such corpus", out).run()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_place_that_cannot_be_written_is_said(corpus, backbone, tmp_path, suffix):
    (tmp_path / "file").touch()
    out = tmp_path / "file" / f"groups.{suffix}"
    with pytest.raises(ExportError, match="cannot be written"):
        TextClusters(corpus, str(out), clusters=2, backbone=str(backbone)).run()


def test_an_empty_corpus_and_too_few_texts(tmp_path, backbone):
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(CorpusError, match="there are no rows"):
        TextClusters(str(tmp_path / "empty.jsonl"), backbone=str(backbone)).run()
    same = write(tmp_path / "same.jsonl", [{"text": f"good film{' ' * i}"} for i in range(40)])
    with pytest.raises(CorpusError, match="1 different texts; expected 20 or more to see how many"):
        TextClusters(same, backbone=str(backbone)).run()
    with pytest.raises(CorpusError, match="1 different texts; expected 4 or more for 2 clusters"):
        TextClusters(same, clusters=2, backbone=str(backbone)).run()


def test_texts_that_the_backbone_cannot_tell_apart(tmp_path, backbone):
    rows = write(tmp_path / "unknown.jsonl", [{"text": f"unread{i}"} for i in range(40)])
    with pytest.raises(CorpusError, match="1 different rows"):
        TextClusters(rows, backbone=str(backbone)).run()
    with pytest.raises(CorpusError, match="2 clusters of 1 different rows"):
        TextClusters(rows, clusters=2, backbone=str(backbone)).run()


def test_clusters_without_terms_have_names_of_their_own(tmp_path, backbone):
    rows = write(tmp_path / "numbers.jsonl", [{"text": f"{i} {'a' if i % 2 else 'i'}"} for i in range(20)])
    told = TextClusters(rows, clusters=2, backbone=str(backbone)).run()
    assert [group["name"] for group in told["groups"]] == ["cluster 1", "cluster 2"]
    assert [group["terms"] for group in told["groups"]] == [[], []]


def test_bad_rows_are_left_out_and_written(tmp_path, backbone):
    corpus = write(tmp_path / "bad.jsonl", [*snippets(30), {"id": "x", "text": " "}])
    with pytest.raises(CorpusError, match="row 31, column 'text': the text is empty"):
        TextClusters(corpus, clusters=2, backbone=str(backbone)).run()
    out = tmp_path / "rejects.jsonl"
    given = {"on_bad_row": "skip", "reject_file": str(out), "backbone": str(backbone)}
    assert TextClusters(corpus, clusters=2, **given).run()["rows"] == 30
    assert len(out.read_text().splitlines()) == 1
