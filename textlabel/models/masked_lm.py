"""The masked-language head of a backbone, where its checkpoint holds one."""

from __future__ import annotations

from typing import Any

from textlabel.errors import BackboneError
from textlabel.models.backbone import Backbone, Quiet


def load_masked_lm(backbone: Backbone) -> Any:
    """Return the backbone with its masked-language head, on the CPU, in fp32 and eval mode.

    Raises
    ------
    BackboneError : it is static, its checkpoint holds no such head, or its tokenizer has no mask.
    """
    import torch
    from transformers import AutoModelForMaskedLM

    reason = "it is static"
    if backbone.info.kind != "static":
        try:
            with Quiet():
                model, report = AutoModelForMaskedLM.from_pretrained(
                    backbone.folder,
                    dtype=torch.float32,
                    trust_remote_code=False,
                    use_safetensors=True,
                    output_loading_info=True,
                )
        except ValueError:  # transformers knows no masked-language model of this family
            reason = "its family has none"
        else:
            if not report["missing_keys"] and backbone.tokenizer.mask_token is not None:
                return model.eval()
            missing = sorted(report["missing_keys"]) or ["a mask token"]
            reason = f"its checkpoint lacks {missing[0]}"
    raise BackboneError(
        f"backbone {backbone.info.public_name!r} has no masked-language head ({reason}); "
        "use augment 'neighbors', or another backbone"
    )
