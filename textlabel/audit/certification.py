"""Certify: what may be promised about the sealed labels, given what people answered on the audited rows."""

from __future__ import annotations

import datetime
import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from textlabel import registry
from textlabel.audit.answers import Gold, audit_answers
from textlabel.audit.draws import Draw, drawn_rows, draws, refuse_released
from textlabel.audit.looks import note_certified, shown_before, take
from textlabel.audit.seal import Sealed, column, open_sealed
from textlabel.audit.store import numbered, read_json, write_json
from textlabel.errors import AuditError
from textlabel.trust.agreement import agreement
from textlabel.trust.certificate import Bools, Ints, Outcome, check_levels, price
from textlabel.trust.wrong import wrong_class, wrong_score

#: the rows of one group of a certificate: its name and their ranks, ascending
Groups = Mapping[str, Ints]
EVERYTHING = "all"

ASSUMED = "labels and order were fixed before a uniform draw without replacement"
#: a certificate tells how many rows were accepted, and so something of the answers
ASSUMED_AFTER = (
    "; and what was asked here did not depend on the certificate that an earlier look at this corpus gave"
)


def certify(
    folder: str | Path,
    max_error: float = 0.05,
    alpha: float = 0.05,
    *,
    mode: str = "finish",
    by: str | None = None,
) -> dict[str, Any]:
    """Return the certificate of a folder of annotations, or a "not yet"; JSON-ready, and stored there.

    What each mode promises, and the proof, is the docstring of ``textlabel.trust.certificates.MODE``. The
    j-th look at a corpus spends ``alpha / 2**j``, proved in `textlabel.trust.certificate.price` for looks
    that follow a "not yet" or were fixed beforehand; a certificate after another one says that it assumes the
    latter. Asking the same again is not a new look. With ``by`` the promise holds for every group at once:
    ``finish`` and ``selective`` split the level equally, ``fdr`` controls the average within each group.

    Parameters
    ----------
    folder : annotations with a drawn and answered audit.
    max_error : share of wrong labels in [0, 1) that is tolerated.
    alpha : chance in (0, 1) that a promise about this corpus is broken, over all looks.
    mode : ``finish``, ``selective`` or ``fdr`` (`textlabel plugins certificate`).
    by : ``class`` for one promise per predicted class, or a column of the corpus.

    Raises
    ------
    AuditError : labels or order changed since they were sealed; nothing drawn; answers released to training;
        for ``fdr``, rows that nobody has looked at.
    """
    check_levels(max_error, alpha)
    method = registry.load("certificate", mode)
    sealed = open_sealed(folder)
    refuse_released(sealed)
    made = draws(sealed)
    if not made:
        raise AuditError(f"{folder}: nothing was drawn to be checked; start with `textlabel audit draw`")
    rows = drawn_rows(made)
    gold = audit_answers(sealed)
    if mode == "fdr" and not gold.seen[rows].all():
        blank = int(np.sum(~gold.seen[rows]))
        raise AuditError(
            f"{folder}: {blank} audited rows are blank; mode 'fdr' promises nothing for a sheet that was "
            "answered in part: answer them, or say 'unsure'"
        )
    wrong = wrong_rows(sealed, gold, rows, made[0].tolerance)
    groups = ranks_by(sealed, by)
    question = _question(sealed, made, gold, wrong, max_error, alpha, mode, by)
    look = take(sealed, question)
    level = price(look, alpha) / (1 if mode == "fdr" else len(groups))
    ranks = sealed.rank[rows]
    outcomes = {
        name: method.certify(sealed.audit(ranks, wrong, among if by else None), max_error, level)
        for name, among in groups.items()
    }
    certified = any(outcome.accepted for outcome in outcomes.values())
    if certified:
        note_certified(sealed, question, look)
    record = {
        "mode": mode,
        "certified": certified,
        "max_error": max_error,
        "alpha": alpha,
        "look": look,
        "level_spent": price(look, alpha),
        "by": by,
        "groups": [
            _group(name, outcome, groups[name], ranks, wrong, max_error, alpha, method.PROMISE)
            for name, outcome in outcomes.items()
        ],
        "audited": len(rows),
        "wrong": int(wrong.sum()),
        "unanswered": int(np.sum(~gold.decided[rows])),
        "reviewers": reviewers(gold, sealed),
        "population": sealed.n,
        **{key: sealed.seal[key] for key in ("gold", "rejected", "out_of_scope")},
        "error": "another class" if sealed.names else f"further than {made[0].tolerance} from the answer",
        "assumes": ASSUMED + (ASSUMED_AFTER if shown_before(sealed, look) else ""),
        "seal": sealed.seal["labels"],
        "draws": [one.number for one in made],
    }
    return store(sealed, record) if certified else _not_yet(record)


def wrong_rows(sealed: Sealed, gold: Gold, rows: Ints, tolerance: float | None) -> Bools:
    """Return (m,) whether the model's label of each audited row is wrong; no majority counts as wrong."""
    said, truth = sealed.labels[rows], gold.label[rows]
    return wrong_class(said, truth) if tolerance is None else wrong_score(said, truth, tolerance)


def ranks_by(sealed: Sealed, by: str | None) -> Groups:
    """Return ranks by predicted class, by the values of a column, or all in one group."""
    if by is None:
        return {EVERYTHING: np.arange(sealed.n)}
    if by == "class":
        if not sealed.names:
            raise AuditError("by = 'class': scores have no classes; name a column")
        values = np.array(sealed.names, dtype=object)[sealed.labels[sealed.order]]
    elif by in sealed.rows.column_names:
        values = column(sealed.rows, by)[sealed.order]
    else:
        raise AuditError(f"by = {by!r}: expected 'class' or one of the columns {sealed.rows.column_names}")
    texts = np.array([str(value) for value in values.tolist()])
    names, code = np.unique(texts, return_inverse=True)
    if len(names) > MOST_GROUPS:
        raise AuditError(f"by = {by!r}: {len(names)} different values; expected at most {MOST_GROUPS} groups")
    return {str(name): np.flatnonzero(code == i) for i, name in enumerate(names)}


#: more groups than this leave nothing of alpha
MOST_GROUPS = 200


def reviewers(gold: Gold, sealed: Sealed) -> dict[str, Any]:
    """Return who answered, and how far they agree where several answered the same row."""
    facts: dict[str, Any] = {"names": list(gold.reviewers)}
    found = agreement(gold.table, "nominal" if sealed.names else "interval")
    if not found.rows:
        return {**facts, "truth": "the answer of one person a row"}
    truth = "majority" if sealed.names else "median"
    return {
        **facts,
        "truth": f"agreement with the reviewers' {truth}",
        "rows_by_several": found.rows,
        "agreement": found.same,
        "krippendorff_alpha": None if math.isnan(found.alpha) else found.alpha,
        "tied": found.tied,
    }


def current(sealed: Sealed) -> dict[str, Any]:
    """Return the newest certificate of these very labels.

    Raises
    ------
    AuditError : there is none, it speaks of other labels, or the answers were released since.
    """
    refuse_released(sealed)
    paths = numbered(sealed.audit_folder, "certificate")
    if not paths:
        raise AuditError(
            f"{sealed.folder}: nothing is certified yet; run `textlabel certify {sealed.folder}`"
        )
    record = read_json(paths[-1])
    if record["seal"] != sealed.seal["labels"]:
        raise AuditError(f"{paths[-1]} is void: labels or order were changed since; certify again")
    return record


def store(sealed: Sealed, record: dict[str, Any]) -> dict[str, Any]:
    """Write the certificate unless the newest says the same, and return it."""
    paths = numbered(sealed.audit_folder, "certificate")
    known = read_json(paths[-1]) if paths else {}
    if {**known, "created": None} == {**record, "created": None}:
        return known
    full = {**record, "created": datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds")}
    write_json(sealed.audit_folder / f"certificate-{len(paths) + 1}.json", full)
    return full


def accepted_rows(sealed: Sealed, certificate: Mapping[str, Any]) -> Bools:
    """Return (N,) which rows of the corpus keep the model's label under a certificate."""
    groups = ranks_by(sealed, certificate["by"])
    accepted = np.zeros(len(sealed.rows), dtype=bool)
    for group in certificate["groups"]:
        accepted[sealed.order[groups[group["name"]][: group["accepted"]]]] = True
    return accepted


def _not_yet(record: dict[str, Any]) -> dict[str, Any]:
    """Return the record without anything that was learned from answers: see `price`."""
    hidden = {"wrong", "reviewers"}
    return {key: value for key, value in record.items() if key not in hidden}


def _group(
    name: str,
    outcome: Outcome,
    among: Ints,
    ranks: Ints,
    wrong: Bools,
    max_error: float,
    alpha: float,
    promise: str,
) -> dict[str, Any]:
    inside = np.isin(ranks, among)
    facts = {
        "name": name,
        "population": len(among),
        "audited": int(inside.sum()),
        "accepted": outcome.accepted,
    }
    if not outcome.accepted:
        return {**facts, "promise": None, "reason": outcome.reason}
    words = {
        "level": f"{1 - alpha:.6g}",
        "count": outcome.allowed,
        "n": len(among),
        "accepted": outcome.accepted,
        "percent": f"{100 * max_error:g} %",
    }
    return {
        **facts,
        "wrong": int(wrong[inside].sum()),
        "allowed": outcome.allowed,
        "bound": outcome.bound,
        "promise": promise.format(**words),
    }


def _question(
    sealed: Sealed,
    made: list[Draw],
    gold: Gold,
    wrong: Bools,
    max_error: float,
    alpha: float,
    mode: str,
    by: str | None,
) -> dict[str, Any]:
    rows = drawn_rows(made)
    answers = hashlib.sha256(gold.label[rows].tobytes() + wrong.tobytes() + rows.tobytes()).hexdigest()
    settings = {"max_error": max_error, "alpha": alpha, "mode": mode, "by": by}
    return {"seal": sealed.seal["labels"], "answers": answers, **settings}
