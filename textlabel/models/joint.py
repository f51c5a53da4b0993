"""Several backbones as one: the features of each, side by side, under one head.

Tokenizers, lengths and kinds of the parts may differ, so no part ever sees tokens of another, and nothing
between a text and its features is shared. What is joined is therefore the features alone
(`textlabel.engine.predict.JointFeaturizer`): each part stays a backbone with a body, windows and a space of
the feature cache of its own, where a text is known that a model of that part alone has read. Whatever comes
after features (heads, names, spreading, calibration, scores off the map) meets wider rows and nothing else.
The price: what reads tokens or graphs (training of the body, other backends) has nothing to hold on to.

Each part is scaled to unit length and divided by the root of their number. Heads that standardize their
columns hardly see that, but cosines (nearest rows, prototypes, spreading, names) and distances do: without it
a part of longer vectors would decide alone. So the whole is of unit length, and a cosine of the whole is the
mean of the parts' cosines, however many columns each has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from torch import nn

from textlabel.models.backbone import Backbone
from textlabel.models.backbone_info import BackboneInfo


class JointBody(nn.Module):
    """The bodies of several backbones; it has no forward pass of its own.

    Parameters
    ----------
    members : the backbones, in the order of their features.
    """

    def __init__(self, members: Sequence[Backbone]) -> None:
        super().__init__()
        self.members = tuple(members)
        self.bodies = nn.ModuleList(member.body for member in members)
        width = sum(member.width for member in members)
        self.config = SimpleNamespace(model_type="joint", hidden_size=width)


def joint(members: Sequence[Backbone]) -> Backbone:
    """Return several backbones as one, which reads long texts as the first of them does."""
    infos = tuple(member.info for member in members)
    digests = "".join(f"{info.sha256} {info.tokenizer_sha256}\n" for info in infos)
    info = BackboneInfo(
        name="+".join(info.name for info in infos),
        sha256=hashlib.sha256(digests.encode()).hexdigest(),
        kind="joint",
        pooling="+".join(info.pooling for info in infos),
        normalize=True,
        max_length=min(info.max_length for info in infos),
        origin="+".join(info.origin for info in infos),
        license=" and ".join(dict.fromkeys(info.license for info in infos)),
        on_long=infos[0].on_long,
        window_pooling=infos[0].window_pooling,
        parts=infos,
    )
    return Backbone(info, Path(), JointBody(members).eval(), None)


def reading_as(member: Backbone, whole: BackboneInfo) -> Backbone:
    """Return a part that reads long texts as the whole does, which may have changed since it was joined."""
    info = replace(member.info, on_long=whole.on_long, window_pooling=whole.window_pooling)
    return replace(member, info=info)
