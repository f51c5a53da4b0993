"""What `auto` tries, in which order, and what it makes of it."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
from tiny import SMALL, snippets, write_static, write_tokenizer, write_weights

from textlabel import Labeler
from textlabel.engine import auto, lexical
from textlabel.engine.adapt import adapt
from textlabel.engine.predict import predict
from textlabel.engine.run import Task
from textlabel.errors import CorpusError, RecipeError
from textlabel.models.backbone import load_backbone
from textlabel.models.bundle import Bundle
from textlabel.recipe import Recipe
from textlabel.types import LabelSchema

SCHEMA = LabelSchema("single", ("negative", "positive"))


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deep") / "backbone"
    write_weights(folder, "BertConfig", {**SMALL, "num_hidden_layers": 4}, masked=False, seed=0)
    write_tokenizer(folder)
    return folder


@pytest.fixture
def weak_floor(monkeypatch):
    """TF-IDF that learns next to nothing: on these few words it beats any backbone of random weights."""
    monkeypatch.setattr(lexical, "STRENGTHS", (1e6,))


def task(n=40, corpus=0):
    rows = snippets(n + corpus)
    targets = np.array([SCHEMA.index(row["label"]) for row in rows[:n]])
    return Task(
        [row["text"] for row in rows[:n]], targets, SCHEMA, unlabeled=[row["text"] for row in rows[n:]]
    )


def tried(bundle):
    return {(t["name"], t["layers"]): t["verdict"] for t in bundle.record["tried"]}


@pytest.mark.usefixtures("weak_floor")
def test_readings_the_floor_and_what_time_allows(deep):
    bundle = adapt(load_backbone(deep), task(), Recipe.load("auto"), 0, budget=0)
    found = tried(bundle)
    assert list(found) == [
        ("auto", 3),
        ("auto", 1),
        (auto.FLOOR, 0),
        ("contrastive", bundle.classifier.info.layers),
        ("lora", bundle.classifier.info.layers),
    ]
    assert list(found.values()).count("chosen") == 1
    assert found[auto.FLOOR, 0] == "the floor"
    assert found["lora", bundle.classifier.info.layers] == "no time"
    assert bundle.record["recipe"]["name"] == "auto"
    assert bundle.record["recipe"]["stage"][0]["rows"] == "labeled"  # there was no corpus


@pytest.mark.slow
@pytest.mark.parametrize("layers", [3, 1])
@pytest.mark.parametrize("normalize", [False, True])
def test_what_was_chosen_is_what_is_fitted(deep, tmp_path, monkeypatch, layers, normalize):
    monkeypatch.setattr(auto, "least_by_far", lambda losses, errors=2.0: {3: 0, 1: 1}[layers])
    recipe = Recipe.load("auto")
    one = adapt(load_backbone(deep, normalize=normalize), task(corpus=40), recipe, 0, budget=0)
    alone = load_backbone(deep, normalize=normalize, layers=layers)
    monkeypatch.setattr(auto, "least_by_far", lambda losses, errors=2.0: 0)
    again = adapt(alone, task(corpus=40), recipe, 0, budget=0, fixed_layers=True)
    assert one.classifier.info.layers == again.classifier.info.layers == layers
    for a, b in [(one.classifier.head, again.classifier.head), *zip(one.members, again.members, strict=True)]:
        a, b = ([np.asarray(getattr(x, n).tolist()) for n in ("weight", "bias")] for x in (a, b))
        np.testing.assert_allclose(a[0], b[0], atol=1e-4)
        np.testing.assert_allclose(a[1], b[1], atol=1e-4)
    one.save(tmp_path / "model")
    labeler = Labeler.load(tmp_path / "model")
    assert labeler.bundle.classifier.info.layers == layers
    assert labeler.bundle.record["head"] == one.record["head"]


@pytest.mark.parametrize("layers", [1, 2])
def test_layers_that_a_person_chose_are_not_chosen_again(deep, layers):
    labeler = Labeler(deep, "auto", layers=layers, budget=0).fit(snippets(30))
    assert [t["layers"] for t in labeler.bundle.record["tried"] if t["name"] == "auto"] == [layers]


@pytest.mark.usefixtures("weak_floor")
def test_a_backbone_that_cannot_be_trained_keeps_its_head(tmp_path):
    static = write_static(tmp_path / "static")
    bundle = adapt(load_backbone(static), task(), Recipe.load("auto"), 0, budget=600)
    verdicts = tried(bundle)
    assert verdicts["auto", 1] == "chosen"
    assert verdicts["contrastive", 1].startswith("cannot be: partial")
    assert verdicts["lora", 1].startswith("cannot be: lora")


@pytest.mark.slow
def test_a_recipe_that_trains_runs_its_folds_once_and_resumes(deep, tmp_path, monkeypatch):
    (tmp_path / "short.toml").write_text(
        '[[stage]]\ntune = "head"\nobjective = "cross_entropy"\n'
        '[[stage]]\ntune = "partial"\nobjective = "cross_entropy"\nepochs = 1\n'
    )
    recipe = {**Recipe.load("auto").to_dict(), "alternatives": [str(tmp_path / "short.toml")]}
    recipe = Recipe.from_dict(recipe)
    monkeypatch.setattr(auto, "least_by_far", lambda losses, errors=2.0: max(losses))
    trained = []
    real = auto.Run._train
    monkeypatch.setattr(auto.Run, "_train", lambda self, *a: trained.append(a[-1]) or real(self, *a))
    one = adapt(load_backbone(deep), task(), recipe, 0, budget=600, checkpoint=tmp_path / "a")
    assert trained == ["fold0of3-1", "fold1of3-1", "fold2of3-1", "final-1"]
    assert one.record["recipe"]["name"] == "short"
    assert one.record["labels"]["calibration"] == "folds (3)"
    again = adapt(load_backbone(deep), task(), recipe, 0, budget=600, checkpoint=tmp_path / "a")
    weights = [bundle.classifier.head.weight.detach().numpy() for bundle in (one, again)]
    np.testing.assert_array_equal(*weights)
    five = adapt(
        load_backbone(deep), task(), recipe, 0, budget=600, checkpoint=tmp_path / "b", calibration="folds=5"
    )
    fresh = adapt(load_backbone(deep), task(), recipe, 0, budget=600, calibration="folds=5")
    assert five.calibrator.to_json() == fresh.calibrator.to_json()  # no fold of 3 passes for one of 5


@pytest.mark.usefixtures("weak_floor")
def test_corpus_and_names_are_read_once_for_all_readings(deep, monkeypatch):
    read = []
    real = auto.Run._read
    monkeypatch.setattr(
        auto.Run, "_read", lambda self, model, texts: read.append(len(texts)) or real(self, model, texts)
    )
    bundle = adapt(load_backbone(deep), task(corpus=50), Recipe.load("auto"), 0, budget=0)
    assert sorted(read) == [6, 50]  # two names in three templates
    assert bundle.record["recipe"]["stage"][0]["rows"] == "both"


@pytest.mark.usefixtures("weak_floor")
def test_a_recipe_that_trains_the_body_must_be_better_by_more_than_noise(deep, monkeypatch):
    recipe = Recipe.from_dict({**Recipe.load("auto").to_dict(), "alternatives": ["partial"]})
    truth = task().targets
    for good, verdict in ((True, "chosen"), (False, "not better by more than the noise")):
        logits = 9.0 * np.eye(2)[truth if good else 1 - truth]
        monkeypatch.setattr(
            "textlabel.engine.adapt._by_folds", lambda run, *_, kept=logits: _scored(run, kept)
        )
        bundle = adapt(load_backbone(deep), task(), recipe, 0, budget=600, calibration="none")
        assert tried(bundle)["partial", bundle.classifier.info.layers] == verdict
        assert bundle.record["recipe"]["name"] == ("partial" if good else "auto")


@pytest.mark.usefixtures("weak_floor")
@pytest.mark.parametrize(
    ("corpus", "sides", "differ", "chosen"),
    [
        ("other", 1, 0, True),  # as good on labeled rows as what stands: it stands for the other domain
        ("other", -1, 0, False),  # labeled rows speak against it
        ("other", 1, 1, False),  # its models say different things of the other domain
        ("same", 1, 0, None),  # there is no other domain
        pytest.param("none", 1, 0, None, marks=pytest.mark.slow),
    ],
)
def test_another_domain_is_adapted_to_where_there_is_time(deep, monkeypatch, corpus, sides, differ, chosen):
    recipe = Recipe.from_dict({**Recipe.load("auto").to_dict(), "alternatives": ["partial"]})
    truth = task().targets
    texts = {
        "other": [f"{row['text']} qq zz ww xx vv" for row in snippets(60, seed=9)],
        "same": [row["text"] for row in snippets(60, seed=9)],
        "none": [],
    }[corpus]
    asked = Task(task().texts, truth, SCHEMA, texts)
    logits = sides * 9.0 * np.eye(2)[truth]

    def by_folds(run, folds, scope, texts):
        said = np.zeros((folds, len(texts)), int)
        said[0] = differ if run.recipe.name == auto.ELSEWHERE else 0
        return replace(_scored(run, logits), said=said)

    monkeypatch.setattr("textlabel.engine.adapt._by_folds", by_folds)
    bundle = adapt(load_backbone(deep), asked, recipe, 0, budget=600, calibration="none")
    told = {name: verdict for (name, _), verdict in tried(bundle).items()}
    if chosen is None:
        assert auto.ELSEWHERE not in told
        assert "partial" in told
    else:
        assert (told[auto.ELSEWHERE] == "chosen") is chosen
        assert ("partial" in told) is not chosen
        assert (bundle.record["recipe"]["name"] == auto.ELSEWHERE) is chosen
        assert (
            "agree on 33% of the other domain (kappa 0.00), plain heads on 100%" in told[auto.ELSEWHERE]
        ) is bool(differ)


@pytest.mark.slow
@pytest.mark.usefixtures("weak_floor")
def test_without_time_the_other_domain_is_left_to_the_head(deep):
    texts = [f"{row['text']} qq zz ww xx vv" for row in snippets(60, seed=9)]
    asked = Task(task().texts, task().targets, SCHEMA, texts)
    for budget in (0, 1e-6):
        bundle = adapt(load_backbone(deep), asked, Recipe.load("auto"), 0, budget=budget, calibration="none")
        told = {name: verdict for (name, _), verdict in tried(bundle).items()}
        assert told.get(auto.ELSEWHERE, "no time") == "no time"


def _scored(run, logits):
    from textlabel.engine.adapt import Scored

    return Scored(np.arange(len(logits)), logits, np.zeros(len(logits), np.float32))


def test_a_language_whose_tokens_the_vocabulary_lacks_is_told(deep, caplog):
    words = ["qq ww", "zz xx"]  # unknown to its tokenizer, all of them
    y = np.arange(40) % 2
    texts = [f"{words[k]} {'v' * (i + 1)}" for i, k in enumerate(y)]
    with caplog.at_level(logging.WARNING, "textlabel"):
        bundle = adapt(load_backbone(deep), Task(texts, y, SCHEMA), Recipe.load("auto"), 0, budget=0)
    assert "lacks 60 % of the tokens: it does not read this language" in caplog.text
    assert tried(bundle)[auto.FLOOR, 0] == "chosen"


@pytest.mark.parametrize(("most", "chosen"), [(auto.UNREAD, auto.FLOOR), (1.1, "auto")])
def test_where_nothing_can_be_learned_the_floor_stands_only_if_tokens_are_unknown(
    deep, monkeypatch, most, chosen
):
    monkeypatch.setattr(auto, "UNREAD", most)
    labels = np.random.default_rng(0).permutation(np.arange(40) % 2)
    texts = [f"{'qq ww' if i % 2 else 'zz xx'} {'v' * (i + 1)}" for i in range(40)]
    bundle = adapt(load_backbone(deep), Task(texts, labels, SCHEMA), Recipe.load("auto"), 0, budget=0)
    assert [name for (name, _), verdict in tried(bundle).items() if verdict == "chosen"] == [chosen]


def test_the_floor_must_be_better_by_more_than_the_noise_and_stands_where_tokens_are_unknown():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=100) / 10  # paired standard error .01
    reading = np.ones(100)
    for gain, unknown, best in (
        *((0.02, 0.0, "floor"), (0.005, 0.0, "reading"), (-0.02, 0.0, "reading")),
        *((-0.005, 0.5, "floor"), (-0.015, 0.5, "floor"), (-0.04, 0.5, "reading")),
    ):
        floor = reading - gain + noise - noise.mean()
        assert ("reading", "floor")[auto._standing({0: reading, 1: floor}, unknown)] == best


def test_the_floor_is_taken_where_it_is_better(deep, tmp_path, caplog):
    bundle = adapt(load_backbone(deep), task(corpus=20), Recipe.load("auto"), 0, budget=0)
    assert tried(bundle)[auto.FLOOR, 0] == "chosen"
    assert "better than the backbone" in caplog.text
    assert bundle.record["recipe"]["name"] == "tfidf"
    rows = snippets(20, seed=7)
    labels = Bundle.load(bundle.save(tmp_path / "model")).classifier
    logits, _ = predict(labels, [row["text"] for row in rows])
    assert np.mean(logits.argmax(axis=1) == [SCHEMA.index(row["label"]) for row in rows]) > 0.7


@pytest.mark.parametrize("good", [True, False])
def test_training_the_backbone_must_beat_the_floor_then(deep, monkeypatch, good):
    recipe = Recipe.from_dict({**Recipe.load("auto").to_dict(), "alternatives": ["partial"]})
    truth = task().targets
    logits = (9.0 if good else -9.0) * np.eye(2)[truth]
    monkeypatch.setattr("textlabel.engine.adapt._by_folds", lambda run, *_: _scored(run, logits))
    bundle = adapt(load_backbone(deep), task(), recipe, 0, budget=600, calibration="none")
    assert [name for (name, _), verdict in tried(bundle).items() if verdict == "chosen"] == [
        "partial" if good else auto.FLOOR
    ]
    assert bundle.classifier.info.kind == ("transformer" if good else "static")


def test_the_floor_cannot_mend_labels(deep):
    pytest.importorskip("cleanlab")
    bundle = adapt(load_backbone(deep), task(), Recipe.load("auto"), 0, budget=0, noisy_labels="prune")
    assert tried(bundle)[auto.FLOOR, 0] == "the floor"


@pytest.mark.parametrize("budget", ["10x", -1, "nan", "", "inf"])
def test_a_budget_that_is_no_time(budget):
    with pytest.raises(RecipeError, match="expected a time such as"):
        auto.seconds_of(budget)


def test_a_class_of_one_row_is_refused_before_anything_runs(deep, monkeypatch):
    monkeypatch.setattr(auto.Run, "base_features", property(lambda self: pytest.fail("too late")))
    few = Task(["a film", "a plot", "bad"], np.array([0, 0, 1]), SCHEMA)
    with pytest.raises(CorpusError, match="positive"):
        adapt(load_backbone(deep), few, Recipe.load("auto"), 0, budget=0)


def test_scores_have_no_alternatives(deep):
    regression = Recipe.load("regression").to_dict()
    with pytest.raises(RecipeError, match="not for scores"):
        Recipe.from_dict({**regression, "alternatives": ["lora"]})


def test_alternatives_stand_beside_one_head():
    lora = Recipe.load("lora").to_dict()
    with pytest.raises(RecipeError, match="one stage with tune = 'head'"):
        Recipe.from_dict({**lora, "alternatives": ["head"]})
    with pytest.raises(RecipeError, match="alternatives of its own"):
        Recipe.from_dict({**Recipe.load("head").to_dict(), "alternatives": ["auto"]})


def test_agreement_counts_as_far_as_it_is_not_chance():
    plain = np.array([[0, 0, 1, 1, 1, 0], [0, 0, 1, 1, 0, 0], [0, 0, 1, 0, 1, 0]])
    assert auto._doubt(plain, plain) == ""
    better = np.tile(plain[0], (3, 1))
    assert auto._doubt(better, plain) == ""
    assert "plain heads on 100%" in auto._doubt(plain, better)
    collapsed = np.ones((3, 6), int)  # all agree that everything is of one class: of what there is, nothing
    assert "agree on 100% of the other domain (kappa 0.00)" in auto._doubt(collapsed, plain)


def test_texts_that_are_compared_come_from_all_parts_of_a_sorted_corpus():
    for count in (3, 500, 501, 1999, 4000):
        some = auto._some([str(i) for i in range(count)])
        assert 0 < len(some) <= auto.COMPARED
        assert int(some[-1]) >= count - 1 - count // 250
