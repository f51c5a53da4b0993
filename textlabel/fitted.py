"""What a labeler can do once it has learned: predict, estimate, tell of itself, be kept."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory, mkdtemp
from typing import TYPE_CHECKING, Any, Self
from weakref import finalize

from textlabel.errors import BundleError, RecipeError
from textlabel.trust.deferral import MOST_DIFFER
from textlabel.types import IntArray, LabelSchema, Predictions

log = logging.getLogger("textlabel")

if TYPE_CHECKING:
    from datasets import Dataset

    from textlabel.engine.cluster import Cluster
    from textlabel.engine.optimize import Trial
    from textlabel.engine.predictor import Predictor
    from textlabel.engine.shared_features import SharedFeatures
    from textlabel.models.bundle import Bundle
    from textlabel.report.evaluation import Evaluation
    from textlabel.trust.estimates import Estimate
    from textlabel.trust.label_shift import LabelShift, Refused

Source = Any  # path, glob, Hub id, datasets.Dataset, or list of dicts: see textlabel.corpus.load


class Fitted:
    """The half of `textlabel.Labeler` that reads what was learned and never learns.

    Parameters
    ----------
    backend, cascade, cache, seed : as `textlabel.Labeler`.
    """

    def __init__(
        self, backend: str, cascade: bool, cache: bool | str | Path | SharedFeatures, seed: int
    ) -> None:
        self.backend = backend
        self.cascade = cascade
        self.cache = cache
        self.seed = seed
        self._bundle: Bundle | None = None
        self._predictor: Predictor | None = None

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

    def read_long(self, on_long: str | None = None, window_pooling: str | None = None) -> Self:
        """Read texts that are too long otherwise than when it was fitted, and return this labeler.

        Confidence was calibrated on labeled rows as they were read then.

        Parameters
        ----------
        on_long, window_pooling : as `textlabel.Labeler`; None: as it was fitted.

        Raises
        ------
        BackboneError : an unknown word, or a pooling of windows where there are none.
        """
        from textlabel.models.backbone_info import check_long

        model = self.bundle.classifier
        info = replace(
            model.info,
            on_long=on_long or model.info.on_long,
            window_pooling=window_pooling or model.info.window_pooling,
        )
        if info.on_long != "window" and not window_pooling:
            info = replace(info, window_pooling="mean")  # there are none any more
        check_long(info.on_long, info.window_pooling)
        model.info = info
        self._predictor = None
        return self

    def predict(
        self,
        corpus: Source,
        *,
        text_column: str | Sequence[str] = "text",
        checkpoint: str | Path | None = None,
        embeddings: bool = True,
        cluster: Cluster | None = None,
        **loading: Any,
    ) -> Predictions:
        """Return logits, features and off-the-map scores of a corpus, in input order.

        Parameters
        ----------
        checkpoint : folder, or URL that fsspec knows, in which a killed prediction goes on when it is
            repeated. It stays when all is done: delete it when you need it no longer.
        embeddings : with a checkpoint, whether features are kept, which are large. Only scores by which rows
            can be ordered (ensemble, mutual_information, knn) read them.
        cluster : what computes in place of this process (`textlabel.Cluster`); all of its nodes must reach
            the checkpoint, which it needs.

        Raises
        ------
        ClusterError, PluginError, RecipeError : the cluster cannot.
        ExportError : ``checkpoint`` cannot be written or read, or holds a run of another corpus or model.
        """
        from textlabel.corpus.load import load_corpus

        rows = load_corpus(corpus, text_column=text_column, **loading)
        return self._predict(rows, checkpoint, embeddings, cluster)

    def _predict(
        self, rows: Dataset, checkpoint: str | Path | None, embeddings: bool, cluster: Cluster | None
    ) -> Predictions:
        from textlabel.engine.long_run import predict_in_shards
        from textlabel.progress import meter

        if checkpoint is not None:
            return predict_in_shards(self.predictor, rows, checkpoint, embeddings, cluster)
        if cluster is not None:
            raise RecipeError(
                "a cluster needs a checkpoint, a folder or URL that all of its nodes reach: give one"
            )
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
        from textlabel.engine.predictor import Predictor
        from textlabel.engine.shared_features import store_of

        if self._predictor is None:
            self._predictor = Predictor(self.bundle, self.backend, store_of(self.cache), self.cascade)
        return self._predictor

    def optimize(
        self,
        corpus: Source,
        *,
        cascade: str = "",
        most_differ: float = MOST_DIFFER,
        text_column: str | Sequence[str] = "text",
        **loading: Any,
    ) -> list[Trial]:
        """Find the backends that label faster here with the same labels, keep them, and return all trials.

        Labels come from them where ``backend`` is "auto"; `save` writes them with the model.

        Parameters
        ----------
        corpus : texts of the kind that will be labeled, without labels; at most 1,000 are looked at.
        cascade : static backbone, such as potion-base-8M, of a student that learns the model's labels of at
            most 10,000 texts of the corpus. Where ``cascade`` of the labeler is True it answers what it is
            sure of. What is promised of it is told in `textlabel.engine.student`. Without this a student
            that is there stays.
        most_differ : of a cascade, the share of different texts whose label may differ from the model's own.

        Raises
        ------
        CorpusError : fewer than 100 different texts, or too few for a cascade: 1,196 where 0.5 % may differ.
        RecipeError : a model that may give a row several labels, or of several backbones; a cascade of one
            that gives scores, or ``most_differ`` is no share.
        BackboneError : the backbone of the cascade is not static, or cannot be had.
        """
        from textlabel.corpus.load import load_corpus
        from textlabel.engine.optimize import optimize
        from textlabel.engine.shared_features import store_of
        from textlabel.engine.student import Lesson
        from textlabel.models.backbone_info import require_one

        told = "label with backend torch and without a cascade, or fit a model on one of them"
        require_one(self.bundle.classifier.info, "optimize speeds up", told)
        if self.schema.kind == "multi":
            raise RecipeError(
                "optimize compares backends by the one label of a row, and this model may give a row "
                "several: label with backend torch"
            )
        texts = list(load_corpus(corpus, text_column=text_column, **loading)["text"])
        lesson = None
        if cascade:
            lesson = Lesson.prepare(self.bundle, texts, cascade, most_differ, self.seed)
        workspace = Path(mkdtemp(prefix="textlabel-"))
        finalize(self.bundle, rmtree, workspace, ignore_errors=True)  # what is kept reads from it
        trials = optimize(self.bundle, texts, workspace, self.seed)
        self.bundle.backends = [trial.fit for trial in trials[1:] if trial.fit is not None]
        self._predictor = None
        if lesson is not None:
            trials.append(lesson.trial(self.bundle, trials, store_of(self.cache)))
            self.bundle.student = trials[-1].student
        return trials

    def label_shift(self, predictions: Predictions, out_of_scope_rate: float = 0.0) -> LabelShift | Refused:
        """Return how class shares of a corpus differ from those of the labeled rows, or why nobody can tell.

        It is found without labels, and assumes that texts of one class are alike in both; what speaks
        against that is refused. It trusts the probabilities, so uncalibrated ones are refused, too.

        Parameters
        ----------
        predictions : what `predict` returned for the corpus.
        out_of_scope_rate : where not 0, rows that `annotate` calls out of scope are not read. More of this,
            and what is raised: `textlabel.engine.shift.shift_of`.
        """
        from textlabel.engine.shift import shift_of

        return shift_of(predictions, self.bundle, out_of_scope_rate)

    def check_shares(self, class_shares: str | Mapping[str, float] | None, estimated: bool) -> None:
        """Raise where these are no shares of the classes, or the shares are to be estimated as well."""
        from textlabel.engine.shift import shares_of

        if class_shares is not None and estimated:
            raise RecipeError(
                "correct_label_shift estimates the class shares that class_shares states: leave one of the "
                "two out"
            )
        if class_shares is not None:
            shares_of(class_shares, self.bundle)

    def stated_shares(
        self,
        predictions: Predictions,
        class_shares: str | Mapping[str, float],
        out_of_scope_rate: float = 0.0,
    ) -> LabelShift | Refused:
        """Return what gives a corpus the class shares that somebody knows, or why nothing does.

        Parameters
        ----------
        predictions, out_of_scope_rate : as `label_shift`.
        class_shares : as `annotate`.
        """
        from textlabel.engine.shift import shares_of, shift_to_shares

        shares = shares_of(class_shares, self.bundle)
        return shift_to_shares(predictions, self.bundle, shares, out_of_scope_rate)

    def estimate(self, predictions: Predictions, among: IntArray | None = None) -> Estimate:
        """Return about how many labels of a corpus are right, without labels of it: no guarantee.

        Parameters
        ----------
        predictions : what `predict` returned for the corpus.
        among : (m,) numbers of the rows that it is to be about, such as those that nobody labeled; None: all.

        Raises
        ------
        BundleError : no labeled row calibrated this model, so there is nothing to compare with.
        CorpusError : no rows, or ``predictions`` lack the distances that the estimate reads, as they do where
            the student of a cascade answered.
        """
        from textlabel.engine.cascade import refuse_cascade
        from textlabel.trust.estimates import estimate_accuracy

        refuse_cascade(predictions, "an estimate of accuracy")
        calibrator, source = self.bundle.measured("an estimate of accuracy")
        kept, names = slice(None) if among is None else among, ("logits", "agreements", "distances")
        read = {name: array[kept] for name, array in predictions.arrays().items() if name in names}
        probabilities = calibrator.apply(read.pop("logits"))
        return estimate_accuracy(probabilities, source, **read)

    def evaluate(self, annotations: Dataset, gold: Source, **loading: Any) -> Evaluation:
        """Return how well annotations agree with gold labels, joined by id."""
        from textlabel.corpus.load import load_corpus
        from textlabel.report.evaluation import evaluate_labels

        loading = {"label_column": "label", "label_kind": self.schema.kind, **loading}
        return evaluate_labels(annotations, load_corpus(gold, **loading), schema=self.schema)

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

    def forget_rows(self) -> Self:
        """Drop what gives away features of training rows (`Bundle.forget_rows`), and return this labeler.

        Raises
        ------
        RecipeError : the features themselves are kept.
        """
        if self.bundle.scope.known.reference is not None:
            raise RecipeError(
                "keep_reference = True keeps the features of all training rows: fit again without it"
            )
        if self.bundle.classifier.info.origin == "data":
            log.warning(
                "the model of n-grams still holds which pieces of two to four letters the training texts have"
            )
        self._bundle, self._predictor = self.bundle.forget_rows(), None
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

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = True,
        revision: str | None = None,
        create_pr: bool = False,
        self_contained: bool = False,
    ) -> str:
        """Upload the classifier as a Hub model repository and return its address, or the pull request's.

        Parameters
        ----------
        private : only for a repository that is made now.
        revision : branch to push to (made if it does not exist), or to open the pull request against.
        create_pr : open a pull request instead of changing the branch.
        self_contained : also copy a backbone that could be had by its name.
        """
        from textlabel.export.hub import push_folder

        with TemporaryDirectory() as folder:
            saved = self.save(Path(folder) / "model", self_contained=self_contained)
            return push_folder(saved, repo_id, private, revision, create_pr)
