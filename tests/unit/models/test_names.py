"""Names of people by a token-classification model: which words, whatever the tokens and however long."""

import pytest
import torch
from name_marker import write_marker

from textlabel.corpus.personal_data import redacted
from textlabel.errors import BackboneError
from textlabel.models.names import People


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return People(write_marker(tmp_path_factory.mktemp("names") / "marker"))


def said(people, text):
    [found] = people.find([text])
    assert all(one.kind == "name" for one in found)
    return [text[one.start : one.end] for one in found]


def test_the_words_that_the_model_marks_are_found(people):
    assert said(people, "a good plot, and the screen was bad") == ["plot", "screen"]
    assert said(people, "nothing of the kind") == []
    assert said(people, "") == []


def test_words_that_follow_each_other_are_one_name(people):
    assert said(people, "the plot screen, plot. screen and plot\nscreen") == [
        "plot screen",
        "plot. screen",
        "plot",
        "screen",
    ]


def test_a_whole_word_is_found_where_a_token_of_it_is(people):
    assert said(people, "the plot-driven film") == ["plot-driven"]


def test_texts_of_all_lengths_keep_their_own_names(people):
    texts = ["bad " * i + "plot" + " bad" * (i % 7) for i in range(40)]
    found = people.find(texts)
    assert [[text[o.start : o.end] for o in one] for text, one in zip(texts, found, strict=True)] == [
        ["plot"]
    ] * 40


def test_long_texts_are_read_to_their_end_and_nothing_is_found_twice(people):
    text = "bad " * 500 + "plot " + "bad " * 500 + "screen"
    assert said(people, text) == ["plot", "screen"]
    assert redacted(text, people.find([text])[0]).count("[NAME]") == 2


def test_what_cannot_mark_names_is_refused(tmp_path, tiny_backbone):
    places = write_marker(tmp_path / "places", ("O", "B-LOC"))
    with pytest.raises(BackboneError, match=r"marks no names of people.*B-LOC"):
        People(places)
    with pytest.raises(BackboneError, match=r"lacks weights, first 'classifier"):
        People(tiny_backbone)  # an encoder without a head: its labels would be random
    pickled = write_marker(tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "model.bin")
    torch.save({}, pickled / "pytorch_model.bin")
    with pytest.raises(BackboneError, match="safetensors"):
        People(pickled)


@pytest.mark.parametrize("label", ["PER", "I-PERSON", "B-per", "S-NAME", "GIVENNAME"])
def test_a_person_goes_by_many_labels(tmp_path, label):
    assert said(People(write_marker(tmp_path / "other", ("O", label))), "the plot") == ["plot"]
