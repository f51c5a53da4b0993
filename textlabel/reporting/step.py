"""The step report: one page that needs nothing else, and the same as JSON."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlabel.errors import AuditError, CorpusError, ExportError
from textlabel.report.evaluation import TITLES
from textlabel.reporting import parts, suspects
from textlabel.reporting.judged import Judged, by_audit, by_gold
from textlabel.reporting.scores import JudgedScores, scores_by_gold, spread
from textlabel.types import kind_of

if TYPE_CHECKING:
    from datasets import Dataset

    from textlabel.audit.seal import Sealed
    from textlabel.engine.explain import Explainer


@dataclass(frozen=True)
class Report:
    """Write the report of an annotated corpus.

    Parameters
    ----------
    annotations : folder that `annotate` wrote, in any format.
    out : where the page goes, .html; the same goes beside it as .json. Both are replaced. By default
        FOLDER-report.html, beside the folder.
    gold : rows with the true labels, joined by id, by which labels are judged; without it the answers to the
        audit are, as far as there are any.
    label_column : column of gold, and of source, that holds the label.
    label_separator : what parts the classes of a row in that column, where a row may carry several.
    by : columns of the corpus; errors and rows accepted are told for each of their values.
    model : folder that `fit` wrote: words that moved the labels of the examples are marked.
    source : labeled rows of `fit`; with a model, how far the corpus is from them is told, which of them are
        nearest to the examples, and which of their labels are likely wrong (with cleanlab installed).
    rules : files of rules; those that fire on an example are told with it.
    transfer : JSON that `textlabel transfer --json` printed, to stand beside.
    timed : JSON that `textlabel fit --json` or `annotate --json` printed: seconds and rows a second are told,
        which the record, the same on every machine, does not hold.
    title : what the report is called.
    show_personal_data : whether e-mail addresses, phone numbers and so on (`textlabel scan`) stand in the
        texts of examples as they are; else their letters and digits are stars.
    """

    annotations: str
    out: str = ""
    gold: str = ""
    label_column: str = "label"
    label_separator: str = ""
    by: tuple[str, ...] = ()
    model: str = ""
    source: str = ""
    rules: tuple[str, ...] = ()
    transfer: str = ""
    timed: tuple[str, ...] = ()
    title: str = ""
    show_personal_data: bool = False

    def run(self) -> dict[str, Any]:
        """Write both files and return their paths and what stands on top.

        Raises
        ------
        CorpusError, AuditError : what `textlabel evaluate` and `textlabel shares` raise.
        ExportError : a file cannot be written.
        """
        from textlabel.report.page import page

        folder = Path(self.annotations).resolve()
        out = Path(self.out) if self.out else folder.with_name(f"{folder.name}-report.html")
        if out.suffix.lower() != ".html":
            raise ExportError(f"{out}: expected a file that ends in .html")
        facts = self.facts()
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            told = json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False)
            out.with_suffix(".json").write_text(told + "\n", encoding="utf-8")
            out.write_text(page(facts), encoding="utf-8")
        except OSError as error:
            raise ExportError(f"{out}: cannot be written ({error})") from None
        return {"report": str(out), "json": str(out.with_suffix(".json")), "summary": facts["summary"]}

    def facts(self) -> dict[str, Any]:
        """Return all that the report tells, JSON-ready."""
        from textlabel.export._read import read_annotations, read_record

        if self.source and not self.model:
            raise CorpusError("source is compared by the model's features: give the model, too")
        rows, record = read_annotations(self.annotations), read_record(self.annotations)
        sealed = _sealed(self.annotations, record)
        known = self._judged(rows, sealed)
        audit, score = _shares(self.annotations, sealed), kind_of(rows.features["label"]) == "score"
        explainer = self._explainer()
        facts: dict[str, Any] = {
            "title": self.title or f"Labels of {Path(self.annotations).resolve().name}",
            "created": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
            "asked": parts.asked(rows, record),
            "done": parts.done(record),
            "budget": parts.budget(record, audit),
            "certificate": parts.certificate(sealed, record),
            "estimate": parts.estimate(record),
            "judged": known and (known.told(rows) if isinstance(known, Judged) else known.told()),
            "confidence": [] if score else parts.histogram(rows),
            "classes": parts.classes(rows, audit),
            "scores": spread(rows, audit) if score else None,
            "slices": {name: parts.slices(rows, name, known) for name in self.by},
            "gap": self._gap(),
            "transfer": parts.transfer(self.transfer),
            "tried": record.get("tried", []),
            "examples": self._explained(parts.examples(rows, known), explainer),
            "suspects": self._suspects(rows, known, explainer),
            "cost": parts.cost(record, self.timed),
            "record": {name: value for name, value in record.items() if name not in ("features", "seal")},
        }
        if not self.show_personal_data:
            facts |= {name: starred(facts[name]) for name in ("examples", "suspects")}
        return {**facts, "summary": summary(facts)}

    def _judged(self, rows: Dataset, sealed: Sealed | None) -> Judged | JudgedScores | None:
        if not self.gold:
            return by_audit(sealed)
        if kind_of(rows.features["label"]) == "score":
            return scores_by_gold(rows, self.gold, self.label_column)
        return by_gold(rows, self.gold, self.label_column, self.label_separator)

    def _explainer(self) -> Explainer | None:
        if not self.model:
            return None
        from textlabel.explaining import explainer_of

        return explainer_of(self.model, self.annotations)

    def _suspects(
        self, rows: Dataset, known: Judged | JudgedScores | None, explainer: Explainer | None
    ) -> list[dict[str, Any]]:
        """Return what is suspected of gold labels of the corpus, and of the labeled rows."""
        found = [suspects.of_corpus(rows, known) if isinstance(known, Judged) else None]
        if explainer is not None and self.source:
            found.append(suspects.of_source(explainer, self.source, self.label_column))
        return [one for one in found if one is not None]

    def _gap(self) -> dict[str, Any] | None:
        if not self.source:
            return None
        from textlabel.gap import Gap

        return Gap(self.source, self.annotations, model=self.model).run()

    def _explained(
        self, examples: dict[str, list[dict[str, Any]]], explainer: Explainer | None
    ) -> dict[str, list[dict[str, Any]]]:
        """Return the examples with why they have their label, as far as that can be told."""
        from textlabel.explaining import fired_rules

        flat = [row for rows in examples.values() for row in rows]
        if (fired := fired_rules(self.rules)) is not None:
            for row in flat:
                row["rules"] = fired(row["text"])
        if explainer is not None and flat:
            _with_words(flat, explainer)
            self._with_neighbors(flat, explainer)
        return examples

    def _with_neighbors(self, flat: list[dict[str, Any]], explainer: Explainer) -> None:
        """Give each row the labeled rows that are nearest to it, where these have labels."""
        from textlabel.corpus.load import load_corpus
        from textlabel.explaining import labeled_near

        if not self.source or not suspects.labels_in(self.source, self.label_column):
            return
        known = load_corpus(self.source, label_column=self.label_column, label_kind=explainer.schema.kind)
        near = labeled_near(explainer, [row["text"] for row in flat], known)
        for row, found in zip(flat, near, strict=True):
            row["neighbors"] = found


def starred(told: Any) -> Any:
    """Return what is told of texts with stars in place of personal data; places of words stay as they are.

    Examples
    --------
    >>> starred([{"text": "ask a.bc@example.org", "without": ["a.bc", "ask"]}])
    [{'text': 'ask a.**@*******.**g', 'without': ['****', 'ask']}]
    """
    from textlabel.corpus.personal_data import find, masked

    if isinstance(told, list):
        return [starred(one) for one in told]
    if isinstance(told, str):
        for one in find(told):
            told = told[: one.start] + masked(told[one.start : one.end]) + told[one.end :]
        return told
    if not isinstance(told, dict):
        return told
    text = str(told.get("text", ""))
    hidden = [text[one.start : one.end] for one in find(text)]
    # parts of what is hidden are words of their own to whoever explains a text
    words = {word: "*" * len(word) for word in told.get("without", ()) if any(word in one for one in hidden)}
    return {
        name: [words.get(word, word) for word in value] if name == "without" else starred(value)
        for name, value in told.items()
    }


def _with_words(flat: list[dict[str, Any]], explainer: Explainer) -> None:
    """Give each row (start, end, score) of each word, where the label is the model's own."""
    for row, one in zip(flat, explainer.explain([row["text"] for row in flat]), strict=True):
        # class shares, or a student, may have given another; of a score the words raise it
        if one.label is None or row["label"] in (one.label, [one.label]):
            scores = (round(float(score), 4) for score in one.scores)
            row["words"] = [(*span, score) for span, score in zip(one.spans, scores, strict=True)]
            row |= {"without": list(one.removed), "becomes": one.becomes}


def _sealed(folder: str, record: Mapping[str, Any]) -> Sealed | None:
    """Return the sealed annotations; None: the corpus is finished, or was sealed by nobody.

    Raises
    ------
    AuditError : it is not what was sealed.
    """
    if "seal" not in record:
        return None
    from textlabel.audit.seal import open_sealed

    return open_sealed(folder)


def _shares(folder: str, sealed: Sealed | None) -> dict[str, Any] | None:
    """Return class shares by the audit, and how many rows were asked and answered; None: no audit."""
    from textlabel.audit.draws import draws
    from textlabel.audit.estimation import carried, shares

    if sealed is None or not draws(sealed):
        return None
    try:
        return shares(folder) | ({"shares": carried(folder)} if sealed.several else {})
    except AuditError:  # its answers were given to training
        return None


def summary(facts: Mapping[str, Any]) -> list[str]:
    """Return what a reader must know, in a few sentences."""
    rows, told = facts["asked"]["rows"], []
    told.append(f"{rows:,} rows were labeled by {facts['done']['recipe']} on {facts['done']['backbone']}.")
    found = facts["certificate"]
    if found:
        told += [one["promise"] for one in found["groups"] if one["promise"]]
    else:
        told.append("Nothing is promised: there is no certificate of these labels.")
    judged = facts["judged"]
    if judged and facts["scores"]:
        numbers = judged["metrics"]
        off = f"{numbers[TITLES['mae']]:.3f} ({numbers['95 % interval'] or 'one row'})"
        told.append(
            f"Scores are off by {off} on {judged['rows']:,} rows with a known truth ({judged['by']})."
        )
    elif judged:
        numbers = judged["metrics"]
        wrong = f"{numbers['share wrong']:.1%} are wrong ({numbers['95 % interval']})"
        told.append(f"Of {judged['rows']:,} rows with a known truth ({judged['by']}) {wrong}.")
        if judged["open"]:
            drawn = judged["rows"] + judged["open"]
            told.append(
                f"{judged['open']:,} of {drawn:,} drawn rows have no settled answer; the interval holds "
                "whatever they are."
            )
    elif facts["estimate"]:
        told.append("; ".join(facts["estimate"].values()).capitalize())
    return told
