"""The loop that fits, and the pass that predicts."""
