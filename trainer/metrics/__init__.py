"""Computes how good scores are, how sure that is, and how far two sets of scores differ."""
