from __future__ import annotations

import json

import numpy as np
import pytest
from commands import run, told
from datasets import load_from_disk
from tiny import write_backbone, write_static

from textlabel import Labeler, registry
from textlabel.audit.seal import open_sealed
from textlabel.engine.rule_head import RuleRows, learn
from textlabel.errors import CorpusError, RecipeError
from textlabel.rule_steps import CheckRules, cast_votes, names_voter
from textlabel.rule_steps.votes import NAMES

RULES = """
[[rule]]
name = "praise"
label = "good"
keywords = ["fine", "great"]
[[rule]]
name = "blame"
label = "bad"
keywords = ["poor", "awful"]
[[rule]]
name = "never"
label = "bad"
keywords = ["zzz"]
"""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "rules.toml").write_text(RULES, encoding="utf-8")
    words = ["fine", "great", "poor", "awful", "plain"]
    rows = [f"{words[i % 5]} thing number {i}" for i in range(60)]
    (tmp_path / "corpus.csv").write_text("text\n" + "\n".join(rows) + "\n", encoding="utf-8")
    gold = [f"{text},{'good' if i % 5 < 2 else 'bad'}" for i, text in enumerate(rows[:30])]
    (tmp_path / "few.csv").write_text(
        "text,label\n" + "\n".join(gold) + "\nfine outside,good\n", encoding="utf-8"
    )
    return tmp_path


def test_check_tells_of_each_rule(files):
    found = told(
        "rules", "check", files / "rules.toml", "--on", files / "corpus.csv", "--gold", files / "few.csv"
    )
    praise, _, never = found["rules"]
    assert (found["rows"], found["covered"], found["label_models"]["gold"]) == (60, 0.8, 31)
    assert (praise["gold_votes"], praise["accuracy"], never["finding"]) == (13, 1.0, "dead")
    assert "does not beat the majority" in found["label_models"]["verdict"]
    shown = run("rules", "check", files / "rules.toml", "--on", files / "corpus.csv").stdout
    assert "dead" in shown


def test_a_model_of_several_classes_a_row_is_no_voter(files):
    rows = [{"text": f"fine {i}", "label": ["good", "bad"][: i % 3]} for i in range(30)]
    backbone = write_static(files / "static")
    Labeler(backbone, "multilabel", cache=False).fit(rows).save(files / "several")
    with pytest.raises(RecipeError, match=r"voter .*several: its labels are of kind 'multi'; expected"):
        CheckRules(
            (str(files / "rules.toml"),), str(files / "corpus.csv"), voters=(str(files / "several"),)
        ).run()


def test_labeled_by_rules_can_be_audited(files):
    words = ["rules", "label", files / "rules.toml", "--on", files / "corpus.csv", "--out", files / "labeled"]
    assert "NOT calibrated" in told(*words)["confidence"]
    found = told(*words, "--gold", files / "few.csv")
    assert found["confidence"].startswith("factors from 31 gold rows")
    rows = load_from_disk(str(files / "labeled"))
    assert rows["source"][:].count("human") == 30
    assert rows["source"][:].count("rule") == 30
    np.testing.assert_allclose(np.sum(rows["probabilities"][:], axis=1), 1, atol=1e-5)
    assert open_sealed(files / "labeled").n == 30
    assert "texts to answer  5" in run("audit", "draw", files / "labeled", "--size", 5).stdout


def test_rules_names_and_a_tuned_head_speak_together_and_a_wrong_source_is_left_out(files):
    (files / "lies.toml").write_text(
        RULES.replace('"good"', '"x"').replace('"bad"', '"good"').replace('"x"', '"bad"')
    )
    backbone = write_backbone(files / "tiny")
    words = ["--on", files / "corpus.csv", "--gold", files / "few.csv", "--backbone", backbone, "--no-cache"]
    found = told("rules", "fuse", files / "rules.toml", *words, "--out", files / "fused")
    rules, tuned, names, together = found["sources"]
    assert [one["source"] for one in found["sources"]] == [
        "anchored",
        "tuned head",
        "class names",
        "all together",
    ]
    assert together["nats"] <= min(rules["nats"], tuned["nats"], names["nats"]) + 0.1
    assert together["accuracy"] >= rules["accuracy"] - 0.05
    sealed = open_sealed(files / "fused")
    assert sealed.rows["source"][:].count("rule") == 30
    record = json.loads((files / "fused" / "textlabel.json").read_text())
    assert record["calibrator"] == {"name": "log_linear_pool"}
    assert set(record["pool"]) == {"anchored", "tuned head", "class names"}

    liars = ("--label-model", "majority", "--out", files / "lied")
    wrong = told("rules", "fuse", files / "lies.toml", *words, *liars)["sources"]
    assert wrong[0]["accuracy"] < 0.2
    assert wrong[0]["factor"] == 0
    assert wrong[-1]["accuracy"] >= wrong[1]["accuracy"] - 0.05
    shown = run("rules", "fuse", files / "rules.toml", *words, "--out", files / "shown").stdout
    assert "all together" in shown


def test_fusing_needs_gold_of_each_class_and_models_of_the_same(files):
    words = ["rules", "fuse", files / "rules.toml", "--on", files / "corpus.csv", "--out", files / "fused"]
    (files / "one.csv").write_text("text,label\nfine thing number 0,good\nfine outside,good\n")
    assert "class 'bad' has 0 rows" in run(*words, "--gold", files / "one.csv", code=1).stderr


@pytest.mark.slow
def test_a_model_fitted_on_rules_is_calibrated_on_gold_alone(files):
    backbone = write_backbone(files / "backbone")
    words = [
        "rules",
        "fit",
        files / "rules.toml",
        "--on",
        files / "corpus.csv",
        "--backbone",
        backbone,
        "--no-cache",
    ]
    bare = told(*words, "--out", files / "bare")
    assert (bare["calibrated"], bare["rows_of_rules"]) == (False, 48)
    found = told(*words, "--out", files / "model", "--gold", files / "few.csv")
    assert (found["calibrated"], found["rows_of_rules"]) == (True, 24)
    annotated = told(
        "annotate", files / "corpus.csv", "--model", files / "model", "--out", files / "by_model"
    )
    assert annotated["rows"] == 60
    voted = CheckRules(
        (str(files / "rules.toml"),), str(files / "corpus.csv"), voters=(str(files / "model"),)
    )
    assert (voted.voted().votes[:, 3] >= 0).all()


def test_held_out_gold_does_not_reach_the_label_model():
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=40)
    votes = rng.integers(2, size=(40, 1))  # a rule that says nothing
    rows = RuleRows(
        rng.normal(size=(200, 3)), rng.integers(2, size=(200, 1)), rng.normal(size=(40, 3)), votes, y
    )
    found = learn(rows, np.arange(40), 2)
    assert (found.logits.argmax(axis=1) == y).mean() < 0.75


def test_votes_of_others_stand_beside(files):
    rules, corpus = [files / "rules.toml"], str(files / "corpus.csv")
    found = cast_votes(rules, corpus, voters={"other": lambda texts: ["good"] * len(texts)})
    assert found.names[-1] == "other"
    assert (found.votes[:, -1] == found.classes.index("good")).all()


def test_copies_of_a_gold_text_are_one_answer(files):
    rows = [{"text": f"{word} thing"} for word in ("fine", "poor", " FINE", "Poor ") for _ in range(9)]
    gold = [{"text": "fine thing", "label": "good"}, {"text": "poor thing", "label": "bad"}]
    voted = cast_votes([files / "rules.toml"], rows, gold)
    assert (voted.gold >= 0).sum() == 2
    assert (voted.given >= 0).all()
    words = ["--on", written(files, rows), "--out", files / "labeled"]
    assert told("rules", "label", files / "rules.toml", *words)["rows"] == 36


def written(folder, rows):
    path = folder / "copies.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_bad_gold_blames_gold(files):
    rows = [{"text": "fine thing"}, {"text": "poor thing"}]
    with pytest.raises(CorpusError, match=r"labeled 'good' and 'bad'; keep one"):
        cast_votes(
            [files / "rules.toml"], rows, [{"text": "x", "label": "good"}, {"text": "X ", "label": "bad"}]
        )
    (files / "named.toml").write_text('classes = ["good", "bad"]\n' + RULES)
    with pytest.raises(CorpusError, match=r"gold rows of class 'goood': did you mean 'good'"):
        cast_votes([files / "named.toml"], rows, [{"text": "fine thing", "label": "goood"}])


def test_nothing_to_learn_from_is_told(files):
    (files / "none.toml").write_text("classes = ['good', 'bad']\n[[rule]]\nlabel='good'\nkeywords=['zzz']")
    done = run(
        *("rules", "fit", files / "none.toml", "--on", files / "corpus.csv", "--out", files / "model"),
        *("--backbone", write_backbone(files / "backbone")),
        code=1,
    )
    assert "no rule votes on any row of the corpus, and no row is gold" in done.stderr


PYTHON = """
from textlabel.rules.functions import labeling_function

@labeling_function
def praise(text):
    return "good" if text.startswith("fine") else None
"""


def test_the_names_of_the_classes_vote_by_what_gold_calls_them(files):
    (files / "rules.py").write_text(PYTHON)
    body, paths = str(write_backbone(files / "body")), (str(files / "corpus.csv"), str(files / "few.csv"))
    voted = CheckRules((str(files / "rules.py"),), *paths, names_vote=True, backbone=body).voted()
    assert voted.names == ("praise", NAMES)
    assert voted.classes == ("bad", "good")
    assert (voted.votes[:, 1] >= 0).all()
    said = names_voter(("bad", "good"), body)(voted.texts)
    assert [voted.classes[vote] for vote in voted.votes[:, 1]] == said
    assert set(names_voter(("good", "bad"), body)(voted.texts)) <= {"good", "bad"}


def test_each_label_model_is_fitted_once_for_each_fold_of_gold(files, monkeypatch):
    plugin, fits = registry.load("label_model", "anchored"), []
    real = plugin.fit_predict
    monkeypatch.setattr(plugin, "fit_predict", lambda *given, **more: fits.append(1) or real(*given, **more))
    files_ = ["--on", files / "corpus.csv", "--gold", files / "few.csv"]
    told("rules", "label", files / "rules.toml", *files_, "--out", files / "labeled")
    assert len(fits) == 5 + 1
