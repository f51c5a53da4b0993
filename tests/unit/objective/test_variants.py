"""r_drop, mixup and focal are cross-entropy where they should be, and else what their formulas say."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr, softmax
from tiny import snippets
from typer.testing import CliRunner

from textlabel import registry
from textlabel.cli.app import app
from textlabel.engine import loop
from textlabel.errors import RecipeError
from textlabel.objective.focal import focal
from textlabel.objective.mixup import mixed_loss
from textlabel.objective.r_drop import r_drop
from textlabel.recipe import Stage

LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
OTHERS = torch.randn(6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
TARGETS = torch.tensor([0, 1, 2, 2, 0, 1])
PLAIN = -log_softmax(LOGITS.numpy(), axis=1)[np.arange(6), TARGETS.numpy()]


def loss_of(name, context, batch, **options):
    module = registry.load("objective", name)
    return module.Objective(module.Options(**options), context).loss("model", batch)


@pytest.mark.parametrize(
    ("name", "options", "of_plain"),
    [
        ("r_drop", {"alpha": 3.0}, {}),
        ("mixup", {"alpha": 1e-3}, {}),  # nearly all shares are 1
        ("focal", {"gamma": 0.0}, {}),
        ("focal", {"gamma": 0.0, "class_weights": "balanced"}, {"class_weights": "balanced"}),
    ],
)
def test_without_dropout_or_mixing_or_focus_it_is_cross_entropy(context_of, whole, name, options, of_plain):
    context, batch = context_of([0, 0, 0, 1, 2, 0, 1]), whole([4, 1, 0, 3, 6, 2])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = loss_of(name, context, batch, **options)
    torch.testing.assert_close(found, loss_of("cross_entropy", context, batch, **of_plain), atol=1e-5, rtol=0)


def test_r_drop_is_half_of_the_formula_of_the_paper():
    p, q = softmax(LOGITS.numpy(), axis=1), softmax(OTHERS.numpy(), axis=1)
    rows = np.arange(6)
    right = -np.log(p[rows, TARGETS]) - np.log(q[rows, TARGETS])
    apart = rel_entr(p, q).sum(1) + rel_entr(q, p).sum(1)
    paper = right + 0.7 / 2 * apart
    np.testing.assert_allclose(r_drop(LOGITS, OTHERS, TARGETS, 0.7), paper / 2, rtol=1e-10)


def test_r_drop_makes_two_passes_that_drop_differently(context_of, whole):
    context, batch = context_of(np.arange(6) % 2), whole(np.arange(6))
    context.classifier.train()
    found = []
    for alpha in (0.0, 1000.0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            found.append(loss_of("r_drop", context, batch, alpha=alpha).item())
    assert found[1] > found[0] + 0.05  # were both passes one, the divergence would be 0


def test_mixing_is_of_features_and_of_labels():
    """Against the cross-entropy of soft labels, row by row."""
    head = torch.nn.Linear(4, 3).double()
    torch.nn.init.normal_(head.weight, generator=torch.Generator().manual_seed(3))
    features = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    partner, share = torch.tensor([3, 0, 1, 5, 4, 2]), torch.tensor([0.5, 0.6, 0.7, 0.8, 0.9, 1.0]).double()
    losses = []
    for i in range(6):
        s, j = float(share[i]), int(partner[i])
        logits = head(s * features[i] + (1 - s) * features[j]).detach().numpy()
        soft = s * np.eye(3)[TARGETS[i]] + (1 - s) * np.eye(3)[TARGETS[j]]
        losses.append(-(soft * log_softmax(logits)).sum())
    found = mixed_loss(head, features, TARGETS, partner, share)
    assert found.item() == pytest.approx(np.mean(losses), abs=1e-10)


def test_the_larger_share_of_a_mixed_row_is_its_own(context_of, whole, monkeypatch):
    module, shares = registry.load("objective", "mixup"), []
    real = module.mixed_loss
    monkeypatch.setattr(module, "mixed_loss", lambda *given: (shares.append(given[-1]), real(*given))[1])
    loss_of("mixup", context_of(np.arange(40) % 2), whole(np.arange(40)), alpha=1.0)
    assert shares[0].shape == (40,)
    assert 0.5 <= shares[0].min() < 0.6 < 0.9 < shares[0].max() <= 1


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_and_its_gradient(gamma):
    p = np.exp(-PLAIN)
    np.testing.assert_allclose(focal(LOGITS, TARGETS, gamma), (1 - p) ** gamma * PLAIN, rtol=1e-10)
    given = LOGITS.clone().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: focal(x, TARGETS, gamma), (given,))


def test_a_row_that_is_surely_right_has_a_finite_gradient():
    logits = torch.tensor([[200.0, 0.0]], requires_grad=True)
    focal(logits, torch.tensor([0]), 0.5).sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_all_of_them_pass_through_the_gradient_numerically():
    given = LOGITS.clone().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: r_drop(x, OTHERS, TARGETS, 0.7), (given,))


@pytest.mark.parametrize("name", ["r_drop", "mixup", "focal"])
def test_training_lowers_cross_entropy_and_is_the_same_for_one_seed(context_of, whole, name):
    results = []
    for _ in range(2):
        context = context_of(np.arange(16) % 2)
        before = loss_of("cross_entropy", context, whole(np.arange(16)))
        training = {"epochs": 15, "batch_size": 16, "learning_rate": 1e-2, "mixed_precision": "no"}
        loop.train(context.classifier, Stage.of("full", name, **training), context, seed=0)
        results.append(loss_of("cross_entropy", context, whole(np.arange(16))).item())
        assert results[-1] < 0.7 * before.item()
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("r_drop", {"alpha": -1.0}, "alpha = -1.0; expected 0 or more"),
        ("mixup", {"alpha": 0.0}, "alpha = 0.0; expected a positive"),
        ("focal", {"gamma": -1.0}, "gamma = -1.0; expected 0 or more"),
        ("focal", {"class_weights": "rare"}, "class_weights = 'rare'"),
    ],
)
def test_bad_options_are_refused(name, options, message):
    with pytest.raises(RecipeError, match=message):
        registry.load("objective", name).Options(**options)


RECIPE = """
[[stage]]
tune = {{ name = "partial", layers = 1 }}
objective = {objective}
epochs = 1
"""


@pytest.mark.parametrize(
    "objective",
    [
        '{ name = "r_drop", alpha = 0.5 }',
        '{ name = "mixup", alpha = 0.2 }',
        '{ name = "focal", gamma = 1, class_weights = "balanced" }',
        '["cross_entropy", { name = "supervised_contrastive", temperature = 0.3, weight = 0.5 }]',
    ],
)
def test_by_the_command_line(tiny_backbone, tmp_path, objective):
    train = tmp_path / "train.jsonl"
    train.write_text("".join(json.dumps(row) + "\n" for row in snippets(40)))
    (tmp_path / "mine.toml").write_text(RECIPE.format(objective=objective))
    words = ["fit", train, "--out", tmp_path / "model", "--backbone", tiny_backbone]
    words += ["--recipe", tmp_path / "mine.toml", "--calibration", "none"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "model/textlabel.json").is_file()
