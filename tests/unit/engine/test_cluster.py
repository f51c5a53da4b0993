"""What needs no cluster: who is refused, what is staged, and a worker that is this very process."""

from __future__ import annotations

import http.server
import socket
import threading

import numpy as np
import pyarrow as pa
import pytest
from tiny import snippets, write_static

from textlabel import Cluster, Labeler
from textlabel.engine import cluster, cluster_worker, long_run, shards
from textlabel.engine.cluster import Workers
from textlabel.engine.cluster_worker import Worker
from textlabel.engine.shards import Objects, Shards
from textlabel.engine.staged import Staged
from textlabel.errors import BundleError, ClusterError, ExportError, PluginError, RecipeError

ROWS = [{"id": row["id"], "text": row["text"]} for row in snippets(30, seed=1)]
#: digest of a plan
PLAN = "0123456789abcdef"
ROWS += [{"id": f"again{i}", "text": ROWS[i]["text"]} for i in (0, 17)]


@pytest.fixture(autouse=True)
def few_rows(monkeypatch):
    monkeypatch.setattr(shards, "LEAST_ROWS", 8)


@pytest.fixture(scope="module")
def models(tiny_backbone, tmp_path_factory):
    """Models whose bodies are saved in different ways."""
    folder = tmp_path_factory.mktemp("models")
    static = write_static(folder / "static")
    return {
        "head": Labeler(tiny_backbone, cache=False).fit(snippets(40)),
        "full": Labeler(tiny_backbone, "full", calibration="none", cache=False).fit(snippets(40)),
        "static": Labeler(static, cache=False, on_long="window", max_length=8).fit(snippets(40)),
    }


# --- who is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"actors": -1}, "actors = -1: expected how many, or 0"),
        ({"cpus": 0}, "cpus = 0: an actor needs a processor"),
        ({"gpus": -1}, "gpus = -1: expected a part of one, or a whole number"),
        ({"gpus": 1.5}, r"gpus = 1\.5: expected a part of one, or a whole number"),
        ({"address": "ray://host:10001"}, "ray://host:10001 is an address of Ray Client"),
    ],
)
def test_what_no_cluster_can_give_is_refused(asked, message):
    with pytest.raises(RecipeError, match=message):
        Cluster(**asked)


NODES = [
    {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0}},
    {"Alive": True, "Resources": {"CPU": 1.0}},
    {"Alive": True, "Resources": {"memory": 1e9}},
    {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
]


@pytest.mark.parametrize(
    ("asked", "room"),
    [
        ({}, 9),
        ({"actors": 3}, 3),
        ({"cpus": 3}, 2),
        ({"cpus": 0.1}, 90),
        ({"gpus": 1}, 2),
        ({"gpus": 0.5}, 4),
        ({"cpus": 5, "gpus": 0.5}, 1),
    ],
)
def test_as_many_actors_as_fit(asked, room):
    assert Cluster(**asked)._room(NODES) == room


def test_more_than_there_is_room_for_is_refused_with_numbers():
    has = r"on its 3 nodes \(8 CPUs, 2 GPUs; 1 CPUs, 0 GPUs; 0 CPUs, 0 GPUs\); ask for fewer or smaller"
    for asked, message in (
        ({"actors": 10}, "10 actors with 1 CPUs and 0 GPUs each: the cluster has room for 9 "),
        ({"cpus": 9}, "1 actors with 9 CPUs and 0 GPUs each: the cluster has room for 0 "),
        ({"gpus": 4, "actors": 2}, "2 actors with 1 CPUs and 4 GPUs each: the cluster has room for 0 "),
    ):
        with pytest.raises(RecipeError, match=message + has):
            Cluster(**asked)._room(NODES)


def connect(address=""):
    with Cluster(address).connected():
        raise AssertionError


def test_one_process_asks_a_cluster(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RecipeError, match="without accelerate or torchrun"):
        connect()


def test_ray_is_an_extra(monkeypatch):
    monkeypatch.setattr(cluster, "find_spec", lambda _: None)
    with pytest.raises(PluginError, match=r"pip install 'textlabel\[ray\]'"):
        connect()


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_nobody_answers(monkeypatch, by):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        if by == "environment":
            monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(ClusterError, match=rf"no cluster answers at {address} \(.*`ray start --head`"):
            cluster._connect(address if by == "argument" else "")


def test_who_answers_must_be_ray():
    class Dashboard(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Dashboard) as server:
        threading.Thread(target=server.handle_request).start()
        with pytest.raises(ClusterError, match="what listens there is not the head of a cluster"):
            cluster._connect(f"127.0.0.1:{server.server_port}")


def test_threads_are_the_processors_of_an_actor():
    assert [Cluster(cpus=number).threads for number in (0.5, 1, 1.5, 4)] == [1, 1, 1, 4]


# --- what is staged -------------------------------------------------------------------------------


def test_texts_come_back_and_go(place):
    staged, texts = Staged(place, PLAN), [["a", "b", ""], ["ünï\n\x00"]]
    for number, some in enumerate(texts):
        staged.put_texts(number, pa.chunked_array([some]))
    assert [Staged(place, PLAN).texts(number) for number in range(2)] == texts
    staged.discard()
    with pytest.raises(ExportError, match=r"texts-00000\.parquet is missing: repeat"):
        staged.texts(0)
    assert Objects(place).names() == []


def test_damaged_texts_are_told(place):
    staged = Staged(place, PLAN)
    staged.put_texts(0, pa.chunked_array([[f"text {i}" for i in range(50)]]))
    objects = Objects(f"{place}/staged-{PLAN}")
    content = objects.get("texts-00000.parquet")
    for damaged in (content[:-9], content[:40] + bytes([content[40] ^ 1]) + content[41:]):
        objects.put("texts-00000.parquet", damaged)
        with pytest.raises(ExportError, match=r"texts-00000\.parquet is damaged .*: repeat"):
            staged.texts(0)


def test_a_model_comes_back_with_all_that_it_reads(models, place, tmp_path):
    for name, labeler in models.items():
        staged = Staged(f"{place}-{name}", PLAN)
        staged.put_model(labeler.bundle)
        bundle = staged.model(tmp_path / name)
        assert bundle.classifier.folder.is_relative_to(tmp_path / name)
        assert bundle.digest() == Labeler.load(labeler.save(tmp_path / f"{name}-saved")).bundle.digest()


def test_a_damaged_model_is_told(models, place, tmp_path):
    staged = Staged(place, PLAN)
    staged.put_model(models["head"].bundle)
    objects = Objects(f"{place}/staged-{PLAN}/model")
    objects.put("head.safetensors", objects.get("head.safetensors") + b"x")
    with pytest.raises(BundleError, match=r"head\.safetensors was changed or damaged"):
        staged.model(tmp_path / "model")


# --- what a worker makes --------------------------------------------------------------------------


class InThisProcess(Workers):
    """Workers as a cluster has them, but one, and here."""

    def _rows(self, job, numbers):
        worker = Worker(job)
        for number in numbers:
            told = worker({"shard": np.array([number])})
            yield {name: value for name, (value,) in told.items()}


@pytest.fixture
def here(monkeypatch):
    """A cluster whose only worker is this process."""
    monkeypatch.setattr(cluster_worker, "node", lambda: "here")
    monkeypatch.setattr(cluster_worker, "use_threads", lambda _: None)

    class Here(Cluster):
        def connected(self):
            from contextlib import nullcontext

            return nullcontext(InThisProcess(self, 1, cluster_worker.hardware_here(0)))

    return Here()


def objects(place):
    store = Objects(place)
    return {name: store.get(name) for name in store.names() if "." in name}


@pytest.mark.parametrize("name", ["head", "full", "static"])
def test_it_makes_the_shards_of_this_machine(models, here, name, place, caplog):
    labeler = models[name]
    with caplog.at_level("INFO"):
        found = labeler.predict(ROWS, checkpoint=place, cluster=here)
    assert "4 shards were made by 1 actors: 4 on here" in caplog.text
    expected = labeler.predict(ROWS, checkpoint=f"{place}-local")
    assert objects(place) == objects(f"{place}-local")
    assert len(objects(place)) == 9
    assert not [name for name in Objects(place).names() if "." not in name]  # nothing staged is left
    assert found.ids == expected.ids
    np.testing.assert_array_equal(found.logits, expected.logits)


def test_either_goes_on_with_what_the_other_began(models, here, tmp_path, monkeypatch, caplog):
    labeler, put = models["head"], Objects.put
    labeler.predict(ROWS, checkpoint=tmp_path / "whole")
    for first, then in ((here, None), (None, here)):
        run, made = tmp_path / f"{first is None}", []

        def stopping(self, name, content, made=made):
            made.append(name)
            if name == "shard-00002.safetensors":
                raise KeyboardInterrupt
            put(self, name, content)

        with monkeypatch.context() as patch:
            patch.setattr(Objects, "put", stopping)
            with pytest.raises(KeyboardInterrupt, match="2 of 4 shards are done; repeat"):
                labeler.predict(ROWS, checkpoint=run, cluster=first)
        made.clear()
        with monkeypatch.context() as patch:
            patch.setattr(Objects, "put", lambda *all, made=made: made.append(all[1]) or put(*all))
            labeler.predict(ROWS, checkpoint=run, cluster=then)
        assert [name for name in made if name.endswith(".json")] == ["shard-00002.json", "shard-00003.json"]
        assert objects(run) == objects(tmp_path / "whole")


def test_nothing_is_staged_where_all_is_done(models, here, tmp_path, monkeypatch):
    expected = models["head"].predict(ROWS, checkpoint=tmp_path)
    monkeypatch.setattr(Staged, "put_model", None)
    found = models["head"].predict(ROWS, checkpoint=tmp_path, cluster=here)
    np.testing.assert_array_equal(found.logits, expected.logits)


def test_the_feature_cache_is_left_alone(tiny_backbone, here, tmp_path):
    labeler = Labeler(tiny_backbone, cache=tmp_path / "cache").fit(snippets(40))
    labeler.predict(ROWS)
    labeler.predict(ROWS, checkpoint=tmp_path / "run", cluster=here)
    assert labeler.predictor.from_cache == 0
    assert Shards.planned(Objects(tmp_path / "run")).cached == []
    labeler.predict(ROWS, checkpoint=tmp_path / "other")
    assert labeler.predictor.from_cache == len(ROWS)


def test_an_unfinished_run_with_a_feature_cache_does_not_go_on_there(
    tiny_backbone, here, tmp_path, monkeypatch
):
    """Nodes would compute what the run was to look up, so its last digits and counts would be others."""
    labeler, put = Labeler(tiny_backbone, cache=tmp_path / "cache").fit(snippets(40)), Objects.put
    labeler.predict(ROWS)

    def stopping(self, name, content):
        if name == "shard-00002.safetensors":
            raise KeyboardInterrupt
        put(self, name, content)

    with monkeypatch.context() as patch:
        patch.setattr(Objects, "put", stopping)
        with pytest.raises(KeyboardInterrupt):
            labeler.predict(ROWS, checkpoint=tmp_path / "run")
    with pytest.raises(
        ExportError, match="looks features up in the feature cache, which no node has: finish"
    ):
        labeler.predict(ROWS, checkpoint=tmp_path / "run", cluster=here)
    assert labeler.predict(ROWS, checkpoint=tmp_path / "run").from_cache.all()


def test_a_folder_of_somebody_else_stays(models, here, tmp_path):
    (tmp_path / "run" / "staged").mkdir(parents=True)
    (tmp_path / "run" / "staged" / "mine").write_text("of somebody")
    models["head"].predict(ROWS, checkpoint=tmp_path / "run", cluster=here)
    assert [
        path.name for path in (tmp_path / "run").rglob("*") if path.suffix not in (".json", ".safetensors")
    ] == ["staged", "mine"]


def test_what_a_killed_run_staged_goes_with_the_next_on_this_machine(models, here, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Staged, "discard", lambda self: None)
        patch.setattr(cluster_worker, "arrays_of", lambda *_: 1 / 0)
        with pytest.raises(ClusterError):
            models["head"].predict(ROWS, checkpoint=tmp_path, cluster=here)
    assert list(tmp_path.glob("staged-*"))
    models["head"].predict(ROWS, checkpoint=tmp_path)
    assert not list(tmp_path.glob("staged-*"))


def test_a_fault_is_told_even_where_what_is_staged_cannot_be_deleted(
    models, here, tmp_path, monkeypatch, caplog
):
    def refuse(self):
        raise ExportError("the login ended")

    monkeypatch.setattr(Objects, "delete", refuse)
    monkeypatch.setattr(cluster_worker, "arrays_of", lambda *_: 1 / 0)
    with pytest.raises(ClusterError, match="division by zero"):
        models["head"].predict(ROWS, checkpoint=tmp_path, cluster=here)
    assert "the login ended" in caplog.text


FAULTS = {
    "texts": r"node here: .*texts-00001\.parquet is damaged",
    "few": "node here: shard 1 has 3 texts, 8 were planned",
    "facts": "node here: its transformers version is .*, and the run was planned with 4: numbers would",
    "plan": "node here: it does not see the plan in .*: choose a place that all nodes reach",
    "bug": "node here: ZeroDivisionError: division by zero",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_worker_cannot_do_ends_the_run(models, here, tmp_path, monkeypatch, fault):
    put, put_texts, facts_of = Objects.put, Staged.put_texts, long_run.facts_of
    if fault == "texts":
        cut = {"texts-00001.parquet": -9}
        monkeypatch.setattr(Objects, "put", lambda self, n, content: put(self, n, content[: cut.get(n)]))
    elif fault == "few":
        monkeypatch.setattr(
            Staged, "put_texts", lambda self, n, texts: put_texts(self, n, texts[:3] if n == 1 else texts)
        )
    elif fault == "facts":
        older = {"transformers_version": "4"}
        monkeypatch.setattr(long_run, "facts_of", lambda *all: {**facts_of(*all), **older})
    elif fault == "plan":
        hidden = tmp_path / "run" / "plan.json"  # as on a disk that is not shared
        monkeypatch.setattr(Staged, "put_model", lambda *_: hidden.unlink())
    else:
        monkeypatch.setattr(cluster_worker, "arrays_of", lambda *_: 1 / 0)
    with pytest.raises(ClusterError, match=FAULTS[fault]) as raised:
        models["head"].predict(ROWS, checkpoint=tmp_path / "run", cluster=here)
    assert "Traceback" in str(raised.value.__cause__)
    assert not list((tmp_path / "run").glob("staged*"))
    assert (tmp_path / "run" / "shard-00000.json").exists() == (fault in ("texts", "few"))


def test_a_cluster_needs_a_checkpoint(models):
    with pytest.raises(RecipeError, match="a cluster needs a checkpoint"):
        models["head"].predict(ROWS, cluster=Cluster())
