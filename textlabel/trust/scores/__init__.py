"""From probabilities to one confidence number: one file, one score."""
