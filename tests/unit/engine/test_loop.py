"""Stages are trained: losses fall, kills and seeds change nothing, players take turns."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from tiny import snippets

from textlabel import registry
from textlabel.engine import loop
from textlabel.engine.checkpoint import Checkpoint
from textlabel.errors import TrainingError
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.protocols import Context, Rows
from textlabel.recipe import Stage
from textlabel.types import LabelSchema

SCHEMA = LabelSchema("single", ("negative", "positive"))


def context(classifier, n=30):
    data = snippets(n)
    rows = Rows(
        [list(t) for t in load_tokens(classifier, data)], np.array([SCHEMA.index(r["label"]) for r in data])
    )
    return Context({"labeled": rows}, SCHEMA, classifier, torch.device("cpu"))


def load_tokens(classifier, data):
    return classifier.tokenizer([r["text"] for r in data])["input_ids"]


def stage(tune="full", objective="cross_entropy", **training):
    return Stage.of(
        tune,
        objective,
        **{"epochs": 2, "batch_size": 8, "learning_rate": 1e-3, "mixed_precision": "no", **training},
    )


def weights(classifier):
    return {k: v.detach().clone() for k, v in classifier.state_dict().items()}


def assert_same(a, b, atol=0.0):
    assert a.keys() == b.keys()
    for key in a:
        torch.testing.assert_close(a[key], b[key], rtol=0, atol=atol)


def test_the_loss_falls_and_the_model_ends_in_eval_mode(classifier):
    state = loop.train(
        classifier,
        stage(epochs=6, learning_rate=1e-2, head_learning_rate=0.1, dropout=0.0),
        context(classifier),
        seed=0,
    )
    assert state.step == 6 * 4 == len(state.losses)
    assert np.mean(state.losses[-4:]) < 0.8 * np.mean(state.losses[:4])
    assert not classifier.training


def test_same_seed_same_weights(tiny_backbone):
    runs = []
    for seed in (0, 0, 1):
        model = Classifier(load_backbone(tiny_backbone), SCHEMA)
        loop.train(model, stage("lora"), context(model), seed=seed)
        runs.append(weights(model))
    assert_same(runs[0], runs[1])
    assert any((runs[0][k] != runs[2][k]).any() for k in runs[0])


def test_training_leaves_the_global_random_state_alone(classifier):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    loop.train(classifier, stage("lora", epochs=1), context(classifier), seed=0)
    assert torch.equal(before, torch.get_rng_state())


def test_micro_batches_give_the_same_gradient(tiny_backbone):
    results = []
    for micro in (0, 20):
        model = Classifier(load_backbone(tiny_backbone), SCHEMA)
        loop.train(
            model, stage(micro_batch_tokens=micro, dropout=0.0, optimizer="sgd"), context(model), seed=0
        )
        results.append(weights(model))
    assert_same(*results, atol=1e-6)


@pytest.mark.parametrize("rank_world", [2, 3])
def test_shares_add_up_to_the_whole_gradient(classifier, rank_world):
    """An uneven batch with class weights, split over processes, padded differently in each."""
    ctx = context(classifier, 11)
    module = registry.load("objective", "cross_entropy")
    objective = module.Objective(module.Options("balanced", 0.1), ctx)
    classifier.eval()
    rows = {"labeled": np.arange(11)}

    def gradient(world):
        classifier.zero_grad()
        for rank in range(world):
            for batch in loop.shares(rows, {"labeled": ctx.rows["labeled"].lengths}, rank, world, 1000, 0.0):
                objective.loss("model", batch).backward()
        return {n: p.grad.clone() for n, p in classifier.named_parameters() if p.grad is not None}

    assert_same(gradient(1), gradient(rank_world), atol=1e-6)


class Killed(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tune", "objective", "more"),
    [
        ("lora", "cross_entropy", {}),
        ("full", "cross_entropy", {}),
        ("dora", "cross_entropy", {}),
        ("ia3", "r_drop", {"optimizer": "sgd"}),
        ("full", "mixup", {"unfreeze": "gradual"}),
        ("bitfit", ["cross_entropy", "contrastive"], {"unfreeze": "gradual"}),
    ],
)
@pytest.mark.parametrize("die_at", [1, 5])
def test_a_killed_run_resumes_to_the_same_weights(tiny_backbone, tmp_path, tune, objective, more, die_at):
    plan = stage(tune, objective, **more)
    straight = Classifier(load_backbone(tiny_backbone), SCHEMA)
    loop.train(straight, plan, context(straight), seed=3)

    def die(step, steps, loss):
        if step == die_at + 1:
            raise Killed

    killed = Classifier(load_backbone(tiny_backbone), SCHEMA)
    with pytest.raises(Killed):
        loop.train(
            killed,
            plan,
            context(killed),
            seed=3,
            checkpoint=Checkpoint(tmp_path, {"seed": 3}, 0),
            progress=die,
        )
    resumed = Classifier(load_backbone(tiny_backbone), SCHEMA)
    steps = []
    state = loop.train(
        resumed,
        plan,
        context(resumed),
        seed=3,
        checkpoint=Checkpoint(tmp_path, {"seed": 3}, 0),
        progress=lambda step, *_: steps.append(step),
    )
    assert steps[0] == die_at + 1
    assert len(state.losses) == 8
    assert_same(weights(straight), weights(resumed))


def test_a_finished_stage_is_not_trained_again(tiny_backbone, tmp_path):
    done = []
    for _ in range(2):
        model = Classifier(load_backbone(tiny_backbone), SCHEMA)
        loop.train(
            model,
            stage("lora"),
            context(model),
            seed=0,
            checkpoint=Checkpoint(tmp_path, {}),
            progress=lambda step, *_: done.append(step),
        )
    assert done == list(range(1, 9))


def test_another_run_is_refused_with_the_difference_named(classifier, tmp_path):
    loop.train(
        classifier,
        stage(),
        context(classifier),
        seed=0,
        checkpoint=Checkpoint(tmp_path, {"seed": 0, "rows": "a"}),
    )
    with pytest.raises(TrainingError, match="another run; different: seed"):
        loop.train(
            classifier,
            stage(),
            context(classifier),
            seed=1,
            checkpoint=Checkpoint(tmp_path, {"seed": 1, "rows": "a"}),
        )


def test_a_diverging_loss_stops_with_its_step(classifier):
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) at step \d+; lower learning_rate"):
        loop.train(
            classifier,
            stage(learning_rate=1e12, optimizer="sgd", max_grad_norm=1e30),
            context(classifier),
            seed=0,
        )


def test_a_gradient_that_is_no_number_never_reaches_the_weights(classifier, monkeypatch):
    before = weights(classifier)
    real = loop.add_gradients

    def spoil(player, loss):
        next(iter(player.parameters.values())).grad.fill_(float("nan"))
        return real(player, loss)

    monkeypatch.setattr(loop, "add_gradients", spoil)
    with pytest.raises(TrainingError, match="the loss is nan at step 1"):
        loop.train(classifier, stage(), context(classifier), seed=0)
    assert_same(before, weights(classifier))


def test_running_statistics_of_extra_modules_are_resumed(tiny_backbone, tmp_path, monkeypatch):
    made = []
    plan = _toy(monkeypatch, "TwoPlayers", made, critic=lambda width: torch.nn.BatchNorm1d(width))
    for _ in range(2):
        model = Classifier(load_backbone(tiny_backbone), SCHEMA)
        loop.train(model, plan, context(model), seed=0, checkpoint=Checkpoint(tmp_path, {}))
    first, second = (toy.critic.state_dict() for toy in made)
    assert first["running_mean"].any()
    assert_same(first, second)


def test_early_stopping_keeps_the_best_epoch(classifier):
    risks = iter([3.0, 1.0, 2.0, 2.5, 9.9])
    snapshots = []

    def validate():
        snapshots.append(weights(classifier))
        return next(risks)

    plan = stage(epochs=5, patience=2)
    state = loop.train(classifier, plan, context(classifier), seed=0, validate=validate)
    assert len(snapshots) == 4  # the best was the second; two worse ones end it
    assert state.best == 1.0
    assert_same(weights(classifier), snapshots[1])


def test_an_early_stopped_run_is_found_as_done(tiny_backbone, tmp_path):
    ended = []
    for _ in range(2):
        model = Classifier(load_backbone(tiny_backbone), SCHEMA)
        risks = iter([1.0, 2.0, 3.0])
        saved = Checkpoint(tmp_path, {}, 0)
        plan = stage(epochs=5, patience=2)
        state = loop.train(
            model, plan, context(model), seed=0, checkpoint=saved, validate=lambda r=risks: next(r)
        )
        assert (state.step, state.best, state.stopped) == (12, 1.0, True)
        ended.append(weights(model))
    assert_same(*ended)


def test_a_trained_model_is_let_go(tiny_backbone):
    import gc
    import weakref

    model = Classifier(load_backbone(tiny_backbone), SCHEMA)
    loop.train(model, stage(epochs=1), context(model), seed=0)
    parameter = weakref.ref(model.body.encoder.layer[0].output.dense.weight)
    del model
    gc.collect()
    assert parameter() is None


def test_dropout_option_applies_while_training_only(classifier):
    seen = set()
    old = {m.p for m in classifier.body.modules() if isinstance(m, torch.nn.Dropout)}

    def look(*_):
        seen.update(m.p for m in classifier.body.modules() if isinstance(m, torch.nn.Dropout))

    loop.train(classifier, stage(dropout=0.37), context(classifier), seed=0, progress=look)
    assert seen == {0.37}
    assert {m.p for m in classifier.body.modules() if isinstance(m, torch.nn.Dropout)} == old


@pytest.mark.parametrize("tune", ["full", "lora"])
def test_attention_is_fused_again_after_training(classifier, tune):
    seen = set()
    assert classifier.body.config._attn_implementation == "sdpa"

    def look(*_):
        seen.add(classifier.body.config._attn_implementation)

    loop.train(classifier, stage(tune, epochs=1), context(classifier), seed=0, progress=look)
    assert seen == {"textlabel_lean"}
    classifier.merge()
    assert classifier.body.config._attn_implementation == "sdpa"


def _toy(monkeypatch, cls, made, critic=None):
    from importlib.util import module_from_spec, spec_from_file_location
    from pathlib import Path

    spec = spec_from_file_location("toys", Path(__file__).with_name("toys.py"))
    toys = module_from_spec(spec)
    import sys

    sys.modules["toys"] = toys
    spec.loader.exec_module(toys)

    class Recording(getattr(toys, cls)):
        def __init__(self, *args):
            super().__init__(*args)
            if critic is not None:
                self.critic = critic(self.context.classifier.head.in_features)
            made.append(self)

    toys.Objective = Recording
    real = registry.load
    monkeypatch.setattr(registry, "load", lambda kind, name: toys if name == "toy" else real(kind, name))
    return dataclasses.replace(stage(), objective=(stage().objective[0].__class__("toy"),))


def test_two_players_never_touch_each_others_weights(classifier, monkeypatch):
    made = []
    plan = _toy(monkeypatch, "TwoPlayers", made)
    start = weights(classifier)
    loop.train(classifier, plan, context(classifier), seed=0)
    toy = made[0]
    assert {(p, m, c) for p, m, c in toy.seen} == {("model", True, False), ("critic", False, True)}
    assert [p for p, *_ in toy.seen[:4]] == ["model", "critic", "model", "critic"]
    assert any((start[k] != v).any() for k, v in weights(classifier).items())


def test_a_player_that_rests_takes_no_step_and_the_loss_is_the_others(classifier, monkeypatch):
    made, after = [], []
    plan = _toy(monkeypatch, "TwoPlayers", made)
    toys = registry.load("objective", "toy")
    toys.Objective.rests = lambda self, player, progress: player == "model" and progress < 0.5
    loop.train(
        *(classifier, plan, context(classifier)),
        seed=0,
        progress=lambda *_: after.append(weights(classifier)),
    )
    assert [p for p, *_ in made[0].seen] == ["critic"] * 4 + ["model", "critic"] * 4
    assert_same(after[0], after[3])
    assert any((after[3][key] != value).any() for key, value in after[4].items())


def test_each_player_steps_against_the_other(classifier, monkeypatch):
    """One SGD step each, checked against gradients taken by hand."""
    made = []
    plan = _toy(monkeypatch, "TwoPlayers", made)
    plan = dataclasses.replace(
        plan,
        training=dataclasses.replace(
            plan.training,
            epochs=1,
            batch_size=30,
            optimizer="sgd",
            max_grad_norm=1e9,
            dropout=0.0,
            warmup=0.0,
        ),
    )
    ctx = context(classifier)
    before = copy.deepcopy(classifier).eval()
    loop.train(classifier, plan, ctx, seed=0)
    critic = made[0].critic
    # the critic's step came second: ascent on the mean of the *updated* model's features
    with torch.no_grad():
        features = classifier(*ctx.inputs("labeled", np.arange(30))).features.mean(0)
    assert critic.weight.grad is None or not critic.weight.grad.any()
    rate = plan.training.learning_rate
    old = critic.weight.detach()[0] - rate * features
    loss = (before(*ctx.inputs("labeled", np.arange(30))).features @ old).mean()
    loss.backward()
    for (name, new), (_, was) in zip(classifier.named_parameters(), before.named_parameters(), strict=True):
        if was.grad is not None and new.requires_grad:
            torch.testing.assert_close(
                new.detach(), (was - rate * was.grad).detach(), msg=name, rtol=0, atol=2e-5
            )


def test_batches_of_pairs_are_never_split(classifier, monkeypatch):
    made = []
    plan = _toy(monkeypatch, "Pairs", made)
    plan = dataclasses.replace(plan, training=dataclasses.replace(plan.training, micro_batch_tokens=2))
    loop.train(classifier, plan, context(classifier), seed=0)
    assert set(made[0].sizes) == {8, 6}


def test_losses_of_two_objectives_add_with_their_weights(tiny_backbone):
    results = []
    for objective in (
        "cross_entropy",
        [{"name": "cross_entropy", "weight": 0.25}, {"name": "cross_entropy", "weight": 0.75}],
    ):
        model = Classifier(load_backbone(tiny_backbone), SCHEMA)
        plan = stage(objective=objective, dropout=0.0, batch_size=30, optimizer="sgd")
        loop.train(model, plan, context(model), seed=0)
        results.append(weights(model))
    assert_same(*results, atol=1e-5)


@pytest.mark.parametrize(("least", "steps"), [(0, 8), (8, 8), (9, 12)])
def test_epochs_are_added_where_there_are_few_steps(classifier, least, steps):
    """Of 30 rows 8 at a time an epoch has four steps; only whole epochs are added."""
    asked = stage(tune="head", epochs=2, batch_size=8, min_steps=least)
    assert loop.train(classifier, asked, context(classifier), seed=0).step == steps


def test_rate_factor_rises_then_falls_to_zero():
    factors = [loop.rate_factor(s / 100, 0.1) for s in range(100)]
    assert np.allclose(np.diff(factors[:11]), 0.1)
    assert max(factors) == factors[10] == 1.0
    assert np.all(np.diff(factors[10:]) < 0)
    assert factors[-1] == pytest.approx(1 / 90)
    assert loop.rate_factor(0.0, 0.0) == 1.0
