"""A form from its bytes to a validated request: multipart within a memory budget, fields, recipes, the decoder."""
