"""Who trains at which rate."""

from __future__ import annotations

from textlabel.engine.players import make_players
from textlabel.recipe import Stage


def test_layer_decay_and_weight_decay_groups(classifier):
    classifier.requires_grad_(True)
    rates = {"layer_decay": 0.5, "learning_rate": 1.0, "head_learning_rate": 7.0, "weight_decay": 0.1}
    training = Stage.of("full", "cross_entropy", epochs=2, **rates).training
    player = make_players(classifier, [], training)["model"]
    found = {}
    for group, rate in zip(player.optimizer.param_groups, player.rates, strict=True):
        for parameter in group["params"]:
            found[parameter] = (rate, group["weight_decay"])
    named = dict(classifier.named_parameters())
    assert found[named["head.weight"]] == (7.0, 0.1)
    assert found[named["body.encoder.layer.1.output.dense.weight"]] == (1.0, 0.1)
    assert found[named["body.encoder.layer.0.output.dense.bias"]] == (0.5, 0.0)
    assert found[named["body.encoder.layer.0.output.LayerNorm.weight"]] == (0.5, 0.0)
    assert found[named["body.embeddings.word_embeddings.weight"]] == (0.25, 0.1)
    assert len(found) == len(named)
