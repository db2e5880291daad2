"""The documents that the API answers with, as pydantic models."""
