"""Training: what is learned from pictures."""
