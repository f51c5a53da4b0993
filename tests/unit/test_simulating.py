"""`textlabel simulate`: labels are looked at when they are asked, and test rows by the score alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tiny import snippets, write_static
from typer.testing import CliRunner

from textlabel.cli.app import app
from textlabel.engine.replay import Curve, replay
from textlabel.errors import CorpusError, RecipeError
from textlabel.simulating import Simulate


def rows(n=240, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return 1.5 * np.eye(3, 6)[y] + rng.normal(size=(n, 6)), y


def test_labels_of_rows_that_were_not_asked_change_nothing():
    x, y = rows()
    z, truth = rows(90, 1)
    first = replay(x, y, np.arange(240), (z, truth), "margin", budget=30, batch=10, seed=0)
    assert first.labeled == [10, 20, 30]

    class Watched(np.ndarray):
        """Labels that tell which of them were looked at."""

        def __getitem__(self, index):
            if isinstance(index, np.ndarray):
                seen.update(np.atleast_1d(index).tolist())
            return super().__getitem__(index)

    seen: set[int] = set()
    again = replay(x, y.view(Watched), np.arange(240), (z, truth), "margin", budget=30, batch=10, seed=0)
    assert again == first
    assert len(seen) == 30


def test_more_labels_help_and_the_area_is_their_mean():
    x, y = rows()
    z, truth = rows(300, 1)
    found = replay(x, y, np.arange(240), (z, truth), "random", budget=120, batch=20, seed=0)
    assert found.accuracy[-1] > found.accuracy[0]
    assert Curve([10, 20, 40], [0.5, 0.7, 0.9], []).area == pytest.approx((0.6 * 10 + 0.8 * 20) / 30)
    assert Curve([10], [0.5], []).area == 0.5


def test_while_one_class_is_known_it_is_always_said():
    x = rows(40)[0]
    test = (x, np.arange(40) // 30)  # 30 of class 0
    one = replay(x, np.zeros(40, int), np.arange(40), test, "random", budget=20, batch=10, seed=0)
    assert one == Curve([10, 20], [0.75, 0.75], [0.0, 0.0])
    assert one.area == 0.75
    late = np.zeros(40, int)
    late[0] = 1  # whichever comes when, all strategies are compared from the first round on
    for name in ("random", "margin"):
        found = replay(x, late, np.arange(40), test, name, budget=40, batch=10, seed=0)
        assert found.labeled == [10, 20, 30, 40]
        assert np.isfinite([*found.accuracy, *found.share]).all()


@pytest.fixture
def labeled(tmp_path):
    path = tmp_path / "labeled.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in snippets(120)))
    return path


def test_the_step_and_the_command(labeled, tmp_path):
    static = str(write_static(tmp_path / "static"))
    step = Simulate(str(labeled), ("random", "typiclust"), 30, 10, 2, backbone=static, cache=False)
    told = step.run()
    assert [one["strategy"] for one in told["strategies"]] == ["random", "typiclust"]
    assert told["strategies"][0]["above_first"] == 0
    assert told == step.run()
    words = ["simulate", str(labeled), "--strategies", "random", "margin", "--budget", "20", "--seeds", "1"]
    done = CliRunner().invoke(app, [*words, "--backbone", static, "--no-cache"])
    assert done.exit_code == 0, done.stderr
    assert "above the first" in done.stdout
    told = json.loads(CliRunner().invoke(app, [*words, "--backbone", static, "--no-cache", "--json"]).stdout)
    assert told["strategies"][1]["labeled"]


def test_what_makes_no_sense_is_refused(labeled, tmp_path):
    static = str(write_static(tmp_path / "static"))
    with pytest.raises(RecipeError, match="1 or more"):
        Simulate(str(labeled), budget=0).run()
    with pytest.raises(CorpusError, match="needs 143 or more"):
        Simulate(str(labeled), budget=100, backbone=static, cache=False).run()


def test_copies_do_not_count_as_rows_that_can_be_asked(tmp_path):
    path, rows = tmp_path / "copies.jsonl", snippets(40)
    kept = [{"text": row["text"], "label": row["label"]} for row in rows * 3]
    path.write_text("".join(json.dumps(row) + "\n" for row in kept))
    static = str(write_static(tmp_path / "static"))
    step = Simulate(str(path), ("random",), budget=28, batch=10, seeds=1, backbone=static, cache=False)
    assert step.run()["strategies"][0]["labeled"] == [10, 20, 28]
    with pytest.raises(CorpusError, match=r"40 different texts, of which 30% are held out.*needs 41 or more"):
        Simulate(str(path), ("random",), budget=29, batch=10, seeds=1, backbone=static, cache=False).run()
