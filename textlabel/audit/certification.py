"""Certify: what may be promised about the sealed labels, given what people answered on the audited rows."""

from __future__ import annotations

import datetime
import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel import registry
from textlabel.audit.answers import Gold, audit_answers
from textlabel.audit.draws import drawn_rows, draws, refuse_released
from textlabel.audit.looks import note_shown, shown_before, take
from textlabel.audit.seal import Sealed, column, groupable, open_sealed
from textlabel.audit.store import locked, numbered, read_json, write_json
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
    "; and what was asked here did not depend on what a certificate or `shares` told of this corpus before"
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
    rows, gold = drawn_rows(made), audit_answers(sealed)
    if method.SPENDS == "max_error" and not gold.seen[rows].all():
        blank = int(np.sum(~gold.seen[rows]))
        raise AuditError(
            f"{folder}: {blank} audited rows are blank; mode {mode!r} promises nothing for a sheet that was "
            "answered in part: answer them, or say 'unsure'"
        )
    wrong = wrong_rows(sealed, gold, rows, made[0].tolerance)
    groups = ranks_by(sealed, by)
    settings = {"max_error": max_error, "alpha": alpha, "mode": mode, "by": by}
    answers = _answers_digest(gold, rows)
    look = take(sealed, {"seal": sealed.seal["labels"], "answers": answers, **settings})
    spent: dict[str, float] = {"max_error": max_error, "alpha": alpha}
    spent[method.SPENDS] = price(look, spent[method.SPENDS])
    ranks, level = sealed.rank[rows], spent["alpha"] / (len(groups) if method.SPENDS == "alpha" else 1)
    outcomes = {
        name: method.certify(sealed.audit(ranks, wrong, among if by else None), spent["max_error"], level)
        for name, among in groups.items()
    }
    told = [
        _group(name, outcome, groups[name], ranks, wrong, settings, method.PROMISE)
        for name, outcome in outcomes.items()
    ]
    record = {
        "mode": mode,
        "certified": any(group["promise"] for group in told),
        "max_error": max_error,
        "alpha": alpha,
        "look": look,
        "spends": method.SPENDS,
        "level_spent": spent[method.SPENDS],
        "by": by,
        "groups": told,
        "audited": len(rows),
        "population": sealed.n,
        **{key: sealed.seal[key] for key in ("gold", "rejected")},
        "out_of_scope": sealed.n - sealed.in_scope,
        "error": _error(sealed, made[0].tolerance),
        "labels_shown": any(one.labels_shown for one in made),
        "assumes": ASSUMED + (ASSUMED_AFTER if shown_before(sealed, look) else ""),
        "seal": sealed.seal["labels"],
        "draws": len(made),
        "answers": answers,
    }
    if not record["certified"]:
        return record
    note_shown(sealed, look)
    unanswered = int(np.sum(~gold.decided[rows]))
    return store(sealed, {**record, "unanswered": unanswered, "reviewers": reviewers(gold, sealed)})


def _error(sealed: Sealed, tolerance: float | None) -> str:
    """Return in words what counts as wrong."""
    if not sealed.names:
        return f"further than {tolerance} from the answer"
    return "not exactly the same classes" if sealed.several else "another class"


def _answers_digest(gold: Gold, rows: Ints) -> str:
    return hashlib.sha256(gold.label[rows].tobytes() + rows.tobytes()).hexdigest()


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
    else:
        values = group_values(sealed, by)[sealed.order]
    texts = np.array([str(value) for value in values.tolist()])
    names, code = np.unique(texts, return_inverse=True)
    refuse_many(by, len(names))
    return {str(name): np.flatnonzero(code == i) for i, name in enumerate(names)}


def refuse_many(by: str, groups: int) -> None:
    """Raise an `AuditError` where a column makes more groups than a promise can bear."""
    if groups > MOST_GROUPS:
        raise AuditError(f"by = {by!r}: {groups} different values; expected at most {MOST_GROUPS} groups")


def group_values(sealed: Sealed, by: str) -> npt.NDArray[Any]:
    """Return the values (N,) of an input column, which the seal covers."""
    known = groupable(sealed.rows)
    if by not in known:
        raise AuditError(
            f"by = {by!r}: expected one of the input's columns {known}, or for certificates 'class'"
        )
    return column(sealed.rows, by)


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
    rows = drawn_rows(draws(sealed)[: record["draws"]])
    if _answers_digest(audit_answers(sealed), rows) != record["answers"]:
        raise AuditError(f"{paths[-1]} is void: answers on audited rows were changed since; certify again")
    return record


def store(sealed: Sealed, record: dict[str, Any]) -> dict[str, Any]:
    """Write the certificate unless the newest says the same, and return it."""
    with locked(sealed.audit_folder):
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


def _group(
    name: str,
    outcome: Outcome,
    among: Ints,
    ranks: Ints,
    wrong: Bools,
    settings: Mapping[str, Any],
    promise: str,
) -> dict[str, Any]:
    """Return what is told of one group; of "not yet" nothing that was learned from answers: see `price`."""
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
        "level": f"{1 - settings['alpha']:.6g}",
        "count": outcome.allowed,
        "n": len(among),
        "accepted": outcome.accepted,
        "percent": f"{100 * settings['max_error']:g} %",
    }
    return {
        **facts,
        "wrong": int(wrong[inside].sum()),
        "allowed": outcome.allowed,
        "bound": outcome.bound,
        "promise": promise.format(**words),
    }
