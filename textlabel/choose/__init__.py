"""What to start from: which backbone suits labeled rows, and which labeled corpus suits other texts."""

from __future__ import annotations

from textlabel.choose.backbone import BackboneChoice, BackboneScore, choose_backbone
from textlabel.choose.source import SourceChoice, SourceScore, choose_source

__all__ = [
    "BackboneChoice",
    "BackboneScore",
    "SourceChoice",
    "SourceScore",
    "choose_backbone",
    "choose_source",
]
