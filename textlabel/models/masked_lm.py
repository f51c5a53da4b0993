"""The masked-language head of a backbone, where its checkpoint holds one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textlabel.errors import BackboneError
from textlabel.models.backbone import Backbone, Quiet


def load_masked_lm(backbone: Backbone) -> Any:
    """Return the backbone with its masked-language head, on the CPU, in fp32 and eval mode.

    Raises
    ------
    BackboneError : it is static, its checkpoint holds no such head, or its tokenizer has no mask.
    """
    model, reason = None, "it is static"
    if backbone.info.kind != "static":
        model, reason = find_masked_lm(backbone.folder)
        if model is not None and backbone.tokenizer.mask_token is None:
            model, reason = None, "its checkpoint lacks a mask token"
    if model is None:
        raise BackboneError(
            f"backbone {backbone.info.public_name!r} has no masked-language head ({reason}); "
            "use augment 'neighbors', or another backbone"
        )
    return model


def find_masked_lm(folder: Path) -> tuple[Any, str]:
    """Return the masked-language model of a checkpoint, as `load_masked_lm` does, or None and why not."""
    import torch
    from transformers import AutoModelForMaskedLM

    try:
        with Quiet():
            model, report = AutoModelForMaskedLM.from_pretrained(
                folder,
                dtype=torch.float32,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
    except ValueError:  # transformers knows no masked-language model of this family
        return None, "its family has none"
    if report["missing_keys"]:
        return None, f"its checkpoint lacks {min(report['missing_keys'])}"
    return model.eval(), ""
