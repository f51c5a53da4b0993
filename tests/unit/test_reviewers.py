"""Agreement of the people who answered, against other libraries."""

import csv
import json

import krippendorff
import numpy as np
import pytest
import sealed as made
from sklearn.metrics import cohen_kappa_score
from typer.testing import CliRunner

from textlabel import audit
from textlabel.cli.app import app
from textlabel.errors import AuditError
from textlabel.reviewers import ReviewerAgreement


def run(*words, code=0):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done


@pytest.fixture
def answered(tmp_path):
    """Three people, the last of whom answered half; who says what is in the second value."""
    rows, truth = made.corpus(120)
    folder = made.write(rows, tmp_path / "out")
    draw, sheet = audit.draw(folder, 60, seed=1)
    rng = np.random.default_rng(0)
    said = {}
    for who, wrong, part in [("anna", 0.1, 1.0), ("ben", 0.3, 1.0), ("cleo", 0.2, 0.5)]:
        flip = {"good": "bad", "bad": "good"}
        labels = {
            f"r{i}": flip[truth[i]] if rng.random() < wrong else truth[i]
            for i in draw.rows.tolist()
            if rng.random() < part
        }
        path = tmp_path / f"{who}.csv"
        path.write_bytes(sheet.read_bytes())
        made.fill(path, {f"r{i}": labels.get(f"r{i}", "") for i in range(120)})
        audit.import_answers(folder, path, reviewer=who)
        said[who] = labels
    return folder, said


def test_numbers_are_those_of_other_libraries(answered, tmp_path):
    folder, said = answered
    told = json.loads(run("agreement", folder, "--out", tmp_path / "differ.csv", "--json").stdout)
    ids = sorted(said["anna"])
    codes = [[{"bad": 0.0, "good": 1.0}.get(said[who].get(i), np.nan) for i in ids] for who in said]
    alpha = krippendorff.alpha(np.array(codes), level_of_measurement="nominal")
    assert told["alpha"] == pytest.approx(alpha, abs=1e-4)
    assert told["alpha_limits"][0] < alpha < told["alpha_limits"][1]
    assert (told["texts"], told["by_several"]) == (60, 60)
    assert [one["alpha"] for one in told["classes"]] == [told["alpha"]] * 2  # of two, each is the other's
    pair = next(one for one in told["pairs"] if one["reviewers"] == ["anna", "ben"])
    same = np.mean([said["anna"][i] == said["ben"][i] for i in ids])
    assert pair["same"] == pytest.approx(same, abs=1e-4)
    assert pair["same_limits"][0] < same < pair["same_limits"][1]
    kappa = cohen_kappa_score([said["anna"][i] for i in ids], [said["ben"][i] for i in ids])
    assert pair["alpha"] == pytest.approx(kappa, abs=0.05)  # alpha knows no reviewers, kappa does
    assert [one["same"] for one in told["pairs"]] == sorted(one["same"] for one in told["pairs"])
    with (tmp_path / "differ.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    differ = {i for i in ids if len({said[who][i] for who in said if i in said[who]}) > 1}
    assert {row["id"] for row in rows} == differ
    assert told["differ"] == len(differ)
    assert all(row[who] == said[who].get(row["id"], "") for row in rows for who in said)


def test_on_the_screen(answered):
    shown = run("agreement", answered[0]).stdout
    assert "anna and ben" in shown
    assert "alpha" in shown


def test_one_person_cannot_disagree(tmp_path):
    rows, truth = made.corpus(40)
    folder = made.write(rows, tmp_path / "out")
    _, sheet = audit.draw(folder, 10, seed=1)
    made.fill(sheet, dict(zip(rows["id"], truth, strict=True)))
    audit.import_answers(folder, sheet, reviewer="anna")
    with pytest.raises(AuditError, match=r"answers of \['anna'\]; expected two reviewers"):
        ReviewerAgreement(str(folder)).run()


def prodigy(tmp_path, *answers):
    path = tmp_path / "out.jsonl"
    options = [{"id": name, "text": name} for name in ("a", "b", "c")]
    rows = [
        {"text": text, "meta": {"id": text}, "_annotator_id": who, "answer": "accept"}
        | ({"label": given} if isinstance(given, str) else {"options": options, "accept": given})
        for text, who, given in answers
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_several_classes_of_a_tools_file(tmp_path):
    path = prodigy(
        tmp_path,
        *[("x", "u", ["a", "b"]), ("x", "v", ["b", "a"]), ("y", "u", ["a"]), ("y", "v", ["a", "c"])],
        *[("z", "u", []), ("z", "v", [])],
    )
    told = ReviewerAgreement(path, "prodigy").run()
    assert (told["same"], told["differ"]) == (round(2 / 3, 4), 1)
    by_class = {one["class"]: one["same"] for one in told["classes"]}
    assert by_class["a"] == by_class["b"] == 1
    assert by_class["c"] == round(2 / 3, 4)


def test_scores_of_a_tools_file(tmp_path):
    given = {("x", "u"): 1, ("x", "v"): 2, ("y", "u"): 5, ("y", "v"): 5, ("z", "u"): 3, ("z", "v"): 2}
    tasks = [
        {
            "data": {"id": text, "text": text},
            "annotations": [
                {
                    "completed_by": who,
                    "result": [{"type": "number", "from_name": "label", "value": {"number": value}}],
                }
            ],
        }
        for (text, who), value in given.items()
    ]
    path = tmp_path / "project.json"
    path.write_text(json.dumps(tasks))
    told = ReviewerAgreement(str(path), "label_studio").run()
    expected = krippendorff.alpha(np.array([[1, 5, 3], [2, 5, 2]]), level_of_measurement="interval")
    assert told["alpha"] == pytest.approx(expected, abs=1e-4)
    assert told["classes"] == []


def test_scores_that_a_tool_holds_as_text_are_compared_as_scores(tmp_path):
    rows = [
        {"text": f"t{i}", "rating": [str(i + more)], "username": who}
        for i in range(1, 8)
        for who, more in (("ann", 0), ("ben", 0.1))
    ]
    path = tmp_path / "answers.json"
    tasks = []
    for i in range(1, 8):
        said = [row for row in rows if row["text"] == f"t{i}"]
        result = {"type": "choices", "from_name": "rating", "to_name": "text"}
        answers = [
            {
                "id": k,
                "result": [{**result, "value": {"choices": row["rating"]}}],
                "completed_by": {"email": row["username"]},
            }
            for k, row in enumerate(said)
        ]
        tasks.append({"id": i, "data": {"text": f"t{i}"}, "annotations": answers})
    path.write_text(json.dumps(tasks))
    told = ReviewerAgreement(str(path), "label_studio", kind="score", label_column="rating").run()
    assert told["alpha"] > 0.95
