"""What the compose file runs beside the services: the health check and the bucket maker."""
