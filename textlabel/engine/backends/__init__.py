"""What runs the forward pass: one file, one backend."""
