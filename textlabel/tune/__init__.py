"""What trains: one file, one way to make parameters trainable."""
