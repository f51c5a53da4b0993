"""Backbones, heads and the classifier bundle."""
