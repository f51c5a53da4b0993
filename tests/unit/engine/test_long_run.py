"""Predictions in shards are those of one piece, and a stopped run goes on where it was."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import snippets

from textlabel import Labeler, load_corpus
from textlabel.engine import long_run, predict, shards
from textlabel.engine.long_run import Texts
from textlabel.engine.shards import Objects
from textlabel.errors import ExportError
from textlabel.models.backend_fit import BackendFit

TRAIN = snippets(60)
ROWS = [{"id": row["id"], "text": row["text"]} for row in snippets(50, seed=1)]
ROWS += [{"id": f"again{i}", "text": ROWS[i]["text"]} for i in (0, 17, 18)]
NUMBERS = ("logits", "embeddings", "ood_score", "agreements", "distances")


@pytest.fixture(scope="module")
def model(tiny_backbone, tmp_path_factory):
    return Labeler(tiny_backbone, cache=False).fit(TRAIN).save(tmp_path_factory.mktemp("long") / "model")


@pytest.fixture(autouse=True)
def few_rows(monkeypatch):
    monkeypatch.setattr(shards, "LEAST_ROWS", 8)


@pytest.fixture
def labeler(model):
    return Labeler.load(model, cache=False)


class Stopped(KeyboardInterrupt):
    """As a signal makes it."""


def stop_at(monkeypatch, name, error=Stopped):
    """Stop at the object of this name, half of which is written."""
    put = Objects.put

    def stopping(self, given, content):
        put(self, given, content[: len(content) // 2] if given == name else content)
        if given == name:
            raise error

    monkeypatch.setattr(Objects, "put", stopping)


def objects(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_they_are_the_predictions_of_one_piece(labeler, tmp_path):
    found, whole = labeler.predict(ROWS, checkpoint=tmp_path / "run"), labeler.predict(ROWS)
    assert found.ids == whole.ids == [row["id"] for row in ROWS]
    for name in NUMBERS:
        np.testing.assert_allclose(getattr(found, name), getattr(whole, name), rtol=1e-4, atol=1e-4)
    assert not found.recomputed.any()
    assert len(list((tmp_path / "run").glob("shard-*.safetensors"))) == 7  # 50 different texts


def test_equal_texts_are_computed_once_and_get_the_same_numbers(labeler, tmp_path):
    found = labeler.predict(ROWS, checkpoint=tmp_path / "run")
    for name in NUMBERS:
        array = getattr(found, name)
        np.testing.assert_array_equal(array[50:], array[[0, 17, 18]])


def test_texts_stand_where_they_stand_first():
    rows = [{"id": str(i), "text": text} for i, text in enumerate(["b", "a", "b", "c", "a"])]
    found = Texts.of(load_corpus(rows))
    assert (found.first.tolist(), found.number.tolist()) == ([0, 1, 3], [0, 1, 0, 2, 1])
    others = [rows[:4], rows[::-1], [{**row, "id": row["id"] + "x"} for row in rows]]
    assert len({found.digest, *(Texts.of(load_corpus(other)).digest for other in others)}) == 4
    assert Texts.of(load_corpus([{**row, "stars": 1} for row in rows])).digest == found.digest


@pytest.mark.parametrize("number", [0, 3, 6])
@pytest.mark.parametrize("suffix", ["safetensors", "json"])
def test_a_stopped_run_goes_on_to_the_same_bytes(model, tmp_path, monkeypatch, number, suffix, caplog):
    expected = Labeler.load(model, cache=False).predict(ROWS, checkpoint=tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_at(patch, f"shard-{number:05d}.{suffix}")
        with pytest.raises(Stopped, match=r"of 7 shards are done; repeat the command to go on"):
            Labeler.load(model, cache=False).predict(ROWS, checkpoint=tmp_path / "run")
    computed = []
    again = Labeler.load(model, cache=False)
    featurizer = again.predictor._passes[0][1]
    run = featurizer.features
    monkeypatch.setattr(featurizer, "features", lambda t, *a: computed.extend(t) or run(t, *a))
    with caplog.at_level("INFO"):
        found = again.predict(ROWS, checkpoint=tmp_path / "run")
    assert objects(tmp_path / "run") == objects(tmp_path / "whole")
    assert computed == [row["text"] for row in ROWS[8 * number : 50]]
    assert (f"resuming: {number} of 7 shards are there" in caplog.text) == (number > 0)
    for name in NUMBERS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_a_finished_run_is_read_and_nothing_computed(model, tmp_path, monkeypatch):
    expected = Labeler.load(model, cache=False).predict(ROWS, checkpoint=tmp_path / "run")
    again = Labeler.load(model, cache=False)
    monkeypatch.setattr(again.predictor._passes[0][1].backend, "features", None)
    found = again.predict(ROWS, checkpoint=tmp_path / "run")
    np.testing.assert_array_equal(found.logits, expected.logits)


def test_annotate_takes_a_checkpoint_and_keeps_no_features_unless_the_order_reads_them(labeler, tmp_path):
    rows = labeler.annotate(ROWS, checkpoint=tmp_path / "run")
    assert rows[:] == labeler.annotate(ROWS, predictions=labeler.predict(ROWS, checkpoint=tmp_path / "b"))[:]
    assert b"embeddings" not in objects(tmp_path / "run")["shard-00000.safetensors"]
    ordered = labeler.annotate(ROWS, checkpoint=tmp_path / "c", order_by="ensemble")
    np.testing.assert_allclose(
        ordered["ensemble"], labeler.annotate(ROWS, order_by="ensemble")["ensemble"], atol=1e-4
    )
    with pytest.raises(ExportError, match=r"in its stored embeddings \(False; now True\)"):
        labeler.annotate(ROWS, checkpoint=tmp_path / "run", order_by="ensemble")


def test_another_corpus_or_model_is_refused(labeler, tiny_backbone, tmp_path):
    labeler.predict(ROWS, checkpoint=tmp_path / "run")
    with pytest.raises(ExportError, match="in its corpus"):
        labeler.predict(ROWS[:9], checkpoint=tmp_path / "run")
    with pytest.raises(ExportError, match="in its corpus"):
        labeler.predict(ROWS[::-1], checkpoint=tmp_path / "run")
    other = Labeler(tiny_backbone, seed=1, cache=False).fit(TRAIN[:50])
    with pytest.raises(ExportError, match="in its model"):
        other.predict(ROWS, checkpoint=tmp_path / "run")


def test_the_fit_of_a_backend_belongs_to_the_model(labeler, tmp_path):
    labeler.predict(ROWS, checkpoint=tmp_path / "run")
    labeler.bundle.backends = [BackendFit("torch_bf16", logit_scale=1.01)]
    with pytest.raises(ExportError, match="in its model"):
        labeler.predict(ROWS, checkpoint=tmp_path / "run")


def test_it_runs_on_any_store_that_fsspec_knows(labeler, monkeypatch, tmp_path):
    place, expected = "memory://bucket/long run", labeler.predict(ROWS, checkpoint=tmp_path / "run")
    with monkeypatch.context() as patch:
        stop_at(patch, "shard-00002.json")
        with pytest.raises(Stopped):
            labeler.predict(ROWS, checkpoint=place)
    found = labeler.predict(ROWS, checkpoint=place)
    np.testing.assert_array_equal(found.logits, expected.logits)
    store = Objects(place)
    assert {name: store.get(name) for name in store.names()} == objects(tmp_path / "run")
    store.delete()


# the feature cache


def test_a_resumed_run_sees_the_cache_that_it_began_with(model, tmp_path, monkeypatch, caplog):
    def run(cache, checkpoint):
        labeler = Labeler.load(model, cache=tmp_path / cache)
        found = labeler.predict(ROWS, checkpoint=tmp_path / checkpoint)
        return found, labeler.predictor

    def known_before(cache):
        Labeler.load(model, cache=tmp_path / cache).predict(ROWS[5:20])

    known_before("a")
    _, whole = run("a", "whole")
    known_before("b")
    with monkeypatch.context() as patch:
        stop_at(patch, "shard-00003.json")
        with pytest.raises(Stopped):
            run("b", "run")
    Labeler.load(model, cache=tmp_path / "b").predict(ROWS[30:])  # another run publishes meanwhile
    found, resumed = run("b", "run")
    assert resumed.to_json() == whole.to_json()
    assert resumed.from_cache == int(found.from_cache.sum()) == 17  # 15 texts, two of them twice
    for number in range(7):
        name = f"shard-{number:05d}.safetensors"
        assert objects(tmp_path / "run")[name] == objects(tmp_path / "whole")[name]
    assert "are gone" not in caplog.text


def test_a_cache_that_is_gone_meanwhile_is_told(model, tmp_path, monkeypatch, caplog):
    Labeler.load(model, cache=tmp_path / "cache").predict(ROWS[5:20])
    with monkeypatch.context() as patch:
        stop_at(patch, "shard-00001.json")
        with pytest.raises(Stopped):
            Labeler.load(model, cache=tmp_path / "cache").predict(ROWS, checkpoint=tmp_path / "run")
    found = Labeler.load(model, cache=False).predict(ROWS, checkpoint=tmp_path / "run")
    assert "features that this run found in the cache when it began are gone" in caplog.text
    assert found.from_cache.sum() == 3  # rows 5, 6 and 7, whose shard was there


# several processes


def test_a_process_computes_its_shards_alone(labeler, tmp_path, monkeypatch):
    """What the other processes of a launch would have to answer is never asked while shards are made."""

    def asked(*_):
        raise AssertionError("a process waited for others in the middle")

    monkeypatch.setattr(predict, "sum_over_processes", asked)
    labeler.predict(ROWS, checkpoint=tmp_path / "run")


@pytest.mark.parametrize("world", [2, 3])
def test_each_shard_is_made_by_one_process(labeler, tmp_path, monkeypatch, world):
    made, write, share = [], shards.Shards.write, long_run.share

    def noted(self, number, arrays):
        made.append(number)
        write(self, number, arrays)

    monkeypatch.setattr(shards.Shards, "write", noted)
    for rank in range(world):
        monkeypatch.setattr(long_run, "share", lambda index, *_, rank=rank: share(index, rank, world))
        with pytest.raises(ExportError, match="is missing or damaged"):  # those of the other processes
            labeler.predict(ROWS, checkpoint=tmp_path / f"run-{rank}")
    assert sorted(made) == list(range(7))
