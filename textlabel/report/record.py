"""The provenance record: what was done, by which versions, on how many labels."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any

from textlabel import __version__
from textlabel.trust.calibration import describe

if TYPE_CHECKING:
    from textlabel.models.backbone_info import BackboneInfo
    from textlabel.models.bundle import Bundle

FORMAT = 1
LIBRARIES = ("torch", "transformers", "datasets", "peft", "accelerate", "numpy")


#: keys in which the records of two models differ that label differently
OF_MODEL = ("schema", "backbone", "recipe", "seed", "calibrator")


def versions() -> dict[str, str]:
    """Return the versions that decide a result, read from package metadata without importing.

    Examples
    --------
    >>> sorted(versions())[:2]
    ['accelerate', 'datasets']
    """
    import platform

    found = {"python": platform.python_version(), "textlabel": __version__}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _backbone(info: BackboneInfo) -> dict[str, Any]:
    """Return what is told of a backbone, and of each part where several were joined."""
    told: dict[str, Any] = {
        "name": info.public_name,
        "sha256": info.sha256,
        "source": info.origin,
        "license": info.license,
    }
    return told | ({"parts": [_backbone(part) for part in info.parts]} if info.parts else {})


def _grown(bundle: Bundle) -> dict[str, Any]:
    """Return what is known of tokens that were added to the backbone, which are words of somebody's texts."""
    path = bundle.classifier.folder / "extend_vocabulary.json"
    if not path.is_file():
        return {}
    told = json.loads(path.read_text(encoding="utf-8"))
    return {"extended_vocabulary": {"tokens": len(told["tokens"]), "backbone": told["backbone"]["name"]}}


def complete_record(bundle: Bundle) -> dict[str, Any]:
    """Return the bundle's record with everything that a card needs to say."""
    info = bundle.classifier.info
    return {
        "format": FORMAT,
        "textlabel": __version__,
        "created": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "schema": bundle.classifier.schema.to_json(),
        "backbone": _backbone(info),
        "versions": versions(),
        "calibrator": None if bundle.calibrator is None else describe(bundle.calibrator),
        "sets": {"kind": bundle.sets.kind, "alpha": bundle.sets.alpha},
        "certificate": None,
        "evaluation": None,
        **_grown(bundle),
        **bundle.record,
    }


def differing(bundle: Bundle, record: Mapping[str, Any]) -> list[str]:
    """Return in which of `OF_MODEL` a model is another one than that which a corpus's record tells of."""
    ours = json.loads(json.dumps(complete_record(bundle)))
    return [key for key in OF_MODEL if ours.get(key) != record.get(key)]
