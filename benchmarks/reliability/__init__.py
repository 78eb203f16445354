"""What must hold while things change, break or are abused: ``python -m benchmarks.reliability``."""
