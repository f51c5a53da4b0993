"""The step adapt: from a model and texts without labels to a model for these; a killed one goes on."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from textlabel.corpus.remote import is_url
from textlabel.errors import BundleError, RecipeError
from textlabel.labeler import Labeler
from textlabel.places import require_free
from textlabel.recipe import Recipe
from textlabel.types import Summary


@dataclass(frozen=True)
class Adapt:
    """Let a model go on to texts without labels, where only the model has come from elsewhere.

    Parameters
    ----------
    model : folder that `fit` wrote, URL of one, or Hub id of a published one. It stays as it is.
    unlabeled : texts of the target domain: a csv, tsv, jsonl or parquet file, a folder or glob of them, a
        saved dataset, or a Hub dataset id. No label of it is read.
    out : folder for the new model; an older one there is replaced when the new one is complete.
    recipe : shot, tent, or path of a TOML file whose stages read unlabeled rows alone under a head that
        stays.
    text_column : column that holds the text; several are joined.
    id_column : column that names the row in messages; by default `id` if there is one, else its position.
    seed : decides order, dropout and new weights.
    on_bad_row : fail stops at the first unusable row, skip leaves such rows out.
    reject_file : with skip, JSON lines of the rows left out.
    self_contained : also copy a backbone that could be had by its name.
    """

    model: str
    unlabeled: str
    out: str
    recipe: str = "shot"
    text_column: tuple[str, ...] = ("text",)
    id_column: str = ""
    seed: int = 0
    on_bad_row: str = "fail"
    reject_file: str = ""
    self_contained: bool = False

    def run(self) -> Summary:
        """Train, save, and return what there is to tell. A killed run goes on when it is repeated."""
        from textlabel.engine.process import accelerator

        recipe = Recipe.load(self.recipe)
        out = require_free(self.out, BundleError)
        if not is_url(self.model) and Path(self.model).expanduser().resolve() == out:
            raise RecipeError(f"{out} is the model that is adapted: choose another folder for the new one")
        checkpoint = out.with_name(f".{out.name}.checkpoint")
        start = time.monotonic()
        labeler = Labeler.from_pretrained(self.model).adapt(
            self.unlabeled,
            recipe,
            seed=self.seed,
            text_column=self.text_column,
            checkpoint=checkpoint,
            id_column=self.id_column or None,
            on_bad_row=self.on_bad_row,
            reject_file=self.reject_file or None,
        )
        labeler.save(out, self_contained=self.self_contained)
        if accelerator().is_main_process:
            shutil.rmtree(checkpoint, ignore_errors=True)
        accelerator().wait_for_everyone()
        told = labeler.record()["adapted"][-1]
        return {
            "model": str(out),
            "started_from": self.model,
            "recipe": recipe.name,
            "backbone": labeler.record()["backbone"]["name"],
            "texts": told["texts"],
            "labels": told["labels"],
            "calibrated": False,
            "processes": accelerator().num_processes,
            "seconds": round(time.monotonic() - start, 1),
        }
