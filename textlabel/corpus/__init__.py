"""Text in: load, check, de-duplicate, split."""
