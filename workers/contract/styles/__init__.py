"""Saved styles, and which workers have them precomputed."""
