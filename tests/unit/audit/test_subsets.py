"""Audits where rows may carry several classes, or none: a label is right if it is exactly the people's."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import sealed as made
from commands import run, told
from datasets import ClassLabel, Dataset, Features, List

from textlabel.audit import certify, draw, import_answers, plan, release, reuse, shares, todo
from textlabel.audit.seal import open_sealed
from textlabel.audit.subsets import as_classes, as_word, check_classes, read_word
from textlabel.corpus.load import load_corpus
from textlabel.errors import AuditError
from textlabel.export._read import read_annotations

NAMES = ["film", "phone", "praise"]


def several(n=300, seed=0, names=NAMES):
    """Return annotated rows, a tenth of them wrong by one class, the truth as words, and what is wrong."""
    rows, _ = made.corpus(n, seed=seed)
    rng = np.random.default_rng(seed)
    truth = rng.random((n, 3)) < 0.4
    said = truth.copy()
    wrong = np.flatnonzero(rng.random(n) < 0.1)
    said[wrong, rng.integers(0, 3, len(wrong))] ^= True
    features = Features({**made.FEATURES, "label": List(ClassLabel(names=list(names)))})
    columns = {name: rows[name][:] for name in rows.column_names}
    columns["label"] = [np.flatnonzero(row).tolist() for row in said]
    columns["probabilities"] = np.where(said, 0.9, 0.1).astype(np.float32)
    columns["prediction_set"] = [None] * n
    words = {f"r{i}": as_word(NAMES[c] for c in np.flatnonzero(row)) for i, row in enumerate(truth)}
    return Dataset.from_dict(columns, features=features), words, said != truth


@pytest.fixture
def folder(tmp_path):
    return made.write(several()[0], tmp_path / "labeled")


TRUTH, WRONG = several()[1:]


def test_a_sheet_says_which_rows_are_wrong(folder):
    drawn, path = draw(folder, 120, seed=0)
    import_answers(folder, made.fill(path, TRUTH))
    found = certify(folder, max_error=0.25)
    assert found["error"] == "not exactly the same classes"
    assert found["groups"][0]["wrong"] == WRONG.any(axis=1)[drawn.rows].sum() > 0
    assert found["certified"]
    assert found["reviewers"]["truth"] == "the answer of one person a row"


def test_from_the_draw_to_the_finished_corpus_by_commands(folder, tmp_path):
    run("audit", "draw", folder, "--size", 150, "--seed", 0, "--show-labels")
    path = folder / "audit/sheet-1.csv"
    with path.open() as file:
        shown = {row["model_label"] for row in csv.DictReader(file)}
    assert {"(none)", "film|phone"} <= shown
    run("audit", "import", folder, made.fill(path, TRUTH))
    assert told("certify", folder, "--max-error", 0.05)["certified"]
    asked = told("todo", folder, "--out", tmp_path / "todo.csv")
    run("answers", "import", folder, made.fill(tmp_path / "todo.csv", TRUTH))
    run("finish", folder, "--out", tmp_path / "finished", "--format", "csv")
    rows = read_annotations(tmp_path / "finished")
    said = [as_word(NAMES[c] for c in codes) for codes in rows["label"]]
    wrong = sum(word != TRUTH[name] for word, name in zip(said, rows["id"], strict=True))
    assert len(rows) == 300
    assert wrong <= 15
    assert rows["source"][:].count("human") >= asked["rows"] > 0
    human = [i for i, source in enumerate(rows["source"]) if source == "human"]
    assert all(said[i] == TRUTH[rows["id"][i]] for i in human)


def test_sets_that_people_add_later_change_no_answer_before(tmp_path):
    """The model gives one class at most; the audit brings some sets of two, the to-do list other ones."""
    rows = several()[0].map(lambda row: {"label": row["label"][:1]})
    folder = made.write(rows, tmp_path / "labeled")
    drawn, path = draw(folder, 60, seed=0)
    sets = {f"r{i}" for i in drawn.rows if TRUTH[f"r{i}"] == "film|phone|praise"}
    import_answers(folder, made.fill(path, TRUTH | dict.fromkeys(sets, "unsure")))
    before, certificate = open_sealed(folder).names, certify(folder, max_error=0.1)
    asked, sheet = todo(folder)
    assert len(asked) > 100
    import_answers(folder, made.fill(sheet, TRUTH))
    after = open_sealed(folder).names
    assert after[: len(before)] == before
    assert after[len(before) :] == ("film|phone|praise",)
    again = certify(folder, max_error=0.1)
    assert again["answers"] == certificate["answers"]
    assert again["look"] == certificate["look"]


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("Phone | FILM", "film|phone"),
        (" praise", "praise"),
        ("(none)", "(none)"),
        ("film|film", "film"),
    ],
)
def test_answers_are_read_in_any_order_case_and_spacing(answer, label):
    assert read_word(answer, NAMES) == label
    assert as_word(as_classes(label)) == label


@pytest.mark.parametrize(
    ("answer", "problem"),
    [("film|book", "unknown label 'book'"), ("film|", "unknown label ''"), ("fim", "did you mean 'film'")],
)
def test_what_is_no_set_of_classes_is_refused(folder, answer, problem):
    _, path = draw(folder, 5, seed=0)
    with pytest.raises(AuditError, match=rf"{problem}.*several are joined by '\|'.*Nothing was imported"):
        import_answers(folder, made.fill(path, dict.fromkeys(TRUTH, answer)))


def test_who_is_unsure_leaves_a_row_open(folder):
    drawn, path = draw(folder, 20, seed=0)
    assert import_answers(folder, made.fill(path, dict.fromkeys(TRUTH, "unsure"))).undecided == 20
    assert import_answers(folder, made.fill(path, dict.fromkeys(TRUTH, "none of these"))).undecided == 20
    assert certify(folder, max_error=0.3)["groups"][0]["wrong"] == len(drawn.rows)


def test_the_majority_of_sets_counts(folder):
    drawn, path = draw(folder, 20, seed=0)
    for name, answers in (("a", TRUTH), ("b", TRUTH), ("c", dict.fromkeys(TRUTH, "(none)"))):
        import_answers(folder, made.fill(path, answers), reviewer=name)
    found = certify(folder, max_error=0.9)
    assert found["groups"][0]["wrong"] == WRONG.any(axis=1)[drawn.rows].sum()
    assert 0 < found["reviewers"]["krippendorff_alpha"] < 1


def test_shares_are_of_sets(folder):
    _, path = draw(folder, 150, seed=0)
    import_answers(folder, made.fill(path, TRUTH))
    lines = {line["name"]: line for line in shares(folder)["shares"]}
    true = list(TRUTH.values()).count("(none)") / 300
    assert lines["(none)"]["low"] <= true <= lines["(none)"]["high"]


def test_released_answers_can_be_learned_from(folder, tmp_path):
    _, path = draw(folder, 40, seed=0)
    import_answers(folder, made.fill(path, TRUTH))
    assert release(folder, tmp_path / "released.csv") == 40
    rows = load_corpus(
        tmp_path / "released.csv", label_column="label", label_kind="multi", label_separator="|"
    )
    assert {name: as_word(names) for name, names in zip(rows["id"], rows["label"], strict=True)}.items() <= (
        TRUTH.items()
    )


def test_answers_serve_a_later_model_that_finds_other_sets(folder, tmp_path):
    drawn, path = draw(folder, 120, seed=0)
    import_answers(folder, made.fill(path, TRUTH))
    rows, *_ = several()
    later = rows.map(lambda row: {"label": []}, features=rows.features)
    other = made.write(later, tmp_path / "later")
    assert reuse(other, folder) == 120
    nothing = np.array([TRUTH[f"r{i}"] == "(none)" for i in drawn.rows])
    assert certify(other, max_error=0.9)["groups"][0]["wrong"] == (~nothing).sum()


def test_changed_sets_are_noticed_and_plans_are_made(folder, tmp_path):
    assert plan(folder)
    rows, *_ = several()
    changed = rows.map(lambda row, i: {"label": [0, 1, 2] if i == 0 else row["label"]}, with_indices=True)
    made.write(rows, tmp_path / "changed")
    changed.save_to_disk(tmp_path / "new")
    for file in (tmp_path / "new").glob("*.arrow"):
        (tmp_path / "changed" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(AuditError, match="labels or their order were changed"):
        open_sealed(tmp_path / "changed")
    with pytest.raises(AuditError, match="a pilot is for one class a row"):
        plan(folder, pilot=folder)


@pytest.mark.parametrize("name", ["a|b", "(None)", "skip", " film"])
def test_names_that_a_sheet_would_lose_are_refused(name):
    with pytest.raises(AuditError, match="would be lost on a sheet"):
        check_classes(["phone", name])


def test_names_that_differ_in_case_only_are_refused(tmp_path):
    folder = made.write(several(names=["film", "Film", "praise"])[0], tmp_path / "labeled")
    with pytest.raises(AuditError, match="two differ in case only"):
        draw(folder, 5)
