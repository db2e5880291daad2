"""The whole stack in one process tree, without Docker: a Redis server, gateway, sweeper and workers; and the demo."""
