from __future__ import annotations

import json

import numpy as np
import pytest
import sealed as made

from textlabel import audit
from textlabel.audit.certification import accepted_rows
from textlabel.audit.seal import open_sealed
from textlabel.errors import AuditError, PluginError
from textlabel.trust.certificate import Audit, price
from textlabel.trust.certificates import fdr


def audited(folder, n=1000, size=300, seed=1, **kind):
    rows, truth = made.corpus(n, **kind)
    made.write(rows, folder)
    answer(folder, rows, truth, size, seed)
    return rows, truth


def answer(folder, rows, truth, size, seed=1, blank=0):
    _, path = audit.draw(folder, size, seed=seed)
    made.fill(path, dict(zip(rows["id"], truth, strict=True)), blank)
    audit.import_answers(folder, path, reviewer="anna")


def test_a_certificate_says_what_it_rests_on(tmp_path):
    audited(tmp_path / "out")
    told = audit.certify(tmp_path / "out", 0.1, 0.05)
    assert told["certified"]
    assert (told["look"], told["level_spent"]) == (1, 0.025)
    assert (told["population"], told["audited"], told["unanswered"]) == (1000, 300, 0)
    assert told["labels_shown"] is False
    [group] = told["groups"]
    assert 0 < group["accepted"] <= 1000
    assert group["bound"] <= 0.025
    assert "at least 0.95, at most 100 of the 1000 labels (10 %)" in group["promise"]
    stored = json.loads((tmp_path / "out" / "audit" / "certificate-1.json").read_text())
    assert stored == told


def test_asking_again_is_no_new_look_and_asking_something_else_is(tmp_path):
    folder = tmp_path / "out"
    audited(folder)
    first = audit.certify(folder, 0.1)
    assert audit.certify(folder, 0.1) == first
    assert "shares" not in first["assumes"]
    second = audit.certify(folder, 0.05)
    assert second["look"] == 2
    assert "did not depend on what a certificate or `shares` told" in second["assumes"]
    assert audit.certify(folder, 0.1, mode="selective")["look"] == 3
    assert audit.certify(folder, 0.1, by="class")["look"] == 4
    assert audit.certify(folder, 0.1)["look"] == 1


def test_looks_are_counted_over_all_annotations_of_a_corpus(tmp_path):
    rows, truth = audited(tmp_path / "one")
    audit.certify(tmp_path / "one", 0.1)
    made.write(rows, tmp_path / "two", order_by="-margin")
    answer(tmp_path / "two", rows, truth, 300)
    assert audit.certify(tmp_path / "two", 0.1)["look"] == 2


def test_not_yet_tells_nothing_that_was_learned_from_answers(tmp_path):
    audited(tmp_path / "out", size=40)
    told = audit.certify(tmp_path / "out", 0.05)
    assert not told["certified"]
    assert not {"wrong", "reviewers", "unanswered"} & {*told, *told["groups"][0]}
    assert told["groups"][0]["reason"] == "40 audited rows cannot bear this promise, 69 are the least"
    assert not (tmp_path / "out" / "audit" / "certificate-1.json").exists()
    later = audit.certify(tmp_path / "out", 0.3)
    assert later["certified"]
    assert "shares" not in later["assumes"]


def test_unanswered_rows_count_as_errors(tmp_path):
    rows, truth = made.corpus(1000)
    for name, blank in (("all", 0), ("part", 60)):
        made.write(rows, tmp_path / name)
        answer(tmp_path / name, rows, truth, 300, blank=blank)
    whole, part = (audit.certify(tmp_path / name, 0.1)["groups"][0]["accepted"] for name in ("all", "part"))
    assert part < whole
    with pytest.raises(AuditError, match="60 audited rows are blank"):
        audit.certify(tmp_path / "part", 0.1, mode="fdr")


def test_groups_share_the_level_and_each_has_its_promise(tmp_path):
    audited(tmp_path / "out", n=3000, size=1200, error=0.05)
    told = audit.certify(tmp_path / "out", 0.1, by="shop")
    assert [group["name"] for group in told["groups"]] == ["shop 0", "shop 1", "shop 2"]
    assert sum(group["population"] for group in told["groups"]) == 3000
    assert sum(group["audited"] for group in told["groups"]) == 1200
    assert all(group["bound"] <= 0.025 / 3 for group in told["groups"])
    sealed = open_sealed(tmp_path / "out")
    accepted = accepted_rows(sealed, told)
    shops = np.array(sealed.rows["shop"][:])
    confidence = np.array(sealed.rows["confidence"][:])
    for group in told["groups"]:
        inside = shops == group["name"]
        assert accepted[inside].sum() == group["accepted"] > 0
        if not accepted[inside].all():
            assert confidence[inside & accepted].min() >= confidence[inside & ~accepted].max()
    with pytest.raises(AuditError, match="expected one of the input's columns"):
        audit.certify(tmp_path / "out", 0.1, by="store")


def test_a_change_after_the_audit_voids_everything(tmp_path):
    folder = tmp_path / "out"
    rows, _ = audited(folder)
    audit.certify(folder, 0.1)
    flipped = [1 - label for label in rows["label"][:]]
    changed = (
        rows.remove_columns("label").add_column("label", flipped).cast_column("label", rows.features["label"])
    )
    kept = folder.rename(tmp_path / "kept")
    made.write(changed.select_columns(rows.column_names), folder)
    (kept / "audit").rename(folder / "audit")
    for call in (audit.certify, audit.todo):
        with pytest.raises(AuditError, match=r"other labels|is void"):
            call(folder)


@pytest.mark.parametrize("mode", ["finish", "selective", "fdr"])
def test_every_mode_certifies_an_easy_corpus(tmp_path, mode):
    audited(tmp_path / "out", error=0.02)
    told = audit.certify(tmp_path / "out", 0.1, mode=mode)
    assert told["certified"]
    assert told["groups"][0]["accepted"] > 500


def test_bad_questions(tmp_path):
    rows, _ = made.corpus(50)
    folder = made.write(rows, tmp_path / "out")
    with pytest.raises(AuditError, match="nothing was drawn"):
        audit.certify(folder)
    audit.draw(folder, 5)
    with pytest.raises(AuditError, match="max_error = 5"):
        audit.certify(folder, 5)
    with pytest.raises(AuditError, match="alpha = 0"):
        audit.certify(folder, 0.05, 0)
    with pytest.raises(PluginError, match="did you mean 'finish'"):
        audit.certify(folder, mode="finnish")


def test_several_reviewers_are_reported(tmp_path):
    rows, truth = audited(tmp_path / "out")
    sheet = tmp_path / "out" / "audit" / "sheet-1.csv"
    other = dict(zip(rows["id"], truth, strict=True))
    for name in list(other)[::10]:
        other[name] = "good"
    made.fill(sheet, other)
    audit.import_answers(tmp_path / "out", sheet, reviewer="ben")
    told = audit.certify(tmp_path / "out", 0.2)["reviewers"]
    assert told["names"] == ["anna", "ben"]
    assert told["rows_by_several"] == 300
    assert told["truth"] == "agreement with the reviewers' majority"
    assert 0.9 < told["agreement"] < 1
    assert 0.8 < told["krippendorff_alpha"] < 1
    assert told["tied"] > 0


def test_scores_are_certified_within_their_tolerance(tmp_path):
    rows, truth = made.scores(400)
    folder = made.write(rows, tmp_path / "out")
    _, path = audit.draw(folder, 200, seed=0, tolerance=1.0)
    made.fill(path, dict(zip(rows["id"], truth, strict=True)))
    audit.import_answers(folder, path)
    told = audit.certify(folder, 0.1)
    assert told["certified"]
    assert told["error"] == "further than 1.0 from the answer"
    assert told["groups"][0]["wrong"] == sum(i % 20 == 0 for i in open_draw(folder))


def open_draw(folder):
    return json.loads((folder / "audit" / "draw-1.json").read_text())["rows"]


def test_shares_before_a_certificate_are_told_in_it(tmp_path):
    audited(tmp_path / "out")
    audit.shares(tmp_path / "out")
    assert "`shares` told" in audit.certify(tmp_path / "out", 0.1)["assumes"]


def test_an_average_has_half_of_its_share_left_at_each_look(tmp_path):
    audited(tmp_path / "out")
    first = audit.certify(tmp_path / "out", 0.2, mode="fdr")
    assert (first["spends"], first["level_spent"], first["groups"][0]["bound"]) == ("max_error", 0.1, 0.1)
    assert audit.certify(tmp_path / "out", 0.2, 0.1, mode="fdr")["level_spent"] == 0.05


def test_adding_rows_until_the_average_is_promised_keeps_it(tmp_path):
    """Fifteen looks at a useless order: unpaid, the average passes what is promised."""
    paid, unpaid = [], []
    rng = np.random.default_rng(0)
    for _ in range(300):
        wrong = rng.random(1000) < 0.15
        drawn = rng.permutation(1000)
        for shares, ask in ((paid, lambda j: price(j, 0.1)), (unpaid, lambda j: 0.1)):
            shares.append(0.0)
            for j, m in enumerate(range(20, 301, 20), 1):
                ranks = drawn[:m]
                found = fdr.certify(Audit(1000, ranks, wrong[ranks]), ask(j), 0.05)
                if found.accepted:
                    left = np.setdiff1d(np.arange(found.accepted), ranks)
                    shares[-1] = wrong[left].mean() if len(left) else 0.0
                    break
    error = 3 * np.std(paid) / np.sqrt(300)
    assert np.mean(paid) <= 0.1 + error
    assert np.mean(unpaid) > 0.1
