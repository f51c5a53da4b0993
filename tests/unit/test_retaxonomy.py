"""A change of classes: people relabel only what they must."""

import csv
import json

import numpy as np
import pytest
import sealed as made
from datasets import ClassLabel, Dataset, Features
from labeled_folder import drawn, labeled
from typer.testing import CliRunner

from textlabel import audit
from textlabel.audit.seal import open_sealed
from textlabel.cli.app import app
from textlabel.errors import CorpusError, ExportError, RecipeError
from textlabel.export._read import read_annotations, read_record
from textlabel.retaxonomy import ChangeTaxonomy, read_changes

CHANGES = """
drop = ["spam"]
[rename]
sport = "sports"
[merge]
news = ["politics", "economy"]
[split]
animal = ["cat", "dog"]
"""
ROWS = [
    ("a", "ball", "sport"),
    ("b", "vote", "politics"),
    ("c", "bank", "economy"),
    ("d", "meow", "animal"),
    ("e", "bark", "animal"),
    ("f", "buy!", "spam"),
    ("g", "song", "music"),
]


def run(*words, code=0):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done


def table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(path, rows, columns=("id", "text", "label")):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


@pytest.fixture
def changes(tmp_path):
    path = tmp_path / "changes.toml"
    path.write_text(CHANGES)
    return path


@pytest.fixture
def old(tmp_path):
    return write(tmp_path / "old.csv", ROWS)


def test_only_rows_of_a_split_class_are_asked_and_come_back(changes, old, tmp_path):
    out, ask = tmp_path / "part.csv", tmp_path / "sheet.csv"
    told = json.loads(run("taxonomy", changes, "--labeled", old, "--out", out, "--ask", ask, "--json").stdout)
    assert (told["rows"], told["relabel"], told["dropped"], told["changed"]) == (4, 2, 1, 3)
    assert {row["id"]: row["label"] for row in table(out)} == {
        "a": "sports",
        "b": "news",
        "c": "news",
        "g": "music",
    }
    sheet = table(ask)
    assert [(row["id"], row["label"], row["old_label"], row["choose_from"]) for row in sheet] == [
        ("d", "", "animal", "cat|dog"),
        ("e", "", "animal", "cat|dog"),
    ]
    write(
        ask,
        [({**row, "label": "cat" if row["id"] == "d" else "unsure"}).values() for row in sheet],
        list(sheet[0]),
    )
    again, left = tmp_path / "new.csv", tmp_path / "left.csv"
    run("taxonomy", changes, "--labeled", old, "--answers", ask, "--out", again, "--ask", left)
    assert [(row["id"], row["label"]) for row in table(again)][3] == ("d", "cat")
    assert [row["id"] for row in table(left)] == ["e"]


def test_what_is_missing_or_unfit_is_told_before_anything_is_written(changes, old, tmp_path):
    out = tmp_path / "new.csv"
    with pytest.raises(ExportError, match="2 rows of split classes must be relabeled"):
        ChangeTaxonomy(str(changes), str(old), str(out)).run()
    columns = ("id", "text", "label", "old_label", "choose_from")
    for row, said in [
        (("d", "meow", "bird"), "row 'd', column 'label': unknown class 'bird'"),
        (("d", "bark", "cat"), "row 'd', column 'text': this is not its text"),
        (("a", "ball", "cat"), "row 'a', column 'id': it is none that people must relabel"),
    ]:
        sheet = write(tmp_path / "sheet.csv", [(*row, "", "")], columns)
        with pytest.raises(CorpusError, match=rf"sheet\.csv, {said}.*Nothing was written"):
            ChangeTaxonomy(str(changes), str(old), str(out), str(tmp_path / "x.csv"), str(sheet)).run()
    assert not out.exists()
    changes.write_text("[rename]\nsports = 'x'")
    with pytest.raises(RecipeError, match=r"unknown class 'sports'.*'sport'"):
        ChangeTaxonomy(str(changes), str(old), str(out)).run()
    changes.write_text("[rename")
    with pytest.raises(RecipeError, match=r"changes\.toml: "):
        read_changes(changes)
    (tmp_path / "c.json").write_text('{"rename": {"sport": "sports"}}')
    assert read_changes(tmp_path / "c.json").rename == {"sport": "sports"}


def test_rows_of_several_classes(changes, tmp_path):
    old = write(
        tmp_path / "old.csv",
        [
            ("a", "x", "politics|economy|spam"),
            ("b", "y", "spam"),
            ("c", "z", "animal|sport"),
            ("d", "w", "(none)"),
        ],
    )
    out, ask = tmp_path / "new.csv", tmp_path / "ask.csv"
    ChangeTaxonomy(str(changes), str(old), str(out), str(ask), label_kind="multi").run()
    assert {row["id"]: row["label"] for row in table(out)} == {"a": "news", "b": "(none)", "d": "(none)"}
    (asked,) = table(ask)
    assert (asked["id"], asked["choose_from"]) == ("c", "cat|dog|sports")
    sheet = write(tmp_path / "done.csv", [("c", "z", "sports|dog", "", "")], list(asked))
    again = tmp_path / "again.csv"
    ChangeTaxonomy(str(changes), str(old), str(again), "", str(sheet), label_kind="multi").run()
    assert {row["id"]: row["label"] for row in table(again)}["c"] == "dog|sports"  # in class order


THREE = ["bad", "good", "odd"]


def annotated(tmp_path):
    """Annotations of three classes in which merging makes another class likelier now and then."""
    rows, _ = made.corpus(60)
    p = np.random.default_rng(0).dirichlet([1, 1, 1], 60)
    columns = {name: rows[name][:] for name in rows.column_names}
    columns |= {"label": p.argmax(1), "confidence": p.max(1), "probabilities": p.astype(np.float32)}
    columns["prediction_set"] = [["bad", "odd"]] * 60
    features = Features({**made.FEATURES, "label": ClassLabel(names=THREE)})
    return made.write(Dataset.from_dict(columns, features=features), tmp_path / "old"), p


def test_annotations_are_merged_and_sealed_again(tmp_path):
    folder, p = annotated(tmp_path)
    changes = tmp_path / "c.toml"
    changes.write_text("[merge]\nbad = ['bad', 'odd']\n[rename]\ngood = 'fine'")
    told = ChangeTaxonomy(str(changes), str(folder), str(tmp_path / "new")).run()
    new = read_annotations(tmp_path / "new")
    assert new.features["label"].names == ["bad", "fine"]
    label = p.argmax(1)
    assert new["label"][:] == (label == 1).astype(int).tolist()
    both = np.stack([p[:, 0] + p[:, 2], p[:, 1]], 1)
    assert np.array(new["probabilities"][:]) == pytest.approx(both, abs=1e-6)
    assert new["confidence"][:] == pytest.approx(both[np.arange(60), new["label"][:]], abs=1e-6)
    assert told["another_class_likelier"] == np.sum(both.argmax(1) != np.array(new["label"][:])) > 0
    assert new["prediction_set"][0] == ["bad"]
    record = read_record(tmp_path / "new")
    assert record["schema"]["names"] == ["bad", "fine"]
    assert record["taxonomy"][0]["rename"] == {"good": "fine"}
    card = (tmp_path / "new/README.md").read_text()
    assert "change of classes 1" in card
    assert open_sealed(tmp_path / "new").n == 60
    audit.draw(tmp_path / "new", 10, seed=0)


def test_a_split_leaves_no_probabilities_and_peoples_answers_are_theirs(tmp_path):
    folder, p = annotated(tmp_path)
    changes = tmp_path / "c.toml"
    changes.write_text("[split]\nodd = ['o1', 'o2']")
    ask = tmp_path / "ask.csv"
    told = ChangeTaxonomy(str(changes), str(folder), str(tmp_path / "new"), str(ask)).run()
    odd = set(np.flatnonzero(p.argmax(1) == 2).tolist())
    assert {row["id"] for row in table(ask)} == {f"r{i}" for i in odd}
    assert told["relabel"] == len(odd)
    sheet = [{**row, "label": "o2"} for row in table(ask)]
    write(ask, [row.values() for row in sheet], list(sheet[0]))
    ChangeTaxonomy(str(changes), str(folder), str(tmp_path / "all"), answers=str(ask)).run()
    new = read_annotations(tmp_path / "all")
    assert new["id"][:] == [f"r{i}" for i in range(60)]
    for i, row in enumerate(new):
        assert row["probabilities"] is None
        assert row["prediction_set"] == ["bad", "o1", "o2"]
        assert (row["source"], row["label"]) == (("human", 3) if i in odd else ("model", row["label"]))
    assert open_sealed(tmp_path / "all").n == 60 - len(odd)


@pytest.mark.parametrize(
    ("text", "kept"), [("[rename]\nbad = 'poor'", True), ("[split]\nbad = ['x', 'y']", False)]
)
def test_a_certificate_stays_under_a_rename_and_not_under_a_split(text, kept, tmp_path):
    rows, truth = made.corpus(200, error=0.02)
    folder = made.write(rows, tmp_path / "out")
    _, sheet = audit.draw(folder, 120, seed=1)
    made.fill(sheet, dict(zip(rows["id"], truth, strict=True)))
    audit.import_answers(folder, sheet)
    audit.certify(folder, max_error=0.1, mode="selective")
    audit.finish(folder, tmp_path / "finished", form="jsonl")
    changes = tmp_path / "c.toml"
    changes.write_text(text)
    step = ChangeTaxonomy(
        str(changes), str(tmp_path / "finished"), str(tmp_path / "new"), str(tmp_path / "a.csv")
    )
    assert step.run()["certificate"] == ("carried over" if kept else "void")
    assert (read_record(tmp_path / "new")["certificate"] is not None) is kept
    assert (tmp_path / "new/annotations.jsonl").is_file()


def test_a_dataset_goes_as_well_as_a_file(changes, tmp_path):
    changes.write_text("[rename]\nsport = 'sports'")
    rows = Dataset.from_dict({"id": ["a", "b"], "text": ["x", "y"], "label": ["sport", "music"]})
    told = ChangeTaxonomy(str(changes), rows, str(tmp_path / "new.csv")).run()
    assert (told["changed"], "certificate" in told) == (1, False)
    assert [row["label"] for row in table(tmp_path / "new.csv")] == ["sports", "music"]


def test_scores_have_no_classes(changes, tmp_path):
    rows, _ = made.scores(20)
    folder = made.write(rows, tmp_path / "out")
    with pytest.raises(RecipeError, match="scores, which have no classes"):
        ChangeTaxonomy(str(changes), str(folder), str(tmp_path / "new")).run()


def test_an_audit_of_the_old_labels_is_not_left_behind_without_a_word(tmp_path, caplog):
    folder = drawn(labeled(tmp_path, 30), 10)
    changes = tmp_path / "changes.toml"
    changes.write_text('[rename]\nnegative = "bad"\n')
    told = ChangeTaxonomy(str(changes), str(folder), str(tmp_path / "new")).run()
    assert "`textlabel finish` first" in told["audit"]
    assert "0 answered rows" in caplog.text


def test_lists_of_other_columns_are_json_in_a_csv_file(changes, tmp_path):
    rows = [{"id": "a", "text": "one", "label": "sad", "tags": ["x, y", "z"]}]
    rows += [{"id": "b", "text": "two", "label": "angry", "tags": []}]
    path = tmp_path / "old.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "rename.toml").write_text("[rename]\nsad = 'blue'\n")
    ChangeTaxonomy(str(tmp_path / "rename.toml"), str(path), str(tmp_path / "new.csv")).run()
    with (tmp_path / "new.csv").open(newline="") as file:
        found = {row["id"]: row for row in csv.DictReader(file)}
    assert found["a"]["label"] == "blue"
    assert [json.loads(found[name]["tags"]) for name in "ab"] == [["x, y", "z"], []]
