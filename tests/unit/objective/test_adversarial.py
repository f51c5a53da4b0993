"""Objectives of two players: terms are those of formulas, and no step touches what is not its own."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from points import context_of, points
from scipy.special import log_softmax, logsumexp
from tiny import snippets
from torch import nn

from textlabel import Labeler, registry
from textlabel.engine import loop
from textlabel.engine.checkpoint import Checkpoint
from textlabel.engine.players import Only, Player
from textlabel.errors import RecipeError
from textlabel.models.generator import ExtraClass, Generator
from textlabel.objective.adda import divergence
from textlabel.protocols import Batch, Rows
from textlabel.recipe import Recipe, Stage

NAMES = ["adda", "gan"]
OTHER = {"adda": "discriminator", "gan": "generator"}
RNG = np.random.default_rng(0)
SOURCE, TARGET = RNG.normal(size=(7, 4)), 0.5 + 1.5 * RNG.normal(size=(7, 4))
INDEX = {"labeled": np.arange(7), "unlabeled": np.arange(7)[::-1].copy()}
BATCH = Batch(INDEX, dict.fromkeys(INDEX, 7), 0.5)
#: one step on all rows, which moves weights by their gradient
ONE_STEP = {
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "max_grad_norm": 1e9,
    "warmup": 0.0,
    "weight_decay": 0.0,
}


@pytest.fixture
def context():
    """Points of two domains, of three classes."""
    return context_of(SOURCE, np.arange(7) % 3, TARGET)


def objective_of(context, name, **options):
    module = registry.load("objective", name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return module.Objective(module.Options(**options), context)


def features_of(context):
    """Return features of both domains in the order of `INDEX`, with their graph."""
    return {role: context.output(role, index).features for role, index in INDEX.items()}


def bce(odds, source):
    """Return the mean of -log p of being of the source, or of the target."""
    return (1 + (-odds if source else odds).exp()).log().mean()


def plan(name, options=None, **training):
    return Stage.of(
        "full", {"name": name, **(options or {})}, "both", **{"mixed_precision": "no", **training}
    )


def weights(context):
    return {name: value.detach().clone() for name, value in context.classifier.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[key], other[key]) for key in one)


def recorded(monkeypatch, name):
    """Return a list that fills with the objectives that the loop makes."""
    module, made = registry.load("objective", name), []

    class Recording(module.Objective):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(module, "Objective", Recording)
    return made


# --- adda: terms ----------------------------------------------------------------------------------


def moved(context, by=0.1):
    """Move the body away from the source model, as training does."""
    with torch.no_grad():
        context.classifier.body.layer.weight += by


def test_divergence_is_that_of_softened_classes_times_the_square_of_the_temperature():
    before, after = SOURCE[:, :3], TARGET[:, :3]
    for t in (1.0, 5.0):
        p, q = log_softmax(before / t, axis=1), log_softmax(after / t, axis=1)
        found = divergence(torch.tensor(before), torch.tensor(after), t).item()
        assert found == pytest.approx(t**2 * (np.exp(p) * (p - q)).sum(), rel=1e-12)
        assert divergence(torch.tensor(before), torch.tensor(before), t).item() == pytest.approx(0, abs=1e-12)


def test_the_bodys_labels_are_inverted_and_its_divergence_is_from_the_source_model(context):
    objective = objective_of(context, "adda", keeper=0.7, temperature=2.0)
    source = copy.deepcopy(context.classifier)
    moved(context)
    features = features_of(context)
    target = bce(objective.discriminator(features["unlabeled"]), source=True)
    before = source(*context.inputs("labeled", INDEX["labeled"])).logits
    after = context.classifier.head(features["labeled"])
    expected = target + 0.7 * divergence(before, after, 2.0) / 7
    torch.testing.assert_close(objective.loss("model", BATCH), expected)
    assert divergence(before, after, 2.0) > 1e-3


def test_the_discriminator_sees_the_source_model_against_the_body_as_it_is(context):
    objective = objective_of(context, "adda")
    source = features_of(context)["labeled"]
    moved(context)
    target = features_of(context)["unlabeled"]
    expected = bce(objective.discriminator(source), True) + bce(objective.discriminator(target), False)
    torch.testing.assert_close(objective.loss("discriminator", BATCH), expected)


def test_the_body_and_the_discriminator_want_opposite_things_of_a_target_row(context):
    """At the same place, along the discriminator's bias: the one's gradient is up, the other's down."""
    found = {}
    for player in ("model", "discriminator"):
        objective = objective_of(context, "adda", keeper=0.0)
        only_target = Batch({"unlabeled": INDEX["unlabeled"]}, {"unlabeled": 7}, 0.5)
        objective.loss(player, only_target).backward()
        found[player] = objective.discriminator.layers[2].bias.grad.item()
    assert found["model"] < 0 < found["discriminator"]
    assert found["discriminator"] - found["model"] == pytest.approx(1)


def test_the_head_has_no_gradient_and_gives_one_to_the_body(context):
    objective = objective_of(context, "adda", temperature=2.0)
    moved(context)
    objective.loss("model", Batch({"labeled": INDEX["labeled"]}, {"labeled": 7}, 0.5)).backward()
    assert context.classifier.head.weight.grad is None
    assert context.classifier.head.bias.grad is None
    assert context.classifier.body.layer.weight.grad.abs().max() > 1e-4


@pytest.mark.parametrize("normalize", [False, True])
def test_the_source_model_is_the_classifier_before_the_first_step_without_dropout(normalize):
    context = context_of(SOURCE, np.arange(7) % 3, TARGET, normalize=normalize)
    body = context.classifier.body
    layer, body.layer = body.layer, nn.Sequential(body.layer, nn.Dropout(0.5))
    context.classifier.train()
    objective = objective_of(context, "adda")
    assert context.classifier.training
    assert not objective.source.features.requires_grad
    kept = objective.source.logits.clone()
    body.layer = layer
    torch.testing.assert_close(kept, context.output("labeled", INDEX["labeled"]).logits)
    moved(context)
    objective.loss("model", BATCH)
    assert torch.equal(objective.source.logits, kept)
    torch.testing.assert_close(objective._classes(objective.source.features), kept)


def test_only_the_discriminator_trains_at_first_and_the_head_never(monkeypatch):
    made = recorded(monkeypatch, "adda")
    context = random_points()
    start = weights(context)
    told = []
    loop.train(
        context.classifier,
        plan("adda", {"warm": 0.5}, epochs=2, batch_size=10, learning_rate=1e-2, weight_decay=0.1),
        context,
        seed=0,
        progress=lambda step, steps, loss: told.append((weights(context), loss)),
    )
    assert len(told) == 4
    assert all(same(start, after) for after, _ in told[:2])
    assert not torch.equal(start["body.layer.weight"], told[2][0]["body.layer.weight"])
    for key in ("head.weight", "head.bias"):
        assert torch.equal(start[key], told[3][0][key])
    assert all(loss > 1 for _, loss in told[:2])  # the discriminator's: near two times log 2
    assert [made[0].rests("model", at) for at in (0.0, 0.49, 0.5)] == [True, True, False]
    assert not made[0].rests("discriminator", 0.0)


# --- gan: terms -----------------------------------------------------------------------------------


def by_hand(objective, features, made):
    """Return the extra class's probability of rows of a domain and of made ones, in numpy, and h of both."""
    found = []
    for rows in (*features.values(), made):
        extra, hidden = objective.extra_class(rows)
        classes = objective.context.classifier.head(rows)
        every = torch.cat([classes, extra[:, None]], dim=1).detach().double().numpy()
        found.append((every, hidden))
    return found


def drawn(objective, count=14):
    torch.manual_seed(5)
    return objective.made(count)


def test_gan_is_cross_entropy_of_k_classes_and_what_tells_real_rows_from_made_ones(context):
    objective = objective_of(context, "gan", strength=0.6, dropout=0.0, hidden=5)
    features = features_of(context)
    labeled, unlabeled, made = (every for every, _ in by_hand(objective, features, drawn(objective)))
    targets = np.arange(7) % 3
    supervised = -log_softmax(labeled[:, :3], axis=1)[np.arange(7), targets].mean()
    real = np.concatenate([labeled, unlabeled])
    told = (
        -np.mean(logsumexp(log_softmax(real, axis=1)[:, :3], axis=1)) - log_softmax(made, axis=1)[:, 3].mean()
    )
    torch.manual_seed(5)
    assert objective.loss("model", BATCH).item() == pytest.approx(supervised + 0.6 * told, rel=1e-5)


def test_the_generator_wants_to_be_taken_for_a_text_of_the_same_mean(context):
    objective = objective_of(context, "gan", matching=0.3, dropout=0.0, hidden=5)
    found = by_hand(objective, features_of(context), drawn(objective))
    made, hidden = found[2]
    aim = torch.cat([found[0][1], found[1][1]]).mean(0)
    expected = -np.mean(logsumexp(log_softmax(made, axis=1)[:, :3], axis=1))
    expected += 0.3 * (aim - hidden.mean(0)).square().sum().item()
    torch.manual_seed(5)
    assert objective.loss("generator", BATCH).item() == pytest.approx(expected, rel=1e-5)


def test_a_sure_discriminator_still_has_a_loss_and_a_gradient(context):
    """By log(1 - p + 1e-8) in float32 the loss of p = 1 would be 18.4, and its gradient 0."""
    objective = objective_of(context, "gan", matching=0.0, dropout=0.0)
    with torch.no_grad():
        objective.extra_class.logit.bias.fill_(200.0)
    found = objective.loss("generator", BATCH)
    found.backward()
    assert found.item() == pytest.approx(200, abs=10)
    assert objective.generator.layers[3].weight.grad.abs().max() > 1e-4


def test_made_features_are_of_the_length_of_real_ones():
    unit = context_of(SOURCE, np.arange(7) % 3, TARGET, normalize=True)
    made = objective_of(unit, "gan").made(5)
    torch.testing.assert_close(made.square().mean(dim=1), torch.ones(5))


def test_what_is_saved_is_an_ordinary_head(tiny_backbone):
    target = [{"text": row["text"]} for row in snippets(30, seed=1)]
    fitted = Labeler(tiny_backbone, recipe="gan", calibration="none").fit(snippets(20), unlabeled=target)
    classifier = fitted.bundle.classifier
    assert classifier.head.out_features == 2
    assert not [name for name in classifier.state_dict() if "generator" in name or "extra" in name]


def test_networks_have_the_layers_of_the_paper():
    generator, extra = Generator(3, 4, 5, 0.2), ExtraClass(5, 4, 0.2).eval()
    assert generator(6).shape == (6, 5)
    logit, hidden = extra(torch.ones(2, 5))
    assert (logit.shape, hidden.shape) == ((2,), (2, 4))
    torch.testing.assert_close(
        hidden,
        nn.functional.leaky_relu(nn.functional.linear(torch.ones(2, 5), *extra.seen[0].parameters()), 0.2),
    )
    with torch.no_grad():
        generator.layers[0].weight.copy_(1000 * torch.eye(4, 3))
    seen = generator.eval().layers[:2](torch.rand(500, 3))
    assert seen[:, :3].min() > -1  # of noise that is never below 0


# --- steps ----------------------------------------------------------------------------------------


def sides(objective, context):
    """Return the parameters of each player by name."""
    model = dict(context.classifier.named_parameters())
    if objective.modules().keys() >= {"model"}:
        model |= {f"own.{name}": p for name, p in objective.modules()["model"].named_parameters()}
    other = next(module for name, module in objective.modules().items() if name != "model")
    return {"model": model, OTHER_OF[type(other).__name__]: dict(other.named_parameters())}


OTHER_OF = {"Discriminator": "discriminator", "Generator": "generator"}


@pytest.mark.parametrize("name", NAMES)
def test_each_step_leaves_no_gradient_in_the_other_player(context, name):
    objective = objective_of(context, name)
    parameters = sides(objective, context)
    players = {side: Player(own, None, [], {}) for side, own in parameters.items()}
    for player in objective.players:
        with Only(player, players):
            objective.loss(player, BATCH).backward()
        [other] = parameters.keys() - {player}
        assert all(p.grad is None for p in parameters[other].values())
        assert any(p.grad is not None and p.grad.any() for p in parameters[player].values())
        for own in parameters[player].values():
            own.grad = None


@pytest.mark.parametrize("name", NAMES)
def test_without_the_loops_help_no_gradient_reaches_the_body_or_the_generator_that_should_not(context, name):
    """What the public port of GAN-BERT mixes up: what is made, and what was read, have no graph there."""
    objective = objective_of(context, name)
    other = OTHER[name]
    objective.loss("model", BATCH).backward()
    if name == "gan":
        assert all(p.grad is None for p in objective.generator.parameters())
    context.classifier.zero_grad()
    for fresh in (False, True):  # after the model has left its features, and without
        objective.loss(other, BATCH).backward()
        assert context.classifier.body.layer.weight.grad is None, fresh


@pytest.mark.parametrize("name", NAMES)
def test_one_step_of_both_players_is_that_of_plain_torch(monkeypatch, name):
    """Losses and moves of both players, against a step that is written down without any of the objective."""
    made = recorded(monkeypatch, name)
    context = context_of(SOURCE, np.arange(7) % 3, TARGET)
    seen = {}
    real_step = loop._step

    def spy(objectives, players, batch, rows, progress, training):
        seen["before"] = copy.deepcopy({side: p.parameters for side, p in players.items()})
        torch.manual_seed(7)
        seen["index"] = batch[0]
        seen["loss"] = real_step(objectives, players, batch, rows, progress, training)
        seen["after"] = {side: p.parameters for side, p in players.items()}
        return seen["loss"]

    monkeypatch.setattr(loop, "_step", spy)
    options = {"adda": {"warm": 0.0, "temperature": 2.0}, "gan": {"dropout": 0.0, "matching": 0.5}}[name]
    stage = plan(name, {**options, "hidden": 5}, epochs=1, batch_size=7, **ONE_STEP)
    loop.train(context.classifier, stage, context, seed=0)
    model, other = (
        {key: p.detach().clone().requires_grad_() for key, p in seen["before"][side].items()}
        for side in ("model", OTHER[name])
    )
    x = torch.tensor(SOURCE, dtype=torch.float32)[torch.from_numpy(seen["index"]["labeled"])]
    u = torch.tensor(TARGET, dtype=torch.float32)[torch.from_numpy(seen["index"]["unlabeled"])]
    y = torch.from_numpy(seen["index"]["labeled"] % 3)
    torch.manual_seed(7)
    hand = {"adda": adda_by_hand, "gan": gan_by_hand}[name](model, other, x, u, y)
    assert seen["loss"] == pytest.approx(hand.item(), rel=1e-5)
    for mine, side in ((model, "model"), (other, OTHER[name])):
        moves = 0.0
        for key, value in mine.items():
            torch.testing.assert_close(seen["after"][side][key].detach(), value.detach(), msg=key)
            moves += (value - seen["before"][side][key]).abs().max().item()
        assert moves > 1e-4
    assert len(made) == 1


def descend(loss, some):
    """Move parameters by a rate of 0.1 along the gradient of a loss, which reaches no others."""
    names = [key for key, value in some.items() if value.requires_grad]
    found = torch.autograd.grad(loss, [some[key] for key in names], allow_unused=True)
    with torch.no_grad():
        for key, gradient in zip(names, found, strict=True):
            some[key] -= 0.1 * gradient if gradient is not None else 0.0


def adda_by_hand(model, d, x, u, y):
    """Take the step; the source model is the model itself, for nothing has moved before."""

    def body(rows):
        return rows @ model["body.layer.weight"].T + model["body.layer.bias"]

    def odds(rows):
        hidden = (rows @ d["objective0.layers.0.weight"].T + d["objective0.layers.0.bias"]).relu()
        return (hidden @ d["objective0.layers.2.weight"].T + d["objective0.layers.2.bias"])[:, 0]

    source, target = body(x).detach(), body(u)
    kept = target.detach()
    loss = torch.log1p((-odds(target)).exp()).mean()  # source and model agree: the divergence is 0
    descend(loss, {k: v for k, v in model.items() if k.startswith("body.")})
    descend(torch.log1p((-odds(source)).exp()).mean() + torch.log1p(odds(kept).exp()).mean(), d)
    return loss


def gan_by_hand(model, g, x, u, y):
    """Take the step with probabilities that are written out."""

    def made():
        hidden = torch.rand(14, 100) @ g["objective0.layers.0.weight"].T + g["objective0.layers.0.bias"]
        hidden = torch.where(hidden > 0, hidden, 0.2 * hidden)
        return hidden @ g["objective0.layers.3.weight"].T + g["objective0.layers.3.bias"]

    def told(rows):
        hidden = rows @ model["objective0.seen.0.weight"].T + model["objective0.seen.0.bias"]
        hidden = torch.where(hidden > 0, hidden, 0.2 * hidden)
        extra = hidden @ model["objective0.logit.weight"].T + model["objective0.logit.bias"]
        classes = rows @ model["head.weight"].T + model["head.bias"]
        return classes, torch.cat([classes, extra], dim=1).softmax(1)[:, 3], hidden

    real = torch.cat([x, u]) @ model["body.layer.weight"].T + model["body.layer.bias"]
    kept, fake = real.detach(), made().detach()
    classes, p, _ = told(real)
    loss = -classes[:7].log_softmax(1)[torch.arange(7), y].mean()
    loss = loss - (1 - p).log().mean() - told(fake)[1].log().mean()
    descend(loss, model)
    _, p, hidden = told(made())
    apart = told(kept)[2].detach().mean(0) - hidden.mean(0)
    descend(-(1 - p).log().mean() + 0.5 * (apart**2).sum(), g)
    return loss


# --- rows and stages ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_body_reads_each_row_once_a_step(context, name):
    objective = objective_of(context, name)
    read = []
    context.classifier.body.register_forward_hook(lambda *_: read.append(1))
    for player in objective.players:
        objective.loss(player, BATCH)
    assert len(read) == 2
    assert not objective._left
    objective.loss(OTHER[name], BATCH)  # nothing is left of an older step: it reads again
    assert len(read) > 2


@pytest.mark.parametrize(("unlabeled", "found"), [(0, 7), (5, 5), (20, 20)])
def test_gan_reads_as_many_unlabeled_rows_as_it_is_told(context, unlabeled, found):
    objective = objective_of(context, "gan", unlabeled=unlabeled)
    batches = list(objective.batches(32, np.random.default_rng(0)))
    assert [(len(b["labeled"]), len(b["unlabeled"])) for b in batches] == [(7, found)]
    assert len(set(batches[0]["unlabeled"].tolist())) == min(found, 7)
    batches = list(objective.batches(4, np.random.default_rng(0)))
    assert [len(b["labeled"]) for b in batches] == [4, 3]
    assert [len(b["unlabeled"]) for b in batches] == ([unlabeled] * 2 if unlabeled else [4, 3])


@pytest.mark.parametrize("name", NAMES)
def test_without_target_rows_it_says_what_is_missing(context, tiny_backbone, name):
    without = replace(context, rows={"labeled": context.rows["labeled"], "unlabeled": Rows([])})
    with pytest.raises(RecipeError, match="expected 1 or more of these, got none"):
        objective_of(without, name)
    with pytest.raises(RecipeError, match="reads unlabeled rows: give them"):
        Labeler(tiny_backbone, recipe=name).fit(snippets(20))


def test_adda_alone_has_no_classifier_to_start_from():
    stage = {"tune": "lora", "objective": "adda", "rows": "both"}
    with pytest.raises(RecipeError, match="no stage trains the head"):
        Recipe.from_dict({"name": "x", "stage": [stage]})
    with pytest.raises(RecipeError, match="objective 'adda' trains the body"):
        Stage.of("head", "adda", "both")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("adda", {"keeper": -1.0}, "adda: keeper = -1.0"),
        ("adda", {"temperature": 0.0}, "temperature = 0.0"),
        ("adda", {"warm": 1.0}, "warm = 1.0"),
        ("adda", {"hidden": 0}, "hidden = 0"),
        ("gan", {"strength": -1.0}, "gan: strength = -1.0"),
        ("gan", {"matching": -1.0}, "matching = -1.0"),
        ("gan", {"dropout": 1.0}, "dropout = 1.0"),
        ("gan", {"noise": 0}, "gan: noise = 0"),
        ("gan", {"hidden": 0}, "hidden = 0, unlabeled = 0; expected 1 or more"),
        ("gan", {"unlabeled": -1}, "unlabeled = -1; expected"),
    ],
)
def test_options_out_of_range_are_refused(name, options, message):
    with pytest.raises(RecipeError, match=message):
        registry.load("objective", name).Options(**options)


def test_the_shipped_recipe_of_adda_leaves_the_fitted_head_as_it_is(tiny_backbone):
    target = [{"text": row["text"]} for row in snippets(30, seed=1)]
    heads = []
    for recipe in ("head", "adda"):
        more = {} if recipe == "head" else {"unlabeled": target}
        fitted = Labeler(tiny_backbone, recipe=recipe, calibration="none").fit(snippets(20), **more)
        heads.append(fitted.bundle.classifier.head.weight.detach().clone())
    [adapter] = fitted.bundle.classifier.adapters
    assert any(tensor.any() for key, tensor in adapter.tensors.items() if "lora_B" in key)
    assert heads[1].any()
    torch.testing.assert_close(heads[0], heads[1], atol=1e-5, rtol=1e-5)


class Killed(Exception):
    pass


def random_points():
    rng = np.random.default_rng(2)
    return context_of(rng.normal(size=(20, 4)), np.arange(20) % 3, rng.normal(size=(11, 4)))


@pytest.mark.parametrize("die_at", [1, 6])
@pytest.mark.parametrize("name", NAMES)
def test_a_killed_stage_goes_on_with_both_players_and_their_optimizers(tmp_path, name, die_at):
    """Also while the body rests: then the discriminator alone has an optimizer with a past."""
    chosen = plan(name, {"warm": 0.2} if name == "adda" else {}, epochs=4, batch_size=8, learning_rate=1e-2)
    straight, killed, resumed = (random_points() for _ in range(3))
    loop.train(straight.classifier, chosen, straight, seed=3)

    def die(step, steps, loss):
        if step == die_at:
            raise Killed

    def saved():
        return Checkpoint(tmp_path, {"seed": 3}, 0)

    with pytest.raises(Killed):
        loop.train(killed.classifier, chosen, killed, seed=3, checkpoint=saved(), progress=die)
    steps = []
    loop.train(
        *(resumed.classifier, chosen, resumed),
        seed=3,
        checkpoint=saved(),
        progress=lambda step, *_: steps.append(step),
    )
    assert steps == list(range(die_at, 13))
    assert same(weights(straight), weights(resumed))


def right(context, role, classes):
    with torch.no_grad():
        found = context.output(role, np.arange(len(classes))).logits.argmax(dim=1).numpy()
    return (found == classes).mean()


@pytest.mark.slow
def test_adda_solves_a_shift_that_the_source_alone_does_not_and_needs_its_keeper():
    source, classes, target = points("near", np.random.default_rng(0))
    found = {}
    for keeper in (1.0, 0.0):
        context = context_of(source, classes, target)
        first = Stage.of(
            "full", "cross_entropy", mixed_precision="no", learning_rate=1e-2, epochs=10, batch_size=50
        )
        loop.train(context.classifier, first, context, seed=0)
        before = right(context, "unlabeled", classes)
        options = {"keeper": keeper, "temperature": 2.0, "hidden": 32}
        stage = plan("adda", options, learning_rate=3e-3, epochs=100, batch_size=50)
        loop.train(context.classifier, stage, context, seed=0)
        found[keeper] = [right(context, role, classes) for role in ("labeled", "unlabeled")]
    assert before < 0.88
    assert found[1.0][0] > 0.96
    assert found[1.0][1] > 0.97
    assert found[0.0][0] < found[1.0][0] - 0.05  # without a keeper it forgets the source


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_unlabeled_rows_help_gan_where_classes_lie_along_what_varies_most(seed):
    """Four labels that lie askew, and 400 rows that show which way the classes are apart."""
    rng = np.random.default_rng(seed)
    classes = np.arange(400) % 2
    rows = np.stack([2 * (2 * classes - 1) + 0.5 * rng.normal(size=400), rng.normal(size=400)], axis=1)
    few = np.array([[-1, -1], [1, 1]] * 2) + 0.05 * rng.normal(size=(4, 2))
    found = {}
    for name in ("cross_entropy", "gan"):
        context = context_of(few, [0, 1, 0, 1], rows)
        more = {"epochs": 200, "learning_rate": 1e-2, "weight_decay": 0.0}
        stage = plan("gan", {"hidden": 32, "noise": 10, "unlabeled": 32}, **more)
        if name == "cross_entropy":
            stage = Stage.of("full", name, mixed_precision="no", **more)
        loop.train(context.classifier, stage, context, seed=0)
        found[name] = right(context, "unlabeled", classes)
    assert found["cross_entropy"] < 0.92
    assert found["gan"] > 0.98
