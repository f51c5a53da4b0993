"""People look at rows: a page on this machine, and its twin for a shell. Answers go to the audit's log."""
