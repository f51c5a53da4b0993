"""Calibration, scores and metrics on arrays; nothing here knows torch."""
