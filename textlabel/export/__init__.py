"""Ways out: one file, one format. Each writes the rows, their provenance record and a dataset card."""
