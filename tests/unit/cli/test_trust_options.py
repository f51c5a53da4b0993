"""Kinds of prediction sets, the correction for class shares, and the gap, by commands alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import run, told
from sealed import fill
from tiny import snippets

from textlabel.audit.seal import open_sealed
from textlabel.export._read import read_annotations, read_record

#: of the negative snippets every sixth is left: six in seven texts are positive
SHIFTED = [row for i, row in enumerate(snippets(1200, seed=1)) if i % 2 or i % 12 == 0]
TRUTH = {row["id"]: row["label"] for row in SHIFTED}
OTHER = [{"id": str(i), "text": f"the film was not very {i}"} for i in range(300)]


@pytest.fixture(scope="module")
def files(tmp_path_factory, tiny_backbone):
    """Return a folder with train, corpus and other as jsonl, and a model."""
    folder = tmp_path_factory.mktemp("user")
    unlabeled = [{"id": row["id"], "text": row["text"]} for row in SHIFTED]
    scores = [{"text": row["text"], "label": float(row["stars"])} for row in snippets(60)]
    corpora = {"train": snippets(400), "corpus": unlabeled, "other": OTHER, "scores": scores}
    for name, rows in corpora.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run("fit", folder / "train.jsonl", "--backbone", tiny_backbone, "--out", folder / "model")
    return folder


# --- prediction sets ------------------------------------------------------------------------------


@pytest.mark.parametrize(("sets", "alpha"), [("lac", 0.05), ("aps", 0.15), ("raps", 0.05), ("class", 0.15)])
def test_sets_of_a_kind_and_level_cover(files, tiny_backbone, tmp_path, sets, alpha):
    model, out = tmp_path / "model", tmp_path / "out"
    fit = ("fit", files / "train.jsonl", "--backbone", tiny_backbone, "--out", model)
    run(*fit, "--sets", sets, "--set-alpha", alpha)
    record = json.loads((model / "textlabel.json").read_text())
    assert record["record"]["sets"] == {"kind": sets, "alpha": alpha}
    assert record["sets"]["kind"] == sets
    plain = [{"id": row["id"], "text": row["text"]} for row in snippets(400, seed=5)]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in plain))
    annotate = ("annotate", tmp_path / "corpus.jsonl", "--model", model, "--out")
    run(*annotate, out)
    rows = read_annotations(out)
    truth = np.array([row["label"] for row in snippets(400, seed=5)])
    covered = np.array([label in found for label, found in zip(truth, rows["prediction_set"], strict=True)])
    # the likeliest class alone covers less, all classes cover more
    groups = [truth == name for name in ("negative", "positive")] if sets == "class" else [truth != ""]
    for group in groups:
        # 3 standard errors of a quantile and of a coverage of so many rows
        error = 3 * np.sqrt(2 * alpha * (1 - alpha) / group.sum())
        assert abs(covered[group].mean() - (1 - alpha)) < error < alpha
    assert read_record(out)["sets"] == {"kind": sets, "alpha": alpha}
    assert f"in {100 * (1 - alpha):g} % of the texts" in (out / "README.md").read_text()
    run(*annotate, tmp_path / "again")
    assert read_annotations(tmp_path / "again")["prediction_set"][:] == rows["prediction_set"][:]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("train.jsonl", "--sets", "rasp"), 1, "sets = 'rasp' is unknown: did you mean 'raps'"),
        (("train.jsonl", "--set-alpha", 0), 1, "set_alpha = 0.0: expected"),
        (("train.jsonl", "--set-alpha", 1.5), 2, "--set-alpha"),
        (("scores.jsonl", "--recipe", "regression", "--sets", "aps"), 1, "these labels are scores"),
    ],
)
def test_sets_that_cannot_be_had_are_refused(files, tiny_backbone, tmp_path, words, code, message):
    train, *options = words
    done = run(
        *("fit", files / train, "--backbone", tiny_backbone, "--out", tmp_path / "model", *options), code=code
    )
    assert message in done.stderr
    assert not (tmp_path / "model").exists()


def test_scores_have_intervals_at_the_level(files, tiny_backbone, tmp_path):
    widths = []
    for alpha in (0.1, 0.4):
        model, out = tmp_path / f"model{alpha}", tmp_path / f"out{alpha}"
        run(
            *("fit", files / "scores.jsonl", "--recipe", "regression", "--backbone", tiny_backbone),
            *("--out", model, "--set-alpha", alpha),
        )
        run("annotate", files / "corpus.jsonl", "--model", model, "--out", out)
        assert read_record(out)["sets"] == {"kind": "interval", "alpha": alpha}
        widths.append(float(np.ptp(read_annotations(out)["prediction_set"][0])))
    assert widths[0] > widths[1] > 0


# --- label shift ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mended(files):
    out = files / "mended"
    annotate = ("annotate", files / "corpus.jsonl", "--model", files / "model", "--out")
    run(*annotate, files / "plain")
    return out, told(*annotate, out, "--correct-label-shift")


def accuracy(folder):
    rows = read_annotations(folder)
    names = rows.features["label"].names
    return np.mean([names[c] == TRUTH[i] for i, c in zip(rows["id"], rows["label"], strict=True)])


def test_a_correction_is_told_everywhere(files, mended):
    out, summary = mended
    shift = summary["label_shift"]
    assert shift["applied"]
    assert abs(shift["shares"]["positive"] - 6 / 7) < 0.05
    assert shift["weights"]["positive"] > 1 > shift["weights"]["negative"]
    assert shift["p_value"] >= 0.05
    assert read_record(out)["label_shift"] == shift
    assert read_record(files / "plain")["label_shift"] is None
    assert "corrected for the class shares of this corpus" in (out / "README.md").read_text()
    assert summary["estimated_accuracy"] is None  # it would be one of uncorrected labels
    assert accuracy(out) > accuracy(files / "plain") + 0.05


def test_stated_shares_are_told_everywhere(files, mended):
    annotate = ("annotate", files / "corpus.jsonl", "--model", files / "model", "--out")
    out = files / "stated"
    done = run(*annotate, out, "--class-shares", "positive=0.857")
    assert "corrected for stated shares negative 0.143, positive 0.857" in done.stdout
    shift = read_record(out)["label_shift"]
    assert shift["p_value"] is None
    assert shift["shares"]["positive"] == pytest.approx(0.857)
    assert "that somebody stated: negative 0.143, positive 0.857" in (out / "README.md").read_text()
    assert accuracy(out) > accuracy(files / "plain") + 0.05
    assert "no class 'pos'" in run(*annotate, files / "no", "--class-shares", "pos=1", code=1).stderr
    assert not (files / "no").exists()


def test_a_certificate_holds_for_the_corrected_labels(mended):
    """Labels are sealed after the correction, so nothing about it has to be true."""
    out, _ = mended
    sheet = Path(told("audit", "draw", out, "--size", 200, "--seed", 1)["sheet"])
    fill(sheet, TRUTH)
    run("audit", "import", out, sheet)
    certificate = told("certify", out, "--max-error", 0.08)
    assert certificate["certified"]
    sealed = open_sealed(out)
    assert sealed.rows["label"][:] == read_annotations(out)["label"][:]
    fill(Path(told("todo", out)["sheet"]), TRUTH)
    run("answers", "import", out, out / "audit" / "todo-1.csv")
    done = out.with_name("done")
    run("finish", out, "--out", done)
    assert 1 - accuracy(out) > 0.08 >= 1 - accuracy(done)
    assert read_record(done)["label_shift"]["applied"]


def test_people_are_told_in_words(files, tmp_path):
    annotate = ("annotate", "--model", files / "model", "--correct-label-shift", "--out")
    done = run(*annotate, tmp_path / "a", files / "corpus.jsonl")
    assert "label shift       corrected for estimated shares negative 0.1" in done.stdout
    done = run(*annotate, tmp_path / "b", files / "other.jsonl")
    assert "label shift         not corrected: class shares alone do not explain this corpus" in done.stdout
    assert "labels are not corrected for class shares" in done.stderr
    record = read_record(tmp_path / "b")["label_shift"]
    assert record["applied"] is False
    assert record["p_value"] < 0.05
    assert "was refused: class shares alone" in (tmp_path / "b/README.md").read_text()
    assert "estimated accuracy" in done.stdout


def test_rows_called_out_of_scope_are_not_read(files, tmp_path):
    noise = [{"id": f"n{i}", "text": 20 * "awful " + str(i)} for i in range(175)]
    rows = (files / "corpus.jsonl").read_text() + "".join(json.dumps(row) + "\n" for row in noise)
    (tmp_path / "noisy.jsonl").write_text(rows)
    annotate = (
        "annotate",
        tmp_path / "noisy.jsonl",
        "--model",
        files / "model",
        "--correct-label-shift",
        "--out",
    )
    assert not told(*annotate, tmp_path / "a")["label_shift"]["applied"]
    shift = told(*annotate, tmp_path / "b", "--out-of-scope-rate", 0.05)["label_shift"]
    assert abs(shift["shares"]["positive"] - 6 / 7) < 0.05


def test_a_model_without_source_statistics_cannot_correct(files, tiny_backbone, tmp_path):
    fit = ("fit", files / "scores.jsonl", "--recipe", "regression", "--backbone", tiny_backbone)
    run(*fit, "--out", tmp_path / "model")
    annotate = ("annotate", files / "corpus.jsonl", "--model", tmp_path / "model", "--out", tmp_path / "out")
    done = run(*annotate, "--correct-label-shift", code=1)
    assert "no statistics of labeled rows, which a correction for class shares needs" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_job_takes_the_same_keys(files, tiny_backbone, tmp_path):
    job = tmp_path / "job.toml"
    job.write_text(
        f"[fit]\ntrain = '{files / 'train.jsonl'}'\nbackbone = '{tiny_backbone}'\nout = 'model'\n"
        "sets = 'class'\nset_alpha = 0.2\n"
        f"[annotate]\ncorpus = '{files / 'corpus.jsonl'}'\nout = 'out'\ncorrect_label_shift = true\n"
    )
    done = told("run", job)
    assert done["annotate"]["label_shift"]["applied"]
    assert read_record(tmp_path / "out")["sets"] == {"kind": "class", "alpha": 0.2}


# --- gap ------------------------------------------------------------------------------------------


def test_the_gap_between_two_files(files, tiny_backbone):
    gap = ("gap", files / "train.jsonl", files / "other.jsonl")
    found = told(*gap, "--backbone", tiny_backbone, "--max-rows", 100, "--seed", 3)
    assert found["rows"] == {"source": 100, "target": 100}
    assert found["distance"] > 0.4
    assert found != told(*gap, "--backbone", tiny_backbone, "--max-rows", 100, "--seed", 4)
    text = run(*gap, "--model", files / "model").stdout
    assert "verdict " in text
    assert "rows source 400, target 300" in " ".join(text.split())
    same = run("gap", files / "corpus.jsonl", files / "corpus.jsonl", "--backbone", tiny_backbone).stdout
    assert "no difference found" in same


def test_the_gap_reads_the_column_it_is_told(files, tiny_backbone, tmp_path):
    for name in ("a", "b"):
        rows = [{"review": row["text"], "about": "film"} for row in snippets(40)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    gap = ("gap", tmp_path / "a.jsonl", tmp_path / "b.jsonl", "--backbone", tiny_backbone)
    assert "there is no column 'text'" in run(*gap, code=1).stderr
    assert told(*gap, "--text-column", "review", "--text-column", "about")["rows"]["source"] == 40


def test_the_gap_of_two_splits_without_their_bad_rows(files, tiny_backbone, tmp_path):
    from datasets import Dataset, DatasetDict

    parts = {name: snippets(60, seed) for seed, name in enumerate(("train", "test"))}
    parts["test"][3]["text"] = ""
    DatasetDict({name: Dataset.from_list(rows) for name, rows in parts.items()}).save_to_disk(
        tmp_path / "both"
    )
    gap = (
        "gap",
        tmp_path / "both",
        tmp_path / "both",
        "--backbone",
        tiny_backbone,
        "--source-split",
        "train",
    )
    assert "expected a split of it" in run(*gap, code=1).stderr
    gap += ("--target-split", "test")
    assert "row 4, column 'text': the text is empty" in run(*gap, code=1).stderr
    skip = ("--on-bad-row", "skip", "--reject-file", tmp_path / "rejects.jsonl")
    assert told(*gap, *skip)["rows"] == {"source": 60, "target": 59}
    [line] = (tmp_path / "rejects.jsonl").read_text().splitlines()
    assert json.loads(line)["row"] == 4


@pytest.mark.parametrize("option", ["--source-config", "--target-config"])
def test_the_gap_of_a_file_has_no_config(files, option):
    done = run("gap", files / "train.jsonl", files / "other.jsonl", option, "v2", code=1)
    assert "has no config 'v2'" in done.stderr
