"""Changing a picture that is given: the edit family."""
