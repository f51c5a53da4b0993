from __future__ import annotations

import numpy as np
import pytest
import sealed as made
from datasets import ClassLabel

from textlabel import audit
from textlabel.corpus.check import rows_after_audit
from textlabel.corpus.load import load_corpus
from textlabel.errors import AuditError, CorpusError, ExportError
from textlabel.export._read import read_annotations, read_record


@pytest.fixture
def audited(tmp_path):
    rows, truth = made.corpus(1000, copies=2)
    folder = made.write(rows, tmp_path / "out")
    known = dict(zip(rows["id"], truth, strict=True))
    _, path = audit.draw(folder, 300, seed=1)
    made.fill(path, known)
    audit.import_answers(folder, path, reviewer="anna")
    return folder, known


def wrong(folder, known):
    rows = read_annotations(folder)
    return sum(
        made.NAMES[label] != known[name] for name, label in zip(rows["id"], rows["label"], strict=True)
    )


@pytest.mark.parametrize("form", ["dataset", "csv"])
def test_the_finished_file_holds_no_more_wrong_labels_than_promised(audited, tmp_path, form):
    folder, known = audited
    certificate = audit.certify(folder, 0.05)
    with pytest.raises(AuditError, match="rows must still be labeled by people"):
        audit.finish(folder, tmp_path / "done", form=form)
    rows, sheet = audit.todo(folder)
    assert 0 < len(rows) < 1000
    made.fill(sheet, known)
    audit.import_answers(folder, sheet, reviewer="ben")
    assert len(audit.todo(folder)[0]) == 0
    told = audit.finish(folder, tmp_path / "done", form=form)
    assert told["rows"] == told["labeled_by_people"] + told["labeled_by_model"] == 1000
    assert wrong(tmp_path / "done", known) <= 50
    done = read_annotations(tmp_path / "done")
    assert done["id"][:] == [f"r{i}" for i in range(1000)]
    assert done["source"][:].count("human") == told["labeled_by_people"]
    assert set(done["decision"]) == {"accepted"}
    record = read_record(tmp_path / "done")
    assert record["certificate"] == certificate
    assert "0.95" in (tmp_path / "done" / "README.md").read_text()


def test_selective_mode_publishes_accepted_rows_only(audited, tmp_path):
    folder, known = audited
    certificate = audit.certify(folder, 0.1, mode="selective")
    assert certificate["certified"]
    told = audit.finish(folder, tmp_path / "done")
    accepted = certificate["groups"][0]["accepted"]
    assert told["labeled_by_model"] <= accepted < 1000
    assert wrong(tmp_path / "done", known) <= certificate["groups"][0]["allowed"]


def test_undecided_audit_rows_must_be_resolved(audited, tmp_path):
    folder, known = audited
    sheet = folder / "audit" / "sheet-1.csv"
    made.fill(sheet, {**known, **dict.fromkeys(list(known)[:40], "unsure")})
    audit.import_answers(folder, sheet, reviewer="anna", correct=True)
    audit.certify(folder, 0.1)
    rows, _ = audit.todo(folder)
    drawn = set(audit.draws.draws(audit.seal.open_sealed(folder))[0].rows.tolist())
    assert drawn & set(range(40)) <= set(rows.tolist())


def test_nothing_is_finished_without_a_certificate(audited, tmp_path):
    folder, _ = audited
    with pytest.raises(AuditError, match="nothing is certified yet"):
        audit.finish(folder, tmp_path / "done")
    with pytest.raises(AuditError, match="nothing is certified yet"):
        audit.todo(folder)


def test_released_answers_may_be_learned_from_and_certify_nothing_more(audited, tmp_path):
    folder, known = audited
    audit.certify(folder, 0.1)
    assert audit.release(folder, tmp_path / "more.csv") == 300
    more = load_corpus(tmp_path / "more.csv", label_column="label")
    assert all(known[name] == label for name, label in zip(more["id"], more["label"], strict=True))
    assert rows_after_audit(more) == 300
    for call in (audit.certify, audit.todo, lambda f: audit.draw(f, 5), lambda f: audit.reuse(tmp_path, f)):
        with pytest.raises((AuditError, CorpusError)):
            call(folder)


def test_audit_sheets_are_refused_as_training_rows_and_todo_sheets_are_counted(audited):
    folder, known = audited
    with pytest.raises(CorpusError, match="audit sheet"):
        load_corpus(folder / "audit" / "sheet-1.csv", label_column="label")
    audit.certify(folder, 0.05)
    _, sheet = audit.todo(folder)
    ids = [line.split(",")[1] for line in sheet.read_text().splitlines()[1:]]
    made.fill(sheet, {**known, ids[0]: "unsure"})
    rows = load_corpus(sheet, label_column="label")
    assert set(rows["label"]) == {"good", "bad"}
    assert rows_after_audit(rows) == len(rows) == len(ids) - 1


def test_a_later_model_is_certified_on_the_same_answers_at_the_next_look(audited, tmp_path):
    folder, _ = audited
    audit.certify(folder, 0.1)
    rows = read_annotations(folder)
    later = made.write(rows, tmp_path / "later", order_by="-margin")
    assert audit.reuse(later, folder) == 300
    told = audit.certify(later, 0.1)
    assert (told["look"], told["audited"]) == (2, 300)
    with pytest.raises(AuditError, match="draws or answers of its own"):
        audit.reuse(later, folder)


def test_a_model_that_learned_from_audits_is_not_certified_by_them(audited, tmp_path, monkeypatch):
    folder, _ = audited
    monkeypatch.setitem(made.RECORD, "labels", {"train": 8, "calibration": 8, "audit": 300})
    later = made.write(read_annotations(folder), tmp_path / "later")
    with pytest.raises(AuditError, match="learned from released audit answers"):
        audit.reuse(later, folder)
    monkeypatch.setitem(made.RECORD, "labels", {"train": 8, "calibration": 8, "audit": 0})
    other, _ = made.corpus(1000, seed=3)
    with pytest.raises(AuditError, match="do not annotate the same rows"):
        audit.reuse(made.write(other.select(range(900)), tmp_path / "other"), folder)


@pytest.mark.slow
def test_the_promise_holds_over_many_draws(tmp_path):
    """The whole path, on disk: violations at most the level and three standard errors."""
    rows, truth = made.corpus(300, error=0.15)
    known = dict(zip(rows["id"], truth, strict=True))
    said = np.array(rows["label"][:])
    gold = np.array([made.NAMES.index(name) for name in truth])
    broken = 0
    from textlabel.audit.certification import accepted_rows
    from textlabel.audit.seal import open_sealed

    for seed in range(40):
        folder = made.write(rows, tmp_path / str(seed))
        drawn, path = audit.draw(folder, 100, seed=seed)
        made.fill(path, known)
        audit.import_answers(folder, path)
        told = audit.certify(folder, 0.1)
        keep = accepted_rows(open_sealed(folder), told)
        keep[drawn.rows] = False
        broken += np.sum(keep & (said != gold)) > 30
    assert broken <= 40 * 0.025 + 3 * np.sqrt(40 * 0.025)


def test_answers_changed_after_the_certificate_void_it(tmp_path):
    """Whoever copies the model's labels gets a certificate; the corrected sheet does not keep it."""
    rows, truth = made.corpus(400, error=0.3)
    folder = made.write(rows, tmp_path / "out")
    _, path = audit.draw(folder, 120, seed=0)
    made.fill(path, {name: made.NAMES[label] for name, label in zip(rows["id"], rows["label"], strict=True)})
    audit.import_answers(folder, path, reviewer="anna")
    assert audit.certify(folder, 0.05)["groups"][0]["accepted"] == 400
    made.fill(path, dict(zip(rows["id"], truth, strict=True)))
    assert audit.import_answers(folder, path, reviewer="anna", correct=True).replaced > 0
    for call in (audit.todo, lambda f: audit.finish(f, tmp_path / "done")):
        with pytest.raises(AuditError, match="answers on audited rows were changed"):
            call(folder)


def test_a_sheet_of_things_to_do_is_never_replaced(audited):
    folder, known = audited
    audit.certify(folder, 0.05)
    _, first = audit.todo(folder)
    made.fill(first, known)
    before = first.read_text()
    _, second = audit.todo(folder)
    assert (first.name, second.name) == ("todo-1.csv", "todo-2.csv")
    assert first.read_text() == before


def test_an_answer_to_do_does_not_reopen_an_audited_row(audited):
    folder, known = audited
    audit.certify(folder, 0.05)
    _, sheet = audit.todo(folder)
    made.fill(sheet, known)
    audit.import_answers(folder, sheet, reviewer="ben")
    assert len(audit.todo(folder)[0]) == 0


def test_nothing_is_released_into_a_file_that_is_there(audited, tmp_path):
    folder, _ = audited
    (tmp_path / "more.csv").write_text("precious")
    with pytest.raises(ExportError, match="cannot be written"):
        audit.release(folder, tmp_path / "more.csv")
    assert audit.certify(folder, 0.1)["certified"]
    with pytest.raises(ExportError, match="writes no folder"):
        audit.finish(folder, tmp_path / "done", form="hub")


def test_a_finished_corpus_is_not_audited_again(audited, tmp_path):
    folder, _ = audited
    audit.certify(folder, 0.1, mode="fdr")
    audit.finish(folder, tmp_path / "done")
    with pytest.raises(AuditError, match="this corpus is finished"):
        audit.draw(tmp_path / "done", 5)


def test_a_model_of_other_classes_takes_no_answers(audited, tmp_path):
    folder, _ = audited
    rows = read_annotations(folder)
    other = rows.cast_column("label", ClassLabel(names=["good", "bad"]))
    with pytest.raises(AuditError, match="has the classes"):
        audit.reuse(made.write(other, tmp_path / "later"), folder)
