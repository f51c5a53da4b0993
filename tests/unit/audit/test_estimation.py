from __future__ import annotations

import numpy as np
import pytest
import sealed as made

from textlabel import audit
from textlabel.errors import AuditError


def audited(tmp_path, rows, truth, size, **kind):
    folder = made.write(rows, tmp_path / "out")
    _, path = audit.draw(folder, size, seed=1, **kind)
    made.fill(path, dict(zip(rows["id"], truth, strict=True)))
    audit.import_answers(folder, path)
    return folder


def test_shares_hold_the_truth_and_all_answers_give_it_exactly(tmp_path):
    rows, truth = made.corpus(600)
    folder = audited(tmp_path, rows, truth, 300)
    good = truth.count("good") / 600
    bad, line = audit.shares(folder)["shares"]
    assert bad["name"] == "bad"
    assert line["low"] <= good <= line["high"]
    assert line["high"] - line["low"] < 0.1
    _, path = audit.draw(folder, 300, seed=2)
    made.fill(path, dict(zip(rows["id"], truth, strict=True)))
    audit.import_answers(folder, path)
    line = audit.shares(folder)["shares"][1]
    assert line["low"] == pytest.approx(good) == pytest.approx(line["high"])


def test_slices_add_up(tmp_path):
    rows, truth = made.corpus(600)
    told = audit.shares(audited(tmp_path, rows, truth, 200), by="shop")["shares"]
    assert [(line["slice"], line["name"]) for line in told[:4]] == [
        ("", "bad"),
        ("", "good"),
        ("shop 0", "bad"),
        ("shop 0", "good"),
    ]
    assert sum(line["n"] for line in told if line["slice"] and line["name"] == "bad") == 600


def test_gold_rows_are_counted_as_they_are(tmp_path):
    rows, truth = made.corpus(400)
    human = np.arange(400) < 100
    columns = {name: rows[name][:] for name in rows.column_names}
    columns |= {
        "source": np.where(human, "human", "model").tolist(),
        "label": [
            made.NAMES.index(t) if h else v for t, h, v in zip(truth, human, rows["label"], strict=True)
        ],
    }
    rows = rows.from_dict(columns, features=rows.features)
    folder = audited(tmp_path, rows, truth, 300)
    line = audit.shares(folder)["shares"][1]
    assert line["n"] == 400
    assert line["estimate"] == pytest.approx(truth.count("good") / 400)


def test_mean_score(tmp_path):
    rows, truth = made.scores(200)
    [line] = audit.shares(audited(tmp_path, rows, truth, 200, tolerance=1.0))["shares"]
    assert line["estimate"] == pytest.approx(np.mean(truth))


@pytest.mark.parametrize(("error", "method"), [(0.15, "normal"), (0.0, "exact")])
def test_how_many_labels_are_right(tmp_path, error, method):
    rows, truth = made.corpus(1000, error=error)
    line = audit.shares(audited(tmp_path, rows, truth, 400))["right_labels"]
    right = np.mean([made.NAMES[a] == b for a, b in zip(rows["label"], truth, strict=True)])
    assert (line["name"], line["method"]) == ("right", method)
    assert line["low"] <= right <= line["high"]
    assert line["high"] - line["low"] < 0.07


def test_few_scores_need_bounds(tmp_path):
    rows, truth = made.scores(200)
    folder = audited(tmp_path, rows, truth, 4, tolerance=1.0)
    [line] = audit.shares(folder)["shares"]
    assert (line["low"], line["high"], line["method"]) == (None, None, "none")
    [line] = audit.shares(folder, bounds=(0, 202))["shares"]
    assert line["method"] == "bounded"
    assert line["low"] <= np.mean(truth) <= line["high"]


def test_what_cannot_be_told(tmp_path):
    rows, _ = made.corpus(40)
    folder = made.write(rows, tmp_path / "out")
    with pytest.raises(AuditError, match="nothing was drawn"):
        audit.shares(folder)
    audit.draw(folder, 10)
    with pytest.raises(AuditError, match="expected one of the input's columns"):
        audit.shares(folder, by="store")
