"""What is minimized: one file, one loss."""
