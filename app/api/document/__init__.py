"""The OpenAPI document: what it says beyond the routes."""
