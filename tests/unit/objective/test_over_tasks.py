"""Objectives over several tasks: heads are those of other libraries, gradients those of formulas."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.neighbors import NearestCentroid
from tiny import snippets
from torch.nn.functional import cross_entropy, linear

from textlabel import registry
from textlabel.engine import loop
from textlabel.engine.checkpoint import Checkpoint
from textlabel.errors import RecipeError, TrainingError
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.objective.anil import adapted_head
from textlabel.objective.episodic import prototype_logits, ridge_logits
from textlabel.objective.multi_task import shares
from textlabel.protocols import Batch, Context, Rows
from textlabel.recipe import Stage, options_of
from textlabel.types import LabelSchema

NAMES = ["episodic", "anil", "reptile", "multi_task"]
RNG = np.random.default_rng(0)
SUPPORT, QUERIES = RNG.normal(size=(12, 6)), RNG.normal(size=(7, 6))
TAUGHT = np.arange(12) % 3
REST = ["the", "a", "was", "is", "very", "not", "really", "it", "i"]


def tensors(*arrays):
    return [torch.tensor(array) for array in arrays]


def tasks_of(backbone, rows=40, renumber=lambda targets: targets):
    """Return a context of two tasks of two and three classes."""
    classifier = Classifier(load_backbone(backbone), LabelSchema("score"))
    rng = np.random.default_rng(0)
    about = [
        (*rng.permutation([("film", "phone", "plot")[i % 3], *rng.choice(REST, 3)]), i) for i in range(rows)
    ]
    texts = [*(r["text"] for r in snippets(rows)), *(" ".join(map(str, words)) for words in about)]
    tokens = classifier.tokenizer(texts)["input_ids"]
    targets = np.concatenate([np.arange(rows) % 2, 2 + np.arange(rows) % 3])
    of = np.repeat([0, 1], rows)
    return Context(
        {"tasks": Rows(tokens, renumber(targets))},
        classifier.schema,
        classifier,
        torch.device("cpu"),
        tasks=of,
    )


def objective_of(context, name, **options):
    module = registry.load("objective", name)
    stage = Stage.of("lora", {"name": name, **options}, "tasks")
    return module.Objective(options_of("objective", stage.objective[0]), context)


def first_batch(objective, seed=0, size=100):
    index = next(iter(objective.batches(size, np.random.default_rng(seed))))
    return Batch(index, {role: len(rows) for role, rows in index.items()})


# --- heads ----------------------------------------------------------------------------------------


def test_prototypes_are_the_nearest_centroids():
    logits = prototype_logits(*tensors(SUPPORT, TAUGHT, QUERIES), "euclidean").numpy()
    means = np.stack([SUPPORT[k == TAUGHT].mean(axis=0) for k in range(3)])
    np.testing.assert_allclose(logits, -((QUERIES[:, None] - means) ** 2).sum(axis=2), rtol=1e-10)
    centroids = NearestCentroid().fit(SUPPORT, TAUGHT)
    assert (logits.argmax(axis=1) == centroids.predict(QUERIES)).all()
    cosines = prototype_logits(*tensors(SUPPORT, TAUGHT, QUERIES), "cosine").numpy()
    expected = QUERIES @ means.T / np.linalg.norm(means, axis=1) / np.linalg.norm(QUERIES, axis=1)[:, None]
    np.testing.assert_allclose(cosines, expected, rtol=1e-10)


@pytest.mark.parametrize("penalty", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("rows", [5, 12])  # fewer rows than features, and more
def test_the_ridge_head_is_that_of_scikit_learn(penalty, rows):
    x, y = SUPPORT[:rows], TAUGHT[:rows]
    logits = ridge_logits(*tensors(x, y, QUERIES), torch.tensor(penalty, dtype=torch.float64))
    other = Ridge(alpha=penalty, fit_intercept=False, solver="svd").fit(x, np.eye(3)[y])
    np.testing.assert_allclose(logits.numpy(), other.predict(QUERIES), atol=1e-8)


def test_the_head_of_anil_is_that_of_plain_gradient_steps():
    x, y = tensors(SUPPORT, TAUGHT)
    weight, bias = torch.zeros(3, 6, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for _ in range(4):
        parts = weight.requires_grad_(), bias.requires_grad_()
        slopes = torch.autograd.grad(cross_entropy(linear(x, *parts), y), parts)
        weight, bias = (p.detach() - 0.3 * g for p, g in zip(parts, slopes, strict=True))
    for found, expected in zip(adapted_head(x, y, 4, 0.3), (weight, bias), strict=True):
        torch.testing.assert_close(found, expected)


def test_gradients_go_through_the_heads_second_order_included():
    x, y, z = tensors(SUPPORT[:6, :3], TAUGHT[:6], QUERIES[:4, :3])
    x.requires_grad_()
    z.requires_grad_()
    penalty = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, z, p: ridge_logits(x, y, z, p), (x, z, penalty))
    assert torch.autograd.gradcheck(lambda x, z: linear(z, *adapted_head(x, y, 3, 0.7)), (x, z))
    for distance in ("cosine", "euclidean"):
        assert torch.autograd.gradcheck(lambda x, z, d=distance: prototype_logits(x, y, z, d), (x, z))


# --- losses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["prototype", "ridge"])
def test_the_loss_of_an_episode_is_that_of_its_formula(tiny_backbone, head):
    context = tasks_of(tiny_backbone)
    objective = objective_of(context, "episodic", head=head, shots=3, queries=2, scale=2.0, ridge=0.5)
    batch = first_batch(objective, size=1)
    index = batch.index["tasks"]
    with torch.no_grad():
        found = objective.loss("model", batch).item()
        z = context.output("tasks", index).features.numpy().astype(np.float64)
    targets = context.rows["tasks"].targets[index]
    classes, y = np.unique(targets, return_inverse=True)
    teaches = np.tile([True] * 3 + [False] * 2, len(classes))  # class by class
    x, q = z[teaches], z[~teaches]
    if head == "ridge":
        other = Ridge(alpha=0.5, fit_intercept=False, solver="svd").fit(x, np.eye(len(classes))[y[teaches]])
        logits = other.predict(q)
    else:
        means = np.stack([x[y[teaches] == k].mean(axis=0) for k in range(len(classes))])
        norms = np.linalg.norm(q, axis=1)[:, None] * np.linalg.norm(means, axis=1)
        logits = q @ means.T / norms
    logits = 2.0 * logits
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    assert found == pytest.approx(-np.log(p[np.arange(len(q)), y[~teaches]]).mean(), abs=1e-4)


@pytest.mark.parametrize("name", ["episodic", "anil", "reptile"])
def test_what_number_a_class_has_changes_nothing(tiny_backbone, name):
    losses = []
    for renumber in (lambda targets: targets, lambda targets: 4 - targets):
        context = tasks_of(tiny_backbone, renumber=renumber)
        context.classifier.eval()
        objective = objective_of(context, name)
        index = first_batch(objective_of(tasks_of(tiny_backbone), name)).index["tasks"]
        losses.append(objective.loss("model", Batch({"tasks": index}, {"tasks": len(index)})).item())
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_several_episodes_of_a_step_are_of_different_tasks_and_count_the_same(tiny_backbone):
    context = tasks_of(tiny_backbone)
    context.classifier.eval()
    objective = objective_of(context, "episodic", shots=3, queries=2)
    batch = first_batch(objective)
    index = batch.index["tasks"]
    of = context.tasks[index]
    assert set(of) == {0, 1}
    with torch.no_grad():
        both = objective.loss("model", batch).item()
        one, other = (
            objective.loss("model", Batch({"tasks": index[of == task]}, {})).item() for task in (0, 1)
        )
    assert both == pytest.approx((one + other) / 2, abs=1e-5)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_tasks_count_by_a_power_of_their_size(power):
    counts = np.array([10, 160, 40])
    found = shares(counts, power)
    assert found.sum() == 210
    np.testing.assert_allclose(found / 210, counts**power / (counts**power).sum(), atol=0.01)


def test_multi_task_is_the_cross_entropy_of_each_task_with_its_head(tiny_backbone):
    context = tasks_of(tiny_backbone)
    context.classifier.eval()
    objective = objective_of(context, "multi_task")
    index = np.array([0, 41, 3, 79])
    with torch.no_grad():
        found = objective.loss("model", Batch({"tasks": index}, {"tasks": 8})).item()
        z = context.output("tasks", index).features
    total = 0.0
    for number, row in enumerate(index):
        task = context.tasks[row]
        target = context.rows["tasks"].targets[row] - 2 * task
        total += cross_entropy(objective.heads[task](z[number]), torch.tensor(target)).item()
    assert found == pytest.approx(total / 8, abs=1e-5)


# --- Reptile --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inner", "rate", "tune"), [("sgd", 0.1, "full"), ("sgd", 0.1, "lora"), ("adam", 1e-2, "lora")]
)
def test_a_step_of_sgd_is_reptiles(tiny_backbone, inner, rate, tune):
    """Against the algorithm written down plainly, on the batches that the objective drew."""
    outer, seed, steps, shots = 0.4, 0, 3, 2
    options = {"steps": steps, "shots": shots, "optimizer": inner, "rate": rate, "head_rate": 0.5}
    training = {"epochs": 1, "batch_size": 12, "learning_rate": outer, "optimizer": "sgd", "warmup": 0.0}
    training |= {"max_grad_norm": 1e9, "weight_decay": 0.0, "mixed_precision": "no", "dropout": 0.0}
    stage = Stage.of(tune, {"name": "reptile", **options}, "tasks", **training)
    context = tasks_of(tiny_backbone, rows=7)  # 12 of 14 rows a step: the second step has a rate, too
    drawn, after = [], []
    real = loop._step

    def one_step(objectives, players, batch, *rest):
        drawn.append(batch[0]["tasks"])
        found = real(objectives, players, batch, *rest)
        after.append({n: p.detach().clone() for n, p in players["model"].parameters.items()})
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_step", one_step)
        loop.train(context.classifier, stage, context, seed)
    plain = tasks_of(tiny_backbone, rows=7)
    with loop.seeded(seed, "new weights"):
        registry.load("tune", tune).apply(plain.classifier, options_of("tune", stage.tune))
    theta = {n: p for n, p in plain.classifier.named_parameters() if p.requires_grad}
    before = {n: p.detach().clone() for n, p in theta.items()}
    index = drawn[0]
    targets = context.rows["tasks"].targets[index]
    classes, way = np.unique(targets, return_inverse=True)
    head = [torch.zeros(len(classes), 16, requires_grad=True), torch.zeros(len(classes), requires_grad=True)]
    kind = torch.optim.SGD if inner == "sgd" else torch.optim.Adam
    bodies = [p for n, p in theta.items() if not n.startswith("head.")]
    optimizer = kind([{"params": bodies, "lr": rate}, {"params": head, "lr": 0.5}])
    plain.classifier.eval()
    for number in range(steps):
        some = [np.flatnonzero(way == k)[number * shots : (number + 1) * shots] for k in range(len(classes))]
        some = np.concatenate(some)
        features = plain.output("tasks", index[some]).features
        optimizer.zero_grad()
        cross_entropy(linear(features, *head), torch.from_numpy(way[some])).backward()
        optimizer.step()
    moved = 0.0
    for name, value in before.items():
        expected = value + outer * (theta[name].detach() - value)
        torch.testing.assert_close(after[0][name], expected, atol=1e-5, rtol=1e-4)
        moved += float((expected - value).abs().max())
    assert moved > 1e-3


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_reptile_gives_weights_and_gradients_back_to_the_bit(tiny_backbone, precision):
    context = tasks_of(tiny_backbone)
    registry.load("tune", "full").apply(context.classifier, options_of("tune", Stage.of("full", "mse").tune))
    objective = objective_of(context, "reptile", rate=0.05)
    parameters = list(context.classifier.body.parameters())
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 0.5)
    before = copy.deepcopy([p.data for p in parameters])
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        loss = objective.loss("model", first_batch(objective))
    assert all(torch.equal(p.data, b) for p, b in zip(parameters, before, strict=True))
    assert all((p.grad == 0.5).all() for p in parameters)
    assert torch.isfinite(loss)
    loss.backward()
    assert any((p.grad != 0.5).any() for p in parameters)


def test_reptile_does_not_train_in_fp16(tiny_backbone):
    objective = objective_of(tasks_of(tiny_backbone), "reptile")
    with (
        torch.autocast("cpu", torch.float16),
        pytest.raises(TrainingError, match="expected --mixed_precision bf16 or no"),
    ):
        objective.loss("model", first_batch(objective))


def test_inner_steps_learn_also_where_weights_are_cast(tiny_backbone):
    """Casts that autocast keeps would be of the weights before the first step."""
    context = tasks_of(tiny_backbone)
    context.classifier.eval()
    registry.load("tune", "full").apply(context.classifier, options_of("tune", Stage.of("full", "mse").tune))
    losses = []
    for rate in (1e-9, 0.02):
        objective = objective_of(context, "reptile", steps=5, shots=4, rate=rate, head_rate=1e-2)
        with torch.autocast("cpu", torch.bfloat16):
            losses.append(objective.loss("model", first_batch(objective)).item())
    assert losses[1] < losses[0] - 0.05


# --- training -------------------------------------------------------------------------------------


def stage_of(name, **training):
    slow = {"optimizer": "sgd", "learning_rate": 0.3, "max_grad_norm": 1e9} if name == "reptile" else {}
    common = {"epochs": 2, "batch_size": 100, "learning_rate": 1e-2, "mixed_precision": "no", "dropout": 0.0}
    return Stage.of("lora", name, "tasks", **{**common, **slow, **training})


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_training_lowers_the_loss_and_seeds_reproduce_it(tiny_backbone, name):
    states, weights = [], []
    for seed, epochs in ((0, 8), (0, 8), (1, 1)):
        context = tasks_of(tiny_backbone)
        states.append(loop.train(context.classifier, stage_of(name, epochs=epochs), context, seed))
        weights.append({n: p.detach().clone() for n, p in context.classifier.body.named_parameters()})
    assert states[0].losses == states[1].losses
    assert states[0].losses[0] != states[2].losses[0]
    assert all(torch.equal(weights[0][n], weights[1][n]) for n in weights[0])
    if name != "reptile":  # which needs more steps, below
        assert np.mean(states[0].losses[-3:]) < 0.95 * np.mean(states[0].losses[:3])


@pytest.mark.slow
def test_reptile_learns_to_learn_faster(tiny_backbone):
    context = tasks_of(tiny_backbone)
    objective = {"name": "reptile", "rate": 1e-2}
    training = {"epochs": 40, "batch_size": 100, "optimizer": "sgd", "learning_rate": 0.3}
    training |= {"max_grad_norm": 1e9, "mixed_precision": "no", "dropout": 0.0}
    state = loop.train(context.classifier, Stage.of("lora", objective, "tasks", **training), context, 0)
    assert np.mean(state.losses[-10:]) < 0.75 * np.mean(state.losses[:10])


class Killed(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("name", ["episodic", "reptile"])
def test_a_killed_training_resumes_to_the_same_weights(tiny_backbone, tmp_path, name):
    def run(progress=None, checkpoint=None):
        context = tasks_of(tiny_backbone)
        stage = stage_of(name, epochs=2)
        loop.train(context.classifier, stage, context, 3, checkpoint=checkpoint, progress=progress)
        return {n: p.detach().clone() for n, p in context.classifier.body.named_parameters()}

    def die(step, steps, loss):
        if step == 2:
            raise Killed

    straight = run()
    with pytest.raises(Killed):
        run(die, Checkpoint(tmp_path, {}, 0))
    steps = []
    resumed = run(lambda step, *_: steps.append(step), Checkpoint(tmp_path, {}, 0))
    assert steps[0] == 2
    assert all(torch.equal(straight[n], resumed[n]) for n in straight)


def test_heads_of_tasks_have_the_rate_of_heads(tiny_backbone):
    moved = []
    for rate in (1e-4, 0.1):
        context = tasks_of(tiny_backbone)
        made = []
        module = registry.load("objective", "multi_task")

        class Seen(module.Objective):
            def __init__(self, *args, made=made):
                super().__init__(*args)
                made.append((self, copy.deepcopy(self.heads[0].weight.detach())))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "Objective", Seen)
            stage = stage_of(
                "multi_task", epochs=1, batch_size=16, learning_rate=1e-4, head_learning_rate=rate
            )
            loop.train(context.classifier, stage, context, 0)
        objective, before = made[0]
        moved.append(float((objective.heads[0].weight.detach() - before).abs().max()))
    assert moved[1] > 20 * moved[0]


@pytest.mark.parametrize("name", ["episodic", "anil", "reptile"])
def test_too_few_rows_are_told(tiny_backbone, name):
    context = tasks_of(tiny_backbone, rows=2)
    with pytest.raises(TrainingError, match="no task has two classes"):
        objective_of(context, name)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("episodic", {"head": "svm"}, "head = 'svm'"),
        ("episodic", {"distance": "l1"}, "distance = 'l1'"),
        ("episodic", {"ways": 1}, "ways = 1"),
        ("episodic", {"scale": 0.0}, "scale = 0"),
        ("anil", {"queries": 0}, "queries = 0"),
        ("anil", {"steps": 0}, "steps = 0"),
        ("reptile", {"shots": 0}, "shots = 0"),
        ("reptile", {"optimizer": "lion"}, "optimizer = 'lion'"),
        ("multi_task", {"power": 2.0}, "power = 2.0"),
    ],
)
def test_options_out_of_range_are_refused(name, options, message):
    with pytest.raises(RecipeError, match=message):
        Stage.of("lora", {"name": name, **options}, "tasks")
