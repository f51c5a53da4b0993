"""What `textlabel optimize` found out about one backend on one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

#: the backend that all others are held against: torch in float32
REFERENCE = "torch"

#: of ``band``; it once was a difference of probabilities
BAND_UNIT = "nats"

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class BackendFit:
    """Corrections that bring a faster backend's numbers to those of the reference (torch in float32).

    Its features differ by noise. Noise makes logits a little larger or smaller on the whole, and puts every
    text further off the map; both are undone by what was fitted on texts without labels. Heads of folds and
    twins share the features but not ``logit_scale``, which is within about 1 % of 1. What is left can
    still turn the label of a row whose two best classes are close: such rows are computed again by the
    reference, or first by a backend nearer to it (`textlabel.engine.backend_choice.passes`).

    Parameters
    ----------
    backend : plugin.
    logit_scale : factor on the logits before the calibrator.
    ood_scale, ood_shift : factor on off-the-map scores, and what is added then.
    distance_scale : factor on the distances that an estimate of accuracy reads.
    band : rows whose likeliest class leads the next by less are computed again; in nats, after calibration
        (`textlabel.engine.predictor.lead`).
    measured : agreement, texts/s and the like, for the record.
    folder : files that the backend needs, or None.
    again_by : backend that computes the rows in the band again, and leaves to the reference those that are in
        its own; "": the reference computes all of them.
    """

    backend: str
    logit_scale: float = 1.0
    ood_scale: float = 1.0
    ood_shift: float = 0.0
    band: float = 0.0
    measured: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    distance_scale: float = 1.0
    again_by: str = ""

    def logits(self, raw: Float32) -> Float32:
        """Return logits (n, k) as the calibrator expects them."""
        return raw * np.float32(self.logit_scale)

    def ood_score(self, raw: Float32) -> Float32:
        """Return off-the-map scores (n,) as the model's threshold expects them."""
        return raw * np.float32(self.ood_scale) + np.float32(self.ood_shift)

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as a JSON-ready dictionary."""
        found = asdict(self)
        del found["folder"]
        return {**found, "band_unit": BAND_UNIT}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], folder: Path) -> BackendFit:
        """Return what `to_json` wrote; ``folder`` may or may not be there."""
        numbers = {name: value for name, value in data.items() if name != "band_unit"}
        return cls(**numbers, folder=folder if folder.is_dir() else None)
