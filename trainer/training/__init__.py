"""Pre-training of the backbone and fine-tuning of kernels."""
