"""Strategies: one file, one way to choose rows."""
