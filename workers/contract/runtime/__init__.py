"""What every process needs: settings, Redis, logs, traces."""
