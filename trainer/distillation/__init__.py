"""Teaches a small backbone what a large one answers with its kernels."""
