"""The techniques, a folder each, and their registry."""
