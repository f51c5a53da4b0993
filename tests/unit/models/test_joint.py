"""Several backbones as one: how they are named, read, told and kept."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from tiny import snippets, write_backbone, write_static

from textlabel import Labeler
from textlabel.errors import BackboneError, BundleError, RecipeError
from textlabel.models.backbone import load_backbone, part_names
from textlabel.models.backbone_info import BackboneInfo, require_one
from textlabel.models.bundle import Bundle
from textlabel.models.joint import joint

TEXTS = snippets(30, seed=1)


@pytest.fixture
def folders(tmp_path):
    """A transformer and a static backbone."""
    return write_backbone(tmp_path / "bert"), write_static(tmp_path / "table")


@pytest.fixture
def both(folders):
    return "+".join(map(str, folders))


def test_a_plus_joins_but_a_folder_that_has_one_is_one(tmp_path):
    assert part_names("BAAI/bge-small-en-v1.5@abc + ./mine") == ["BAAI/bge-small-en-v1.5@abc", "./mine"]
    folder = write_static(tmp_path / "c++")
    assert part_names(folder) == [str(folder)]
    assert load_backbone(folder).info.kind == "static"


@pytest.mark.parametrize("name", ["a+", "+a", "a++b", "a+a", "a+b+c+d+e"])
def test_what_is_no_list_of_different_backbones_is_refused(name):
    with pytest.raises(BackboneError, match="expected 2 to 4 different backbones"):
        part_names(name)


def test_an_unknown_part_is_named(folders):
    with pytest.raises(BackboneError, match=r"unknown backbone 'potion-base-8N': .*potion-base-8M"):
        load_backbone(f"{folders[0]}+potion-base-8N")


def test_what_is_chosen_is_chosen_for_every_part_and_can_be_chosen_again(both):
    chosen = {"pooling": "max", "normalize": False, "max_length": 9, "layers": 2, "on_long": "window"}
    info = load_backbone(both, **chosen).info
    assert [part.layers for part in info.parts] == [2, 1]  # a static one has one
    assert {(part.pooling, part.max_length) for part in info.parts} == {("max", 9)}
    assert info.reading == {**chosen, "window_pooling": "mean"}
    assert load_backbone(both, **info.reading).info == info
    own = load_backbone(both).info
    assert own.reading["max_length"] is None  # each its own: 66 and 256
    assert load_backbone(both, **own.reading).info == own


def test_a_part_that_lacks_the_layers_is_named(both):
    with pytest.raises(BackboneError, match="layers = 3: expected 1 to 2, as many as bert has"):
        load_backbone(both, layers=3)


def test_how_long_texts_are_read_is_what_the_whole_says(both):
    found = load_backbone(both)
    found.info = replace(found.info, on_long="window", window_pooling="max")
    assert {(part.info.on_long, part.info.window_pooling) for part in found.parts} == {("window", "max")}


def test_other_parts_have_another_hash_and_another_order_too(folders, tmp_path):
    one, other = map(load_backbone, folders)
    third = load_backbone(write_backbone(tmp_path / "third", seed=1))
    pairs = [(one, other), (other, one), (third, other)]
    assert len({joint(pair).info.sha256 for pair in pairs}) == 3


def test_a_record_and_a_card_tell_of_every_part_but_not_of_their_folders(both, tmp_path):
    labeler = Labeler(both).fit(snippets(40))
    told = labeler.record()["backbone"]
    assert told["name"] == "bert+table"
    assert [part["name"] for part in told["parts"]] == ["bert", "table"]
    assert [part["sha256"] for part in told["parts"]] == [
        load_backbone(f).info.sha256 for f in both.split("+")
    ]
    assert all(part["license"] == "unknown" for part in told["parts"])
    folder = labeler.save(tmp_path / "model")
    card = (folder / "README.md").read_text()
    assert f"| backbone part 2 | table (sha256 {told['parts'][1]['sha256']}, source path" in card
    for name in ("README.md", "textlabel.json"):
        assert str(tmp_path) not in (folder / name).read_text()


def test_licenses_are_told_once_each(folders):
    one, other = map(load_backbone, folders)
    one.info, other.info = replace(one.info, license="MIT"), replace(other.info, license="Apache-2.0")
    assert joint([one, other]).info.license == "MIT and Apache-2.0"
    other.info = replace(other.info, license="MIT")
    assert joint([one, other]).info.license == "MIT"


def test_a_model_needs_no_folder_of_its_parts(both, folders, tmp_path):
    labeler = Labeler(both, on_long="window").fit(snippets(40))
    expected = labeler.predict(TEXTS)
    labeler.save(tmp_path / "model")
    for folder in folders:
        shutil.rmtree(folder)
    loaded = Labeler.load(tmp_path / "model", cache=False)
    assert loaded.bundle.classifier.info == replace(
        labeler.bundle.classifier.info,
        name="bert+table",
        parts=tuple(replace(p, name=p.public_name) for p in labeler.bundle.classifier.info.parts),
    )
    assert (loaded.predict(TEXTS).logits == expected.logits).all()


def test_a_part_that_has_a_name_is_copied_only_where_that_is_asked_for(both, tmp_path):
    bundle = Labeler(both).fit(snippets(40)).bundle
    bundle.classifier.body.members[0].info = replace(bundle.classifier.info.parts[0], origin="registered")
    few = bundle.save(tmp_path / "few")
    assert [path.name for path in sorted(few.glob("body*"))] == ["body-1"]
    all_of_them = bundle.save(tmp_path / "all", self_contained=True)
    assert [path.name for path in sorted(all_of_them.glob("body*"))] == ["body-0", "body-1"]


def test_other_weights_behind_the_name_of_a_part_are_refused(both, folders, tmp_path, monkeypatch):
    bundle = Labeler(both).fit(snippets(40)).bundle
    bundle.classifier.body.members[0].info = replace(bundle.classifier.info.parts[0], origin="registered")
    bundle.save(tmp_path / "model")
    shutil.rmtree(folders[0])
    write_backbone(folders[0], seed=1)
    monkeypatch.chdir(tmp_path)  # where "bert" is found by its name
    with pytest.raises(BundleError, match=r"trained on 'bert', but the weights in bert are not the same"):
        Bundle.load("model")


def test_what_needs_one_backbone_says_what_to_do(both):
    require_one(load_backbone(both.split("+")[0]).info, "this reads", "never said")
    with pytest.raises(RecipeError, match=r"this reads one backbone, and 'bert\+table' are 2 .*: do that"):
        require_one(load_backbone(both).info, "this reads", "do that")


def test_json_of_one_backbone_is_what_it_was_before_there_were_parts(folders):
    info = load_backbone(folders[0]).info
    assert "parts" not in info.to_json()
    assert BackboneInfo.from_json(info.to_json()) == replace(info, name="bert")
