"""Frozen layers are run once a row: with the gradients of the whole pass, and nothing left behind."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from tiny import ARCHITECTURES, snippets, write_backbone

from textlabel import registry
from textlabel.engine import loop, prefix
from textlabel.engine.prefix import Kept, frozen_prefix, windows
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.protocols import Batch, Context, Rows
from textlabel.recipe import Stage, options_of
from textlabel.types import LabelSchema

SCHEMA = LabelSchema("single", ("negative", "positive"))
TOP = [{"name": "partial", "layers": 1}, {"name": "lora", "layers": 1, "dropout": 0.0}]


def context_of(folder, n=30, tune=None):
    classifier = Classifier(load_backbone(folder), SCHEMA)
    torch.nn.init.normal_(classifier.head.weight, generator=torch.Generator().manual_seed(0))
    if tune is not None:
        plan = stage(tune)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            registry.load("tune", plan.tune.name).apply(classifier, options_of("tune", plan.tune))
    data = snippets(n)
    tokens = classifier.tokenizer([row["text"] for row in data])["input_ids"]
    rows = Rows(tokens, np.array([SCHEMA.index(row["label"]) for row in data]))
    return Context({"labeled": rows}, SCHEMA, classifier, torch.device("cpu"))


def stage(tune, **training):
    settings = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3, "mixed_precision": "no"}
    return Stage.of(tune, "cross_entropy", **{**settings, **training})


def trained(folder, tune, seed=0, **kwargs):
    context = context_of(folder)
    training = kwargs.pop("training", {})
    loop.train(context.classifier, stage(tune, **training), context, seed, **kwargs)
    context.classifier.merge()
    return {name: value.detach().clone() for name, value in context.classifier.state_dict().items()}


def assert_same(a, b, atol=0.0):
    assert a.keys() == b.keys()
    for key in a:
        torch.testing.assert_close(a[key], b[key], rtol=0, atol=atol, msg=key)


def gradients(context, index):
    module = registry.load("objective", "cross_entropy")
    context.classifier.zero_grad()
    module.Objective(module.Options(), context).loss(
        "model", Batch({"labeled": index}, {"labeled": len(index)})
    ).backward()
    return {n: p.grad.clone() for n, p in context.classifier.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("tune", TOP, ids=lambda tune: tune["name"])
@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name != "albert"])
def test_kept_vectors_give_the_gradients_of_the_whole_pass(architecture, tune, tmp_path):
    context = context_of(write_backbone(tmp_path / architecture, architecture), tune=tune)
    found = frozen_prefix(context.classifier, context, stage(tune).training, None)
    found.fill({"labeled": 60})
    assert set(found.kept) == {"labeled"}
    context.classifier.eval()
    index = np.array([3, 17, 5, 29, 0])
    whole = gradients(context, index)
    assert len(whole) > 3
    assert_same(whole, gradients(Context(**{**vars(context), "body": found}), index), atol=1e-4)


def test_layers_that_are_shared_all_run_and_it_is_logged(tmp_path, caplog):
    context = context_of(write_backbone(tmp_path / "albert", "albert"))
    for parameter in context.classifier.body.parameters():
        parameter.requires_grad_(False)
    assert frozen_prefix(context.classifier, context, stage("head").training, None) is None
    context = context_of(write_backbone(tmp_path / "bert", "bert"), tune=TOP[0])
    with caplog.at_level(logging.INFO, "textlabel"), pytest.MonkeyPatch.context() as patch:
        patch.setattr("textlabel.models.cut.cut_body", lambda *_: None)
        assert frozen_prefix(context.classifier, context, stage("head").training, None) is None
    assert "bert cannot be cut below its trained layers: all layers run" in caplog.text


@pytest.mark.parametrize("tune", ["full", "lora"])
def test_nothing_is_frozen_where_all_layers_train(tune, tiny_backbone):
    context = context_of(tiny_backbone, tune=tune)
    assert frozen_prefix(context.classifier, context, stage(tune).training, None) is None


@pytest.mark.parametrize("tune", TOP, ids=lambda tune: tune["name"])
def test_kept_or_not_the_weights_are_the_same_and_frozen_ones_do_not_move(tune, tiny_backbone, monkeypatch):
    sgd = {"optimizer": "sgd", "learning_rate": 0.1}  # Adam would make steps of what is rounding only
    kept = trained(tiny_backbone, tune, training=sgd)
    monkeypatch.setattr(prefix, "MEMORY", 0)
    assert_same(kept, trained(tiny_backbone, tune, training=sgd), atol=1e-5)
    before = context_of(tiny_backbone).classifier.state_dict()
    moved = {name for name in kept if (kept[name] != before[name]).any()}
    assert any("layer.1" in name for name in moved)
    assert all("layer.1" in name or name.startswith("head") for name in moved)


def test_a_file_serves_where_memory_does_not(tiny_backbone, tmp_path, monkeypatch):
    """The same weights to the last bit, from a file that has no name while it is used, nor afterwards."""
    kept = trained(tiny_backbone, TOP[0])
    monkeypatch.setattr(prefix, "MEMORY", 0)
    made, names = [], []
    real = prefix._unnamed_file

    def look(*args):
        made.append(real(*args))
        return made[-1]

    monkeypatch.setattr(prefix, "_unnamed_file", look)
    folder = tmp_path / "spill"
    spilled = trained(
        tiny_backbone, TOP[0], spill=folder, progress=lambda *_: names.append(list(folder.iterdir()))
    )
    assert len(made) == 1
    assert made[0].abs().sum() > 0
    assert_same(kept, spilled)
    assert names == [[]] * 8


def test_without_a_folder_or_beyond_the_cap_nothing_is_written(tiny_backbone, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(prefix, "MEMORY", 0)
    monkeypatch.setattr(prefix, "_unnamed_file", lambda *_: pytest.fail("a file was made"))
    with caplog.at_level(logging.INFO, "textlabel"):
        trained(tiny_backbone, TOP[0])
        assert "the labeled rows are not kept" in caplog.text
        monkeypatch.setattr(prefix, "DISK", 10)
        trained(tiny_backbone, TOP[0], spill=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_no_reason_to_stop(tiny_backbone, tmp_path, monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(prefix, "MEMORY", 0)
    monkeypatch.setattr(prefix.os, "posix_fallocate", full)
    with caplog.at_level(logging.INFO, "textlabel"):
        trained(tiny_backbone, TOP[0], spill=tmp_path)
    assert "No space left on device" in caplog.text


def test_all_processes_keep_vectors_or_none_does(tiny_backbone, monkeypatch):
    """Another process has no room: this one must not wait for its share of the work."""
    context = context_of(tiny_backbone, tune=TOP[0])
    found = frozen_prefix(context.classifier, context, stage(TOP[0]).training, None)
    monkeypatch.setattr(prefix, "sum_over_processes", lambda array: array + 1)
    found.fill({"labeled": 60})
    assert found.kept == {}


def test_rows_that_are_read_once_are_not_kept(tiny_backbone):
    context = context_of(tiny_backbone, tune=TOP[0])
    found = frozen_prefix(context.classifier, context, stage(TOP[0]).training, None)
    found.fill({"labeled": 30})
    assert found.kept == {}
    context.classifier.eval()
    index = np.array([4, 2])
    ids, mask = context.inputs("labeled", index)
    whole = context.classifier.body(input_ids=ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(found("labeled", index, ids, mask), whole, atol=1e-5, rtol=0)


def test_the_frozen_layers_run_once_a_row(tiny_backbone, monkeypatch):
    context = context_of(tiny_backbone)
    seen = []
    context.classifier.body.encoder.layer[0].register_forward_hook(
        lambda _, args, __: seen.append(len(args[0]))
    )
    loop.train(context.classifier, stage(TOP[0], epochs=5), context, seed=0)
    # and twice the two rows on which the cut is tried out, and the way of attention
    assert sum(seen) == 30 + 2 * 2 + 2 * 2


def test_nothing_is_dropped_in_frozen_layers_nor_after_a_validation(tiny_backbone):
    context = context_of(tiny_backbone)
    layers, modes = context.classifier.body.encoder.layer, []

    def look(*_):
        modes.append([layer.attention.self.dropout.training for layer in layers])

    plan = stage(TOP[0], patience=5)
    loop.train(context.classifier, plan, context, seed=0, validate=lambda: 1.0, progress=look)
    assert modes == [[False, True]] * 8
    assert not context.classifier.training


class Killed(Exception):
    pass


@pytest.mark.parametrize("mixed_precision", ["auto", "no"])
@pytest.mark.parametrize("spill", [False, True])
def test_a_killed_run_resumes_to_the_same_weights(
    tiny_backbone, tmp_path, monkeypatch, mixed_precision, spill
):
    from textlabel.engine.checkpoint import Checkpoint

    if spill:
        monkeypatch.setattr(prefix, "MEMORY", 0)
    more = {
        "spill": tmp_path / "spill" if spill else None,
        "training": {"mixed_precision": mixed_precision},
    }

    def die(step, steps, loss):
        if step == 6:
            raise Killed

    straight = trained(tiny_backbone, TOP[1], **more)
    checkpoint = Checkpoint(tmp_path / "checkpoint", {}, 0)
    with pytest.raises(Killed):
        trained(tiny_backbone, TOP[1], checkpoint=checkpoint, progress=die, **more)
    assert_same(straight, trained(tiny_backbone, TOP[1], checkpoint=checkpoint, **more))


def test_a_finished_stage_runs_no_frozen_layer_again(tiny_backbone, tmp_path, monkeypatch):
    from textlabel.engine.checkpoint import Checkpoint

    trained(tiny_backbone, TOP[0], checkpoint=Checkpoint(tmp_path, {}))
    monkeypatch.setattr(prefix.Prefix, "fill", lambda *_: pytest.fail("filled"))
    trained(tiny_backbone, TOP[0], checkpoint=Checkpoint(tmp_path, {}))


def test_rows_come_back_padded_with_zeros():
    kept = Kept(torch.zeros(6, 2), np.array([1, 3, 2]))
    for row, length in enumerate((1, 3, 2)):
        kept.put(row, torch.full((5, 2), row + 1.0)[: length + 1])
    assert kept.rows(np.array([2, 0]), 3)[..., 0].tolist() == [[3, 3, 0], [1, 0, 0]]
    assert kept.store[:, 1].tolist() == [1, 2, 2, 2, 3, 3]


def test_windows_keep_every_batch_in_order(monkeypatch):
    monkeypatch.setattr(prefix, "WINDOW", 10)
    lengths = np.array([4, 4, 4, 30, 1])
    found = [[b.tolist() for b in w] for w in windows([np.array([i]) for i in range(5)], lengths)]
    assert found == [[[0], [1]], [[2]], [[3]], [[4]]]
