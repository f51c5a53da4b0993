"""Masked tokens: what is masked, what is lost by it, and whom the gradient reaches."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from tiny import snippets, write_backbone
from typer.testing import CliRunner

from textlabel.cli.app import app
from textlabel.engine import loop, prefix
from textlabel.engine.checkpoint import Checkpoint
from textlabel.engine.process import seeded
from textlabel.errors import RecipeError, TrainingError
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier, token_vectors
from textlabel.models.language_head import token_table
from textlabel.objective.masked_lm import NAME, Objective, Options, Vocabulary, masked
from textlabel.protocols import Batch, Context, Rows
from textlabel.recipe import Recipe, Stage
from textlabel.types import LabelSchema

SCHEMA = LabelSchema("single", ("negative", "positive"))
#: ids of the tiny tokenizer: five special ones, then words
SPECIAL, MASK, WORDS = range(5), 4, range(5, 24)
VOCABULARY = Vocabulary(MASK, np.array(SPECIAL), np.array(WORDS))


@pytest.fixture(scope="module")
def with_head(tmp_path_factory):
    """A tiny body whose checkpoint has a language head."""
    return write_backbone(tmp_path_factory.mktemp("masked") / "bert", "bert_without_pooler")


def context_of(folder, n=30, seed=0, texts=None):
    classifier = Classifier(load_backbone(folder), SCHEMA).eval()
    torch.nn.init.normal_(classifier.head.weight, generator=torch.Generator().manual_seed(0))
    data = snippets(n, seed)
    tokens = classifier.tokenizer(texts or [row["text"] for row in data])["input_ids"]
    labeled = Rows(tokens, np.array([SCHEMA.index(row["label"]) for row in data]) if not texts else None)
    return Context({"labeled": labeled, "unlabeled": Rows(tokens)}, SCHEMA, classifier, torch.device("cpu"))


def objective_of(context, **options):
    with seeded(0):
        return Objective(Options(**options), context)


def batch_of(index, progress=0.5, rows=None):
    index = np.asarray(index)
    rows = index if rows is None else np.asarray(rows)
    return Batch({"unlabeled": index}, {"unlabeled": len(rows)}, progress, {"unlabeled": rows})


def stage(tune="full", objective="masked_lm", rows="unlabeled", **training):
    settings = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3, "mixed_precision": "no"}
    return Stage.of(tune, objective, rows, **{**settings, **training})


def weights(classifier):
    found = {**classifier.state_dict(), **classifier.carried[NAME].state_dict()}
    return {name: value.detach().clone() for name, value in found.items()}


def assert_same(a, b, atol=0.0):
    assert a.keys() == b.keys()
    for key in a:
        torch.testing.assert_close(a[key], b[key], rtol=0, atol=atol, msg=key)


def test_of_the_places_chosen_most_are_masked_some_replaced_and_some_kept():
    rng = np.random.default_rng(0)
    tokens = np.concatenate([[2], rng.integers(5, 24, 1000), [3, 1, 0, 0]])
    seen = {"mask": 0, "other": 0, "kept": 0}
    chosen = np.zeros(len(tokens))
    others = set()
    for _ in range(60):
        changed, places = masked(tokens, 150, VOCABULARY, rng)
        assert len(set(places)) == 150
        chosen[places] += 1
        elsewhere = np.delete(np.arange(len(tokens)), places)
        assert (changed[elsewhere] == tokens[elsewhere]).all()
        now, then = changed[places], tokens[places]
        seen["mask"] += (now == MASK).sum()
        seen["kept"] += (now == then).sum()
        seen["other"] += ((now != MASK) & (now != then)).sum()
        others |= set(now[(now != MASK) & (now != then)].tolist())
    assert others == set(WORDS)
    assert not chosen[[0, 1001, 1002, 1003, 1004]].any()  # first, last, unknown, padding
    assert (chosen[1:1001] > 0).all()
    shares = {name: count / 9000 for name, count in seen.items()}
    by_luck = 0.1 / len(WORDS)  # a token that is drawn may be the one that stood there
    assert shares["mask"] == pytest.approx(0.8, abs=0.015)
    assert shares["other"] == pytest.approx(0.1 - by_luck, abs=0.012)
    assert shares["kept"] == pytest.approx(0.1 + by_luck, abs=0.012)


def test_a_row_has_one_masked_token_at_least_if_it_has_one_at_all(with_head):
    context = context_of(
        with_head, texts=["good", "zebra", "", "the film was very good really", "[MASK] bad"]
    )
    assert objective_of(context).counts.tolist() == [1, 0, 0, 1, 1]
    assert objective_of(context, share=0.5).counts.tolist() == [1, 0, 0, 3, 1]
    loss = objective_of(context).loss("model", batch_of([1, 2], rows=[0, 1, 2]))
    loss.backward()  # a share of a batch in which nothing is masked counts for nothing, and does not break
    assert loss.item() == 0


def test_masks_are_new_each_step_and_the_same_for_a_seed(with_head):
    context = context_of(with_head)
    one, same = objective_of(context), objective_of(context)
    with seeded(1):
        other = Objective(Options(), context)
    tokens = [np.asarray(row) for row in context.rows["unlabeled"].tokens]

    def drawn(objective, progress):
        return [
            (
                tuple(objective._masked(row, some, progress)[0]),
                tuple(objective._masked(row, some, progress)[1]),
            )
            for row, some in enumerate(tokens)
        ]

    def differ(a, b):
        return sum(x != y for x, y in zip(a, b, strict=True))

    assert drawn(one, 0.25) == drawn(same, 0.25)
    assert differ(drawn(one, 0.25), drawn(one, 0.25 + 1e-6)) > 15  # the next of a million steps
    assert differ(drawn(one, 0.25), drawn(other, 0.25)) > 15
    assert len({places for _, places in drawn(one, 0.0)}) > 3  # rows are masked independently


def test_the_loss_is_that_of_the_whole_models_scores_at_the_masked_places(with_head):
    """Against transformers' own model, row by row without padding, and scipy's softmax."""
    from transformers import AutoModelForMaskedLM

    context, index = context_of(with_head), np.array([3, 0, 17, 8])
    objective = objective_of(context, share=0.4)
    model = AutoModelForMaskedLM.from_pretrained(with_head).eval()
    losses = []
    for row in index:
        tokens = np.asarray(context.rows["unlabeled"].tokens[row])
        changed, places = objective._masked(int(row), tokens, 0.5)
        with torch.no_grad():
            scores = model(input_ids=torch.tensor(changed[None])).logits[0].double().numpy()
        losses += [-log_softmax(scores[place])[tokens[place]] for place in places]
    assert len(losses) > 6
    found = objective.loss("model", batch_of(index))
    assert found.item() == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize("new", [True, False])
def test_a_new_head_learns_alone_at_first(tiny_backbone, with_head, new):
    context = context_of(tiny_backbone if new else with_head)
    objective = objective_of(context, head_first=0.3)
    assert objective.new == new
    for progress, alone in ((0.0, new), (0.29, new), (0.3, False), (0.9, False)):
        context.classifier.zero_grad()
        objective.head.zero_grad()
        objective.loss("model", batch_of(np.arange(8), progress)).backward()
        reached = {name for name, p in context.classifier.named_parameters() if p.grad is not None}
        assert all(p.grad is not None and p.grad.any() for p in objective.head.parameters())
        assert not any(name.startswith("head.") for name in reached)
        assert bool(reached) == (not alone)


@pytest.mark.parametrize("tune", ["full", "lora", {"name": "partial", "layers": 1}])
def test_while_the_head_learns_alone_the_body_stands_still(tiny_backbone, tune):
    context, seen = context_of(tiny_backbone), []

    def look(step, steps, loss):
        seen.append(weights(context.classifier))

    plan = stage(tune, {"name": NAME, "head_first": 0.5}, dropout=0.0)
    loop.train(context.classifier, plan, context, 0, progress=look)
    body = [name for name in seen[0] if name.startswith("body.")]
    assert all((seen[3][name] == seen[0][name]).all() for name in body)
    assert any((seen[4][name] != seen[3][name]).any() for name in body)
    assert (seen[3]["transform.0.weight"] != seen[0]["transform.0.weight"]).any()
    context.classifier.merge()


def test_the_head_goes_on_to_the_next_stage_and_waits_no_more(tiny_backbone):
    context = context_of(tiny_backbone)
    loop.train(context.classifier, stage("lora", epochs=1), context, 0)
    context.classifier.merge()
    learned = weights(context.classifier)["transform.0.weight"]
    next_one = objective_of(context)
    assert not next_one.new
    assert (next_one.head.transform[0].weight == learned).all()


def test_the_decoder_is_the_bodys_own_table(tiny_backbone):
    """It steps once, with the gradients of both ends, and is in no optimizer twice."""
    context = context_of(tiny_backbone)
    objective = objective_of(context, head_first=0.0)
    table = token_table(context.classifier.body)
    assert all(p is not table for p in objective.head.parameters())
    objective.loss("model", batch_of([0, 1])).backward()
    read = {token for row in (0, 1) for token in context.rows["unlabeled"].tokens[row]}
    assert table.grad[sorted(set(WORDS) - read)].abs().min() > 0  # as what might have stood there
    plan = stage(epochs=1)
    before = table.detach().clone()
    loop.train(context.classifier, plan, context, 0)
    assert token_table(context.classifier.body) is table
    assert (table != before).any()


def test_tables_that_are_frozen_stay(tiny_backbone):
    context = context_of(tiny_backbone)
    before = token_table(context.classifier.body).detach().clone()
    loop.train(context.classifier, stage("lora", learning_rate=0.1), context, 0)
    context.classifier.merge()
    assert torch.equal(token_table(context.classifier.body), before)


@pytest.mark.parametrize("splits", [{"micro_batch_tokens": 20}, {"micro_batch_tokens": 45}])
def test_micro_batches_give_the_weights_of_one_batch(with_head, splits):
    results = []
    for more in ({}, splits):
        context = context_of(with_head)
        plan = stage(dropout=0.0, optimizer="sgd", learning_rate=0.05, **more)
        loop.train(context.classifier, plan, context, 0)
        results.append(weights(context.classifier))
    assert_same(*results, atol=1e-5)
    assert any(
        (results[0][name] != value).any()
        for name, value in context_of(with_head).classifier.state_dict().items()
    )


@pytest.mark.parametrize("world", [2, 3])
def test_shares_of_processes_add_up(with_head, world):
    """Rows with one and with several masked tokens, divided unevenly."""
    context = context_of(with_head, 11)
    objective, rows = objective_of(context, share=0.4), {"unlabeled": np.arange(11)}
    assert len(set(objective.counts.tolist())) > 2
    lengths = {"unlabeled": context.rows["unlabeled"].lengths}

    def losses(of):
        parts = [b for rank in range(of) for b in loop.shares(rows, lengths, rank, of, 30, 0.5)]
        return sum(objective.loss("model", part).item() for part in parts)

    whole = objective.loss("model", batch_of(np.arange(11))).item()
    assert losses(1) == pytest.approx(whole, rel=1e-5)
    assert losses(world) == pytest.approx(whole, rel=1e-5)


class Killed(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tune", "objective", "rows"),
    [("lora", NAME, "unlabeled"), ("full", ["cross_entropy", {"name": NAME, "times": 2}], "both")],
)
@pytest.mark.parametrize("die_at", [1, 5])
def test_a_killed_run_resumes_to_the_same_weights(tiny_backbone, tmp_path, tune, objective, rows, die_at):
    plan = stage(tune, objective, rows, epochs=4)

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
    assert_same(weights(straight.classifier), weights(resumed.classifier))


def test_frozen_layers_run_anew_on_what_is_masked(with_head, monkeypatch):
    """The same weights as where nothing is cut, and no vectors are kept of rows that are always masked."""
    sgd = {"optimizer": "sgd", "learning_rate": 0.05, "dropout": 0.0, "epochs": 3}
    plan = stage({"name": "partial", "layers": 1}, ["cross_entropy", NAME], "both", **sgd)
    kept, real = [], prefix.Prefix.fill
    monkeypatch.setattr(
        prefix.Prefix, "fill", lambda self, reads: (real(self, reads), kept.extend(self.kept))[0]
    )
    cut = context_of(with_head)
    loop.train(cut.classifier, plan, cut, 0)
    assert kept == ["labeled"]
    whole = context_of(with_head)
    monkeypatch.setattr(loop, "frozen_prefix", lambda *_: None)
    loop.train(whole.classifier, plan, whole, 0)
    assert_same(weights(cut.classifier), weights(whole.classifier), atol=1e-5)


def test_vectors_are_of_the_last_layer_where_features_are_of_several(with_head):
    context = context_of(with_head)
    classifier = Classifier(load_backbone(with_head, layers=2), SCHEMA).eval()
    ids, mask = context.inputs("unlabeled", np.arange(4))
    several = Context(
        context.rows,
        SCHEMA,
        classifier,
        context.device,
        lambda *given: token_vectors(classifier.body, *given[2:], 2),
    )
    torch.testing.assert_close(several.vectors(ids, mask), context.vectors(ids, mask))


def test_summed_with_cross_entropy_each_has_its_gradient(with_head):
    """Against one step by hand: the sum of both, weighted, on the rows that each reads."""
    from textlabel.objective.cross_entropy import Objective as CrossEntropy
    from textlabel.objective.cross_entropy import Options as Plain

    sgd = {"epochs": 1, "batch_size": 30, "optimizer": "sgd", "warmup": 0.0, "max_grad_norm": 1e9}
    sgd["weight_decay"] = 0.0
    summed = ["cross_entropy", {"name": NAME, "weight": 3.0}]
    trained = context_of(with_head)
    plan = stage("full", summed, "both", dropout=0.0, learning_rate=0.01, **sgd)
    loop.train(trained.classifier, plan, trained, 0)
    by_hand = context_of(with_head)
    with seeded(0, "new weights"):
        objective = Objective(Options(), by_hand)
    everything = np.arange(30)
    loss = 3.0 * objective.loss("model", batch_of(everything, 0.0))
    loss = loss + CrossEntropy(Plain(), by_hand).loss(
        "model", Batch({"labeled": everything}, {"labeled": 30})
    )
    loss.backward()
    for (name, new), (_, was) in zip(
        trained.classifier.named_parameters(), by_hand.classifier.named_parameters(), strict=True
    ):
        step = 0.01 * was.grad if was.grad is not None else 0.0
        torch.testing.assert_close(new.detach(), (was - step).detach(), atol=2e-5, rtol=0, msg=name)


def test_half_precision_gives_nearly_the_same_loss_and_finite_gradients(with_head):
    context, batch = context_of(with_head), batch_of(np.arange(12))
    objective = objective_of(context)
    whole = objective.loss("model", batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = objective.loss("model", batch)
    half.backward()
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(whole.item(), rel=0.02)
    assert all(
        torch.isfinite(p.grad).all() for p in context.classifier.body.parameters() if p.grad is not None
    )


def test_only_masked_places_are_scored_over_the_vocabulary(with_head):
    context, seen = context_of(with_head), []
    objective = objective_of(context)
    objective.head.register_forward_hook(lambda _, given, made: seen.append((given[0].shape, made.shape)))
    objective.loss("model", batch_of(np.arange(12)))
    count = objective.counts[:12].sum()
    assert seen == [((count, 16), (count, len(SPECIAL) + len(WORDS)))]


def test_a_batch_has_as_many_unlabeled_rows_for_each_labeled_one_as_asked(with_head):
    context = context_of(with_head)
    context.rows.pop("labeled")
    sizes = [len(b["unlabeled"]) for b in objective_of(context, times=3).batches(4, np.random.default_rng(0))]
    assert sorted(sizes) == [6, 12, 12]


@pytest.mark.parametrize(("size", "times", "batches"), [(4, 3, 9), (30, 1, 1), (4, 1, 8), (7, 2, 6)])
def test_beside_labels_unlabeled_rows_come_again_until_all_labels_had_a_turn(with_head, size, times, batches):
    objective = objective_of(context_of(with_head), times=times)  # 30 rows of either kind
    found = list(objective.batches(size, np.random.default_rng(0)))
    assert len(found) == batches >= -(-30 // size)
    read = np.bincount(np.concatenate([b["unlabeled"] for b in found]), minlength=30)
    assert np.ptp(read) == 0


def held_out_loss(classifier, folder):
    """Return nats a masked token on texts that were never trained on, by the head that the classifier has."""
    held = context_of(folder, 200, seed=9)
    context = Context(held.rows, SCHEMA, classifier, held.device)
    with torch.no_grad(), seeded(5):
        return Objective(Options(), context).loss("model", batch_of(np.arange(200))).item()


@pytest.mark.parametrize(("tune", "rate"), [("full", 3e-3), ("lora", 1e-2)])
def test_training_makes_masked_tokens_of_other_texts_likelier(tiny_backbone, tune, rate):
    """In each text two words of one mood stand together: from one the other can be told."""
    context = context_of(tiny_backbone, 120)
    objective_of(context)
    before = held_out_loss(context.classifier, tiny_backbone)
    context.classifier.carried.clear()
    plan = stage(tune, epochs=8, batch_size=24, learning_rate=rate, head_learning_rate=1e-2, dropout=0.0)
    loop.train(context.classifier, plan, context, 0)
    context.classifier.merge()
    after = held_out_loss(context.classifier, tiny_backbone)
    assert after < before - 0.5
    assert after < np.log(len(SPECIAL) + len(WORDS))  # better than any token being as likely as any other


def test_unknown_words_are_told(with_head, caplog):
    with caplog.at_level(logging.WARNING, "textlabel"):
        objective_of(context_of(with_head, texts=["a zebra good film", "good plot"]))
    assert not caplog.records
    with caplog.at_level(logging.WARNING, "textlabel"):
        objective_of(context_of(with_head, texts=["ein Zebra a b c"]))
    assert "vocabulary lacks 57 % of the tokens of the unlabeled texts" in caplog.text
    assert "choose-backbone" in caplog.text


def test_texts_without_a_known_word_are_refused(with_head):
    with pytest.raises(
        TrainingError, match="none of the 2 unlabeled texts has a token that the backbone knows"
    ):
        objective_of(context_of(with_head, texts=["zebra", "Okapi"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 0.0}, r"share = 0.0; expected a share in \(0, 1\)"),
        ({"share": 1.0}, "share = 1.0"),
        ({"head_first": 1.0}, "head_first = 1.0; expected a share of the steps"),
        ({"times": 0}, "times = 0; expected at least 1"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(RecipeError, match=message):
        Options(**options)


def test_stages_that_make_no_sense_are_refused():
    with pytest.raises(RecipeError, match="'masked_lm' trains the body, but tune 'head'"):
        Stage.of("head", NAME, "unlabeled")
    with pytest.raises(RecipeError, match="reads rows = 'unlabeled'"):
        Stage.of("lora", NAME)
    with pytest.raises(RecipeError, match="no stage trains the head"):
        Recipe.from_dict({"stage": [{"tune": "lora", "objective": NAME, "rows": "unlabeled"}]})


@pytest.fixture
def files(tmp_path):
    rows = snippets(40)
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = [{"id": row["id"], "text": row["text"]} for row in snippets(24, seed=2)]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
    return tmp_path


def fit(files, backbone, recipe, *more):
    words = ["fit", files / "train.jsonl", "--out", files / "model", "--backbone", backbone]
    words += ["--recipe", recipe, "--calibration", "none", *more]
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["tapt", "udalm"])
def test_shipped_recipes_run_and_save_no_language_head(files, tiny_backbone, recipe):
    done = fit(files, tiny_backbone, recipe, "--unlabeled", files / "corpus.jsonl")
    assert done.exit_code == 0, done.output
    from safetensors import safe_open

    names = []
    for path in (files / "model").rglob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            names += list(file.keys())
    assert any("word_embeddings" in name for name in names)
    assert not any("transform" in name or "decoder" in name for name in names)
    again = CliRunner().invoke(
        app,
        ["annotate", str(files / "corpus.jsonl"), "--model", str(files / "model"), "--out", str(files / "o")],
    )
    assert again.exit_code == 0, again.output


@pytest.mark.parametrize("recipe", ["tapt", "udalm"])
def test_without_unlabeled_rows_the_error_says_how_to_give_them(files, tiny_backbone, recipe):
    done = fit(files, tiny_backbone, recipe)
    assert done.exit_code != 0
    assert f"recipe '{recipe}' reads unlabeled rows: give them (--unlabeled CORPUS)" in " ".join(
        done.output.split()
    )


@pytest.mark.slow
def test_on_the_real_backbone_held_out_reviews_become_likelier():
    from textlabel.corpus.load import load_corpus
    from textlabel.labeler import DEFAULT_BACKBONE
    from textlabel.resources import resource

    rows = load_corpus(str(resource("data/reviews/product.jsonl")))
    texts = [rows["text"][i] for i in np.random.default_rng(0).permutation(len(rows))[:380].tolist()]
    backbone = load_backbone(DEFAULT_BACKBONE)
    classifier = Classifier(backbone, SCHEMA).eval()
    train, held = Rows(backbone.encode(texts[:320])), Rows(backbone.encode(texts[320:]))

    def held_out():
        context = Context({"unlabeled": held}, SCHEMA, classifier, torch.device("cpu"))
        with torch.no_grad(), seeded(5):
            return Objective(Options(), context).loss("model", batch_of(np.arange(60))).item()

    before = held_out()
    classifier.carried.clear()
    context = Context({"unlabeled": train}, SCHEMA, classifier, torch.device("cpu"))
    plan = stage(epochs=2, batch_size=16, learning_rate=1e-4, head_learning_rate=1e-3)
    loop.train(classifier, plan, context, 0)
    assert before > np.log(1000)
    assert held_out() < before - 2.0
