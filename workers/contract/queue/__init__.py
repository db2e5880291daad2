"""Celery as a wake-up: its settings and the notifier."""
