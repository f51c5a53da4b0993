"""Metrics, evaluation and cards."""
