"""The student of a cascade: a static backbone and a head that learned the model's own labels.

It reads a text far faster than the model does, and answers the texts that it is sure of and that are like
those it learned from; the model answers the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.models.backbone import Backbone
from textlabel.models.backbone_info import BackboneInfo
from textlabel.models.classifier import Classifier
from textlabel.models.heads import Linear
from textlabel.trust.moments import Moments
from textlabel.types import LabelSchema

TENSORS = "student.safetensors"

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Student:
    """A small classifier and when it may answer.

    Parameters
    ----------
    classifier : static body and a head whose logits the model's calibrator turns into probabilities.
    moments : of the features that the head learned from, as one class.
    threshold : it answers texts of which it is surer; probability.
    reach : it answers texts whose squared distance from the bulk of those it learned from is at most this.
    measured : what was found out on texts that it did not learn from, for the record.
    long_texts : how the model, with which it was compared then, read long texts (`reads_long`).
    """

    classifier: Classifier
    moments: Moments
    threshold: float
    reach: float
    measured: Mapping[str, Any]
    long_texts: str = "truncate"

    @property
    def name(self) -> str:
        """Its backbone, without the folders above a local path."""
        return self.classifier.info.public_name

    def knows(self, features: npt.NDArray[np.float32]) -> Bools:
        """Return which texts (n,) are like those it learned from; one without a known token is not."""
        return np.asarray((self.moments.bulk(features) <= self.reach) & features.any(axis=1))

    def answers(self, probabilities: npt.NDArray[np.float64], features: npt.NDArray[np.float32]) -> Bools:
        """Return which texts (n,) it answers, by its calibrated probabilities (n, k) and features (n, d)."""
        return np.asarray(probabilities.max(axis=1) > self.threshold) & self.knows(features)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return head and moments by name, as safetensors wants them."""
        head = {f"head.{name}": value for name, value in self.classifier.head.named_parameters()}
        found = {name: value.detach().cpu().numpy() for name, value in head.items()}
        return found | {f"moments.{name}": array for name, array in self.moments.arrays().items()}

    def to_json(self) -> dict[str, Any]:
        """Return everything but the tensors as a JSON-ready dictionary."""
        return {
            "backbone": self.classifier.info.to_json(),
            "threshold": self.threshold,
            "reach": self.reach,
            "measured": dict(self.measured),
            "long_texts": self.long_texts,
        }

    def write(self, folder: Path) -> None:
        """Write the tensors."""
        from safetensors.numpy import save_file

        folder.mkdir()
        arrays = {name: np.ascontiguousarray(array) for name, array in self.arrays().items()}
        save_file(arrays, folder / TENSORS)

    @classmethod
    def read(cls, data: Mapping[str, Any], folder: Path, backbone: Backbone, schema: LabelSchema) -> Student:
        """Return what `to_json` and `write` wrote.

        Parameters
        ----------
        backbone : the one that ``data`` names.
        schema : of the model.
        """
        from safetensors.numpy import load_file

        arrays = load_file(folder / TENSORS)
        classifier = Classifier(backbone, schema)
        classifier.set_head(Linear(arrays["head.weight"], arrays["head.bias"]))
        moments = {k.removeprefix("moments."): v for k, v in arrays.items() if k.startswith("moments.")}
        return cls(
            classifier.eval(),
            Moments.from_arrays(moments),
            data["threshold"],
            data["reach"],
            data["measured"],
            data["long_texts"],
        )


def reads_long(info: BackboneInfo) -> str:
    """Return how a body reads long texts, in one word or two."""
    return f"window, {info.window_pooling}" if info.on_long == "window" else info.on_long


def info_of(data: Mapping[str, Any]) -> BackboneInfo:
    """Return which backbone the student in ``data`` reads with."""
    return BackboneInfo.from_json(data["backbone"])
