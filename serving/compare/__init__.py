"""Two versions, servers or domains on the same logged requests: ``python -m serving.compare``."""
