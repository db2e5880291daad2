"""Weights from the store, strictly by name and shape, into models."""
