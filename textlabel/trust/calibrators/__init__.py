"""From logits to probabilities: one file, one calibrator."""
