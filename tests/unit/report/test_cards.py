import pytest
import yaml

from textlabel.errors import ExportError
from textlabel.report.card_about import check_about
from textlabel.report.cards import dataset_card, model_card

NASTY = 'a: "b" | <i> `c` $d\n---\n- e #f \x7f \u2028 😀 \U000e0001'


@pytest.fixture
def record():
    return {
        "format": 1,
        "textlabel": "0.1.0",
        "created": "2026-11-21",
        "schema": {"kind": "single", "names": ["good", NASTY]},
        "backbone": {"name": "tiny", "sha256": "ab" * 32, "source": "local", "license": "Apache-2.0"},
        "recipe": {"name": "head", "stages": [{"tune": "head"}]},
        "seed": 7,
        "versions": {"torch": "2.13.0", "numpy": "2.4"},
        "labels": {"train": 64, "calibration": "out-of-fold 5", "audit": 0},
        "calibrator": {"name": "temperature", "temperature": 1.5},
        "rows": 3600,
        "certificate": None,
        "evaluation": None,
    }


def _head(card):
    _, head, _ = card.split("---\n", 2)
    return yaml.safe_load(head)


def test_model_card_says_what_it_knows(record):
    card = model_card(record)
    head = _head(card)
    assert head["license"] == "apache-2.0"
    assert head["pipeline_tag"] == "text-classification"
    assert "model-index" not in head
    for fact in (
        "ab" * 32,
        "2026-11-21",
        "torch 2.13.0",
        "out-of-fold 5",
        "| seed | 7 |",
        "| rows annotated | 3600 |",
    ):
        assert fact in card
    assert "## Evaluation\n\nNone yet." in card
    assert "$" not in card.replace("\\$", "")  # every placeholder filled, user text escaped


def test_dataset_card_names_its_file_and_size(record):
    head = _head(dataset_card(record | {"language": ["en"]}, "annotations.parquet"))
    assert head["license"] == "unknown"
    assert head["language"] == ["en"]
    assert head["task_categories"] == ["text-classification"]
    assert head["size_categories"] == ["1K<n<10K"]
    assert head["configs"] == [{"config_name": "default", "data_files": "annotations.parquet"}]
    assert "given by a model, not by people" in dataset_card(record)


@pytest.mark.parametrize("rows", [(None, "n<1K"), (999, "n<1K"), (100_000, "100K<n<1M"), (5_000_000, "n>1M")])
def test_sizes(record, rows):
    assert _head(dataset_card(record | {"rows": rows[0]}))["size_categories"] == [rows[1]]


def test_evaluation_makes_a_results_block(record):
    evaluation = {"n": 50, "rows": 60, "accuracy": 0.875, "pearson": None, "per_class": {"good": {"f1": 0.5}}}
    card = model_card(record | {"evaluation": evaluation})
    (result,) = _head(card)["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "accuracy", "value": 0.875}]
    assert "On 50 rows" in card
    assert "| `accuracy` | 0.8750 |" in card


def test_hostile_text_stays_text(record):
    hostile = record | {"license": NASTY, "backbone": record["backbone"] | {"license": NASTY, "name": NASTY}}
    for card in (model_card(hostile | {"evaluation": {"n": 1, "accuracy": 1.0}}), dataset_card(hostile)):
        assert _head(card)["license_name"] == NASTY
        assert _head(card)["license"] == "other"
        assert "<i>" not in card.split("---\n", 2)[2].replace("\\<i\\>", "")
    assert _head(model_card(hostile | {"evaluation": {"n": 1, "accuracy": 1.0}}))["model-index"][0][
        "name"
    ].endswith(NASTY)


def test_uncalibrated_confidence_and_scores_are_said_to_be_so(record):
    assert "not calibrated" in model_card(record | {"calibrator": {"name": "none"}})
    scores = record | {"schema": {"kind": "score", "names": []}, "calibrator": None}
    assert "without a confidence" in dataset_card(scores)
    assert "`probabilities`" not in dataset_card(scores)


def test_a_model_has_no_rows(record):
    del record["rows"]
    assert "rows annotated" not in model_card(record)


@pytest.mark.parametrize(
    ("sets", "told"),
    [
        (
            {"kind": "lac", "alpha": 0.1},
            "in 90 % of the texts, on average over texts like those that calibrated (LAC",
        ),
        ({"kind": "class", "alpha": 0.05}, "in 95 % of the texts of each class"),
        ({"kind": "raps", "alpha": 0.2}, "(RAPS: "),
    ],
)
def test_kind_and_level_of_prediction_sets_are_told(record, sets, told):
    assert told in dataset_card(record | {"sets": sets})
    assert f"{sets['alpha']}" in model_card(record | {"sets": sets})


def test_sets_of_scores_and_of_old_models_are_told(record):
    scores = record | {"schema": {"kind": "score", "names": []}, "calibrator": None}
    assert "(absolute residuals)" in dataset_card(scores | {"sets": {"kind": "interval", "alpha": 0.1}})
    assert "in 90 % of the texts" in dataset_card(record)


def test_a_correction_for_class_shares_is_told(record):
    assert "class shares" not in dataset_card(record)
    applied = {"applied": True, "shares": {"good": 0.2, NASTY: 0.8}, "weights": {}, "p_value": 0.4}
    card = dataset_card(record | {"label_shift": applied})
    assert "corrected for the class shares of this corpus" in card
    assert "good 0.200" in card
    assert "<i>" not in card.split("---\n", 2)[2].replace("\\<i\\>", "")
    card = dataset_card(record | {"label_shift": applied | {"p_value": None}})
    assert "class shares of this corpus that somebody stated: good 0.200" in card
    refused = {"applied": False, "reason": "another shift", "p_value": 0.01}
    assert "was refused: another shift." in dataset_card(record | {"label_shift": refused})


def test_a_certificate_is_shown(record):
    certificate = {
        "by": "shop",
        "groups": [
            {"name": "north", "promise": "At most 5 % are wrong."},
            {"name": "south", "promise": None},
        ],
        "error": "another class",
        "reviewers": {"truth": "the answer of one person a row"},
        "assumes": "a uniform draw",
        "audited": 300,
        "population": 1000,
        "look": 2,
        "level_spent": 0.0125,
        "spends": "alpha",
        "labels_shown": True,
        "alpha": 0.05,
        "gold": 10,
        "rejected": 3,
    }
    assert "None: no bound on the share of wrong labels" in dataset_card(record)
    told = dataset_card(record | {"certificate": certificate})
    assert "- shop north: At most 5 % are wrong." in told
    assert "south" not in told
    for fact in (
        "another class",
        "saw the model's label",
        "one person",
        "a uniform draw",
        "300 rows of 1,000",
        "0.0125 of alpha 0.05",
        "3 rejected",
    ):
        assert fact in told


def test_a_record_without_a_key_is_refused(record):
    del record["backbone"]
    with pytest.raises(ExportError, match=r"lacks \['backbone'\]"):
        model_card(record)


def test_the_card_of_a_corpus_names_the_backend(record):
    backend = {"backend": "openvino_int8", "band": 0.1, "rows": 3600, "recomputed": 1234}
    told = r"| backend | openvino\_int8; 1,234 of 3,600 rows computed again by torch |"
    assert told in dataset_card(record | {"backend": backend})
    plain = {"backend": "torch", "band": 0.0, "rows": 3600, "recomputed": 0}
    assert "| backend | torch |" in dataset_card(record | {"backend": plain})
    for before in (record, record | {"backend": None}):  # an old record, and one of no prediction
        assert "| backend |" not in dataset_card(before)


@pytest.mark.parametrize("card", [model_card, dataset_card])
def test_what_people_state(card, record):
    assert card(record).count("Not stated by those who made it.") == 3
    texts = [
        {"name": "reviews", "role": "source", "license": "cc-by-4.0"},
        {"name": "tickets", "role": "target"},
    ]
    stated = {
        "intended_use": "sorting *mail*",
        "known_failures": "irony",
        "texts": texts,
        "citation": "Me 2026",
    }
    bins = [{"n": 40, "confidence": 0.7, "accuracy": 0.65, "low": 0.5, "high": 0.78}]
    told = card(record | {"about": stated, "evaluation": {"n": 40, "accuracy": 0.65, "reliability": bins}})
    for fact in (
        "sorting \\*mail\\*",
        "irony",
        "Me 2026",
        "| tiny | backbone | Apache-2.0 |",
        "| reviews | source | cc-by-4.0 |",
        "| tickets | target | not stated |",
        "64 for training, out-of-fold 5 for calibration",
        "| 40 | 0.700 | 0.650 | 0.500 to 0.780 |",
    ):
        assert fact in told


@pytest.mark.parametrize(
    ("about", "problem"),
    [
        ({"intended": "x"}, "intended_use"),
        ({"citation": 3}, "expected text, got 3"),
        ({"texts": "reviews"}, "expected tables"),
        ({"texts": [{"name": "a", "licence": "mit"}]}, "license"),
    ],
)
def test_what_no_card_can_tell(about, problem):
    with pytest.raises(ExportError, match=problem):
        check_about(about, "about.toml")
