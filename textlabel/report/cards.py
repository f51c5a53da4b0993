"""Model card and dataset card: Markdown with a YAML head, written from the provenance record.

A record has the keys ``format``, ``textlabel``, ``created``, ``schema``, ``backbone``, ``recipe``, ``seed``,
``versions``, ``labels``, ``calibrator`` (None for scores), ``certificate`` and ``evaluation``; that of a
corpus adds ``rows``, and may add ``backend``, ``decided_by``, ``license`` (of the texts) and ``language``.
Each may have ``about``: see `textlabel.report.card_about`.
The cards claim nothing that is not in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from textlabel.errors import ExportError
from textlabel.report.card_about import about, curve
from textlabel.report.card_columns import columns
from textlabel.report.card_provenance import provenance
from textlabel.report.markdown import coded_keys, plain, table

_KEYS = {
    *("format", "textlabel", "created", "schema", "backbone", "recipe", "seed", "versions"),
    *("labels", "calibrator", "certificate", "evaluation"),
}

#: license names that the Hub knows, of those that texts and weights of encoders commonly have
_LICENSES = {
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "gpl-3.0", "lgpl-3.0", "mpl-2.0", "openrail"),
    *("cc0-1.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "unknown"),
}


_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def model_card(record: Mapping[str, Any]) -> str:
    """Return the card of a classifier bundle: Markdown with a YAML head that the Hub accepts.

    Raises
    ------
    ExportError : the record lacks a key.
    """
    _check(record)
    head = {
        **_license(record["backbone"].get("license")),
        **_language(record),
        "library_name": "textlabel",
        "pipeline_tag": "text-classification",
        "tags": ["textlabel", "text-classification"],
        **_model_index(record),
    }
    return _fill("model_card.md", head, record, contents=_contents(record))


def dataset_card(record: Mapping[str, Any], data_file: str | list[dict[str, str]] | None = None) -> str:
    """Return the card of an annotated corpus: Markdown with a YAML head that the Hub accepts.

    ``data_file`` names the file beside the card that `datasets.load_dataset` shall read, or a pattern for
    each split.

    Raises
    ------
    ExportError : the record lacks a key.
    """
    _check(record)
    size = next((name for limit, name in _SIZES if (record.get("rows") or 0) < limit), "n>1M")
    head = {
        **_license(record.get("license")),
        **_language(record),
        "task_categories": ["text-classification"],
        "tags": ["textlabel", "machine-labeled"],
        "size_categories": [size],
    }
    if data_file:
        head["configs"] = [{"config_name": "default", "data_files": data_file}]
    told = table(("column", "meaning"), coded_keys(columns(record)))
    certificate = _certificate(record["certificate"])
    shift = _label_shift(record)
    return _fill("dataset_card.md", head, record, columns=told, certificate=certificate, shift=shift)


def _check(record: Mapping[str, Any]) -> None:
    if missing := sorted(_KEYS - record.keys()):
        raise ExportError(f"the provenance record lacks {missing}; expected the keys {sorted(_KEYS)}")


def _fill(template: str, head: Mapping[str, Any], record: Mapping[str, Any], **more: str) -> str:
    text = (Path(__file__).parent / "templates" / template).read_text(encoding="utf-8")
    return Template(text).substitute(
        front_matter="\n".join(f"{key}: {_yaml(value)}" for key, value in head.items()),
        task=_task(record["schema"]),
        about=about(record),
        confidence=_confidence(record),
        evaluation=_evaluation(record["evaluation"]),
        provenance=table(("what", "value"), provenance(record)),
        **more,
    )


# --- the YAML head --------------------------------------------------------------------------------


def _yaml(value: Any) -> str:
    """Return ``value`` as one line of YAML: JSON, with what a YAML reader refuses escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)


def _license(name: str | None) -> dict[str, str]:
    known = (name or "unknown").strip().lower()
    return {"license": known} if known in _LICENSES else {"license": "other", "license_name": str(name)}


def _language(record: Mapping[str, Any]) -> dict[str, Any]:
    return {"language": record["language"]} if record.get("language") else {}


def _model_index(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Hub's results block; nothing where nothing was measured."""
    numbers = _headline(record["evaluation"] or {})
    if not numbers:
        return {}
    result = {
        "task": {"type": "text-classification"},
        "dataset": {"name": "gold labels of the user", "type": "custom"},
        "metrics": [{"type": name, "value": value} for name, value in numbers.items()],
    }
    return {"model-index": [{"name": f"textlabel {record['backbone']['name']}", "results": [result]}]}


# --- the text -------------------------------------------------------------------------------------


def _task(schema: Mapping[str, Any]) -> str:
    if schema["kind"] == "score":
        return "Each text gets a score, a real number."
    names = ", ".join(map(plain, schema["names"]))
    of = "any number" if schema["kind"] == "multi" else "one"
    told = f"Each text gets {of} of {len(schema['names'])} classes: {names}."
    if schema.get("ordered"):
        return f"{told} They are steps of a scale, the lowest first."
    return f"{told} {_tree(schema['parents'])}" if schema.get("parents") else told


def _tree(parents: Mapping[str, str]) -> str:
    """Return what is below each inner node of a label tree, in words."""
    below: dict[str, list[str]] = {}
    for node, parent in parents.items():
        below.setdefault(parent, []).append(plain(node))
    told = "; ".join(f"{plain(parent)}: {', '.join(nodes)}" for parent, nodes in below.items())
    return f"They are the leaves of a tree ({told})."


def _contents(record: Mapping[str, Any]) -> str:
    pieces = (
        "It holds which pieces of two to four letters the training texts have, and how much each counts: "
        "words of these texts can be guessed from it. "
        if record["recipe"].get("features") == "ngrams"
        else ""
    )
    files = {
        "head.safetensors": (record.get("head") or {}).get("kind") == "knn",
        "reference.safetensors": record.get("off_map", {}).get("keep_reference"),
    }
    if kept := " and ".join(f"`{name}`" for name, holds in files.items() if holds):
        return pieces + (
            f"It holds parameters and, in {kept}, **the embedding and the class of every training row**, "
            "from which much of a text can be guessed. It holds no id and no text."
        )
    if pieces:
        return pieces + "It holds no training row, id or text."
    if grown := record.get("extended_vocabulary"):
        return (
            f"Its tokenizer holds **{grown['tokens']} words of somebody's texts**, which were added to "
            f"backbone {grown['backbone']}. Beside them it holds parameters and class moments of features: "
            "no training row and no id."
        )
    if record.get("adapted"):
        return (
            "It holds parameters, and moments of features of the texts that it was adapted to, by the "
            "classes that it gives them: no id, text or embedding, of these or of labeled rows. (The mean of "
            "a class that very few texts get is close to their embeddings.)"
        )
    return (
        "It holds parameters and class moments of features only: no training row, id, text or embedding. "
        "(The mean of a class that has very few rows is close to the embeddings of those rows.)"
    )


def _confidence(record: Mapping[str, Any]) -> str:
    if record["schema"]["kind"] == "score":
        return "A score comes without a confidence."
    if record.get("adapted"):
        return (
            "The confidence is the model's own probability. **It is not calibrated**: the model was adapted "
            "to texts without labels, by making its answers surer, and what calibrated the model before does "
            "not hold for it. Read it as an order of rows, not as a chance of being right."
        )
    calibrator = record["calibrator"] or {"name": "none"}
    if calibrator["name"] == "none":
        return (
            "The confidence is the model's own probability. **It was not calibrated**: read it as an order "
            "of rows, not as a chance of being right."
        )
    if record["schema"]["kind"] == "multi":
        whole = (
            "was calibrated on them, too"
            if record.get("whole_sets_calibrated", True)
            else "is **not calibrated**: it is the product over classes, as if these were independent"
        )
        return (
            "The probability of each class is calibrated by itself (with others where its rows are few) on "
            "labeled rows that the scoring model had not seen "
            f"({plain(record['labels']['calibration'])}). The confidence is about all classes of a text "
            f"together, and {whole}. Calibrated numbers are meant to be right on average over texts like "
            "those rows; they are no guarantee for a single text, and may be wrong elsewhere."
        )
    settings = ", ".join(f"{key} {value:.4g}" for key, value in calibrator.items() if key != "name")
    return (
        f"The confidence is a probability calibrated by {plain(calibrator['name'])}"
        f"{f' ({plain(settings)})' if settings else ''} on labeled rows that the scoring model had not seen "
        f"({plain(record['labels']['calibration'])}). It is meant to be right on average over "
        f"texts like those rows{_weighed(record)}; it is no guarantee for a single text, and may be wrong "
        "elsewhere."
    )


def _weighed(record: Mapping[str, Any]) -> str:
    """Return toward what the rows that calibrate were weighed; nothing where all count alike."""
    if not (record.get("row_weights") or {}).get("applied"):
        return ""
    return (
        " as they were weighed toward the texts to be labeled (prediction sets and estimates of accuracy "
        "count all rows alike)"
    )


def _label_shift(record: Mapping[str, Any]) -> str:
    """Return what became of a wish for corrected class shares; nothing where there was none."""
    shift = record.get("label_shift")
    if not shift:
        return ""
    if not shift["applied"]:
        return f"\n\nA correction for the class shares of this corpus was refused: {plain(shift['reason'])}."
    shares = ", ".join(f"{name} {share:.3f}" for name, share in shift["shares"].items())
    if shift["p_value"] is None:
        return (
            "\n\nLabels and confidence were corrected for class shares of this corpus that somebody stated: "
            f"{plain(shares)}. That assumes that the odds of classes are off by the same factor in all "
            "texts. Prediction sets were not corrected."
        )
    return (
        "\n\nLabels and confidence were corrected for the class shares of this corpus, estimated without "
        f"labels: {plain(shares)}. That assumes that texts of one class are like the labeled ones, which a "
        f"test did not refuse (p = {shift['p_value']:.2g}). Prediction sets were not corrected."
    )


def _headline(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of an evaluation that are defined, without counts and class tables."""
    return {k: v for k, v in evaluation.items() if isinstance(v, float)}


def _evaluation(evaluation: Mapping[str, Any] | None) -> str:
    if not evaluation:
        return "None yet."
    rows = {f"`{name}`": f"{value:.4f}" for name, value in _headline(evaluation).items()}
    told = table(("metric", "value"), rows) + curve(evaluation)
    return f"On {evaluation['n']:,} rows with gold labels:\n\n{told}"


def _certificate(certificate: Mapping[str, Any] | None) -> str:
    if not certificate:
        return "None: no bound on the share of wrong labels has been established."
    by = f"{certificate['by']} " if certificate["by"] else ""
    promises = [
        f"- {plain(by + group['name'] + ': ') + ' ' if by else ''}{plain(group['promise'])}"
        for group in certificate["groups"]
        if group["promise"]
    ]
    spent = f"{certificate['spends']} {certificate[certificate['spends']]:g}"
    rejected = "an unknown number of" if certificate["rejected"] is None else certificate["rejected"]
    shown = "The people who answered saw the model's label. " if certificate["labels_shown"] else ""
    facts = (
        f"Wrong means: {plain(certificate['error'])}; truth is {plain(certificate['reviewers']['truth'])}. "
        f"{shown}Assumed: {plain(certificate['assumes'])}. "
        f"People checked {certificate['audited']:,} rows of {certificate['population']:,}; this was look "
        f"{certificate['look']} at the answers, which spent {certificate['level_spent']:.3g} of {spent}. "
        f"Outside the promise: {certificate['gold']:,} rows "
        f"labeled by people beforehand, {rejected} rejected."
    )
    return "\n".join([*promises, "", facts])
