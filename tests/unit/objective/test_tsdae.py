"""Texts from their vectors: what is deleted, what the decoder sees, and what the body learns by it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from commands import run
from scipy.special import log_softmax
from tiny import ARCHITECTURES, WORDS, snippets, write_backbone, write_sentence_piece, write_static

from textlabel.engine import loop
from textlabel.engine.checkpoint import Checkpoint
from textlabel.engine.process import seeded
from textlabel.errors import BackboneError, RecipeError, TrainingError
from textlabel.models import sentence_decoder
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.models.language_head import token_table
from textlabel.objective.tsdae import NAME, Objective, Options, Signs, thinned
from textlabel.protocols import Batch, Context, Rows
from textlabel.recipe import Recipe, Stage
from textlabel.types import LabelSchema

SCHEMA = LabelSchema("single", ("negative", "positive"))
#: the tokens that the tiny tokenizer puts around texts
FRAME = np.array([0, 2, 3, 4])


def context_of(folder, n=30, seed=0, texts=None, **reading):
    backbone = load_backbone(folder, **reading)
    rows = Rows(backbone.encode(texts or [row["text"] for row in snippets(n, seed)]))
    classifier = Classifier(backbone, SCHEMA).eval()
    return Context({"unlabeled": rows}, SCHEMA, classifier, torch.device("cpu"))


def objective_of(context, **options):
    with seeded(0):
        return Objective(Options(**options), context)


def loss_of(objective, index, progress=0.5, rows=None):
    index = np.asarray(index)
    rows = index if rows is None else np.asarray(rows)
    batch = Batch({"unlabeled": index}, {"unlabeled": len(rows)}, progress, {"unlabeled": rows})
    return objective.loss("model", batch)


def stage(tune="full", **training):
    settings = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3, "mixed_precision": "no"}
    return Stage.of(tune, NAME, "unlabeled", **{**settings, **training})


def weights(classifier):
    found = {**classifier.state_dict(), **classifier.carried[NAME].state_dict()}
    return {name: value.detach().clone() for name, value in found.items()}


def test_most_tokens_are_deleted_but_none_that_frames_a_text():
    rng = np.random.default_rng(0)
    tokens = np.concatenate([[2], rng.integers(5, 24, 50), [3], rng.integers(5, 24, 50), [4, 1]])
    stayed = []
    for _ in range(200):
        found = thinned(tokens, 0.6, FRAME, rng)
        assert [t for t in found if t in FRAME] == [2, 3, 4]
        places = iter(tokens)
        assert all(token in places for token in found)  # the rest is in its old order
        stayed.append(len(found) - 3)
    assert np.mean(stayed) == pytest.approx(0.4 * 101, abs=1.5)
    assert np.std(stayed) == pytest.approx((101 * 0.24) ** 0.5, abs=1.0)


def test_one_token_stays_whatever_is_deleted():
    rng = np.random.default_rng(0)
    stayed = {tuple(thinned(np.array([2, 7, 8, 9, 3]), 0.999, FRAME, rng)) for _ in range(60)}
    assert stayed == {(2, 7, 3), (2, 8, 3), (2, 9, 3)}
    assert thinned(np.array([2, 3]), 0.999, FRAME, rng).tolist() == [2, 3]


def test_an_unknown_token_is_no_sign_unless_it_ends_texts(tiny_backbone):
    tokenizer = load_backbone(tiny_backbone).tokenizer
    signs = Signs.of(tokenizer)
    assert (signs.fixed.tolist(), signs.unknown) == ([0, 2, 3, 4], 1)
    tokenizer.sep_token = tokenizer.unk_token  # as GPT-2's vocabulary has it
    signs = Signs.of(tokenizer)
    assert 1 in signs.fixed
    assert signs.unknown == -1


def test_other_tokens_are_deleted_each_step_and_the_same_for_a_seed(tiny_backbone):
    context = context_of(tiny_backbone)
    one, same = objective_of(context), objective_of(context)
    tokens = [np.asarray(row) for row in context.rows["unlabeled"].tokens]

    def drawn(objective, progress):
        return [tuple(objective._thinned(row, some, progress)) for row, some in enumerate(tokens)]

    assert drawn(one, 0.25) == drawn(same, 0.25)
    assert sum(a != b for a, b in zip(drawn(one, 0.25), drawn(one, 0.25 + 1e-6), strict=True)) > 15


def test_the_loss_is_the_mean_over_the_tokens_of_each_text_alone(tiny_backbone):
    """Against one text at a time without padding, and scipy's softmax; nobody learns to write [UNK]."""
    texts = ["good", "the zebra was very good really", "a film", "it is not the plot it was okapi zebra"]
    context = context_of(tiny_backbone, texts=texts)
    objective = objective_of(context)
    table, losses = token_table(context.classifier.body), []
    for row, tokens in enumerate(context.rows["unlabeled"].tokens):
        left = torch.tensor(objective._thinned(row, np.asarray(tokens), 0.5))[None]
        with torch.no_grad():
            vector = context.classifier(left, torch.ones_like(left)).features
            made = objective.decoder(torch.tensor(tokens[:-1])[None], vector, table)[0]
            scores = (made @ table.T + objective.decoder.bias).double().numpy()
        targets = tokens[1:]
        losses += [-log_softmax(s)[t] for s, t in zip(scores, targets, strict=True) if t != 1]
    assert len(losses) == 19
    found = loss_of(objective, np.arange(4))
    assert found.item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_of_a_text_the_decoder_sees_the_vector_alone(tiny_backbone):
    """A body that makes the same of all tokens: what is deleted is then the same to the decoder."""
    context = context_of(tiny_backbone)

    def blind(role, index, ids, mask):
        return torch.full((*ids.shape, 16), 0.7)

    held = replace(context, body=blind)
    light, heavy = objective_of(held, share=0.1), objective_of(held, share=0.9)
    index = np.arange(30)
    assert loss_of(light, index).item() == pytest.approx(loss_of(heavy, index).item(), rel=1e-6)
    seen = [loss_of(objective_of(context, share=share), index).item() for share in (0.1, 0.9)]
    assert abs(seen[0] - seen[1]) > 1e-3  # of a body that sees them it is another


def test_a_place_of_the_decoder_depends_on_those_before_it_and_on_the_vector(tiny_backbone):
    context = context_of(tiny_backbone)
    decoder = objective_of(context).decoder
    table = token_table(context.classifier.body).detach().requires_grad_()
    before = torch.arange(5, 15)[None]
    vector = torch.randn(1, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    for place in range(10):
        table.grad = vector.grad = None
        decoder.loss(decoder(before, vector, table)[:, place], before[:, place], table.detach()).backward()
        reached = table.grad.abs().sum(dim=1)[before[0]]
        assert (reached[: place + 1] > 0).all()
        assert (reached[place + 1 :] == 0).all()
        assert vector.grad.abs().max() > 0


def test_scores_in_parts_give_the_same_loss_and_gradient(tiny_backbone, monkeypatch):
    context = context_of(tiny_backbone)
    objective = objective_of(context)

    def both():
        context.classifier.zero_grad()
        objective.decoder.zero_grad()
        loss = loss_of(objective, np.arange(30))
        loss.backward()
        named = [*context.classifier.named_parameters(), *objective.decoder.named_parameters()]
        return loss.item(), {name: p.grad.clone() for name, p in named if p.grad is not None}

    loss, gradients = both()
    monkeypatch.setattr(sentence_decoder, "AT_ONCE", 7)
    again, others = both()
    assert again == pytest.approx(loss, rel=1e-5)
    assert gradients.keys() == others.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(others[name], gradient, atol=1e-5, rtol=1e-3, msg=name)


def test_a_new_decoder_learns_alone_at_first_and_goes_on_to_the_next_stage(tiny_backbone):
    context = context_of(tiny_backbone)
    objective = objective_of(context, decoder_first=0.3)
    for progress, alone in ((0.0, True), (0.29, True), (0.3, False)):
        context.classifier.zero_grad()
        objective.decoder.zero_grad()
        loss_of(objective, np.arange(8), progress).backward()
        reached = {name for name, p in context.classifier.named_parameters() if p.grad is not None}
        assert objective.decoder.leave.weight.grad.any()
        assert not any(name.startswith("head.") for name in reached)
        assert bool(reached) == (not alone)
    again = objective_of(context)
    assert again.decoder is objective.decoder
    assert not again.new


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_the_vector_is_pooled_as_the_backbone_pools(tiny_backbone, pooling):
    context = context_of(tiny_backbone, pooling=pooling)
    objective = objective_of(context)
    with torch.no_grad():
        found = objective._vectors(np.array([4]), 0.5)
        left = torch.tensor(objective._thinned(4, np.asarray(context.rows["unlabeled"].tokens[4]), 0.5))[None]
        torch.testing.assert_close(found, context.classifier(left, torch.ones_like(left)).features)


BODIES = [*ARCHITECTURES, "albert of pieces", "xlm_roberta of pieces", "deberta_v3 of pieces"]


@pytest.mark.parametrize("family", BODIES)
def test_the_gradient_reaches_every_family_of_bodies(family, tmp_path):
    if family.endswith(" of pieces"):
        folder = write_sentence_piece(tmp_path / "body", family.split()[0])
    else:
        folder = write_backbone(tmp_path / "body", family)
    context = context_of(folder, 6)
    objective = objective_of(context)
    loss = loss_of(objective, np.arange(6))
    loss.backward()
    table = token_table(context.classifier.body)
    assert loss.item() < 6 * np.log(len(table))
    assert objective.decoder.enter.in_features == table.shape[1]  # ALBERT's and ELECTRA's are narrower
    assert table.grad.any()
    top = [p for name, p in context.classifier.named_parameters() if "layer" in name and p.ndim == 2]
    assert any(p.grad is not None and p.grad.any() for p in top)


class Killed(Exception):
    pass


@pytest.mark.parametrize(("tune", "die_at"), [pytest.param("lora", 1, marks=pytest.mark.slow), ("full", 5)])
def test_a_killed_run_resumes_to_the_same_weights(tiny_backbone, tmp_path, tune, die_at):
    plan = stage(tune)

    def die(step, steps, loss):
        if step == die_at:
            raise Killed

    straight = context_of(tiny_backbone)
    loop.train(straight.classifier, plan, straight, 3)
    killed = context_of(tiny_backbone)
    with pytest.raises(Killed):
        loop.train(killed.classifier, plan, killed, 3, checkpoint=Checkpoint(tmp_path, {}, 0), progress=die)
    resumed = context_of(tiny_backbone)
    loop.train(resumed.classifier, plan, resumed, 3, checkpoint=Checkpoint(tmp_path, {}, 0))
    a, b = weights(straight.classifier), weights(resumed.classifier)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def found_again(classifier, rows):
    """Return the share of texts to whose own vector that of a thinned copy is nearest of all, in [0, 1]."""
    rng = np.random.default_rng(1)
    copies = Rows([thinned(np.asarray(row), 0.6, FRAME, rng).tolist() for row in rows.tokens * 10])
    context = Context({"whole": rows, "left": copies}, SCHEMA, classifier, torch.device("cpu"))
    index = np.arange(len(rows) * 10)
    with torch.no_grad():
        left = context.output("left", index).features
        whole = context.output("whole", index[: len(rows)]).features
    nearest = (centered(left) @ centered(whole).T).argmax(dim=1)
    return (nearest.numpy() == index % len(rows)).mean()


def centered(features):
    return torch.nn.functional.normalize(features - features.mean(dim=0), dim=1)


@pytest.mark.slow
def test_the_loss_falls_and_more_thinned_texts_are_found_again(tiny_backbone):
    """Each text has two words of its own, three times each, among words of all texts."""
    rng = np.random.default_rng(0)
    drawn = [(rng.choice(WORDS[:10], 2, replace=False), rng.choice(WORDS[10:], 8)) for _ in range(80)]
    texts = [" ".join(rng.permutation([*np.repeat(own, 3), *others])) for own, others in drawn]
    context = context_of(tiny_backbone, texts=texts)
    rows = context.rows["unlabeled"]
    before, losses = found_again(context.classifier, rows), []
    plan = stage(epochs=14, batch_size=16, learning_rate=5e-3, head_learning_rate=1e-2, dropout=0.0)
    loop.train(context.classifier, plan, context, 0, progress=lambda step, steps, loss: losses.append(loss))
    after = found_again(context.classifier, rows)
    assert np.mean(losses[-8:]) < np.mean(losses[:8]) - 0.7
    assert after > 1.2 * before


def test_texts_without_a_known_word_are_refused(tiny_backbone):
    with pytest.raises(TrainingError, match="none of the 2 unlabeled texts has a token that the backbone"):
        objective_of(context_of(tiny_backbone, texts=["zebra", "Okapi"]))


def test_a_static_backbone_is_refused(tmp_path):
    folder = write_static(tmp_path / "static")
    with pytest.raises(BackboneError, match=r"'tsdae' cannot train backbone 'static'.*choose another"):
        objective_of(context_of(folder))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 0.0}, r"share = 0.0; expected a share in \(0, 1\)"),
        ({"share": 1.0}, "share = 1.0"),
        ({"layers": 0}, "layers = 0; expected at least 1"),
        ({"decoder_first": 1.0}, "decoder_first = 1.0; expected a share of the steps"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(RecipeError, match=message):
        Options(**options)


def test_stages_that_make_no_sense_are_refused():
    with pytest.raises(RecipeError, match="'tsdae' trains the body, but tune 'head'"):
        Stage.of("head", NAME, "unlabeled")
    with pytest.raises(RecipeError, match="no stage trains the head"):
        Recipe.from_dict({"stage": [{"tune": "lora", "objective": NAME, "rows": "unlabeled"}]})


@pytest.mark.slow
def test_the_shipped_recipe_runs_and_saves_no_decoder(tmp_path, tiny_backbone):
    from safetensors import safe_open

    for name, rows in {"train": snippets(40), "corpus": snippets(24, seed=2)}.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    fit = ("fit", tmp_path / "train.jsonl", "--out", tmp_path / "model", "--backbone", tiny_backbone)
    fit = (*fit, "--recipe", "tsdae", "--calibration", "none")
    done = run(*fit, code=1)
    assert "recipe 'tsdae' reads unlabeled rows" in " ".join(done.output.split())
    run(*fit, "--unlabeled", tmp_path / "corpus.jsonl")
    names = set()
    for path in (tmp_path / "model").rglob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            names |= set(file.keys())
    body = load_backbone(tiny_backbone).body.state_dict()
    assert names >= set(body)
    assert not any(word in name for name in names for word in ("memory", "decoder", "leave", "multihead"))
    run("annotate", tmp_path / "corpus.jsonl", "--model", tmp_path / "model", "--out", tmp_path / "out")
