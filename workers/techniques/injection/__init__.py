"""Techniques that inject the attention of an inverted style and content."""
