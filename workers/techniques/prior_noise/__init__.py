"""Techniques that change the starting noise."""
