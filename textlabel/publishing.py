"""What lies on this machine to a repository of the Hub: a model, annotations, or a sheet."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from textlabel.errors import ExportError

if TYPE_CHECKING:
    from textlabel.export._push import Files


def _read(file: str, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExportError(f"{file}: cannot be read ({error})") from None


@dataclass(frozen=True)
class Push:
    """Publish a model, annotations or a sheet.

    Parameters
    ----------
    source : folder that `textlabel fit` or `textlabel annotate` wrote; or a sheet (`audit draw`, `todo`),
        which goes to sheets/ of a dataset repository.
    repo : Hub repository (user/name); made if it does not exist, but not for a pull request.
    private : whether a repository that is made now is private.
    revision : branch to push to (made if it does not exist), or to open the pull request against.
    create_pr : open a pull request instead of changing the branch.
    dry_run : list what would be pushed, and ask nothing of the Hub.
    about : TOML file with what only people know, for the card: intended_use, known_failures, guidelines,
        citation, and tables [[texts]] with name, role and license.
    evaluation : file with what `textlabel evaluate --json` printed, for the card and the Hub's results.
    allow_personal_data : share of the rows that may seem to hold personal data (`textlabel scan`); with more
        nothing is published.
    """

    source: str
    repo: str
    private: bool = True
    revision: str = ""
    create_pr: bool = False
    dry_run: bool = False
    about: str = ""
    evaluation: str = ""
    allow_personal_data: float = 0.0

    def run(self) -> dict[str, Any]:
        """Push, and return the files with their sizes, where they go, and the address.

        Raises
        ------
        ExportError : neither such a folder nor a sheet; about or evaluation cannot be read; too many rows
            seem to hold personal data; the Hub refused, or was not reached.
        """
        from textlabel.export._push import Target, plan, send
        from textlabel.export.hub import is_rows

        kind, read = self._what()
        target = Target(self.repo, kind, self.private, self.revision, self.create_pr)
        with TemporaryDirectory() as folder:
            files = read(Path(folder))
            told = {**plan(files, target), "dry_run": self.dry_run, "url": None}
            if not self.dry_run:
                is_old = is_rows if read == self._rows else None
                told["url"] = send(files, target, "Pushed by textlabel", is_old)
        return told

    def _what(self) -> tuple[Any, Any]:
        """Return the kind of repository, and what makes its files in a folder for them."""
        from textlabel.export._folder import RECORD
        from textlabel.export._read import read_record

        if Path(self.source).is_file():
            return "dataset", self._sheet
        if not (Path(self.source) / RECORD).is_file():
            raise ExportError(
                f"{self.source}: expected a folder that `textlabel fit` or `textlabel annotate` wrote, "
                "or a sheet"
            )
        if "rows" in read_record(self.source):
            return "dataset", self._rows
        return "model", self._model

    def _model(self, _: Path) -> Files:
        from textlabel.export.hub import files_below
        from textlabel.report.cards import model_card

        files = files_below(Path(self.source))
        if stated := self._stated():
            from textlabel.models.bundle import Bundle

            record = {**Bundle.load(Path(self.source)).record, **stated}
            files["README.md"] = model_card(record).encode()
        return files

    def _rows(self, folder: Path) -> Files:
        from textlabel.export._read import read_annotations, read_record
        from textlabel.export.hub import files_of_rows

        rows, record = read_annotations(self.source), read_record(self.source)
        stated = {**record, **self._stated()}
        return files_of_rows(rows, stated, folder, self.allow_personal_data, self.repo)

    def _stated(self) -> dict[str, Any]:
        """Return what the record gets from the files about and evaluation."""
        from textlabel.report.card_about import check_about

        stated: dict[str, Any] = {}
        if self.about:
            stated["about"] = _read(self.about, tomllib.loads)
            check_about(stated["about"], self.about)
        if self.evaluation:
            stated["evaluation"] = _read(self.evaluation, json.loads)
            if not isinstance(stated["evaluation"], dict) or "n" not in stated["evaluation"]:
                raise ExportError(f"{self.evaluation}: expected what `textlabel evaluate --json` printed")
        return stated

    def _sheet(self, _: Path) -> Files:
        from datasets import Dataset

        from textlabel.exchange import sheet_rows
        from textlabel.scanning import refuse_personal_data

        rows = Dataset.from_list(sheet_rows(self.source))
        refuse_personal_data(rows, self.allow_personal_data, self.repo)
        return {f"sheets/{Path(self.source).name}": Path(self.source)}
