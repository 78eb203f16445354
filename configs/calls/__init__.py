"""Calls from Python: what a caller hands in."""
