"""A loop that was started: propose rows, take answers, fit a head again, propose."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from textlabel.asking.start import ANSWERS, CORPUS, LABELED, SETTINGS
from textlabel.audit.answers import WITHDRAWN
from textlabel.audit.store import append, locked, numbered, read_json, read_lines, write_json
from textlabel.corpus.check import UNDECIDED
from textlabel.errors import AuditError, CorpusError, nearest

if TYPE_CHECKING:
    from datasets import Dataset

    from textlabel.ask import Floats
    from textlabel.ask.stopping import Round
    from textlabel.engine.replay import Heads
    from textlabel.types import IntArray

#: columns of a sheet
SHEET = ("row", "id", "text", "label", "note")
#: what stands for the sheet in the log: a loop has one row of questions
ROUND = "loop"


@dataclass(frozen=True)
class Loop:
    """A loop that was started.

    Parameters
    ----------
    folder : that `Start` wrote.

    Raises
    ------
    CorpusError : it is none.
    """

    folder: Path

    def __post_init__(self) -> None:
        if not (self.folder / SETTINGS).is_file():
            raise CorpusError(f"{self.folder}: no {SETTINGS} here; start with `textlabel loop start`")

    @property
    def settings(self) -> dict[str, Any]:
        """What was asked for at the start."""
        return read_json(self.folder / SETTINGS)

    def rows(self) -> Dataset:
        """Return the rows that may be asked."""
        from datasets import load_from_disk

        return load_from_disk(str(self.folder / CORPUS))

    def rounds(self) -> list[dict[str, Any]]:
        """Return the rounds so far."""
        return [read_json(path) for path in numbered(self.folder, "round")]

    def answers(self) -> dict[tuple[int, str], str | None]:
        """Return what each reviewer said last of each row and stands, the newest last; None: undecided."""
        standing: dict[tuple[int, str], list[tuple[int, str | None]]] = {}
        for number, line in enumerate(read_lines(self.folder / ANSWERS)):
            stack = standing.setdefault((line["row"], line["reviewer"].casefold()), [])
            if line["state"] != WITHDRAWN:
                stack.append((number, line["label"]))
            elif stack:
                stack.pop()
        last = sorted((stack[-1][0], key, stack[-1][1]) for key, stack in standing.items() if stack)
        return {key: label for _, key, label in last}

    def labels(self) -> dict[int, str | None]:
        """Return what was said last of each row: a class, or None where nobody could tell."""
        return {row: label for (row, _), label in self.answers().items()}

    def proposed(self) -> list[int]:
        """Return the rows of all rounds, in the order in which they were asked."""
        return [row for one in self.rounds() for row in one["rows"]]

    def propose(self, count: int) -> dict[str, Any]:
        """Write the next round and its sheet, and return where; an open round is given again.

        Raises
        ------
        CorpusError : no row is left, or the budget is spent.
        AuditError : the sheet holds labels that were not imported yet.
        """
        with locked(self.folder):
            rounds, said = self.rounds(), self.labels()
            waiting = [row for row in (rounds[-1]["rows"] if rounds else []) if row not in said]
            number = len(rounds)
            if not waiting:
                waiting, told = self._next(self._within_budget(count, said), said, number)
                number += 1
                write_json(self.folder / f"round-{number}.json", {"rows": waiting, **told})
            sheet = self.folder / f"round-{number}.csv"
            self._refuse_filled(sheet, said)
            sheet.unlink(missing_ok=True)  # made of the round and the answers
            self._write(sheet, waiting)
        return {"round": number, "rows": len(waiting), "sheet": str(sheet)}

    def record(self, sheet: str | Path, reviewer: str = "", correct: bool = False) -> dict[str, int]:
        """Add the answers of a filled sheet; all of them, or none if one row is unfit.

        Parameters
        ----------
        correct : replace what was said otherwise before, by whomever; without it that is refused.

        Raises
        ------
        AuditError : a row that was not proposed, or twice; a text that is not the row's; an unknown label;
            another answer than before.
        """
        from textlabel.audit.filled import sheet_lines

        path, rows = Path(sheet), self.rows()
        lines = list(sheet_lines(path, "row"))
        records: dict[int, dict[str, Any]] = {}
        with locked(self.folder):
            proposed, said = set(self.proposed()), self.labels()
            for where, values in lines:
                record = self._record(path, where, values, proposed, rows)
                if record is None:
                    continue
                row = record["row"]
                if row in records:
                    raise _refuse(path, where, "row", f"row {row} is in the sheet twice")
                if row in said and said[row] != record["label"] and not correct:
                    before, now = (one or "undecided" for one in (said[row], record["label"]))
                    problem = f"{now!r}, and before it was {before!r}; to replace that, give --correct"
                    raise _refuse(path, where, "label", problem)
                who = " ".join(str(values.get("reviewer") or reviewer).split())
                records[row] = {**record, "reviewer": who}
            found = [one for row, one in records.items() if row not in said or said[row] != one["label"]]
            append(self.folder / ANSWERS, found)
        undecided = sum(one["label"] is None for one in found)
        return {"answered": len(found) - undecided, "undecided": undecided}

    def status(self) -> dict[str, Any]:
        """Return how far it is, and why each stopping rule would end it; an empty text: it would not."""
        said, known = self.labels(), read_lines(self.folder / LABELED)
        counts = dict.fromkeys(self.settings["classes"], 0)
        for label in (*said.values(), *(row["label"] for row in known)):
            if label is not None:
                counts[label] += 1
        left = len(self.rows()) - len(said)
        return {
            "rounds": len(self.rounds()),
            "labeled": sum(counts.values()),
            "classes": counts,
            "left": left,
            "stop": self.stop(),
        }

    def stop(self) -> dict[str, str]:
        """Return why each stopping rule (`textlabel plugins stopping`) would end; empty: go on."""
        from textlabel import registry

        rounds = self.last_rounds()
        return {name: registry.load("stopping", name).stop(rounds) for name in registry.plugins("stopping")}

    def last_rounds(self) -> list[Round]:
        """Return what was known after each of the last rounds, by the answers that stand now."""
        from textlabel.ask.stopping import LAST, Round

        numbers, settings, found = [one["rows"] for one in self.rounds()], self.settings, []
        if not numbers:
            return []
        features, labels, k = self._known()
        said = self.labels()
        for ended in range(max(len(numbers) - LAST, 0), len(numbers)):
            then = labels.copy()
            then[[row for rows in numbers[ended + 1 :] for row in rows]] = -1
            model = self._heads(features, then, k, settings["seed"])
            if model is not None:
                asked = sum(label is not None for row, label in said.items() if then[row] >= 0)
                found.append(Round(asked, model.probabilities(features), settings["budget"]))
        return found

    def export(self, out: str | Path) -> int:
        """Write all labeled rows as csv or jsonl, ready for `fit`, and return how many."""
        from textlabel.audit.draws import write_sheet

        rows, said = self.rows(), self.labels()
        found = [{"id": f"labeled-{i}", **row} for i, row in enumerate(read_lines(self.folder / LABELED), 1)]
        for row, label in said.items():
            if label is not None:
                found.append({"id": rows[row]["id"], "text": rows[row]["text"], "label": label})
        write_sheet(Path(out), found, ("id", "text", "label"))
        return len(found)

    def check(self, word: str) -> tuple[str, str | None]:
        """Return state and class of an answer, as the log has them.

        Raises
        ------
        AuditError : it is neither a class nor a word for being undecided.
        """
        names = self.settings["classes"]
        folded = {name.casefold(): name for name in names}
        said = word if word in names else folded.get(word.casefold())
        if said is not None:
            return "answered", said
        undecided = word.casefold().removeprefix("?")
        if undecided not in UNDECIDED:
            raise AuditError(f"unknown label {word!r}: {nearest(word, [*names, *UNDECIDED])}")
        return undecided, None

    def _refuse_filled(self, sheet: Path, said: Mapping[int, str | None]) -> None:
        """Raise an `AuditError` where a sheet is the only copy of what somebody filled in."""
        from textlabel.audit.filled import sheet_lines

        if not sheet.is_file():
            return
        for where, values in sheet_lines(sheet, "row"):
            row, label = str(values["row"]), str(values["label"] or "").strip()
            if label and not (row.isdigit() and int(row) in said):
                raise AuditError(
                    f"{sheet}, {where}: it holds labels that were not taken in; first "
                    f"`textlabel loop import {self.folder} {sheet}`, or delete it"
                )

    def _within_budget(self, count: int, said: Mapping[int, str | None]) -> int:
        """Return how many rows may be asked now."""
        budget, spent = self.settings["budget"], sum(label is not None for label in said.values())
        if budget and spent >= budget:
            raise CorpusError(
                f"{self.folder}: the budget of {budget} labels is spent; `loop export` writes them. "
                f"For more, begin a loop with them as --labeled, or raise `budget` in {SETTINGS}"
            )
        return min(count, budget - spent) if budget else count

    def _next(
        self, count: int, said: Mapping[int, str | None], number: int
    ) -> tuple[list[int], dict[str, Any]]:
        """Return the rows of the next round, and what is told of it."""
        from textlabel.ask import Pool, propose

        settings = self.settings
        features, labels, k = self._known(said)
        model = self._heads(features, labels, k, settings["seed"])
        probabilities = votes = None
        if model is not None:
            probabilities, votes = model.probabilities(features), model.votes(features)
        closed = labels == k
        pool = Pool(features, np.where(closed, -1, labels), k, probabilities, votes, closed=closed)
        seed = settings["seed"] * 1000 + number
        found = propose(pool, count, settings["strategy"], seed).tolist()
        labeled = int(((labels >= 0) & (labels < k)).sum())
        return found, {"strategy": settings["strategy"], "seed": seed, "labeled": labeled}

    def _known(self, said: Mapping[int, str | None] | None = None) -> tuple[Floats, IntArray, int]:
        """Return features and labels (n,) of the corpus and of the rows labeled before, and k.

        A label is -1 where nobody has answered, and k where nobody could tell.
        """
        settings, known = self.settings, read_lines(self.folder / LABELED)
        code = {name: i for i, name in enumerate(settings["classes"])}
        texts = self.rows()["text"][:]
        features = self._features([*texts, *(row["text"] for row in known)])
        labels = np.full(len(features), -1, np.int64)
        for row, label in (self.labels() if said is None else said).items():
            labels[row] = len(code) if label is None else code[label]
        labels[len(texts) :] = [code[row["label"]] for row in known]
        return features, labels, len(code)

    def _features(self, texts: list[str]) -> Floats:
        from textlabel.engine.feature_cache import cache_folder
        from textlabel.engine.predict import predict
        from textlabel.models.backbone import load_backbone
        from textlabel.models.classifier import Classifier
        from textlabel.progress import bar
        from textlabel.types import LabelSchema

        settings = self.settings
        schema = LabelSchema("single", tuple(settings["classes"]))
        classifier = Classifier(load_backbone(settings["backbone"]), schema).eval()
        with bar("encode rows") as update:
            found = predict(classifier, texts, cache=cache_folder(settings["cache"]), progress=update)
        return found[1].astype(np.float64)

    def _heads(self, features: Floats, labels: IntArray, k: int, seed: int) -> Heads | None:
        """Return heads of the labeled rows; None while fewer than two classes are known."""
        from textlabel.engine.replay import heads

        known = np.where(labels < k, labels, -1)
        return heads(features, known, np.arange(len(known)), k, seed)

    def _write(self, sheet: Path, rows: list[int]) -> None:
        from textlabel.audit.draws import write_sheet

        corpus = self.rows()
        lines = [
            {"row": row, "id": corpus[row]["id"], "text": corpus[row]["text"], "label": None, "note": None}
            for row in rows
        ]
        write_sheet(sheet, lines, SHEET)

    def _record(
        self, path: Path, where: str, values: Mapping[str, Any], proposed: set[int], rows: Dataset
    ) -> dict[str, Any] | None:
        """Return the record of one row of a sheet; None if it is blank."""

        def refuse(column: str, problem: str) -> AuditError:
            return _refuse(path, where, column, problem)

        row, label = str(values["row"]), str(values["label"] or "").strip()
        if not (row.isascii() and row.isdigit()) or int(row) not in proposed:
            raise refuse("row", f"row {row!r} was not proposed")
        if str(values["text"]).split() != rows[int(row)]["text"].split():
            raise refuse("text", f"this is not the text of row {row}; was one column sorted?")
        if not label:
            return None
        try:
            state, said = self.check(label)
        except AuditError as error:
            raise refuse("label", str(error)) from None
        time = datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds")
        told = {"sheet": ROUND, "row": int(row), "id": rows[int(row)]["id"], "state": state, "label": said}
        return {**told, "note": values.get("note") or None, "time": time}


def _refuse(path: Path, where: str, column: str, problem: str) -> AuditError:
    return AuditError(f"{path}, {where}, column {column!r}: {problem}. Nothing was imported")
