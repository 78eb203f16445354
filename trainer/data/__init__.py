"""Reads datasets as batches, and shows how far they have been read."""
