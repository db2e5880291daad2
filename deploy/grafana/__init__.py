"""The Grafana dashboard and what writes it."""
