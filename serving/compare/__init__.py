"""Compares two versions, servers or domains on logged requests: ``python -m serving.compare``."""
