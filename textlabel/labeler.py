"""The facade: fit, annotate, evaluate, save, publish. It delegates and holds no logic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any
from weakref import finalize

from textlabel.errors import BundleError, RecipeError
from textlabel.models.backend_fit import REFERENCE
from textlabel.recipe import Recipe
from textlabel.trust.scope import DEFAULT_OFF_MAP
from textlabel.trust.set_rule import DEFAULT_ALPHA, DEFAULT_SETS, SetPlan
from textlabel.types import COLUMNS, LabelSchema, Predictions

if TYPE_CHECKING:
    from datasets import Dataset

    from textlabel.engine.optimize import Trial
    from textlabel.engine.predictor import Predictor
    from textlabel.models.bundle import Bundle
    from textlabel.report.evaluation import Evaluation
    from textlabel.trust.estimates import Estimate
    from textlabel.trust.label_shift import LabelShift, Refused

#: chosen by recipes/benchmarks/backbones.py; its table is in README
DEFAULT_BACKBONE = "bge-small-en-v1.5-int8"

Source = Any  # path, glob, Hub id, datasets.Dataset, or list of dicts: see textlabel.corpus.load


class Labeler:
    """Adapt a backbone to a few labels, then label a corpus with calibrated confidence.

    Parameters
    ----------
    backbone : registered name (`textlabel backbones`), local folder, or Hub id.
    recipe : shipped name (`textlabel recipes`), path of a TOML file, or `Recipe`.
    seed : decides folds, order, dropout and new weights.
    backend : what runs the forward pass: torch, another that `optimize` kept, or auto, the fastest of those
        that runs here.
    calibration : "auto", "holdout", "folds=K" or "none": which rows, unseen in training, calibrate.
    calibrator : plugin (`textlabel plugins calibrator`), or "auto": the simplest that those rows do
        not speak against.
    off_map : score that tells how far off the map a text is (`textlabel plugins off_map`).
    keep_reference : keep the features of all training rows in the model, as the score "knn" needs.
    sets : prediction sets by "lac", "aps", "raps" or "class" (`textlabel.trust.set_rule`); scores have an
        interval instead.
    set_alpha : share of the sets that may miss the true label.
    cache : where features of texts are kept for the next model on the same body: True, the user's cache
        folder (`textlabel cache`), False, nowhere, or a folder.
    pooling, normalize, max_length : how features are read; None: as the backbone says of itself.

    Examples
    --------
    >>> from textlabel import Labeler
    >>> labeler = Labeler(backbone="all-MiniLM-L6-v2", recipe="head", seed=0)
    >>> labeler.fit("reviews.csv").annotate("unlabeled.csv").save_to_disk("out")  # doctest: +SKIP
    """

    def __init__(
        self,
        backbone: str | Path = DEFAULT_BACKBONE,
        recipe: str | Path | Recipe = "head",
        *,
        seed: int = 0,
        backend: str = REFERENCE,
        calibration: str = "auto",
        calibrator: str = "auto",
        off_map: str = DEFAULT_OFF_MAP,
        keep_reference: bool = False,
        sets: str = DEFAULT_SETS,
        set_alpha: float = DEFAULT_ALPHA,
        cache: bool | str | Path = True,
        pooling: str | None = None,
        normalize: bool | None = None,
        max_length: int | None = None,
    ) -> None:
        self.backbone = backbone
        self._recipe: Recipe | dict[str, Any] = Recipe.load(recipe)
        self.seed = seed
        self.backend = backend
        self.calibration = calibration
        self.calibrator = calibrator
        self.off_map = off_map
        self.keep_reference = keep_reference
        self.sets = SetPlan(sets, set_alpha)
        self.cache = cache
        self._reading = {"pooling": pooling, "normalize": normalize, "max_length": max_length}
        self._bundle: Bundle | None = None
        self._predictor: Predictor | None = None

    @property
    def recipe(self) -> Recipe:
        """How it adapts; of a loaded labeler, how it once did."""
        if isinstance(self._recipe, dict):
            self._recipe = Recipe.from_dict(self._recipe, where="the recipe in the model")
        return self._recipe

    @property
    def bundle(self) -> Bundle:
        """The trained classifier; a `BundleError` before `fit` or `load`."""
        if self._bundle is None:
            raise BundleError(
                "this labeler has not learned anything yet: call fit(train) or Labeler.load(folder)"
            )
        return self._bundle

    @property
    def schema(self) -> LabelSchema:
        """What a label is."""
        return self.bundle.classifier.schema

    def fit(
        self,
        train: Source,
        unlabeled: Source | None = None,
        validation: Source | None = None,
        *,
        text_column: str | Sequence[str] = "text",
        label_column: str = "label",
        checkpoint: str | Path | None = None,
        on_bad_row: str = "fail",
        reject_file: str | Path | None = None,
        **loading: Any,
    ) -> Labeler:
        """Adapt to labeled rows and return this labeler.

        Parameters
        ----------
        train : labeled rows: path, glob, Hub id, Dataset or list of dicts.
        unlabeled : rows of the target domain without labels, for recipes that read them.
        validation : labeled rows for early stopping; never trained on.
        checkpoint : folder in which a killed fit resumes when it is repeated.
        on_bad_row : "fail" stops at the first unusable row, "skip" leaves such rows out.
        reject_file : with "skip", one JSON object for each row left out, of all three sources.
        loading : further options of `textlabel.load_corpus` for the labeled rows.

        Raises
        ------
        CorpusError, RecipeError, BackboneError, TrainingError
        """
        from textlabel.engine.adapt import adapt
        from textlabel.engine.feature_cache import cache_folder
        from textlabel.engine.scope import ScopePlan
        from textlabel.engine.task import load_task
        from textlabel.models.backbone import load_backbone
        from textlabel.report.record import complete_record

        task, from_audits = load_task(
            train,
            unlabeled,
            validation,
            "score" if "score" in self.recipe.kinds else "single",
            text_column=text_column,
            label_column=label_column,
            on_bad_row=on_bad_row,
            reject_file=reject_file,
            **loading,
        )
        backbone = load_backbone(self.backbone, **self._reading)
        bundle = adapt(
            backbone,
            task,
            self.recipe,
            self.seed,
            calibration=self.calibration,
            calibrator=self.calibrator,
            scope=ScopePlan(self.off_map, self.keep_reference),
            sets=self.sets,
            backend=REFERENCE if self.backend == "auto" else self.backend,
            cache=cache_folder(self.cache),
            checkpoint=None if checkpoint is None else Path(checkpoint),
        )
        bundle.record = complete_record(bundle)
        bundle.record["labels"]["audit"] = from_audits
        self._bundle, self._predictor = bundle, None
        return self

    def predict(
        self,
        corpus: Source,
        *,
        text_column: str | Sequence[str] = "text",
        checkpoint: str | Path | None = None,
        embeddings: bool = True,
        **loading: Any,
    ) -> Predictions:
        """Return logits, features and off-the-map scores of a corpus, in input order.

        Parameters
        ----------
        checkpoint : folder, or URL that fsspec knows, in which a killed prediction goes on when it is
            repeated. It stays when all is done: delete it when you need it no longer.
        embeddings : with a checkpoint, whether features are kept, which are large. Only scores by which rows
            can be ordered (ensemble, mutual_information, knn) read them.

        Raises
        ------
        ExportError : ``checkpoint`` cannot be written or read, or holds a run of another corpus or model.
        """
        from textlabel.corpus.load import load_corpus

        return self._predict(load_corpus(corpus, text_column=text_column, **loading), checkpoint, embeddings)

    def _predict(self, rows: Dataset, checkpoint: str | Path | None, embeddings: bool) -> Predictions:
        from textlabel.engine.long_run import predict_in_shards
        from textlabel.progress import meter

        if checkpoint is not None:
            return predict_in_shards(self.predictor, rows, checkpoint, embeddings)
        with meter("annotate", len(rows)) as update:
            before = self.predictor.tokens
            predictions = self.predictor(
                list(rows["id"]),
                list(rows["text"]),
                lambda done, _: update(done, self.predictor.tokens - before),
            )
        self.predictor.publish()
        return predictions

    @property
    def predictor(self) -> Predictor:
        """What labels texts; made when it is first asked for, which fails where the backend cannot be had."""
        from textlabel.engine.feature_cache import cache_folder
        from textlabel.engine.predictor import Predictor

        if self._predictor is None:
            self._predictor = Predictor(self.bundle, self.backend, cache_folder(self.cache))
        return self._predictor

    def optimize(
        self, corpus: Source, *, text_column: str | Sequence[str] = "text", **loading: Any
    ) -> list[Trial]:
        """Find the backends that label faster here with the same labels, keep them, and return all trials.

        Labels come from them where ``backend`` is "auto"; `save` writes them with the model.

        Parameters
        ----------
        corpus : texts of the kind that will be labeled, without labels; at most 1,000 are looked at.

        Raises
        ------
        CorpusError : fewer than 100 different texts.
        """
        from textlabel.corpus.load import load_corpus
        from textlabel.engine.optimize import optimize

        texts = list(load_corpus(corpus, text_column=text_column, **loading)["text"])
        workspace = Path(mkdtemp(prefix="textlabel-"))
        finalize(self.bundle, rmtree, workspace, ignore_errors=True)  # what is kept reads from it
        trials = optimize(self.bundle, texts, workspace, self.seed)
        self.bundle.backends = [trial.fit for trial in trials[1:] if trial.fit is not None]
        self._predictor = None
        return trials

    def annotate(
        self,
        corpus: Source,
        *,
        text_column: str | Sequence[str] = "text",
        min_confidence: float = 0.9,
        out_of_scope_rate: float = 0.0,
        gold: Source | None = None,
        label_column: str = "label",
        predictions: Predictions | None = None,
        correct_label_shift: bool | LabelShift | Refused = False,
        order_by: str = "confidence",
        checkpoint: str | Path | None = None,
        **loading: Any,
    ) -> Dataset:
        """Return the corpus with label, confidence and the rest of the exported row, in input order.

        Parameters
        ----------
        corpus : path, glob, Hub id, Dataset or list of dicts; every other column is carried through.
        min_confidence : rows at least this sure are "accepted", the others are for "review".
        out_of_scope_rate : share of rows in scope that may be called "out_of_scope"; 0: no row is.
        gold : rows that people labeled already, such as those of `fit`: where the corpus has the same text,
            their label stands and ``source`` is "human".
        label_column : column of gold that holds the label.
        predictions : what `predict` returned for this corpus, so that it need not run again.
        correct_label_shift : estimate the class shares of this corpus and correct probabilities and labels
            for them, or warn why not; or what `label_shift` returned for this corpus. What it does to
            prediction sets is told in `textlabel.engine.annotate.annotate`.
        order_by : where it is a confidence score that asks the model (ensemble, mutual_information, knn), the
            rows get a column of that name, by which `export` seals their order if it is told so again.
        checkpoint : as `predict`.
        loading : further options of `textlabel.load_corpus`.
        """
        from textlabel.corpus.load import load_corpus
        from textlabel.engine.annotate import annotate
        from textlabel.engine.gold import with_gold
        from textlabel.engine.order import order_column

        known = None
        if gold is not None:
            known = load_corpus(
                gold,
                text_column=text_column,
                label_column=label_column,
                label_kind=self.schema.kind,
                classes=self.schema.names or None,
            )
        rows = load_corpus(corpus, text_column=text_column, **loading)
        if correct_label_shift:
            self.bundle.measured("a correction for class shares")
        score = order_column(order_by, [*COLUMNS, *rows.column_names], self.bundle)
        made = predictions or self._predict(rows, checkpoint, embeddings=score is not None)
        shift = self.label_shift(made) if correct_label_shift is True else correct_label_shift or None
        labeled = annotate(rows, made, self.bundle, min_confidence, out_of_scope_rate, shift, score)
        return labeled if known is None else with_gold(labeled, known)

    def label_shift(self, predictions: Predictions) -> LabelShift | Refused:
        """Return how class shares of a corpus differ from those of the labeled rows, or why nobody can tell.

        It is found without labels, and assumes that texts of one class are alike in both; what speaks
        against that is refused. It trusts the probabilities, so uncalibrated ones are refused, too. A true
        label shift is refused in 5 % of corpora after calibration = "holdout", and more often after folds.

        Parameters
        ----------
        predictions : what `predict` returned for the corpus.

        Raises
        ------
        BundleError : no labeled row calibrated this model, so there is nothing to compare with.
        """
        from textlabel.trust.label_shift import Refused, label_shift

        calibrator, source = self.bundle.measured("a correction for class shares")
        if calibrator.to_json()["name"] == "none":
            return Refused(
                "probabilities of this model are not calibrated, and of one that is too sure the shares come "
                "out wrong: fit with another calibrator than 'none'"
            )
        return label_shift(source.cells, calibrator.apply(predictions.logits))

    def estimate(self, predictions: Predictions) -> Estimate:
        """Return about how many labels of a corpus are right, without labels of it: no guarantee.

        Parameters
        ----------
        predictions : what `predict` returned for the corpus.

        Raises
        ------
        BundleError : no labeled row calibrated this model, so there is nothing to compare with.
        CorpusError : no rows, or ``predictions`` lack the distances that the estimate reads.
        """
        from textlabel.trust.estimates import estimate_accuracy

        calibrator, source = self.bundle.measured("an estimate of accuracy")
        probabilities = calibrator.apply(predictions.logits)
        return estimate_accuracy(probabilities, source, predictions.agreements, predictions.distances)

    def export(
        self,
        rows: Dataset,
        folder: str | Path,
        form: str = "dataset",
        estimate: Estimate | None = None,
        label_shift: LabelShift | Refused | None = None,
        decided_by: Mapping[str, Any] | None = None,
        **sealing: Any,
    ) -> Path:
        """Write annotated rows, sealed, with their provenance record and card, and return the folder.

        Only sealed annotations can be audited and certified (`textlabel.audit`).

        Parameters
        ----------
        rows : what `annotate` returned.
        form : dataset, parquet, jsonl or csv.
        estimate : of the share of right labels, for the record.
        label_shift : what the rows were corrected for, or why not, for the record.
        decided_by : settings of `annotate` that decided the rows, for the record.
        sealing : ``order_by`` and ``rejected`` of `textlabel.audit.seal.seal`.

        Rows do not remember how `annotate` made them: give ``label_shift``, ``decided_by`` and ``order_by``
        here again, or the record is silent about the first two and the rows are sealed by confidence. The
        command `textlabel annotate` does so by itself.
        """
        from textlabel import registry
        from textlabel.audit.seal import seal

        known = self.record(len(rows), estimate, label_shift, decided_by)
        record = {**known, "seal": seal(rows, **sealing)}
        path: Path = registry.load("export", form).write(rows, Path(folder), record)
        return path

    def evaluate(self, annotations: Dataset, gold: Source, **loading: Any) -> Evaluation:
        """Return how well annotations agree with gold labels, joined by id."""
        from textlabel.corpus.load import load_corpus
        from textlabel.report.evaluation import evaluate_labels

        loading = {"label_column": "label", "label_kind": self.schema.kind, **loading}
        return evaluate_labels(annotations, load_corpus(gold, **loading))

    def record(
        self,
        rows: int | None = None,
        estimate: Estimate | None = None,
        label_shift: LabelShift | Refused | None = None,
        decided_by: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the provenance record that exports and cards carry."""
        return {
            **self.bundle.record,
            "rows": rows,
            "backend": None if self._predictor is None else self._predictor.to_json(),
            "estimate": None if estimate is None else estimate.to_json(),
            "label_shift": None if label_shift is None else label_shift.to_json(self.schema.names),
            "decided_by": None if decided_by is None else dict(decided_by),
        }

    def make_private(self) -> Labeler:
        """Drop what gives away features of training rows (`Bundle.private`), and return this labeler.

        Raises
        ------
        RecipeError : the features themselves are kept.
        """
        if self.bundle.scope.known.reference is not None:
            raise RecipeError(
                "keep_reference = True keeps the features of all training rows: fit again without it"
            )
        self._bundle, self._predictor = self.bundle.private(), None
        return self

    def save(self, folder: str | Path, *, self_contained: bool = False) -> Path:
        """Write the classifier (safetensors, JSON, model card) and return its folder.

        Parameters
        ----------
        self_contained : also copy a backbone that could be had by its name.
        """
        from textlabel.engine.process import accelerator
        from textlabel.report.cards import model_card

        if accelerator().is_main_process:
            path = self.bundle.save(folder, self_contained)
            (path / "README.md").write_text(model_card(self.bundle.record), encoding="utf-8")
        accelerator().wait_for_everyone()
        return Path(folder)

    @classmethod
    def load(
        cls, folder: str | Path, *, backend: str = REFERENCE, cache: bool | str | Path = True
    ) -> Labeler:
        """Return a labeler from a folder that `save` wrote; it gives the same labels."""
        from textlabel.models.bundle import Bundle

        bundle = Bundle.load(folder)
        info = bundle.classifier.info
        labeler = cls(
            info.name,
            seed=bundle.record["seed"],
            backend=backend,
            off_map=bundle.scope.off_map,
            keep_reference=bundle.scope.known.reference is not None,
            sets=DEFAULT_SETS if bundle.sets.kind == "interval" else bundle.sets.kind,
            set_alpha=bundle.sets.alpha,
            cache=cache,
            pooling=info.pooling,
            normalize=info.normalize,
            max_length=info.max_length,
        )
        labeler._recipe = bundle.record["recipe"]  # read when somebody fits again: its plugins may be absent
        labeler._bundle = bundle
        return labeler

    def push_to_hub(self, repo_id: str, *, private: bool = True, self_contained: bool = False) -> str:
        """Upload the classifier as a Hub model repository and return its address."""
        import tempfile

        from textlabel.export.hub import push_folder

        with tempfile.TemporaryDirectory() as folder:
            return push_folder(
                self.save(Path(folder) / "model", self_contained=self_contained), repo_id, private
            )

    @classmethod
    def from_pretrained(
        cls,
        ref: str | Path,
        *,
        revision: str | None = None,
        backend: str = REFERENCE,
        cache: bool | str | Path = True,
    ) -> Labeler:
        """Return a labeler from a local folder or a Hub repository."""
        if Path(ref).is_dir():
            return cls.load(ref, backend=backend, cache=cache)
        from textlabel.models.backbone import download

        if str(ref).count("/") != 1 or str(ref).startswith((".", "~", "/")):
            raise BundleError(
                f"{ref}: no such folder; expected one that `textlabel fit --out` wrote, or a Hub id"
            )
        return cls.load(download(str(ref), revision), backend=backend, cache=cache)
