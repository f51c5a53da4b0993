"""Model card and dataset card: Markdown with a YAML head, written from the provenance record.

A record has the keys ``format``, ``textlabel``, ``created``, ``schema``, ``backbone``, ``recipe``, ``seed``,
``versions``, ``labels``, ``calibrator`` (None for scores), ``certificate`` and ``evaluation``; that of a
corpus adds ``rows``, and may add ``backend``, ``decided_by``, ``license`` (of the texts) and ``language``.
Each may have ``about``: see `textlabel.report.card_about`.
The cards claim nothing that is not in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from textlabel.errors import ExportError
from textlabel.models.backend_fit import REFERENCE
from textlabel.registry import plugins
from textlabel.report.card_about import about, curve
from textlabel.trust.scores import told_by_rows
from textlabel.trust.set_rule import DEFAULT_ALPHA

_KEYS = {
    *("format", "textlabel", "created", "schema", "backbone", "recipe", "seed", "versions"),
    *("labels", "calibrator", "certificate", "evaluation"),
}

#: license names that the Hub knows, of those that texts and weights of encoders commonly have
_LICENSES = {
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "gpl-3.0", "lgpl-3.0", "mpl-2.0", "openrail"),
    *("cc0-1.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "unknown"),
}

#: prediction sets in words
_KINDS = {
    "lac": " (LAC: as few classes as can be)",
    "aps": " (APS: more classes where a text is hard)",
    "raps": " (RAPS: more classes where a text is hard, but few beyond five)",
    "class": " (LAC with a quantile for each class)",
    "interval": " (absolute residuals)",
}

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))

_CLASS_COLUMNS = {
    "id": "row id",
    "text": "the text that was labeled",
    "label": "the most likely class",
    "confidence": "probability that the label is right, in [0, 1]",
    "probabilities": "probability of each class, in class order",
    "margin": "largest minus second largest probability",
    "prediction_set": "classes not ruled out",
    "ood_score": "how far the text lies from the training texts; higher is further",
    "decision": "accepted, review or out_of_scope",
    "source": "who gave the label: model, human or rule",
}
_SUBSET_COLUMNS = _CLASS_COLUMNS | {
    "label": "the classes of the text; there may be several, or none",
    "confidence": "probability that these are exactly the right classes, in [0, 1]",
    "probabilities": "probability of each class by itself, in class order; they need not sum to one",
    "margin": "how far the nearest of the probabilities is from the one from which on a text has the class",
}
_SCORE_COLUMNS = {key: _CLASS_COLUMNS[key] for key in ("id", "text", "ood_score", "decision", "source")} | {
    "label": "the predicted score",
    "prediction_set": "ends of an interval for the score",
}


_COLUMNS = {"single": _CLASS_COLUMNS, "multi": _SUBSET_COLUMNS, "score": _SCORE_COLUMNS}


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
    columns = dict(_COLUMNS[record["schema"]["kind"]])
    if record.get("adapted"):
        columns["ood_score"] = "how far the text lies from those it was adapted to; higher is further"
    columns["prediction_set"] = _told_of_sets(record, columns["prediction_set"])
    columns |= (
        _node_columns(record)
        | _order_column(record)
        | _cascade_columns(record, columns)
        | _windows_column(record)
    )
    told = _table(("column", "meaning"), _coded_keys(columns))
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
        about=about(record, _plain),
        confidence=_confidence(record),
        evaluation=_evaluation(record["evaluation"]),
        provenance=_table(("what", "value"), _provenance(record)),
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


def _plain(value: Any) -> str:
    """Return ``value`` as one line in which Markdown and HTML signs mean themselves."""
    return re.sub(r"([\\`*_{}\[\]<>#|$&~])", r"\\\1", " ".join(str(value).split()))


def _table(head: tuple[str, str], rows: Mapping[str, str]) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|"]
    return "\n".join(lines + [f"| {key} | {value} |" for key, value in rows.items()])


def _coded_keys(rows: Mapping[str, str]) -> dict[str, str]:
    return {f"`{key}`": value for key, value in rows.items()}


def _task(schema: Mapping[str, Any]) -> str:
    if schema["kind"] == "score":
        return "Each text gets a score, a real number."
    names = ", ".join(map(_plain, schema["names"]))
    of = "any number" if schema["kind"] == "multi" else "one"
    told = f"Each text gets {of} of {len(schema['names'])} classes: {names}."
    if schema.get("ordered"):
        return f"{told} They are steps of a scale, the lowest first."
    return f"{told} {_tree(schema['parents'])}" if schema.get("parents") else told


def _tree(parents: Mapping[str, str]) -> str:
    """Return what is below each inner node of a label tree, in words."""
    below: dict[str, list[str]] = {}
    for node, parent in parents.items():
        below.setdefault(parent, []).append(_plain(node))
    told = "; ".join(f"{_plain(parent)}: {', '.join(nodes)}" for parent, nodes in below.items())
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
            f"({_plain(record['labels']['calibration'])}). The confidence is about all classes of a text "
            f"together, and {whole}. Calibrated numbers are meant to be right on average over texts like "
            "those rows; they are no guarantee for a single text, and may be wrong elsewhere."
        )
    settings = ", ".join(f"{key} {value:.4g}" for key, value in calibrator.items() if key != "name")
    return (
        f"The confidence is a probability calibrated by {_plain(calibrator['name'])}"
        f"{f' ({_plain(settings)})' if settings else ''} on labeled rows that the scoring model had not seen "
        f"({_plain(record['labels']['calibration'])}). It is meant to be right on average over "
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


def _row_weights(weights: Mapping[str, Any]) -> str:
    """Return by what rows were weighed, and what they are worth, or why they were not."""
    if not weights["applied"]:
        return f"{weights['method']} was asked for and refused, all rows count alike: {weights['reason']}"
    return (
        f"{weights['method']}: {weights['rows']:,} rows are worth {weights['effective_rows']:,.1f} of equal "
        f"weight ({weights['unclipped_rows']:,.1f} before weights were clipped and flattened)"
    )


def _order_column(record: Mapping[str, Any]) -> dict[str, str]:
    """Return what the column of a score means that the model made so that rows could be ordered by it."""
    name = ((record.get("decided_by") or {}).get("order_by") or "").removeprefix("-")
    if name not in plugins("score") or told_by_rows(name):
        return {}
    return {name: "how sure the row is, by the score of this name; a certificate accepts rows in this order"}


def _node_columns(record: Mapping[str, Any]) -> dict[str, str]:
    """Return what the columns of nodes mean, where `annotate` backed off in the label tree."""
    level = (record.get("decided_by") or {}).get("back_off")
    if not level:
        return {}
    return {
        "node": f"deepest node of the label tree with probability {level:g} or more; empty: there is none",
        "node_confidence": "probability that the node is right, which is the sum over the classes below it",
    }


def _windows_column(record: Mapping[str, Any]) -> dict[str, str]:
    """Return what the column of windows means, where long texts were read in some."""
    if (record.get("backend") or {}).get("on_long") != "window":
        return {}
    return {"windows": "in how many overlapping windows the text was read; 0: not by the model itself"}


def _cascade_columns(record: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, str]:
    """Return what columns mean of which a student fills a part in its own way."""
    student = (record.get("backend") or {}).get("cascade")
    if not student:
        return {}
    lacks = f"{student['measured']['sets_that_lack_a_class']:.1%}"
    return {
        "ood_score": f"{columns['ood_score']}; empty where a student answered",
        "prediction_set": f"{columns['prediction_set']}; those of a student lack a class of the model's own "
        f"in {lacks} of the texts that it was tried on",
    }


def _told_of_sets(record: Mapping[str, Any], meaning: str) -> str:
    """Return what the column of prediction sets means; an old record tells no kind."""
    sets = record.get("sets") or {"kind": "", "alpha": record.get("set_alpha", DEFAULT_ALPHA)}
    share = f"{100 * (1 - sets['alpha']):g} % of the texts"
    like = f"on average over texts like those that calibrated{_KINDS.get(sets['kind'], '')}"
    if sets["kind"] == "off":
        return "empty: no sets were asked for (fit with sets = class)"
    if record["schema"]["kind"] == "multi":
        return f"{meaning}, meant to hold each class in {share} that have it, {like}"
    of_each = " of each class" if sets["kind"] == "class" else ""
    return f"{meaning}, meant to hold the true one in {share}{of_each}, {like}"


def _label_shift(record: Mapping[str, Any]) -> str:
    """Return what became of a wish for corrected class shares; nothing where there was none."""
    shift = record.get("label_shift")
    if not shift:
        return ""
    if not shift["applied"]:
        return f"\n\nA correction for the class shares of this corpus was refused: {_plain(shift['reason'])}."
    shares = ", ".join(f"{name} {share:.3f}" for name, share in shift["shares"].items())
    if shift["p_value"] is None:
        return (
            "\n\nLabels and confidence were corrected for class shares of this corpus that somebody stated: "
            f"{_plain(shares)}. That assumes that the odds of classes are off by the same factor in all "
            "texts. Prediction sets were not corrected."
        )
    return (
        "\n\nLabels and confidence were corrected for the class shares of this corpus, estimated without "
        f"labels: {_plain(shares)}. That assumes that texts of one class are like the labeled ones, which a "
        f"test did not refuse (p = {shift['p_value']:.2g}). Prediction sets were not corrected."
    )


def _headline(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of an evaluation that are defined, without counts and class tables."""
    return {k: v for k, v in evaluation.items() if isinstance(v, float)}


def _evaluation(evaluation: Mapping[str, Any] | None) -> str:
    if not evaluation:
        return "None yet."
    rows = {f"`{name}`": f"{value:.4f}" for name, value in _headline(evaluation).items()}
    told = _table(("metric", "value"), rows) + curve(evaluation)
    return f"On {evaluation['n']:,} rows with gold labels:\n\n{told}"


def _certificate(certificate: Mapping[str, Any] | None) -> str:
    if not certificate:
        return "None: no bound on the share of wrong labels has been established."
    by = f"{certificate['by']} " if certificate["by"] else ""
    promises = [
        f"- {_plain(by + group['name'] + ': ') + ' ' if by else ''}{_plain(group['promise'])}"
        for group in certificate["groups"]
        if group["promise"]
    ]
    spent = f"{certificate['spends']} {certificate[certificate['spends']]:g}"
    rejected = "an unknown number of" if certificate["rejected"] is None else certificate["rejected"]
    shown = "The people who answered saw the model's label. " if certificate["labels_shown"] else ""
    facts = (
        f"Wrong means: {_plain(certificate['error'])}; truth is {_plain(certificate['reviewers']['truth'])}. "
        f"{shown}Assumed: {_plain(certificate['assumes'])}. "
        f"People checked {certificate['audited']:,} rows of {certificate['population']:,}; this was look "
        f"{certificate['look']} at the answers, which spent {certificate['level_spent']:.3g} of {spent}. "
        f"Outside the promise: {certificate['gold']:,} rows "
        f"labeled by people beforehand, {rejected} rejected."
    )
    return "\n".join([*promises, "", facts])


def _backend(backend: Mapping[str, Any]) -> str:
    """Return what ran the model, and how many rows were computed again because two classes were close."""
    by = " and ".join(backend.get("recomputed_by", [REFERENCE]))
    again = f"; {backend['recomputed']:,} of {backend['rows']:,} rows computed again by {by}"
    told = f"{backend['backend']}{again if backend['band'] else ''}"
    if backend.get("in_windows"):
        told += f"; {backend['in_windows']:,} of {backend['rows']:,} rows read in windows"
    if not backend.get("cascade"):
        return told
    student = backend["cascade"]
    return (
        f"{told}; {student['answered']:,} of {backend['rows']:,} rows answered by a student "
        f"({student['backbone']['name']}), which gives another label than the model to at most "
        f"{student['measured']['differ_at_most']:.1%} of different texts like those it was tried on "
        f"(confidence {1 - student['measured']['alpha']:.0%})"
    )


def _label_map(told: Mapping[str, Any]) -> str:
    """Return what became of the classes of the model that this one started from."""
    pairs = [f"{line['source']} -> {line['target'] or 'nothing known'}" for line in told["table"]]
    unreached = f"; nothing becomes {', '.join(told['unreached'])}" if told["unreached"] else ""
    return f"{told['mode']}: {', '.join(pairs)}{unreached}; from model {told['started_from']}"


def _sources(told: Mapping[str, Any]) -> str:
    """Return from which corpora, and by which way of combining them, a model learned."""
    rows = ", ".join(f"{name} ({count} rows)" for name, count in told["rows"].items())
    return f"{rows}; taken: {told['chosen']}; nearest share {told['nearest']:g}"


def _sometimes(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what only some models have."""
    facts = {}
    if "label_map" in record:
        facts["label map"] = _label_map(record["label_map"])
    if "sources" in record:
        facts["sources"] = _sources(record["sources"])
    if "threshold" in record:
        facts["threshold of classes"] = record["threshold"]
    if "likely_wrong" in record["labels"]:
        facts["labels for training that are likely wrong"] = record["labels"]["likely_wrong"]
    if "row_weights" in record:
        facts["weights of labeled rows"] = _row_weights(record["row_weights"])
    for number, changes in enumerate(record.get("taxonomy", []), start=1):
        made = {kind: change for kind, change in changes.items() if change}
        facts[f"change of classes {number}"] = json.dumps(made, ensure_ascii=False)
    return facts


def _provenance(record: Mapping[str, Any]) -> dict[str, str]:
    backbone, labels = record["backbone"], record["labels"]
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    facts = {
        "textlabel": f"{record['textlabel']} (record format {record['format']})",
        "created": record["created"],
        "schema": json.dumps(record["schema"], ensure_ascii=False),
        "backbone": backbone["name"],
        "backbone sha256": backbone["sha256"],
        "backbone source": backbone["source"],
        "backbone license": backbone["license"],
        "recipe": json.dumps(record["recipe"], ensure_ascii=False),
        "seed": record["seed"],
        "library versions": versions,
        "labels for training": labels["train"],
        "labels for calibration": labels["calibration"],
        "labels for audit": labels["audit"],
        "calibrator": json.dumps(record["calibrator"], ensure_ascii=False),
        "prediction sets": json.dumps(record.get("sets"), ensure_ascii=False),
    }
    for number, part in enumerate(backbone.get("parts", []), start=1):
        facts[f"backbone part {number}"] = (
            f"{part['name']} (sha256 {part['sha256']}, source {part['source']}, license {part['license']})"
        )
    for number, each in enumerate(record.get("adapted", []), start=1):
        facts[f"adapted without labels, {number}"] = (
            f"recipe {each['recipe']['name']}, seed {each['seed']}, {each['texts']:,} texts (sha256 "
            f"{each['sha256']}), from model {each['started_from']['model']} with weights "
            f"{each['started_from']['weights']}"
        )
    facts |= _sometimes(record)
    if record.get("rows") is not None:
        facts["rows annotated"] = record["rows"]
    if record.get("backend"):
        facts["backend"] = _backend(record["backend"])
    for name, value in (record.get("decided_by") or {}).items():
        facts[f"{name} of annotate"] = "no row is accepted" if value is None else value
    return {key: "unknown" if value is None else _plain(value) for key, value in facts.items()}
