"""Datasets -> batches, and how far they have been read."""
