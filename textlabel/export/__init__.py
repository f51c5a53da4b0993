"""Ways out: one file, one format."""
