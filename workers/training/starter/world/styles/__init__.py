"""Rendering styles: one file per family, every instance a point in the family's continuous parameters."""
