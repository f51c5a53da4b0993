"""The classifier on disk: safetensors and JSON, never pickle; parameters and class moments only.

Features of training rows are written where `Scope` holds a reference, which somebody must have asked for.

textlabel.json          schema, backbone (name, sha256), calibrator, provenance record
head.safetensors        head, heads of folds, class moments, scores of rows in scope, source statistics
reference.safetensors   features of length one and classes of the training rows, only where they are kept
adapter-0/ ...          LoRA updates in peft's own layout, in the order of their training
body/                   the encoder itself, only where it changed or cannot be had by name
body-0/ ...             of several encoders those that cannot be had by name, by their number
backends/NAME/ ...      what faster backends need, where `textlabel optimize` kept some
student/ ...            tensors and static backbone of a cascade's student, where it trained one
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from textlabel import tasks
from textlabel.errors import BundleError, RecipeError
from textlabel.models.backbone import Backbone, locate, open_folder, save_body
from textlabel.models.backbone_info import BackboneInfo, tokenizer_sha256
from textlabel.models.backend_fit import BAND_UNIT, BackendFit
from textlabel.models.classifier import Adapter, Classifier, Frozen
from textlabel.models.fetch import file_sha256, weights_sha256
from textlabel.models.heads import Linear
from textlabel.models.joint import joint
from textlabel.models.student import Student, info_of
from textlabel.trust.calibration import Calibrator, from_json
from textlabel.trust.multilabel import SubsetRule
from textlabel.trust.scope import DEFAULT_OFF_MAP, Reference, Scope
from textlabel.trust.set_rule import DEFAULT_ALPHA, DEFAULT_SETS, SetRule
from textlabel.trust.source import SourceStatistics
from textlabel.types import LabelSchema

Part = TypeVar("Part")

FORMAT = 1
log = logging.getLogger("textlabel")

RECORD = "textlabel.json"
#: rows at least this sure are accepted, where nothing else is said
MIN_CONFIDENCE = 0.9


@dataclass
class Bundle:
    """A trained classifier with everything that labeling needs.

    Parameters
    ----------
    classifier : body and head.
    calibrator : from logits to probabilities, a `SubsetRule` where rows may carry several classes; None for
        scores.
    scope : what tells texts that are off the map: class moments of the training features, and a score.
    sets : how prediction sets (of scores: intervals) are made, and at which level.
    record : provenance, as it goes into cards.
    source : what was measured on labeled rows, for estimates elsewhere; None where none calibrated.
    members : heads that each lack a fold of the rows, whose logits are calibrated as those of ``classifier``.
    backends : faster ways to run the body, the fastest first, as `textlabel optimize` kept them.
    student : what may answer texts before the classifier does, in a cascade; None: nothing.
    """

    classifier: Classifier
    calibrator: Calibrator | SubsetRule | None
    scope: Scope
    sets: SetRule
    record: dict[str, Any] = field(default_factory=dict)
    source: SourceStatistics | None = None
    members: Sequence[Linear] = ()
    backends: Sequence[BackendFit] = ()
    student: Student | None = None

    def forget_rows(self) -> Bundle:
        """Return the bundle without heads of parts of the rows.

        The head, less one that lacks a few rows, is nearly a sum of the features of these: with class moments
        it gives them away. So go the heads of the folds and the twins; estimates then do without GDE.

        Raises
        ------
        BundleError : the head is made of the features of the rows.
        """
        head = self.classifier.head
        if isinstance(head, Frozen) and head.keeps_rows:
            raise BundleError(
                f"a head of kind {head.name!r} holds the features of all training rows, and is nothing "
                "without them: fit with another recipe, such as head"
            )
        source = None if self.source is None else replace(self.source, twins=None)
        return replace(self, source=source, members=())

    def accepts_from(self, min_confidence: float | None) -> float | None:
        """Return the least confidence of rows that are accepted, or None: no row is.

        It is the one that is given, or else `MIN_CONFIDENCE`; but where no label was learned from, the model
        has moved on without labels, or a label map is not calibrated, nothing says that any row is right, and
        only who gives one accepts rows by it.

        Raises
        ------
        RecipeError : it is not a probability.
        """
        if min_confidence is None:
            uncalibrated = self.record.get("label_map", {}).get("calibrated") is False
            unlearned = self.record.get("labels", {}).get("train") == 0
            unknown = unlearned or uncalibrated or "adapted" in self.record
            return None if unknown else MIN_CONFIDENCE
        if not isinstance(min_confidence, int | float) or not 0 <= min_confidence <= 1:
            raise RecipeError(f"min_confidence = {min_confidence!r}: expected a probability in [0, 1]")
        return float(min_confidence)

    def measured(self, need: str) -> tuple[Calibrator, SourceStatistics]:
        """Return the calibrator and what was measured on labeled rows, which ``need`` needs.

        Raises
        ------
        BundleError : no labeled row calibrated this model, so there is nothing to compare with.
        """
        if isinstance(self.calibrator, SubsetRule):
            raise BundleError(f"{need} is for one label a row, and this model may give a row several")
        if self.source is None or self.calibrator is None:
            raise BundleError(
                f"this model keeps no statistics of labeled rows, which {need} needs: fit classes again, "
                "with calibration other than 'none'"
            )
        return self.calibrator, self.source

    def by_members(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return calibrated probabilities (m, n, k) of features (n, d), by each of the heads of the folds."""
        assert self.calibrator is not None
        return np.stack([self.calibrator.apply(head(features)) for head in self.members])

    def against_source(
        self, features: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32] | None, npt.NDArray[np.float32] | None]:
        """Return what an estimate of accuracy reads of rows of features (n, d).

        Returns
        -------
        agreements, distances : (n,) as `estimate_accuracy` takes them; None where the model needs none.
        """
        if self.source is None:
            return None, None
        tempered = self.source.margin_variance is not None
        distances = self.scope.known.moments.bulk(features) if tempered else None
        return self.source.agreements(features), distances

    def digest(self) -> str:
        """Return what tells this model from others, but for its body, which the record only names."""
        found = hashlib.sha256(json.dumps(self._json({}), sort_keys=True, default=str).encode())
        arrays = self._arrays()
        if self.scope.known.reference is not None:
            arrays |= asdict(self.scope.known.reference)
        if self.student is not None:
            arrays |= {f"student.{name}": array for name, array in self.student.arrays().items()}
        for name, array in sorted(arrays.items()):
            found.update(f"{name} {array.dtype} {array.shape}\n".encode())
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return head, scope, source statistics and heads of folds by name, as safetensors wants them."""
        head = self.classifier.head.named_parameters()
        arrays = {f"head.{name}": value.detach().cpu().numpy() for name, value in head}
        arrays |= self.scope.arrays()
        if self.source is not None:
            arrays |= {f"source.{k}": v for k, v in self.source.arrays().items()}
        if self.members:
            arrays["members.weight"] = np.stack([head.weight for head in self.members])
            arrays["members.bias"] = np.stack([head.bias for head in self.members])
        return arrays

    def save(self, folder: str | Path, self_contained: bool = False) -> Path:
        """Write the bundle; the old one of that name is replaced once the new one is complete.

        Parameters
        ----------
        self_contained : also copy an unchanged backbone that has a name of its own.

        Raises
        ------
        BundleError : ``folder`` exists and is not a bundle.
        """
        target = Path(folder)
        if target.exists() and any(target.iterdir()) and not (target / RECORD).is_file():
            raise BundleError(f"{target} exists and is not a textlabel model; choose another folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            self._write(temporary, self_contained)
            temporary.chmod(0o777 & ~_umask())  # a temporary folder is private, a model need not be
            replace_folder(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return target

    def _write(self, folder: Path, self_contained: bool) -> None:
        import torch
        from safetensors.torch import save_file

        model = self.classifier
        tensors = {k: torch.from_numpy(v.copy(order="C")) for k, v in self._arrays().items()}
        save_file(tensors, folder / "head.safetensors")
        if self.scope.known.reference is not None:
            kept = asdict(self.scope.known.reference)
            save_file({k: torch.from_numpy(v) for k, v in kept.items()}, folder / "reference.safetensors")
        for number, adapter in enumerate([] if model.body_changed else model.adapters):
            _write_adapter(folder / f"adapter-{number}", adapter)
        if model.body_changed:
            save_body(model.body, model.tokenizer, model.info, folder / "body")
        else:
            for name, part in _bodies(model.parts).items():
                if self_contained or part.info.origin == "path":
                    _copy_backbone(part.folder, folder / name)
        for fit in self.backends:
            if fit.folder is not None:
                shutil.copytree(fit.folder, folder / "backends" / fit.backend)
        if self.student is not None:
            self.student.write(folder / "student")
            _copy_backbone(self.student.classifier.folder, folder / "student" / "body")
        text = json.dumps(self._json(hashes(folder)), indent=2, allow_nan=False)
        (folder / RECORD).write_text(text + "\n", encoding="utf-8")

    def _json(self, files: dict[str, str]) -> dict[str, Any]:
        model = self.classifier
        return {
            "format": FORMAT,
            "schema": model.schema.to_json(),
            "backbone": model.info.to_json(),
            **({"head": model.head.name} if isinstance(model.head, Frozen) else {}),
            "body_changed": model.body_changed,
            "adapters": 0 if model.body_changed else len(model.adapters),
            "calibrator": None if self.calibrator is None else self.calibrator.to_json(),
            "sets": self.sets.to_json(),
            "off_map": self.scope.off_map,
            "source": None if self.source is None else self.source.to_json(),
            "backends": [fit.to_json() for fit in self.backends],
            "student": None if self.student is None else self.student.to_json(),
            "record": self.record,
            "files": files,
        }

    @classmethod
    def load(cls, folder: str | Path) -> Bundle:
        """Return the bundle in ``folder``, with the very logits that it was saved with.

        Raises
        ------
        BundleError : no bundle, another format, a changed file, or another backbone than it was trained on.
        """
        from safetensors.torch import load_file

        path = Path(folder)
        data = _read_record(path)
        _refuse_changed_files(path, data["files"])
        model = Classifier(
            _backbone(path, BackboneInfo.from_json(data["backbone"])), LabelSchema.from_json(data["schema"])
        )
        for number in range(data["adapters"]):
            model.add_adapter(_read_adapter(path / f"adapter-{number}"))
        tensors = load_file(path / "head.safetensors")
        head = {k: tensors.pop(k) for k in sorted(tensors) if k.startswith("head.")}
        if data.get("head"):
            model.head = Frozen.read(data["head"], {k.removeprefix("head."): v for k, v in head.items()})
        else:
            model.head.load_state_dict({k: head[f"head.{k}"] for k in ("weight", "bias")})
        model.body_changed = data["body_changed"]
        arrays = {k: v.numpy() for k, v in tensors.items()}
        reference = _read_reference(path, data["files"])
        scope = Scope.from_arrays(arrays, data.get("off_map", DEFAULT_OFF_MAP), reference)
        read = SubsetRule.from_json if model.schema.kind == "multi" else from_json
        calibrator = read(data["calibrator"]) if data["calibrator"] else None
        measured = {k.removeprefix("source."): v for k, v in arrays.items() if k.startswith("source.")}
        source = SourceStatistics.from_parts(data["source"], measured) if data.get("source") else None
        members, backends = _members(arrays), _backends(path, data)
        record = data["record"]
        student = _student(path, data, model.schema)
        return cls(model.eval(), calibrator, scope, _sets(data), record, source, members, backends, student)


def _sets(data: Mapping[str, Any]) -> SetRule:
    """Return the rule of the sets, also of a model from before there were several kinds."""
    if "sets" in data:
        return SetRule.from_json(data["sets"])
    kind = DEFAULT_SETS if data["calibrator"] else "interval"
    return SetRule(kind, data["record"].get("set_alpha", DEFAULT_ALPHA), (float(data["set_quantile"]),))


def _members(arrays: Mapping[str, Any]) -> tuple[Linear, ...]:
    if "members.weight" not in arrays:
        return ()
    return tuple(map(Linear, arrays["members.weight"], arrays["members.bias"]))


def _backends(path: Path, data: Mapping[str, Any]) -> tuple[BackendFit, ...]:
    saved = data.get("backends", [])
    for fit in saved:
        if not fit["backend"].replace("-", "_").isidentifier():  # it names a folder that `save` copies
            raise BundleError(f"{path / RECORD}: {fit['backend']!r} is no backend; get the model again")
    told = [fit for fit in saved if fit.get("band_unit") == BAND_UNIT]
    if len(told) < len(saved):
        log.warning(
            "%s was optimized by another version, which is forgotten: run `textlabel optimize` again", path
        )
    return tuple(BackendFit.from_json(fit, path / "backends" / fit["backend"]) for fit in told)


def _student(path: Path, data: Mapping[str, Any], schema: LabelSchema) -> Student | None:
    if not data.get("student"):
        return None
    folder, info = path / "student", info_of(data["student"])
    return Student.read(data["student"], folder, open_folder(folder / "body", info), schema)


def _read_reference(folder: Path, files: Collection[str]) -> Reference | None:
    """Return the reference if it is one of ``files``, whose hashes were compared."""
    from safetensors.numpy import load_file

    name = "reference.safetensors"
    return Reference(**load_file(folder / name)) if name in files else None


def _read_record(path: Path) -> dict[str, Any]:
    if tasks.are_in(path):
        found = " or ".join(str(path / task) for task in tasks.read(path))
        raise BundleError(
            f"{path} holds a model for each of several tasks: take one, {found}, or all of them with "
            "textlabel.MultiLabeler.load"
        )
    if not (path / RECORD).is_file():
        raise BundleError(f"{path}: no {RECORD} here; expected a folder that `textlabel fit --out` wrote")
    try:
        data: dict[str, Any] = json.loads((path / RECORD).read_text(encoding="utf-8"))
    except ValueError as error:
        raise BundleError(f"{path / RECORD} is damaged ({error}); fit again or restore it") from None
    if data.get("format") != FORMAT or "backbone" not in data:
        raise BundleError(
            f"{path}: expected a model of format {FORMAT}, found {data.get('format')!r}; "
            "use the textlabel version that wrote it, or fit again"
        )
    return data


def hashes(folder: Path) -> dict[str, str]:
    """Return {relative path: sha256} of the files of a bundle, but for its record and card."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in found}
    return {name: file_sha256(path) for name, path in names.items() if name not in (RECORD, "README.md")}


def _refuse_changed_files(folder: Path, expected: Mapping[str, str]) -> None:
    found = hashes(folder)
    for name, digest in expected.items():
        if found.get(name) != digest:
            state = "was changed or damaged" if name in found else "is missing"
            raise BundleError(f"{folder / name} {state} since the model was saved; restore it or fit again")


def _bodies(parts: Sequence[Part]) -> dict[str, Part]:
    """Return the parts by the names of their folders in a bundle."""
    return {f"body-{n}" if len(parts) > 1 else "body": part for n, part in enumerate(parts)}


def _backbone(path: Path, info: BackboneInfo) -> Backbone:
    infos = _bodies(info.parts or (info,))
    found = [open_folder(_backbone_folder(path, name, part), part) for name, part in infos.items()]
    if not info.parts:
        return found[0]
    return replace(joint(found), info=info)


def _backbone_folder(path: Path, body: str, info: BackboneInfo) -> Path:
    if (path / body).is_dir():
        return path / body
    folder, _ = locate(f"{info.name}@{info.revision}" if info.revision else info.name)
    found = (weights_sha256(folder), tokenizer_sha256(folder))
    if found != (info.sha256, info.tokenizer_sha256):
        what = "weights" if found[0] != info.sha256 else "tokenizer"
        raise BundleError(
            f"{path} was trained on {info.name!r}, but the {what} in {folder} are not the same; its labels "
            "would be wrong. Restore that backbone or fit again"
        )
    return folder


def _write_adapter(folder: Path, adapter: Adapter) -> None:
    from safetensors.torch import save_file

    folder.mkdir()
    save_file(dict(adapter.tensors), folder / "adapter_model.safetensors")
    text = json.dumps(adapter.config, indent=2, sort_keys=True, default=str)
    (folder / "adapter_config.json").write_text(text + "\n", encoding="utf-8")


def _read_adapter(folder: Path) -> Adapter:
    from safetensors.torch import load_file

    config: Mapping[str, Any] = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    return Adapter(dict(config), load_file(folder / "adapter_model.safetensors"))


def _copy_backbone(source: Path, target: Path) -> None:
    target.mkdir()
    for path in sorted(source.iterdir()):
        if path.is_file() and path.suffix in (".json", ".safetensors", ".txt", ".model"):
            shutil.copyfile(path, target / path.name)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def replace_folder(temporary: Path, target: Path) -> None:
    """Move a complete folder into place, whatever was there; the old one goes last."""
    if not target.exists():
        temporary.replace(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    target.replace(old / "was")
    temporary.replace(target)
    shutil.rmtree(old)
