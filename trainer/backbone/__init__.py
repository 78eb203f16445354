"""Builds, saves, freezes and fingerprints the backbone, and runs it for its taps."""
