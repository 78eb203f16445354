"""A job's kernels as releases: versions that never change, and which of them are served."""
