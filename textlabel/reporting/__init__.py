"""The report of an annotated corpus: what a reviewer asks before accepting its labels."""

from textlabel.reporting.step import Report

__all__ = ["Report"]
