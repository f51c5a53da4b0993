"""Experiment trackers are told what training does; without any nothing happens."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from commands import run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import snippets, write_backbone

from textlabel import Labeler, Recipe, Stage, tracked
from textlabel.engine import tracking
from textlabel.errors import TrainingError

ROWS = snippets(24)


def scalars(folder) -> dict[str, list[tuple[int, float]]]:
    files = list(folder.glob("**/events.*"))
    found: dict[str, list[tuple[int, float]]] = {}
    for file in files:
        events = EventAccumulator(str(file))
        events.Reload()
        for tag in events.Tags()["scalars"]:
            found.setdefault(tag, []).extend((event.step, event.value) for event in events.Scalars(tag))
    return found


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return str(write_backbone(tmp_path_factory.mktemp("tracking") / "tiny"))


def test_losses_of_every_stage_and_fold_and_the_calibrator_reach_tensorboard(tmp_path, backbone):
    stages = (Stage.of(tune="full", objective="cross_entropy", epochs=2, patience=2),)
    labeler = Labeler(backbone, Recipe("mine", stages), calibration="folds=2")
    with tracked("tensorboard", folder=tmp_path / "runs"):
        labeler.fit(ROWS)
    found = scalars(tmp_path / "runs")
    losses = {tag for tag in found if tag.endswith("/loss")}
    assert len(losses) == 3  # two folds and all rows
    assert {tag.replace("/loss", "/validation_loss") for tag in losses} <= set(found)
    assert {tag for tag in found if tag.startswith("calibrator/")}
    steps = [step for tag in losses for step, _ in found[tag]]
    assert len(steps) == len(set(steps))  # they only rise, whatever stage tells them
    for tag in losses:
        at = [step for step, _ in found[tag]]
        assert at == sorted(at)
        assert all(0 < value < 20 for _, value in found[tag])


def test_training_is_the_same_with_and_without(tmp_path, backbone):
    def logits():
        labeler = Labeler(
            backbone, Recipe("mine", (Stage.of(tune="full", objective="cross_entropy", epochs=1),))
        )
        return labeler.fit(ROWS).annotate(ROWS)["confidence"]

    with tracked("tensorboard", folder=tmp_path):
        first = logits()
    assert first == logits()


def test_nothing_is_written_outside_a_block(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with tracked("tensorboard"):
        pass
    tracking.note(recipe="x")
    tracking.log({"loss": 1.0})
    assert list(tmp_path.iterdir()) == []


def test_a_block_ends_though_training_failed(tmp_path):
    def fails():
        with tracked("tensorboard", folder=tmp_path):
            tracking.log({"loss": 1.0})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    tracking.log({"loss": 2.0})
    assert scalars(tmp_path) == {"loss": [(0, 1.0)]}


def test_unknown_and_missing_trackers_are_told_before_anything_is_trained():
    with (
        pytest.raises(TrainingError, match=r"tracker 'tensorbord': .* expected one of .*tensorboard"),
        tracked("tensorbord"),
    ):
        pytest.fail("unreachable")
    with (
        pytest.raises(TrainingError, match="tracker 'aim' is not installed: pip install aim"),
        tracked("aim"),
    ):
        pytest.fail("unreachable")


def test_the_option_works_anywhere_in_the_line(tmp_path, backbone, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Path("rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ("text", "label"), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(ROWS)
    run("fit", "rows.csv", "--backbone", backbone, "--out", "model", "--tracker", "tensorboard")
    assert any(tag.startswith("calibrator/") for tag in scalars(tmp_path / "runs"))
    assert "tracker 'nonsense'" in run("fit", "rows.csv", "--out", "m", "--tracker=nonsense", code=1).stderr
