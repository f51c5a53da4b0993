"""The loss of yes and no for each class, against torch's own and against the solver."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import binary_cross_entropy_with_logits

from textlabel.errors import RecipeError
from textlabel.objective.binary_cross_entropy import Objective, Options, answer_weights, fit_linear
from textlabel.protocols import Batch


class Given:
    """A context of one role whose logits are given."""

    def __init__(self, logits, answers):
        self.logits, self.answers, self.device = logits, answers, torch.device("cpu")
        self.rows = {"labeled": type("Rows", (), {"targets": answers})}

    def output(self, role, index):
        return type("Output", (), {"logits": torch.tensor(self.logits[index])})

    def targets(self, role, index):
        return torch.tensor(self.answers[index], dtype=torch.float32)


@pytest.fixture
def given():
    rng = np.random.default_rng(0)
    answers = rng.random((12, 3)) < [0.2, 0.5, 0.8]
    return Given(rng.normal(size=(12, 3)).astype(np.float32), answers.astype(int))


def test_the_loss_is_the_mean_over_rows_and_classes(given):
    loss = Objective(Options(), given).loss("model", Batch({"labeled": np.arange(12)}, {"labeled": 12}))
    theirs = binary_cross_entropy_with_logits(torch.tensor(given.logits), given.targets("", np.arange(12)))
    torch.testing.assert_close(loss, theirs)


def test_balanced_yes_and_no_count_the_same(given):
    weights = answer_weights(given.answers, Options("balanced"))
    yes = given.answers.sum(axis=0)
    np.testing.assert_allclose(weights[1] * yes, weights[0] * (12 - yes))
    loss = Objective(Options("balanced"), given).loss(
        "model", Batch({"labeled": np.arange(12)}, {"labeled": 12})
    )
    each = binary_cross_entropy_with_logits(
        torch.tensor(given.logits), given.targets("", np.arange(12)), reduction="none"
    )
    chosen = torch.tensor(np.where(given.answers, weights[1], weights[0]), dtype=torch.float32)
    torch.testing.assert_close(loss, (each * chosen).mean())


def test_a_class_that_all_rows_carry_is_not_weighted():
    np.testing.assert_array_equal(answer_weights(np.ones((5, 1), int), Options("balanced")), 1)


def test_the_solver_balances_as_scikit_learn_does():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 4))
    x /= x.std(axis=0)
    answers = (x[:, :2] + rng.normal(size=(150, 2)) > [1.5, 0]).astype(np.int64)
    [head] = fit_linear(x, answers, 2, [0.02], Options("balanced"))
    for c in range(2):
        theirs = LogisticRegression(C=1 / (0.02 * 150), class_weight="balanced", tol=1e-10)
        expected = theirs.fit(x - x.mean(axis=0), answers[:, c]).decision_function(x - x.mean(axis=0))
        np.testing.assert_allclose(head(x)[:, c], expected, atol=2e-3)


def test_unknown_weights_are_refused():
    with pytest.raises(RecipeError, match="positive_weights = 'many'; expected 'none' or 'balanced'"):
        Options("many")
