from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import snippets

from textlabel.errors import RecipeError
from textlabel.job import Job
from textlabel.resources import resource
from textlabel.steps import Annotate, Evaluate, Fit

WHOLE = """
[fit]
train = "rows/labeled.jsonl"
out = "model"
seed = 3
text_column = "text"

[annotate]
corpus = "rows/corpus.jsonl"
out = "labeled"
min_confidence = 1

[evaluate]
gold = "rows/corpus.jsonl"
"""


def write(folder, text):
    path = folder / "job.toml"
    path.write_text(text)
    return path


def test_paths_are_relative_to_the_file_and_sections_hand_over(tmp_path):
    job = Job.load(write(tmp_path, WHOLE))
    fit, annotate, evaluate = job.steps.values()
    assert fit == Fit(str(tmp_path / "model"), str(tmp_path / "rows/labeled.jsonl"), seed=3)
    assert annotate == Annotate(
        str(tmp_path / "rows/corpus.jsonl"),
        str(tmp_path / "model"),
        str(tmp_path / "labeled"),
        min_confidence=1.0,
    )
    assert evaluate == Evaluate(str(tmp_path / "labeled"), str(tmp_path / "rows/corpus.jsonl"))


def test_overrides_are_toml_or_bare_words_and_relative_to_here(tmp_path):
    words = [
        "fit.recipe=lora",
        "fit.seed=7",
        'fit.text_column=["title", "text"]',
        "annotate.out=here",
        "fit.backbone='x'",
    ]
    job = Job.load(write(tmp_path, WHOLE), words)
    fit, annotate, evaluate = job.steps.values()
    assert (fit.recipe, fit.seed, fit.text_column, fit.backbone) == ("lora", 7, ("title", "text"), "x")
    assert annotate.out == evaluate.annotations == "here"


def test_names_and_hub_ids_stay_what_they_are(tmp_path):
    (tmp_path / "bert").mkdir()
    table = {
        "train": "user/reviews",
        "out": "m",
        "backbone": "bert",
        "recipe": "mine.toml",
        "unlabeled": "more/*.csv",
    }
    lines = "\n".join(f"{key} = {value!r}" for key, value in table.items())
    (fit,) = Job.load(write(tmp_path, f"[fit]\n{lines}")).steps.values()
    assert fit.train == "user/reviews"
    assert fit.backbone == str(tmp_path / "bert")
    assert fit.recipe == str(tmp_path / "mine.toml")
    assert fit.unlabeled == str(tmp_path / "more/*.csv")
    assert Job.load(write(tmp_path, WHOLE)).steps["fit"].recipe == "head"


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        ("[fit]\ntrain = 'a'\nout = 'b'\nsed = 1", [], r"\[fit\]: unknown key 'sed': did you mean 'seed'\?"),
        ("[fot]\n", [], "unknown key 'fot': did you mean 'fit'"),
        ("fit = 3", [], r"fit = 3: expected a section \[fit\]"),
        ("", [], "nothing to do"),
        ("[fit]\ntrain = 'a'", [], r"\[fit\]: out = None: expected a path"),
        ("[fit]\ntrain = 5\nout = 'b'", [], r"\[fit\]: train = 5: expected str"),
        ("[fit]\ntrain = 'a'\nout = 'b'\nseed = 'x'", [], "seed = 'x': expected int"),
        ("[annotate]\ncorpus = 'a'\nout = 'b'", [], r"\[annotate\]: model = None"),
        (WHOLE, ["fit.sede=1"], "did you mean 'seed'"),
        (WHOLE, ["fot.seed=1"], "did you mean 'fit'"),
        (WHOLE, ["seed=1"], "expected section.key=value"),
        (WHOLE, ["fit.seed"], "expected section.key=value"),
        (WHOLE, ["fit.seed=one"], "seed = 'one': expected int"),
    ],
)
def test_nonsense_is_refused(tmp_path, text, words, message):
    with pytest.raises(RecipeError, match=message) as caught:
        Job.load(write(tmp_path, text), words)
    assert "job.toml" in str(caught.value) or "override" in str(caught.value)


def test_the_shipped_job_reads_the_bundled_data():
    job = Job.load(resource("recipes/jobs/reviews.toml"))
    assert list(job.steps) == ["fit", "annotate", "evaluate"]
    for path in (job.steps["fit"].train, job.steps["annotate"].corpus, job.steps["evaluate"].gold):
        assert resource("data/reviews") in Path(path).parents


def test_a_whole_job_runs(tmp_path, tiny_backbone):
    (tmp_path / "rows").mkdir()
    for name, rows in (("labeled", snippets(40)), ("corpus", snippets(30, seed=1))):
        (tmp_path / "rows" / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = Job.load(write(tmp_path, WHOLE), [f"fit.backbone={tiny_backbone}"]).run()
    assert done["fit"]["model"] == str(tmp_path / "model")
    assert done["annotate"]["decisions"] == {"accepted": 0, "review": 30, "out_of_scope": 0}
    assert done["evaluate"]["n"] == 30
    assert json.loads(json.dumps(done)) == done


def test_a_job_may_begin_without_labels(tmp_path):
    text = "[fit]\nclasses = ['bad film', 'good film']\nunlabeled = './rows.csv'\nout = 'model'\n"
    [fit] = Job.load(write(tmp_path, text)).steps.values()
    rows, model = str(tmp_path / "rows.csv"), str(tmp_path / "model")
    assert fit == Fit(model, classes=("bad film", "good film"), unlabeled=rows)


def test_each_of_several_backbones_is_relative_to_the_file(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "c++").mkdir()
    for given, meant in {
        "potion-base-8M + mine": f"potion-base-8M+{tmp_path / 'mine'}",
        "./other+all-MiniLM-L6-v2": f"{tmp_path / 'other'}+all-MiniLM-L6-v2",
        "c++": str(tmp_path / "c++"),
    }.items():
        text = f'[fit]\ntrain = "a.jsonl"\nout = "model"\nbackbone = "{given}"\n'
        [fit] = Job.load(write(tmp_path, text)).steps.values()
        assert fit.backbone == meant
