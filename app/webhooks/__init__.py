"""Webhooks: which addresses are allowed, signed delivery, retries."""
