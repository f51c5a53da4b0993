"""What every way of attribution must hold, and what each is by its paper, against captum."""

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients
from tiny import snippets, write_static

from textlabel import Labeler, registry
from textlabel.attribution import Question, by_word, explained
from textlabel.engine.explain import Explainer
from textlabel.errors import PluginError
from textlabel.models.words import words

METHODS = sorted(registry.plugins("attribution"))
GRADIENTS = [method for method in METHODS if method != "leave_one_out"]
TEXT = snippets(1)[0]["text"]


@pytest.fixture(scope="module")
def fitted(tiny_backbone):
    return Labeler(tiny_backbone, cache=False).fit(snippets(40)).bundle


def question(bundle, text=TEXT):
    explainer = Explainer(bundle)
    target = int(explainer.logits([text]).argmax())

    def value(texts):
        return explainer._value(explainer.logits(texts), target)

    return Question(text, words(text), target, explainer.classifier, value)


def embeddings(model, ids):
    return model.body.get_input_embeddings()(ids)


def value_of(model, target, ids):
    """Return what is explained as a function of embeddings, the way captum asks for it."""
    body = model.body

    def value(vectors):
        hidden = body(inputs_embeds=vectors, attention_mask=torch.ones(vectors.shape[:2], dtype=torch.long))
        mask = torch.ones(vectors.shape[:2], dtype=torch.long)
        return explained(model.read(hidden.last_hidden_state, mask).logits, target, "single")

    return value


@pytest.mark.parametrize("method", METHODS)
def test_one_finite_number_a_word(fitted, method):
    asked = question(fitted)
    scores = registry.load("attribution", method).attribute(asked)
    assert scores.shape == (len(asked.words),)
    assert np.isfinite(scores).all()
    assert np.abs(scores).max() > 0


@pytest.mark.parametrize("method", METHODS)
def test_it_leaves_the_model_as_it_was(fitted, method):
    model = fitted.classifier
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    wanted = {name: p.requires_grad for name, p in model.named_parameters()}
    registry.load("attribution", method).attribute(question(fitted))
    for name, p in model.named_parameters():
        assert torch.equal(p, before[name])
        assert p.grad is None
        assert p.requires_grad == wanted[name]
    assert not model.body.get_input_embeddings()._forward_hooks


def test_gradients_are_captums(fitted):
    asked, model = question(fitted), fitted.classifier
    read = model.tokenizer(TEXT, return_offsets_mapping=True)
    ids, offsets = torch.tensor([read["input_ids"]]), np.array(read["offset_mapping"], float)
    value = value_of(model, asked.target, ids)
    vectors = embeddings(model, ids).detach().requires_grad_()
    theirs = InputXGradient(value).attribute(vectors).sum(-1)[0].detach().numpy()
    ours = registry.load("attribution", "gradient_x_input").attribute(asked)
    np.testing.assert_allclose(ours, by_word(theirs, offsets, asked.words), atol=1e-5)
    special = np.array(model.tokenizer(TEXT, return_special_tokens_mask=True)["special_tokens_mask"], bool)
    blank = torch.where(torch.from_numpy(special), ids, torch.full_like(ids, model.pad_id))
    found = IntegratedGradients(value).attribute(
        vectors, embeddings(model, blank).detach(), n_steps=32, method="riemann_middle"
    )
    theirs = found.sum(-1)[0].detach().numpy()
    ours = registry.load("attribution", "integrated_gradients").attribute(asked)
    np.testing.assert_allclose(ours, by_word(theirs, offsets, asked.words), atol=1e-4)


def test_integrated_gradients_sum_to_what_the_words_are_worth(fitted):
    asked, model = question(fitted), fitted.classifier
    ids = torch.tensor(model.tokenizer([TEXT])["input_ids"])
    special = torch.tensor([model.tokenizer(TEXT, return_special_tokens_mask=True)["special_tokens_mask"]])
    blank = torch.where(special.bool(), ids, torch.full_like(ids, model.pad_id))
    with torch.no_grad():
        worth = [explained(model(i, torch.ones_like(i)).logits, asked.target, "single") for i in (ids, blank)]
    total = registry.load("attribution", "integrated_gradients").attribute(asked).sum()
    assert total == pytest.approx(float(worth[0] - worth[1]), rel=0.02, abs=0.01)


def test_leaving_a_word_out_is_asking_without_it(fitted):
    asked = question(fitted, "good bad plot")
    whole, without = asked.value(["good bad plot", "good plot"])
    assert registry.load("attribution", "leave_one_out").attribute(asked)[1] == pytest.approx(whole - without)


@pytest.mark.parametrize("method", METHODS)
def test_static_backbones_are_read_word_by_word(tmp_path, method):
    bundle = Labeler(write_static(tmp_path / "static"), cache=False).fit(snippets(40)).bundle
    for text in (TEXT, "\u3042", ""):
        asked = question(bundle, text)
        assert registry.load("attribution", method).attribute(asked).shape == (len(asked.words),)


@pytest.mark.parametrize("method", GRADIENTS)
def test_what_has_no_gradient_is_refused_with_the_way_out(tiny_backbone, tmp_path, method):
    static = write_static(tmp_path / "static")
    for labeler in (
        Labeler(f"{tiny_backbone}+{static}", cache=False).fit(snippets(40)),
        Labeler(recipe="tfidf").fit(snippets(40)),
        Labeler(tiny_backbone, recipe="knn", cache=False).fit(snippets(40)),
    ):
        with pytest.raises(PluginError, match="leave_one_out"):
            next(Explainer(labeler.bundle, method).explain([TEXT]))
        assert next(Explainer(labeler.bundle).explain([TEXT])).words


def test_tokens_go_to_the_word_that_holds_most_of_them():
    offsets = np.array([[0, 0], [0, 3], [3, 6], [7, 9], [0, 0]], float)
    found = by_word(np.array([5.0, 1.0, 2.0, 4.0, 5.0]), offsets, [(0, 2), (2, 6), (7, 9)])
    assert found.tolist() == [1.0, 2.0, 4.0]
    assert by_word(np.array([1.0]), np.array([[0.0, 1.0]]), []).tolist() == []
